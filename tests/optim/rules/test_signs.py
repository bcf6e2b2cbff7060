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
    """Counts operators on the device, views left out; each starts at least one kernel. One on many tensors is
    one for each of them where their shapes do not go with each other: then it is a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, result)) if isinstance(t, torch.Tensor)]
        if not func.is_view and any(t.is_meta for t in tensors):
            lists = [[t.shape for t in arg] for arg in args if isinstance(arg, list) and _tensors(arg)]
            loops = any(shapes != lists[0] for shapes in lists)
            self.count += len(lists[0]) if loops else 1
        return result


def _tensors(many: list[Any]) -> bool:
    return bool(many) and all(isinstance(one, torch.Tensor) for one in many)


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


@each
@pytest.mark.parametrize("kinds", [1, 2])
def test_more_tensors_are_no_more_calls(rule: type[Any], kinds: int) -> None:
    """Of each type of gradients there are a few, however many tensors there are and of what shapes."""
    found = []
    for n in (10, 40):
        shapes = [(4 + i % 3, 3) if i % 2 else (5 + i % 4,) for i in range(n)]
        params = [torch.nn.Parameter(torch.empty(shape, device="meta")) for shape in shapes]
        groups = [params] if kinds == 1 else [params[::2], params[1::2]]
        optimizer = rule([{"params": group} for group in groups], lr=0.01)
        for _ in range(2):
            for p in params:
                p.grad = torch.empty_like(p)
            with Calls() as counted:
                optimizer.step()
        found.append(counted.count)
    # Tiger tells vectors, which are moved by a rate of their own, from matrices.
    assert found[0] == found[1] <= (60 if rule is Tiger else 25) * kinds
