"""An update asks the device for nothing but its loss and norm, whatever the rule: it runs on the meta device,
which has no number to read."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from danlu import optim
from danlu.optim.rules import sgd
from danlu.spec import resolve
from danlu.train import update as updates
from danlu.train.assemble import Assembly, objective_of, on_meta, outlined
from danlu.train.costs import example_of
from danlu.train.parallel import Processes
from danlu.train.update import Update

RULES = {
    name: (f"optimizer={name}",)
    for name in (
        "sgd",
        "adam",
        "adamw",
        "lamb",
        "adafactor",
        "lion",
        "tiger",
        "muon",
        "soap",
        "schedule-free",
    )
}
RULES |= {
    "amos": ("optimizer=amos", "schedule=constant"),
    "lion, lazy rows": ("optimizer=lion", "optimizer.lazy_rows=true"),
    "tiger, lazy rows": ("optimizer=tiger", "optimizer.lazy_rows=true"),
    "two passes": ("optimizer=adamw", "train.microbatch=2"),
    "stochastic": ("optimizer=adamw", "train.weights=bfloat16"),
}
META = torch.device("meta")


class Read:
    """Stands for the one transfer of an update."""

    made = 0

    def __init__(self, pair: torch.Tensor, terms: int = 1, scale: float = 1.0) -> None:
        self.pair = pair
        Read.made += 1


class Sent(TorchDispatchMode):
    """Counts copies from the processor's memory to the device, which wait for it as well."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
            given, made = ([t for t in tree_leaves(x) if isinstance(t, torch.Tensor)] for x in (args, result))
            self.count += made[0].is_meta and not all(t.is_meta for t in given)
        return result


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "Reading", Read)
    # The one fused kernel that has no form for the meta device; it reads nothing.
    monkeypatch.setattr(torch, "_fused_sgd_", lambda *_, **__: None)
    Read.made = 0


def update(*words: str) -> Update:
    small = ("model.layers=1", "model.width=16", "model.mixer.heads=2", "data.context=8", "train.batch=4")
    experiment = resolve(["tiny", *small, "train.clip=1", *words])
    objective = objective_of(experiment, outlined(experiment))
    model = on_meta(experiment, objective)
    group, precision = Processes(0, 1, META), "bfloat16" if "bfloat16" in words[-1] else "float32"
    made = Assembly(
        experiment, objective, model, model, optim.build(experiment.optimizer, model, 100), precision, group
    )
    found = Update(made)
    found.late = True
    example = example_of(objective, experiment.train.rows)
    found.example = lambda draw: example  # type: ignore[method-assign]
    return found


@pytest.mark.parametrize("rule", RULES)
def test_an_update_waits_once(rule: str) -> None:
    of = update(*RULES[rule])
    at_first = Read.made
    with Sent() as sent:
        for step in range(3):
            of.apply(step, of.gradients(step, 4 * step, 4))
            of.clear()
    assert Read.made - at_first == 3 and sent.count == 0


def test_a_copy_is_seen() -> None:
    with Sent() as sent:
        torch.zeros(3).to("meta")
        torch.zeros(3, device="meta").to(torch.float64).copy_(torch.ones(3, device="meta"))
    assert sent.count == 1


def test_a_number_that_is_read_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    of = update("optimizer=sgd")
    real: Any = sgd.SGD.update

    def reads(self: Any, group: Any, params: Any) -> None:
        if float(params[0].sum()) == 0:
            return
        real(self, group, params)

    monkeypatch.setattr(sgd.SGD, "update", reads)
    read = of.gradients(0, 0, 4)
    with pytest.raises(RuntimeError, match="meta"):
        of.apply(0, read)
