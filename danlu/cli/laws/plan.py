"""``danlu laws plan``: what a budget buys, what a loss takes, and the command that trains it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from danlu.cli.laws.columns import AsJson, Far, amount
from danlu.cli.output import Force, inform, print_json, print_table, say, speak, spoken

if TYPE_CHECKING:
    from danlu.lab.planned import Planned
    from danlu.laws.plan import Plan

Recipe = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[EXPERIMENT]",
        help="The recipe to train, with +ideas and field=values; named, its memory is counted in full. "
        "Default: a decoder of that size.",
        show_default=False,
    ),
]
Number = float | None


def plan(
    words: Recipe = None,
    flops: Annotated[
        Number,
        typer.Option(
            "--flops", "--c", parser=amount("c"), metavar="NUMBER", help="Training budget in FLOP: 1e22."
        ),
    ] = None,
    parameters: Annotated[
        Number,
        typer.Option(
            "--parameters", "--n", parser=amount("n"), metavar="NUMBER", help="Parameters of the model: 7B."
        ),
    ] = None,
    tokens: Annotated[
        Number,
        typer.Option(
            "--tokens", "--d", parser=amount("d"), metavar="NUMBER", help="Tokens to train on: 300B."
        ),
    ] = None,
    loss: Annotated[
        Number,
        typer.Option(
            "--loss", parser=amount("loss"), metavar="NUMBER", help="Loss to reach, nats per token."
        ),
    ] = None,
    hours: Annotated[
        Number,
        typer.Option(
            "--hours", parser=amount(""), metavar="NUMBER", help="Hours of the clock that training lasts."
        ),
    ] = None,
    gpus: Annotated[
        Number, typer.Option("--gpus", parser=amount(""), metavar="NUMBER", help="Number of GPUs.")
    ] = None,
    money: Annotated[
        Number,
        typer.Option("--money", parser=amount(""), metavar="NUMBER", help="Budget in money; needs --price."),
    ] = None,
    price: Annotated[
        Number, typer.Option("--price", parser=amount(""), metavar="NUMBER", help="Price of a GPU hour.")
    ] = None,
    serve: Annotated[
        Number,
        typer.Option(
            "--serve",
            parser=amount("d"),
            metavar="NUMBER",
            help="Tokens to serve: training and serving together cost the least.",
        ),
    ] = None,
    unique_tokens: Annotated[
        Number,
        typer.Option(
            "--unique-tokens",
            parser=amount("d"),
            metavar="NUMBER",
            help="Tokens that there are; more are read by repeating them.",
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option("--by", help="A published fit of Chinchilla's law, a fit's JSON, or a ladder's folder."),
    ] = "besiroglu",
    utilisation: Annotated[
        float, typer.Option("--utilisation", help="Share of the GPU's FLOP/s that is reached.")
    ] = 0.4,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="NAME",
            help="The GPU, for its FLOP/s and memory: h100, a100-40, …, or here: measured.",
        ),
    ] = None,
    flops_per_second: Annotated[
        Number,
        typer.Option("--flops-per-second", help="FLOP/s of one GPU (default: the device's, or 1e15)."),
    ] = None,
    gpu_memory: Annotated[
        Number,
        typer.Option(
            "--gpu-memory",
            min=1,
            max=1e15,
            help="Memory of one GPU in bytes (default: the device's, or 80e9).",
        ),
    ] = None,
    far: Far = False,
    published: Annotated[
        bool, typer.Option("--published", help="Show what each published law makes of the compute.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Also write a page with a drawing.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Plan a run: size, data, cost, and the command that trains it.

    Give one or two of compute, parameters, tokens, loss, money, and hours with GPUs. From one, the plan is
    the best for it.

    Examples: danlu laws plan --flops 1e22 --price 2; danlu laws plan --loss 2.2 --parameters 7B
    """
    from danlu.files.overwrite import check_output, write_output
    from danlu.laws.plan import divisions
    from danlu.laws.plan import plan as found

    if report is not None:
        check_output(report, force)
    rate, memory = _device(device)
    made = found(
        by, far=far, flops=flops, parameters=parameters, tokens=tokens, loss=loss, hours=hours, gpus=gpus,
        money=money, price=price, serve=serve, unique_tokens=unique_tokens, utilisation=utilisation,
        flops_per_second=rate if flops_per_second is None else flops_per_second,
    )  # fmt: skip
    others = divisions(float(made.run.training)) if published else []
    if published and not as_json and report is None:
        _print_published(made, others)
        return
    run, failed = _run(made, words or [], memory if gpu_memory is None else gpu_memory)
    warnings = [*made.notes, *(run.notes if run else []), *failed]
    if report is not None:
        from danlu.draw import Table
        from danlu.laws.plan.report import html

        sections = [(heading, Table([HEAD, *rows])) for heading, rows in _sections(made, run)]
        if others:
            sections.append(("Published laws", Table(_published(made, others))))
        write_output(report, html(made, sections, warnings, run.command if run else None), force)
    if as_json:
        print_json("laws plan", _json(made, run, others, warnings))
        return
    say(f"{made.basis.law.formula}, {made.basis.source}")
    for i, warning in enumerate(warnings):
        speak(f"{'' if i else chr(10)}warning: {warning}")
    for heading, rows in _sections(made, run):
        speak(f"\n{heading}")
        print_table(spoken(rows), indent="  ", drop=(3,))
    if made.measured:
        speak(f"\nmeasured: {made.measured}")
    if report is not None:
        speak(f"drawn in {report}")
    if run is not None:
        say(f"\n{run.command}")


def _device(name: str | None) -> tuple[float, float]:
    """FLOP/s and memory of a device of the table, or as measured here."""
    if name is None:
        return 1e15, 80e9
    from danlu.spec.devices import HERE, device

    if name == HERE:
        from danlu.train.here import here

        one = here()
    else:
        one = device(name)
    return one.rate(one.type), one.memory


HEAD = ("", "value", "95 %", "by")
HEADINGS = {
    "run": "The run (value, 95 % interval where known)",
    "serving": "Serving",
    "repeated data": "Repeated data",
    "settings": "Batch and rate",
    "if wrong": "If the size is wrong",
    "reach": "How far from the runs of the fit",
}


def _run(made: Plan, words: list[str], room: float) -> tuple[Planned | None, list[Any]]:
    """The run of a recipe; where none is named and none can be so large, why."""
    from danlu.lab.planned import planned
    from danlu.laws.errors import LawError, Warned
    from danlu.spec.errors import DanluError

    if words:
        from danlu.spec.words import resolve

        if Path(words[0]).suffix in (".json", ".csv"):
            raise LawError(f"{words[0]} is no experiment to train; to plan by a fit: --by {words[0]}")
        resolve(words)  # raises what is wrong with them, before anything is said
        inform(f"counting the memory of {words[0]}")
    try:
        return planned(made, words, room), []
    except DanluError as error:
        if words:
            raise
        return None, [Warned("no-command", f"no command to train: {error}")]


def _lines(run: Planned | None) -> list[Any]:
    """The lines of the recipe's run."""
    from danlu.laws.plan import Line

    if run is None:
        return []
    memory, by = run.memory, " ".join(run.words)
    model = run.experiment.network
    rows = [
        ("layers", "layers", run.sized.layers, ""),
        ("width", "width", run.sized.width, ""),
        ("shape_parameters", "parameters of this shape", run.sized.parameters, ""),
        ("memory_states", "memory of weights, gradients and the rule's", memory.states, "bytes"),
    ]
    if memory.activations is not None:
        rows.append(("memory_activations", "memory of one sequence's pass", memory.activations, "bytes"))
        rows.append(("memory_peak", f"peak memory, each of {memory.gpus} GPUs", memory.of_one, "bytes"))
    rows.append(("gpus_least", f"GPUs of {memory.room / 1e9:g} GB, at least", memory.gpus, ""))
    assert model.width == run.sized.width
    return [Line(key, name, float(value), None, None, unit, by, "train") for key, name, value, unit in rows]


def _sections(made: Plan, run: Planned | None) -> list[tuple[str, list[tuple[str, ...]]]]:
    """The lines by their headings, as cells."""
    from danlu.laws.plan.report import rows

    groups: dict[str, list[Any]] = {}
    for line in [*made.lines, *_lines(run)]:
        groups.setdefault(line.group, []).append(line)
    headings = {**HEADINGS, "train": f"The model, by {' '.join(run.words) if run else ''}"}
    source = {"train": groups["train"][0].source} if run else {}
    return [
        (headings[group], rows(lines, source.get(group, made.basis.source)))
        for group, lines in groups.items()
    ]


def _published(made: Plan, others: list[Any]) -> list[tuple[str, ...]]:
    """The plan's division, where it is by the user's own fit or more than compute was given, and those of
    published laws."""
    from danlu.laws.plan.published import Division
    from danlu.laws.plan.report import number

    if made.basis.fitted is not None or not made.asking.at_the_optimum:
        n, d, source = float(made.run.n), float(made.run.d), made.basis.source
        times = made["reach_compute"].value if "reach_compute" in made else None
        others = [Division("plan", "this plan", n, d, times, None, "", source), *others]

    rows: list[tuple[str, ...]] = [
        ("", "parameters", "tokens", "per parameter", "over its largest run", "over its flagship", "by")
    ]
    for one in others:
        over = ("" if times is None else f"{times:.3g}" for times in (one.largest, one.trained))
        rows.append(
            (one.name, number(one.parameters), number(one.tokens), f"{one.ratio:.3g}", *over, one.source)
        )
    return rows


def _print_published(made: Plan, others: list[Any]) -> None:
    from danlu.laws.plan.published import LEFT_OUT

    for warning in made.notes:
        speak(f"warning: {warning}")
    say(f"{float(made.run.training):.4g} FLOP")
    print_table(spoken(_published(made, others), names=(0, 6)), drop=(6, 5))
    speak(LEFT_OUT)


def _json(made: Plan, run: Planned | None, others: list[Any], warnings: list[Any]) -> dict[str, Any]:
    from dataclasses import asdict

    law = made.basis.law
    return {
        "schema": "danlu.laws.plan/2",
        "law": law.name,
        "by": made.basis.source,
        "parameters": dict(zip(law.keys, made.basis.theta.tolist(), strict=True)),
        "given": {name: value for name, value in asdict(made.asked).items() if value is not None},
        "plan": [line._asdict() for line in [*made.lines, *_lines(run)]],
        "train": None
        if run is None
        else {"command": run.command, "recipe": list(run.words), "batch": run.experiment.train.batch},
        "calibration": made.measured,
        "published": [{**one._asdict(), "tokens_per_parameter": one.ratio} for one in others],
        "warnings": [warning.json() for warning in warnings],
    }
