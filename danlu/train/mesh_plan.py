"""What an experiment takes on many devices: the fastest meshes that fit, and one of them told in full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from danlu import spec
from danlu.nn.shares import Share
from danlu.planning import Demand, Layout, Rounds, Step, best, simulate
from danlu.planning.best import Tried, attempt
from danlu.planning.layout import AXES
from danlu.planning.memory import fewest
from danlu.planning.roofline import Work
from danlu.spec import validate
from danlu.spec.devices import REACHED, Device
from danlu.spec.outer import DiLoCo, Eager, NoLoCo
from danlu.train.assemble import objective_of, on_meta, outlined
from danlu.train.demand import demand_of
from danlu.train.divide import divide_parts
from danlu.train.errors import RunError
from danlu.train.plan import updates_of

LINKS = (1e7, 1e8, 1e9, 1e10, 1e11)  # bits/s between workers of rounds
LAUNCHES = 2e-4  # seconds in which a block's kernels can be started, forward and backward


def mesh_plan(
    experiment: spec.Experiment,
    device: Device,
    devices: int,
    *,
    price: float | None = None,
    mfu: float | None = None,
) -> dict[str, Any]:
    """An estimate for ``experiment`` on ``devices`` of ``device``. ``price``: of one for an hour. ``mfu``: as
    ``danlu.planning.step`` takes it.

    Returns ``device`` (the fields of ``Device``), ``devices``, ``precision``, ``unit``, ``parameters``,
    ``batch`` and ``units`` of an example, ``flops`` of an update, ``updates`` of the run (None where seconds
    bound it), ``reached``; ``meshes``, the fastest first and then those that do not fit with ``why``;
    ``chosen``: of the mesh that the experiment asks for (``train.mesh``, ``train.parallel``), else of the
    fastest, ``memory``, ``work`` and ``traffic`` by what they are, and what follows; None where none fits;
    ``rounds``: where ``train.outer`` has workers, the share of time that they compute by the speed of their
    links (bits/s), simulated; ``notes``, sentences. Ranges have ``low`` and ``high``.
    """
    demand = demand_of(experiment, device)
    for precision in (demand.precision, *(["float8"] if experiment.train.products == "float8" else [])):
        device.rate(precision)  # raises where there is none
    asked = _asked(experiment, devices)
    tried = [_allowed(one, experiment) for one in best(demand, devices, device, mfu=mfu)]
    wanted = None if asked is None else attempt(demand, asked, device, experiment.train.microbatch, mfu)
    refused = _undivided(experiment, [*tried, *([wanted] if wanted else [])])
    tried = [_with(one, refused) for one in tried]
    tried.sort(key=lambda one: one.why is not None)
    wanted = None if wanted is None else _with(wanted, refused)
    fits = [one for one in tried if one.why is None]
    chosen = wanted if wanted is not None and wanted.why is None else next(iter(fits), None)
    updates = updates_of(experiment)
    made = None if chosen is None else chosen.step
    return {
        "device": device.model_dump(mode="json"),
        "devices": devices,
        "precision": demand.precision,
        "unit": demand.unit,
        "parameters": demand.parameters,
        "batch": demand.batch,
        "units": demand.units,
        "flops": demand.flops * demand.batch,
        "updates": updates,
        "mfu": mfu,
        "reached": None if mfu is not None else _range(device.reached),
        "meshes": [_mesh(one, devices) for one in ([wanted] if wanted else []) + tried],
        "asked": asked is not None,
        "chosen": None if made is None else _chosen(made, updates, price),
        "rounds": None if made is None else _rounds(experiment, demand, made),
        "notes": _notes(experiment, demand, device, tried, made, wanted, mfu),
    }


def _asked(experiment: spec.Experiment, devices: int) -> Layout | None:
    """The layout that the experiment asks for by itself; None where it is one process's."""
    train, mesh = experiment.train, experiment.train.mesh
    if train.parallel == "ddp" and mesh.plain:
        return None
    try:
        data = mesh.data(devices)
    except ValueError as error:
        raise RunError(str(error)) from None
    sharded = train.parallel == "fsdp"
    shard = data // mesh.replicate if sharded else 1
    axes = (mesh.pipeline, data // shard, shard, mesh.context, mesh.tensor)
    return Layout(*axes, sharded=sharded, held=train.gradient_sync == "update")


def _allowed(one: Tried, experiment: spec.Experiment) -> Tried:
    """``one``, refused where the experiment's parts, or training as it is now, cannot do with its mesh."""
    if one.why is not None:
        return one
    layout, said = one.layout, experiment.model_dump()
    replicate = layout.replicate if layout.sharded else 1
    mesh = {"tensor": layout.tensor, "pipeline": layout.pipeline, "context": layout.context}
    said["train"] |= {
        "mesh": {**mesh, "replicate": replicate},
        "parallel": "fsdp" if layout.sharded else "ddp",
        "microbatch": layout.rows,
        "gradient_sync": "update" if layout.held else "pass",
    }
    try:
        validate(said).train.mesh.data(layout.devices)
    except (spec.DanluError, ValueError) as error:
        return replace(one, why=str(error).splitlines()[0])
    return one


def _undivided(experiment: spec.Experiment, tried: list[Tried]) -> dict[int, str]:
    """Of those ``tensor`` that are possible so far, which a part of the network cannot be divided by, and
    why."""
    found: dict[int, str] = {}
    counts = {one.layout.tensor for one in tried if one.why is None} - {1}
    if counts:
        model = on_meta(experiment, objective_of(experiment, outlined(experiment)))
        for count in counts:
            try:
                divide_parts(model, Share(0, count))  # nothing is computed
            except ValueError as error:
                found[count] = str(error)
    return found


def _with(one: Tried, refused: dict[int, str]) -> Tried:
    why = one.why or refused.get(one.layout.tensor)
    return one if why == one.why else replace(one, why=why)


def _range(pair: Sequence[float]) -> dict[str, float]:
    return {"low": min(pair), "high": max(pair)}


def _mesh(one: Tried, devices: int) -> dict[str, Any]:
    layout, made = one.layout, one.step
    return {
        "mesh": {name: getattr(layout, name) for name in AXES},
        "sharded": layout.sharded,
        "said": layout.said(),
        "rows": layout.rows,
        "words": words(layout),
        "why": one.why,
        "memory": made.memory.total if made else None,
        "seconds": _range(made.seconds) if made else None,
        "per_second": _range(made.per_second) if made else None,
        "utilisation": _range(made.utilisation) if made else None,
    }


def words(layout: Layout) -> str:
    """What an experiment says for it."""
    said = ["train.parallel=fsdp"] if layout.sharded else []
    for name in ("pipeline", "replicate", "context", "tensor"):
        size = getattr(layout, name)
        if size > 1 and (name != "replicate" or layout.sharded):
            said.append(f"train.mesh.{name}={size}")
    said.append(f"train.microbatch={layout.rows}")
    return " ".join(said if layout.held else [*said, "train.gradient_sync=pass"])


def _chosen(made: Step, updates: int | None, price: float | None) -> dict[str, Any]:
    layout, device, memory, work = made.layout, made.device, made.memory, made.work
    hours = None if updates is None else made.hours(updates)
    paid = None if hours is None or price is None else [t * layout.devices * price for t in hours]
    return {
        "said": layout.said(),
        "words": words(layout),
        "rows": layout.rows,
        "passes": layout.passes(made.demand.batch),
        "memory": {**asdict(memory), "allowance": memory.allowance, "total": memory.total},
        "work": {**asdict(work), "bound": _bound(work)},
        "bubble": made.bubble,
        "traffic": [
            {
                "kind": one.kind,
                "why": one.why,
                "calls": one.calls,
                "bytes": one.bytes,
                "devices": one.count,
                "seconds": one.seconds(device),
                "waits": one.beside == 0,
            }
            for one in made.traffic
        ],
        "exposed": _range(made.exposed),
        "seconds": _range(made.seconds),
        "per_second": _range(made.per_second),
        "utilisation": _range(made.utilisation),
        "hours": None if hours is None else _range(hours),
        "money": None if paid is None else _range(paid),
    }


def _bound(work: Work) -> str:
    return "compute" if work.products > work.memory + work.optimizer else "memory"


def _rounds(experiment: spec.Experiment, demand: Demand, made: Step) -> dict[str, Any] | None:
    """Workers of ``train.outer`` on slow links; a worker is one such mesh with its share of the batch."""
    outer = experiment.train.outer
    if not isinstance(outer, DiLoCo | Eager):  # pairs wait for each other alone
        return None
    rounds = Rounds(
        workers=outer.workers,
        parameters=demand.parameters,
        step=sum(made.seconds) / 2,
        every=outer.every,
        fragments=outer.fragments if isinstance(outer, DiLoCo) else 1,
        delay=outer.delay if isinstance(outer, DiLoCo) else outer.every,
        bits=8 * outer.sent(demand.parameters) / demand.parameters,
    )
    found = [simulate(rounds, bits / 8) for bits in LINKS]
    return {
        "workers": outer.workers,
        "every": outer.every,
        "sent": rounds.sent,
        "step": rounds.step,
        "jitter": rounds.jitter,
        "links": [
            {"bits_per_second": bits, "utilisation": one.utilisation, "low": one.low, "high": one.high,
             "seconds": one.seconds}
            for bits, one in zip(LINKS, found, strict=True)
        ],
    }  # fmt: skip


def _nothing(demand: Demand, device: Device, tried: list[Tried]) -> str:
    """Why there is no mesh."""
    refused = [one for one in tried if one.step and one.step.memory.total <= device.memory]
    if refused:
        one = refused[0]
        return f"what fits is refused, such as {one.layout.said()}: {one.why}"
    devices, least = tried[0].layout.devices, fewest(demand, device.memory)
    if least > devices:
        return (
            f"nothing fits: weights, gradients and the optimizer's state take {least} of {device.name} at "
            "least, activations left out; more devices help"
        )
    help = "a smaller train.batch, train.recompute=true or more devices help"
    made = [one.step for one in tried if one.step]
    if not made:
        return f"no mesh is possible, such as {tried[0].layout.said()}: {tried[0].why}"
    smallest = min(made, key=lambda one: one.memory.total)
    return (
        f"nothing fits: {smallest.layout.said()} takes the least, {smallest.memory.total / 1e9:,.1f} GB, and "
        f"{device.name} has {device.memory / 1e9:,.0f}; {help}"
    )


def _apart(experiment: spec.Experiment, demand: Demand, made: Step) -> list[str]:
    """What is to be known of workers of ``train.outer``, beside ``_rounds``."""
    outer, devices = experiment.train.outer, made.layout.devices
    notes = []
    if outer is not None and devices > 1:
        notes.append(
            f"each of the {outer.workers} workers is such a mesh, {outer.workers * devices} devices in "
            "all; danlu itself trains a worker on one process alone"
        )
    if isinstance(outer, NoLoCo):
        notes.append(
            f"how long its {outer.workers} workers wait on slow links is not simulated: in each round of "
            f"{outer.every} updates every one gives {outer.sent(demand.parameters):.3g} bytes to one other"
        )
    return notes


def _notes(
    experiment: spec.Experiment,
    demand: Demand,
    device: Device,
    tried: list[Tried],
    made: Step | None,
    wanted: Tried | None,
    mfu: float | None,
) -> list[str]:
    notes = []
    if updates_of(experiment) is None:
        notes.append(
            "train.seconds bounds the run, so its hours are not told; set train.steps or train.tokens"
        )
    if wanted is not None and wanted.why is not None:
        notes.append(f"{wanted.layout.said()}, which the experiment asks for, cannot be: {wanted.why}")
    if made is None:
        return [*notes, _nothing(demand, device, tried)]
    notes += _apart(experiment, demand, made)
    if mfu is None and device.reached == REACHED:
        notes.append(f"no published runs on {device.name} are compared: its range is that of all devices")
    passes = made.layout.passes(demand.batch)
    if made.seconds[0] / passes < LAUNCHES * len(demand.blocks):
        notes.append(
            f"a pass takes {1e3 * made.seconds[0] / passes:.2g} ms, and starting its kernels about "
            f"{1e3 * LAUNCHES * len(demand.blocks):.2g}, which is not counted: it will be slower"
        )
    return notes
