"""Hidden states as targets: pairs of blocks, maps between widths, and what they add to the loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from danlu import optim, spec
from danlu.models import build
from danlu.objectives import Causal
from danlu.objectives.hidden import NAME, Maps, outputs, pairs, without_maps
from danlu.spec.teachers import Hidden, Teacher
from tests.objectives.fakes import objective
from tests.objectives.test_distil import T, V, given


def network(seed: int, layers: int = 2, width: int = 16) -> Any:
    torch.manual_seed(seed)
    return build(spec.Decoder(layers=layers, width=width, mixer={"kind": "attention", "heads": 2}), V, T)


def taught(teacher: Any, student: Any, weight: float = 0.0, **hidden: Any) -> Causal:
    """An objective whose student has its maps."""
    settings = Teacher(run="there", weight=weight, hidden=Hidden(**hidden))
    of = objective(spec.Causal(teacher=settings), T)
    assert of.taught is not None
    of.taught.take(of, objective(spec.Causal(), T), teacher)
    of.taught.attach(student.train(), seed=3)
    return of


def streams(model: Any, tokens: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad(), outputs(model.blocks) as found:
        model(tokens)
    return found


def test_which_block_learns_from_which() -> None:
    """TinyBERT of 4 layers from BERT of 12: every third; the last from the last for any depths."""
    assert pairs(4, 12, "uniform") == [(0, 2), (1, 5), (2, 8), (3, 11)]
    assert pairs(3, 3, "uniform") == [(0, 0), (1, 1), (2, 2)]
    assert pairs(3, 5, "uniform") == [(0, 1), (1, 3), (2, 4)]
    assert pairs(4, 2, "uniform") == [(0, 0), (1, 0), (2, 1), (3, 1)]
    assert pairs(4, 12, "middle") == [(1, 5)] and pairs(5, 7, "middle") == [(2, 3)]
    assert pairs(4, 12, "last") == [(3, 11)]


def test_the_error_and_its_gradient_are_those_of_equation_8() -> None:
    """0 where the teacher's states are a linear map of the student's and W is that map; ∂/∂W by hand."""
    maps = Maps([(0, 1)], 5, 7, seed=0)
    student, true = torch.randn(2, 3, 5), torch.randn(7, 5)
    with torch.no_grad():
        maps.weights[0].copy_(true)
    exact = maps.errors([student], [torch.zeros(2, 3, 7), student @ true.T])
    assert exact.shape == (2, 3) and exact.abs().max() < 1e-10
    theirs = [torch.zeros(2, 3, 7), torch.randn(2, 3, 7)]
    maps.errors([student], theirs).sum().backward()
    off = (student @ true.T - theirs[1]).flatten(0, 1)
    torch.testing.assert_close(maps.weights[0].grad, 2 / 7 * off.T @ student.flatten(0, 1))


def test_between_equal_widths_it_begins_as_the_plain_squared_error() -> None:
    """Beside the loss of the text, over all predicted tokens and both pairs of blocks."""
    teacher, student = network(1), network(0)
    of = taught(teacher, student)
    example = given(of)
    losses = of.loss(student, example)
    plain = objective(spec.Causal(), T).loss(student, given(objective(spec.Causal(), T)))
    assert torch.equal(losses.total, plain.total)
    mine, theirs = (streams(model, example["tokens"]) for model in (student, teacher))
    squares = sum(torch.nn.functional.mse_loss(one, other) for one, other in zip(mine, theirs, strict=True))
    tokens = example["targets"].numel()
    assert losses.penalty is not None
    torch.testing.assert_close(losses.penalty.detach(), squares * tokens, rtol=1e-5, atol=0)
    same = taught(network(0), again := network(0))
    penalty = same.loss(again, given(same)).penalty
    assert penalty is not None and penalty.abs() < 1e-6


def test_it_adds_to_the_probabilities_by_its_weight() -> None:
    teacher, student = network(1, layers=3, width=24), network(0)
    both = taught(teacher, student, weight=0.5, pairs="last")
    example = given(both)
    penalties = []
    assert both.taught is not None
    for hidden in (None, Hidden(pairs="last"), Hidden(pairs="last", weight=3.0)):
        both.taught.settings = Teacher(run="there", weight=0.5, hidden=hidden)
        penalty = both.loss(student, example).penalty
        assert penalty is not None
        penalties.append(penalty.detach())
    alone, once, thrice = penalties
    torch.testing.assert_close(thrice - alone, 3 * (once - alone), rtol=1e-4, atol=1e-3)
    assert once > alone


def test_the_maps_learn_with_the_student_and_are_none_of_it() -> None:
    """Their gradients, the student's through them, their role; and a checkpoint's tensors without them."""
    teacher, student = network(1, layers=4, width=24), network(0)
    own = list(student.state_dict())
    of = taught(teacher, student)
    maps = student.get_submodule(NAME)
    assert isinstance(maps, Maps) and [tuple(w.shape) for w in maps.weights] == [(24, 16)] * 2
    assert abs(float(maps.weights[0].detach().std()) - 1 / 4) < 0.05  # of 384 numbers: 7 standard errors
    assert list(without_maps(student.state_dict())) == own
    roles = {one.name: one.role for one in optim.roles.named(student)}
    before = {one.name: one.role for one in optim.roles.named(network(0))}
    assert roles == before | {f"{NAME}.weights.{i}": "kernel" for i in range(2)}
    losses = of.loss(student, given(of))
    assert losses.penalty is not None
    losses.penalty.backward()
    assert all(w.grad is not None and w.grad.abs().max() > 0 for w in maps.weights)
    assert student.blocks[0].mixer.out.weight.grad.abs().max() > 0
    assert all(p.grad is None for p in teacher.parameters())


def test_an_update_of_parts_is_one_of_the_whole() -> None:
    teacher, student = network(1, width=24), network(0)
    of = taught(teacher, student, weight=0.5)
    example = given(of)
    whole = of.loss(student, example).minimised
    parts = [of.loss(student, {n: t[i : i + 1] for n, t in example.items()}).minimised for i in range(3)]
    torch.testing.assert_close(torch.stack(parts).sum(), whole, rtol=1e-5, atol=0)


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(ValueError, match="hidden needs the teacher's pass"):
        Teacher(run="there", cache=True, top=4, hidden=Hidden())
    words = ["tiny", "+distil", "objective.teacher.run=runs/big", "objective.teacher.hidden.pairs=last"]
    assert spec.resolve(words).objective.teacher.hidden == Hidden(pairs="last")
    for more, said in (("compile=true", "train.compile = true"), ("parallel=fsdp", "train.parallel = fsdp")):
        with pytest.raises(spec.SpecError, match=f"{said} does not go with objective.teacher.hidden"):
            spec.resolve([*words, f"train.{more}"])
