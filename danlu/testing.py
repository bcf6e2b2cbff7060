"""A test kit for parts: ``danlu.testing.check_part("dyt")`` says what holds of a part and what does not.

It looks at the part alone (shapes, types, gradients against finite differences, order, counts), in a small
model (initial weights, state), and in a run of six updates (the same again, the same after a resume).
"""

from __future__ import annotations

import copy
import json
import math
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn as nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from danlu import data, spec
from danlu.models import Model, build
from danlu.nn import build as build_part
from danlu.nn.feed_forwards import activation_of
from danlu.objectives import Draw
from danlu.optim import Progress, factor
from danlu.spec.errors import SpecError, did_you_mean
from danlu.spec.families import FAMILIES, Family
from danlu.train import checkpoint, metrics, steps
from danlu.train.interrupt import Interrupt
from danlu.train.run import train

BATCH, LENGTH, WIDTH, HEADS = 2, 8, 16, 2
STEPS = 6
SMALL: dict[str, Any] = {
    "model": {"layers": 2, "width": WIDTH, "mixer": {"kind": "attention", "heads": HEADS}},
    "data": {},
    "optimizer": {"kind": "adamw"},
    "train": {
        "steps": STEPS, "batch": 4, "precision": "float32", "device": "cpu", "compile": False, "log_every": 1,
        "evaluate_every": None, "evaluate_tokens": 64, "checkpoint_every": STEPS // 2, "keep": 9,
    },
}  # fmt: skip
ACTIVATION = "model.feed_forward.activation"
RTOL, ATOL = 1e-4, 1e-5  # of float32, where the order of sums differs


@dataclass(frozen=True)
class Check:
    """``holds``: None where it is only told."""

    name: str
    holds: bool | None
    said: str = ""


@dataclass
class Report:
    """What was found of a part; printed, a table."""

    part: str
    checks: list[Check] = field(default_factory=list)

    @property
    def wrong(self) -> list[Check]:
        """The checks that do not hold."""
        return [check for check in self.checks if check.holds is False]

    def __str__(self) -> str:
        marks = {True: "holds", False: "WRONG", None: "told"}
        width = max((len(check.name) for check in self.checks), default=0)
        rows = [f"  {marks[c.holds]}  {c.name.ljust(width)}  {c.said}".rstrip() for c in self.checks]
        return "\n".join([self.part, *rows])

    __repr__ = __str__


def check_part(part: Any, **fields: Any) -> Report:
    """Check a part: its class or function, or its name, ``dyt``; ``norm dyt`` where two families have a kind
    of that name. ``fields``: of its specification, where they are not the defaults.

    Raises ``AssertionError`` with the whole report where anything does not hold, ``SpecError`` for what is no
    part. Takes some seconds. One thread is used, and the state of torch's generator stays what it was.
    """
    family, kind = _found(part)
    report = Report(f"{family.name} {kind}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            _check(family, {"kind": kind, **fields}, report)
    finally:
        torch.set_num_threads(threads)
    if report.wrong:
        raise AssertionError(str(report))
    return report


def _found(part: Any) -> tuple[Family, str]:
    families = [FAMILIES[name] for name in sorted(FAMILIES)]
    families = [family for family in families if family.place or family.name == "activation"]
    if not isinstance(part, str):
        found = [(f, kind) for f in families for kind, own in f.own.items() if own.makes is part]
        what = f"{getattr(part, '__qualname__', part)!r} is not registered: decorate it with @danlu.part(…)"
    else:
        wanted, _, kind = part.rpartition(" ")
        for family in families:
            family.find(kind)
        found = [(f, kind) for f in families if kind in {**f.builtin, **f.own} and wanted in ("", f.name)]
        kinds = [kind for f in families for kind in (*f.builtin, *f.own)]
        what = f"there is no part {part!r}{did_you_mean(kind, kinds)}"
    if len(found) > 1:
        either = " or ".join(repr(f"{family.name} {kind}") for family, kind in found)
        raise SpecError(f"{part!r} is a kind of several families: write {either}")
    if not found:
        raise SpecError(what)
    return found[0]


def _check(family: Family, given: dict[str, Any], report: Report) -> None:
    with _corpus() as folder:
        experiment = _experiment(family, given, folder)
        if family.name == "schedule":
            _schedule(experiment.schedule, report)
        elif family.name == "data":
            _data(experiment, report)
        elif family.name == "objective":
            _objective(experiment, report)
        elif family.name != "optimizer":
            _Alone(family, experiment).check(report)
            _in_a_model(family, experiment, report)
        _in_a_run(experiment, folder, report)


def _experiment(family: Family, given: dict[str, Any], folder: Path) -> spec.Experiment:
    """The small experiment with the part in its place, and what the part needs beside it."""
    values = copy.deepcopy(SMALL)
    *above, last = (family.place or ACTIVATION).split(".")
    inside = values
    for name in above:
        inside = inside.setdefault(name, {})
    inside[last] = given
    own = family.own.get(given["kind"])
    if family.name == "mixer" and own is not None and "position" not in own.context:
        values["model"]["position"] = "none"
    if family.name in ("objective", "data"):
        objective, data = _pair(family, given["kind"])
        values["model"]["kind"] = objective.models[0]
        values["objective"] = given if family.name == "objective" else objective.model_fields["kind"].default
        values["data"] = given if family.name == "data" else {"kind": data}
    if values["data"].get("kind", "text") == "text":
        values["data"] |= {"corpus": str(folder / "corpus.jsonl"), "context": LENGTH}
    return spec.validate(values)


def _pair(family: Family, kind: str) -> tuple[Any, str]:
    """The specification of an objective, and a kind of data that it takes: of the part, and for it."""
    if family.name == "objective":
        objective: Any = family.find(kind)
        return objective, objective.data[0]
    objectives = FAMILIES["objective"]
    like = getattr(family.find(kind), "like", "")
    for found in (*objectives.builtin, *objectives.own):
        objective = objectives.find(found)
        if {kind, like} & set(objective.data):
            return objective, kind
    raise SpecError(
        f"no objective takes data of kind {kind}: say like = 'digits' in its class, or register one"
    )


# ---------------------------------------------------------------- the part alone


class _Alone:
    """A part outside of any model: ``inputs``, random, and ``run``."""

    def __init__(self, family: Family, experiment: spec.Experiment) -> None:
        self.family, self.model = family, experiment.model
        self.name = family.name
        draw = torch.Generator().manual_seed(1)

        def random_(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=draw)

        x = random_(BATCH, LENGTH, WIDTH)
        if self.name == "residual":
            self.inputs = [x, random_(BATCH, LENGTH, WIDTH)]
        elif self.name == "position" and self.model.position.acts_on == "embedding":
            self.inputs = []
        elif self.name == "position":
            self.inputs = [random_(BATCH, HEADS, LENGTH, WIDTH // HEADS)]
        else:
            self.inputs = [x]

    def make(self) -> Any:
        """A new one, weights drawn from the same numbers each time."""
        torch.manual_seed(2)
        model = self.model
        match self.name:
            case "norm":
                return build_part(model.norm, WIDTH)
            case "activation":
                return activation_of(model.feed_forward.activation)
            case "mixer":
                return build_part(model.mixer, WIDTH, model.position, bias=False)
            case "feed_forward":
                return build_part(model.feed_forward, WIDTH, bias=False)
            case "residual":
                return build_part(model.residual, WIDTH)
        contexts = {
            "embedding": (WIDTH, LENGTH),
            "heads": (WIDTH // HEADS,),
            "scores": (HEADS, WIDTH // HEADS),
        }
        return build_part(model.position, *contexts[model.position.acts_on])

    def run(self, part: Any, *inputs: torch.Tensor) -> torch.Tensor:
        """The output, whichever method gives it."""
        if self.name == "position" and not inputs:
            return part.at(0, LENGTH)
        if self.name == "position" and self.model.position.acts_on == "scores":
            if hasattr(part, "products"):
                return part.products(inputs[0], inputs[0], 0)
            return part.bias(inputs[0], LENGTH, 0, True)
        return part(*inputs)

    @property
    def shape(self) -> tuple[tuple[int, ...], ...]:
        """The shapes that the output may have."""
        if self.name == "position" and not self.inputs:
            return ((LENGTH, WIDTH),)
        if self.name == "position" and self.model.position.acts_on == "scores":
            return (HEADS, LENGTH, LENGTH), (BATCH, HEADS, LENGTH, LENGTH)
        return (tuple(self.inputs[0].shape),)

    def check(self, report: Report) -> None:
        _note(report, "shape", self._shape)
        _note(report, "type of activations", self._types)
        _note(report, "gradients", self._gradients)
        _note(report, "second derivatives", self._second)
        _note(report, "the same twice", self._twice)
        if self.name in ("norm", "mixer", "feed_forward", "activation"):
            _note(report, "order", self._order)
        if self.name in ("mixer", "feed_forward"):
            _note(report, "FLOPs", self._flops)
        if self.name == "mixer":
            _note(report, "cache", self._cache)

    def _shape(self) -> tuple[bool | None, str]:
        shape = tuple(self.run(self.make(), *self.inputs).shape)
        allowed = " or ".join(map(str, self.shape))
        return shape in self.shape, f"{shape}" if shape in self.shape else f"{shape} is not {allowed}"

    def _types(self) -> tuple[bool | None, str]:
        if not self.inputs:
            return None, "it has no input"
        wrong = []
        for dtype in (torch.float32, torch.bfloat16):
            out = self.run(self.make(), *(x.to(dtype) for x in self.inputs))
            if out.dtype != dtype or not bool(out.isfinite().all()):
                wrong.append(f"{dtype} in, {out.dtype} out{'' if out.isfinite().all() else ', not finite'}")
        return not wrong, "; ".join(wrong) or "float32 and bfloat16"

    def _pure(self) -> tuple[Callable[..., torch.Tensor], list[torch.Tensor]]:
        """The part as a function of inputs and weights, in float64."""
        part = self.make()
        if not isinstance(part, nn.Module):
            return (lambda *x: self.run(part, *x)), [x.double().requires_grad_() for x in self.inputs]
        part = part.double().eval()
        names = [name for name, p in part.named_parameters() if p.requires_grad]
        weights = [p.detach() for p in part.parameters() if p.requires_grad]
        count = len(self.inputs)

        class Called(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.part = part

            def forward(_, *x: torch.Tensor) -> torch.Tensor:
                return self.run(part, *x)

        called = Called()

        def pure(*given: torch.Tensor) -> torch.Tensor:
            held = {f"part.{name}": w for name, w in zip(names, given[count:], strict=True)}
            return functional_call(called, held, given[:count])

        everything = [*(x.double() for x in self.inputs), *(w.clone() for w in weights)]
        return pure, [t.requires_grad_() for t in everything]

    def _gradients(self) -> tuple[bool | None, str]:
        part = self.make()
        out = self.run(part, *(x.clone().requires_grad_() for x in self.inputs))
        named = dict(part.named_parameters()) if isinstance(part, nn.Module) else {}
        if out.requires_grad:
            out.square().sum().backward()
        idle = [name for name, p in named.items() if p.requires_grad and p.grad is None]
        if idle:
            return False, f"no gradient reaches {', '.join(idle)}"
        pure, given = self._pure()
        if not given:
            return None, "nothing to differentiate by"
        gradcheck(pure, given, atol=1e-5, rtol=1e-3)
        return True, "as finite differences in float64"

    def _second(self) -> tuple[bool | None, str]:
        pure, given = self._pure()
        if not given:
            return None, "nothing to differentiate by"
        try:
            gradgradcheck(pure, given, atol=1e-4, rtol=1e-3)
        except Exception as error:
            return None, f"not right: {_line(error)}"
        return None, "as finite differences in float64"

    def _twice(self) -> tuple[bool | None, str]:
        def once() -> list[torch.Tensor]:
            part = self.make()
            given = [x.clone().requires_grad_() for x in self.inputs]
            torch.manual_seed(3)
            out = self.run(part, *given)
            if out.requires_grad:
                out.square().sum().backward()
            weights = list(part.parameters()) if isinstance(part, nn.Module) else []
            return [out.detach(), *(t.grad for t in (*given, *weights) if t.grad is not None)]

        same = all(map(torch.equal, once(), once()))
        return same, "output and gradients, bit for bit" if same else "output or gradients differ"

    def _order(self) -> tuple[bool | None, str]:
        if getattr(self.model.norm, "across_positions", False) and self.name == "norm":
            return None, "it says that it looks across positions"
        part, (x,) = self.make(), self.inputs
        if isinstance(part, nn.Module):
            part.eval()
        other = x.clone()
        other[:, LENGTH // 2 :] += 1
        before, after = (self.run(part, y)[:, : LENGTH // 2] for y in (x, other))
        sees = not torch.allclose(before, after, RTOL, ATOL)
        return not sees, "a position sees those after it" if sees else "no position sees one after it"

    def _cache(self) -> tuple[bool | None, str]:
        part, (x,) = self.make().eval(), self.inputs
        with torch.no_grad():
            whole, cache = part(x), part.cache(BATCH, LENGTH)
            steps_ = [part(x[:, i : i + 1], None, cache) for i in range(LENGTH)]
        same = torch.allclose(torch.cat(steps_, 1), whole, RTOL, ATOL)
        return same, "one position after another, as all at once" if same else "differs from all at once"

    def _flops(self) -> tuple[bool | None, str]:
        part = self.make()
        arguments = (BATCH, LENGTH) if self.name == "mixer" else (BATCH * LENGTH,)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            self.run(part.eval(), *self.inputs)
        counted, said = counter.get_total_flops(), part.flops(*arguments)
        return (
            said == counted,
            f"{said:,}" if said == counted else f"it says {said:,}, PyTorch counts {counted:,}",
        )


def _note(report: Report, name: str, of: Callable[[], tuple[bool | None, str]]) -> None:
    try:
        holds, said = of()
    except Exception as error:  # whatever a user's class raises
        holds, said = False, _line(error)
    report.checks.append(Check(name, holds, said))


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:200]


def _schedule(schedule: spec.Schedule, report: Report) -> None:
    def finite() -> tuple[bool | None, str]:
        moments = [Progress(i / 100, i, 32 * i, 32) for i in range(101)]
        rates = [factor(schedule, now) for now in moments]
        wrong = [
            f"{r} at {now.progress:.0%}"
            for r, now in zip(rates, moments, strict=True)
            if not 0 <= r < math.inf
        ]
        return not wrong, ", ".join(wrong[:3]) or f"{min(rates):.3g} to {max(rates):.3g} of the peak rate"

    _note(report, "factor of the rate", finite)


# ---------------------------------------------------------------- data and objectives


def _data(experiment: spec.Experiment, report: Report) -> None:
    source = data.prepare(experiment.data)

    def twice() -> tuple[bool | None, str]:
        again = data.prepare(experiment.data)
        same = all(map(np.array_equal, source.held_out, again.held_out))
        return (
            same,
            "the same held-out examples" if same else "prepared again, the held-out examples are others",
        )

    def images() -> tuple[bool | None, str]:
        made: Any = experiment.data
        shape, classes, wrong = made.shape, made.classes, []
        for name, (pixels, targets) in {"train": source.train, "held_out": source.held_out}.items():
            if (
                pixels.shape[1:] != shape
                or pixels.dtype != np.float32
                or not (0 <= pixels.min() <= pixels.max() <= 1)
            ):
                wrong.append(f"{name}: images are not float32 of {shape} from 0 to 1")
            if targets.dtype != np.int64 or not (0 <= targets.min() <= targets.max() < classes):
                wrong.append(f"{name}: classes are not int64 from 0 to {classes - 1}")
        return not wrong, "; ".join(
            wrong
        ) or f"{len(source.train[0])} to learn from, {len(source.held_out[0])} held out"

    _note(report, "prepared twice", twice)
    if getattr(experiment.data, "like", "") == "digits":
        _note(report, "images", images)
    _objective(experiment, report)


def _objective(experiment: spec.Experiment, report: Report) -> None:
    objective: Any = build(experiment.objective, data.prepare(experiment.data))
    model = build(experiment.model, *objective.inputs)
    rows = experiment.train.batch

    def example(start: int, stop: int) -> dict[str, Any]:
        made: dict[str, Any] = objective.example(Draw(0, 3, 3 * rows, start, stop))
        return made

    def tensors(arrays: Any) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}

    def slices() -> tuple[bool | None, str]:
        """A batch is a pure function of (seed, step, rows)."""
        whole, parts = example(0, rows), [example(0, 1), example(1, rows)]
        apart = [
            n for n in whole if not np.array_equal(whole[n], np.concatenate([part[n] for part in parts]))
        ]
        return (
            not apart,
            f"{apart[0]} of a part of a batch is another" if apart else "parts of a batch are the batch",
        )

    def sums() -> tuple[bool | None, str]:
        if objective.group is not None:
            return None, "it says that its terms span several examples"
        model.train()
        whole = objective.loss(model, tensors(example(0, rows))).total.detach()
        apart = sum(objective.loss(model, tensors(example(i, i + 1))).total.detach() for i in range(rows))
        same = torch.allclose(whole, apart, RTOL, ATOL)
        return (
            same,
            "the sum over examples" if same else f"{float(whole):.6g}, example by example {float(apart):.6g}",
        )

    def metrics_() -> tuple[bool | None, str]:
        model.eval()
        held = objective.held_out()
        given = [tensors(held.example(range(min(held.count, rows)), rows)) for _ in range(2)]
        if any(not torch.equal(t, given[1][n]) for n, t in given[0].items()):
            return False, "a held-out example is another the second time"
        with torch.no_grad():
            found = objective.measure({n: float(t) for n, t in objective.score(model, given[0]).items()})
        names = [metric.name for metric in experiment.objective.metrics]
        if set(found) != set(names):
            return False, f"measure gives {', '.join(found)}, and metrics names {', '.join(names)}"
        wrong = [n for n, value in found.items() if not math.isfinite(value)]
        return not wrong, f"{wrong[0]} is not finite" if wrong else ", ".join(names)

    _note(report, "examples", slices)
    _note(report, "loss", sums)
    _note(report, "metrics", metrics_)


# ---------------------------------------------------------------- in a model


def _model(experiment: spec.Experiment) -> Model:
    torch.manual_seed(4)
    model: Model = build(experiment.model, 32, LENGTH)
    return model


def _in_a_model(family: Family, experiment: spec.Experiment, report: Report) -> None:
    tokens = torch.arange(BATCH * LENGTH).view(BATCH, LENGTH) % 32

    def others() -> tuple[bool | None, str]:
        """Weights that both networks have are equal."""
        plain = experiment.model_copy(update={"model": spec.validate(SMALL).model})
        here, there = _model(experiment).state_dict(), _model(plain).state_dict()
        shared = [name for name, t in here.items() if name in there and there[name].shape == t.shape]
        moved = [n for n in shared if not _of_part(family, n) and not torch.equal(here[n], there[n])]
        return (
            not moved,
            f"{moved[0]} is another than without the part" if moved else f"{len(shared)} tensors",
        )

    def own() -> tuple[bool | None, str]:
        """Its weights don't depend on what else is in the network."""
        wider = experiment.model.model_copy(update={"embedding_norm": True, "placement": "double"})
        here = _model(experiment).state_dict()
        there = _model(experiment.model_copy(update={"model": wider})).state_dict()
        moved = [n for n, t in here.items() if n in there and not torch.equal(t, there[n])]
        return not moved, f"{moved[0]} depends on other parts" if moved else "from a stream of its own"

    def state() -> tuple[bool | None, str]:
        model = _model(experiment)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            model(tokens).square().mean().backward()
            optimizer.step()
        torch.manual_seed(5)
        again: Model = build(experiment.model, 32, LENGTH)
        again.load_state_dict(model.state_dict())
        with torch.no_grad():
            same = torch.equal(model.eval()(tokens), again.eval()(tokens))
        return (
            same,
            "weights and buffers are all that it knows" if same else "it knows what is not in its state",
        )

    _note(report, "initial weights of others", others)
    _note(report, "initial weights", own)
    _note(report, "state", state)


def _of_part(family: Family, name: str) -> bool:
    """Whether a tensor is of what the part takes the place of."""
    return family.name in name or (family.name == "activation" and "activation" in name)


# ---------------------------------------------------------------- in a run


class _Silent:
    def row(self, row: dict[str, Any], progress: float, utilisation: float | None) -> None: ...

    def message(self, text: str) -> None: ...


def _in_a_run(experiment: spec.Experiment, folder: Path, report: Report) -> None:
    def go(name: str) -> Path:
        train(experiment, folder / name, _Silent(), interrupt=Interrupt(), sample=False)
        return folder / name

    def again() -> tuple[bool | None, str]:
        return _same(go("first"), go("second"))

    def resumed() -> tuple[bool | None, str]:
        half = shutil.copytree(folder / "first", folder / "half")
        shutil.rmtree(steps.step_folder(half, STEPS))
        (half / "summary.json").unlink()
        return _same(folder / "first", go("half"))

    _note(report, "a run, repeated", again)
    _note(report, "a run, resumed", resumed)


@contextmanager
def _corpus() -> Iterator[Path]:
    """A folder with a corpus of small documents, and with the cache meanwhile."""
    draw = random.Random(1)
    with tempfile.TemporaryDirectory() as name, patch.dict(os.environ, DANLU_CACHE=name):
        texts = (" ".join(draw.choices(("the", "a", "cat", "sat", "on", "mat"), k=90)) for _ in range(24))
        lines = "".join(json.dumps({"text": f"{text}."}) + "\n" for text in texts)
        (Path(name) / "corpus.jsonl").write_text(lines)
        yield Path(name)


def _same(one: Path, other: Path) -> tuple[bool | None, str]:
    here, there = (
        {f"{g}/{n}": t for g, ts in checkpoint.load(f, STEPS)[0].items() for n, t in ts.items()}
        for f in (one, other)
    )
    moved = [name for name in here if name not in there or not torch.equal(here[name], there[name])]
    if moved or here.keys() != there.keys():
        return False, f"{(moved or sorted(there.keys() - here.keys()))[0]} is another"
    losses = [[row.get("loss") for row in metrics.read(f / "metrics.jsonl")] for f in (one, other)]
    if losses[0] != losses[1]:
        return False, "the losses are others"
    return True, f"{len(here)} tensors and every loss, bit for bit"
