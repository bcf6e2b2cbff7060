"""Distillation on logits that are known: limits of the temperature, special cases, the tail as one class."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from danlu import spec
from danlu.models import build
from danlu.objectives import Causal, Draw
from danlu.objectives.distil import alike, divergence, with_tail, write
from danlu.objectives.soft_targets import SoftTargets
from danlu.spec.teachers import JSD, Forward, Reverse, Teacher
from tests.objectives.fakes import BYTES, Table, objective, tensors

ROWS, T, V = 3, 8, 257


def taught(**settings: Any) -> tuple[Causal, Table, Table]:
    """A causal objective with a teacher, the teacher's table of logits, and the student's."""
    of = objective(spec.Causal(teacher=Teacher(run="there", **settings)), T)
    teacher, student = Table(ROWS, T, V), Table(ROWS, T, V)
    assert of.taught is not None
    of.taught.take(of, objective(spec.Causal(), T), teacher)
    return of, teacher, student.train()


def given(of: Causal, step: int = 0) -> dict[str, torch.Tensor]:
    text = np.random.default_rng(0).integers(256, size=(ROWS, T + 1))
    made = of.make(text[:, :-1], text[:, 1:], ())
    return tensors(made | (of.taught.example(of, Draw(0, step, 0, 0, ROWS)) if of.taught else {}))


def logs(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(5, 7, dtype=torch.float64, generator=generator)).log_softmax(-1)


def gradient(of: Causal, student: Table, example: dict[str, torch.Tensor]) -> torch.Tensor:
    (found,) = torch.autograd.grad(of.loss(student, example).minimised, student.logits)
    return found


def test_hot_targets_pull_the_logits_together() -> None:
    """As T → ∞ the gradient of T²KL is (centred z_S − z_T)/V (Hinton et al. 2015, eq. 4): off by O(1/T)."""
    for heat in (1e3, 1e4):
        of, teacher, student = taught(weight=1.0, temperature=heat)
        z = student.logits - teacher.logits.detach()
        wanted = (z - z.mean(-1, keepdim=True)).detach() / V
        found = gradient(of, student, given(of))
        # The network's logits are taken in float32, so that a T² of 1e8 leaves few digits.
        assert (found - wanted).abs().max() < 20 / heat * wanted.abs().max() + 2e-6 * heat


def test_without_weight_it_is_plain_training_to_the_last_bit() -> None:
    of, _, student = taught(weight=0.0)
    plain = objective(spec.Causal(), T)
    example = given(of)
    assert torch.equal(of.loss(student, example).minimised, plain.loss(student, example).minimised)
    assert torch.equal(gradient(of, student, example), gradient(plain, student, example))


def test_the_loss_is_the_mixture_and_reports_the_text_alone() -> None:
    of, teacher, student = taught(weight=0.3, temperature=2.0)
    example = given(of)
    losses = of.loss(student, example)
    p, q = ((one.logits.detach() / 2).log_softmax(-1) for one in (teacher, student))
    soft = F.kl_div(q, p, reduction="sum", log_target=True)
    nats = F.cross_entropy(
        student.logits.detach().flatten(0, 1), example["targets"].flatten(), reduction="sum"
    )
    assert losses.total.item() == pytest.approx(float(nats), rel=1e-6)
    assert losses.minimised.item() == pytest.approx(float(0.3 * 4 * soft + 0.7 * nats), rel=1e-5)
    student.eval()
    assert of.loss(student, example).penalty is None  # held out: the text alone


def test_the_divergence_at_its_ends_and_in_the_middle() -> None:
    p, q = logs(0), logs(1)
    forward = (p.exp() * (p - q)).sum(-1)
    assert torch.equal(divergence(Forward(), p, q), forward) and torch.equal(
        divergence(JSD(beta=0), p, q), forward
    )
    assert torch.equal(divergence(Reverse(), p, q), divergence(Forward(), q, p))
    assert torch.equal(divergence(JSD(beta=1), p, q), divergence(Reverse(), p, q))
    half = divergence(JSD(beta=0.5), p, q)
    torch.testing.assert_close(half, divergence(JSD(beta=0.5), q, p))
    assert (half > 0).all() and (half < np.log(2)).all()
    # Near its ends it is β times the one and (1 − β) times the other (Agarwal et al. 2023, section 2).
    for beta, end in ((1e-5, Forward()), (1 - 1e-5, Reverse())):
        small = divergence(JSD(beta=beta), p, q) / min(beta, 1 - beta)
        torch.testing.assert_close(small, divergence(end, p, q), rtol=1e-2, atol=0)
    assert divergence(JSD(beta=0.3), p, p).abs().max() < 1e-12


def test_the_rest_is_one_class() -> None:
    p, q = logs(2), logs(3)
    ids = p.topk(3, dim=-1).indices
    coarse = with_tail(p, ids)
    torch.testing.assert_close(coarse.exp().sum(-1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(coarse[..., -1].exp(), 1 - p.exp().gather(-1, ids).sum(-1))
    # Classes taken together bring distributions nearer (the data processing inequality).
    full = divergence(Forward(), p, q)
    assert (divergence(Forward(), coarse, with_tail(q, ids)) <= full).all()
    whole = p.topk(7, dim=-1).indices
    torch.testing.assert_close(divergence(Forward(), with_tail(p, whole), with_tail(q, whole)), full)


def test_all_tokens_at_the_top_are_the_full_target() -> None:
    of, _, student = taught()
    example = given(of)
    full = of.loss(student, example).minimised.detach()
    assert of.taught is not None
    for top, equal in ((V, True), (V - 1, True), (4, False)):
        of.taught.settings = Teacher(run="there", top=top)
        found = of.loss(student, example).minimised.item()
        assert (found == pytest.approx(float(full), rel=1e-5)) == equal
        gradient(of, student, example)


def test_what_was_kept_is_what_would_be_said_again(tmp_path: Path) -> None:
    of, teacher, student = taught(top=5)
    assert of.taught is not None
    plain = of.loss(student, given(of)).minimised.detach()
    of.taught.kept = SoftTargets(tmp_path / "said", T, 5)
    first = of.loss(student, given(of)).minimised.detach()
    teacher.logits.data.zero_()  # it is not asked again
    assert first == plain == of.loss(student, given(of)).minimised.detach()
    (file,) = (tmp_path / "said").glob("*/*")
    assert file.stat().st_size == ROWS * T * (8 * 5 + 4)
    file.write_bytes(file.read_bytes()[:-1])  # a damaged file counts for nothing
    assert of.loss(student, given(of)).minimised.detach() != plain
    with pytest.raises(ValueError, match="set top to some"):
        Teacher(run="there", cache=True)


def test_the_teacher_is_frozen_and_makes_no_graph() -> None:
    of, teacher, student = taught()
    assert not teacher.training and not teacher.logits.requires_grad
    before = teacher.logits.clone()
    of.loss(student, given(of)).minimised.backward()
    assert teacher.logits.grad is None and torch.equal(before, teacher.logits)


def test_what_cannot_teach_is_refused() -> None:
    of, teacher, _ = taught()
    assert of.taught is not None
    other = objective(spec.Causal(), T)
    other.tokenizer = SimpleNamespace(name="other", _json=lambda: {"kind": "other"})
    with pytest.raises(ValueError, match="another tokenizer"):
        of.taught.take(of, other, teacher)
    with pytest.raises(ValueError, match=r"contexts of 4, and data\.context = 8"):
        of.taught.take(of, objective(spec.Causal(), 4), teacher)
    with pytest.raises(ValueError, match=r"on_policy = 0\.5 lets the student"):
        spec.Masked(teacher=Teacher(run="there", on_policy=0.5))
    assert alike(BYTES, BYTES)


def test_smoothing_is_that_of_torch() -> None:
    of, student = objective(spec.Causal(smoothing=0.2), T), Table(ROWS, T, V).train()
    example = given(of)
    z, targets = student.logits.detach().flatten(0, 1), example["targets"].flatten()
    wanted, plain = (F.cross_entropy(z, targets, reduction="sum", label_smoothing=e) for e in (0.2, 0.0))
    losses = of.loss(student, example)
    assert losses.minimised.item() == pytest.approx(float(wanted), rel=1e-9)
    assert losses.total.item() == pytest.approx(float(plain), rel=1e-9)


# ---------------------------------------------------------------- what the student writes, blocks, copies


def decoder(seed: int, **fields: Any) -> Any:
    torch.manual_seed(seed)
    network = spec.Decoder(layers=2, width=16, mixer={"kind": "attention", "heads": 2}, **fields)
    return build(network, V, T)


def test_what_is_written_follows_the_models_own_probabilities_row_by_row() -> None:
    model = decoder(0)
    tokens = torch.arange(2 * T).view(2, T) % 256
    draws = torch.tensor([[0.3, 0.9, 0.0, 0.5, 0.999], [0.1, 0.2, 0.3, 0.4, 0.5]])
    text = write(model, tokens, draws, 257)
    assert text.shape == (2, T + 1) and (text[:, : T // 2] == tokens[:, : T // 2]).all()
    edges = model.eval()(text[:, :-1]).softmax(-1).cumsum(-1)[:, T // 2 - 1 :]
    low = F.pad(edges, (1, 0)).gather(-1, text[:, T // 2 :, None])[..., 0]
    high = edges.gather(-1, text[:, T // 2 :, None])[..., 0]
    assert (low <= draws + 1e-5).all() and (draws <= high + 1e-5).all()
    assert torch.equal(write(model, tokens[1:], draws[1:], 257), text[1:])


def test_an_update_on_policy_learns_from_the_teacher_alone() -> None:
    of = objective(spec.Causal(teacher=Teacher(run="there", on_policy=1.0, weight=0.0, temperature=1.0)), T)
    student, teacher = decoder(0), decoder(1)
    assert of.taught is not None
    of.taught.take(of, objective(spec.Causal(), T), teacher)
    example = given(of)
    found = of.loss(student.train(), example).minimised.detach()
    text = write(student, example["tokens"], example["draws"], 257)[:, :-1]
    p, q = teacher(text).log_softmax(-1), student(text).log_softmax(-1)
    assert found.item() == pytest.approx((p.exp() * (p - q)).sum().item(), rel=1e-4)
    of.taught.take(of, objective(spec.Causal(), T), decoder(0))
    assert abs(of.loss(student, example).minimised.item()) < 1e-2  # of hundreds of nats


def apart(of: Causal, student: Any) -> float:
    """How far its blocks are from the teacher's; the text is reported and not learned from."""
    losses = of.loss(student, given(of))
    assert losses.penalty is not None and losses.penalty.requires_grad and not losses.total.requires_grad
    return float(losses.penalty.detach())


def test_blocks_of_the_same_network_are_where_the_teachers_are() -> None:
    of = objective(spec.Causal(teacher=Teacher(run="there", blocks=3, copy_weights=True)), T)
    student, teacher = decoder(0).train(), decoder(1)
    assert of.taught is not None
    of.taught.take(of, objective(spec.Causal(), T), teacher)
    assert apart(of, student) > 0
    of.taught.begin(student)
    assert of.taught.copied == sorted(student.state_dict())
    assert of.about().endswith(f"{len(of.taught.copied)} tensors of weights begin as the teacher's")
    assert apart(of, student) == 0
    assert "matched" not in given(of, step=3)
    mixed = build(spec.Decoder(layers=2, width=16, mixer={"kind": "lru"}, position={"kind": "none"}), V, T)
    of.taught.begin(mixed)
    copied = of.taught.copied
    assert any("feed_forward" in name for name in copied) and not any(".mixer.qkv" in name for name in copied)
    assert apart(of, mixed.train()) > 0
    with pytest.raises(ValueError, match="give the student the teacher's layers"):
        of.loss(build(spec.Decoder(layers=1, width=16), V, T).train(), given(of))
