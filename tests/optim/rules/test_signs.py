"""Sign rules where nothing may wait for a number, as on a GPU: masks do what branches do."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from danlu.optim import Lion, Tiger
from danlu.optim.rules import signs

SHAPES = [(6, 4), (4,), (3, 5), (2, 3, 4), ()]
each = pytest.mark.parametrize("rule", [Lion, Tiger])


class Calls(TorchDispatchMode):
    """Counts operators on the device, views left out; each starts at least one kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, result)) if isinstance(t, torch.Tensor)]
        self.count += not func.is_view and any(t.is_meta for t in tensors)
        return result


def groups(params: list[torch.nn.Parameter], rule: type[Any]) -> list[dict[str, Any]]:
    """The first is a table whose rows may rest, as the groups of a network are."""
    table: dict[str, Any] = {"params": params[:1], "names": ["table"], "lazy_rows": True}
    rest = {"params": params[1:], "names": [f"p{i}" for i in range(1, len(params))]}
    return [table | ({"scale": "rows"} if rule is Tiger else {}), rest]


@each
@pytest.mark.parametrize("bad", [None, 0, 1, 2])
def test_masks_do_what_branches_do(rule: type[Any], bad: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    branches = [torch.nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in SHAPES]
    masks = copy.deepcopy(branches)
    pair = [rule(groups(params, rule), lr=0.01) for params in (branches, masks)]
    for step in range(5):
        for p, q in zip(branches, masks, strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        for params in (branches, masks):
            assert params[0].grad is not None
            params[0].grad[step] = 0
            if bad is not None and step == 2:
                params[bad].grad.view(-1)[-1] = float("nan")  # type: ignore[union-attr]
        pair[0].step()
        with monkeypatch.context() as patch:
            patch.setattr(signs, "decides", lambda p: False)
            pair[1].step()
    assert pair[0].skipped == pair[1].skipped
    assert len(pair[0].skipped) == (bad is not None)
    for p, q in zip(branches, masks, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(
            pair[0].state[p]["exp_avg"], pair[1].state[q]["exp_avg"], rtol=1e-13, atol=1e-13
        )


@each
def test_a_step_reads_no_number(rule: type[Any]) -> None:
    """Tensors on the meta device have none to read."""
    params = [torch.nn.Parameter(torch.empty(shape, device="meta")) for shape in SHAPES]
    optimizer = rule(groups(params, rule), lr=0.01)
    for _ in range(2):
        for p in params:
            p.grad = torch.empty_like(p)
        optimizer.step()
    assert all(optimizer.state[p]["exp_avg"].device.type == "meta" for p in params)


@pytest.mark.parametrize(("rule", "calls"), [(Lion, 2), (Tiger, 8)])
def test_calls_for_each_more_tensor(rule: type[Any], calls: int) -> None:
    """All others are of all tensors together. Lion: the sum that says whether a gradient is finite; the
    momentum in place of one that is not (and, inside a call for all, the mask of the step). Tiger also: the
    norm, two products that make the step, three calls that move a tensor which is left out."""
    found = []
    for n in (10, 20):
        params = [torch.nn.Parameter(torch.empty(4, 3, device="meta")) for _ in range(n)]
        optimizer = rule(params, lr=0.01)
        for _ in range(2):
            for p in params:
                p.grad = torch.empty_like(p)
            with Calls() as counted:
                optimizer.step()
        found.append(counted.count)
    assert found[1] - found[0] == 10 * calls
