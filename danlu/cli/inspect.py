"""The verb ``inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.output import Force, inform, print_json, print_table, speak, spoken
from danlu.cli.show import AsJson
from danlu.cli.working import Working


def inspect(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER...",
            help="A run, or a folder of transformers' save_pretrained; two of them: side by side.",
            show_default=False,
        ),
    ],
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="Look at every checkpoint of the run: maps over its steps.")
    ] = False,
    measure: Annotated[
        list[str] | None,
        typer.Option("--measure", metavar="NAME", help="Take this measure of the lab instead; repeatable."),
    ] = None,
    step: Annotated[
        int | None, typer.Option("--step", help="Step of the checkpoint. Default: the last.")
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option("--rows", min=1, help="Held-out examples. Default: some 4,096 tokens or images."),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option("--context", min=2, help="Positions of a text. Default: the run's, at most 256."),
    ] = None,
    corpus: Annotated[
        str | None, typer.Option("--corpus", help="Read the held-out text of this corpus. Default: its own.")
    ] = None,
    gradients: Annotated[
        bool, typer.Option("--gradients/--no-gradients", help="Also the gradients of the loss.")
    ] = True,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write a page with maps of layers.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Look inside a trained network, layer by layer.

    Examples: danlu inspect runs/first; danlu inspect runs/first runs/second --out inside.html
    """
    from danlu.lab.errors import LabError

    if len(folders) > 2:
        raise LabError(f"{len(folders)} folders were named; one, or two to see them side by side")
    if measure:
        _measures(folders, measure, as_json)
        return
    if checkpoints and (len(folders) > 1 or step is not None):
        raise LabError("--checkpoints is of one run and all its steps; leave the other folder and --step out")
    if out is not None:
        from danlu.files.overwrite import check_output

        check_output(out, force)
    from danlu.lab.inspect import Reads, over_checkpoints, report
    from danlu.lab.inspect import inspect as look

    with Working() as working:
        how: dict[str, Any] = {
            "reads": Reads(rows, context, corpus), "gradients": gradients, "say": working
        }  # fmt: skip
        sides = (
            list(over_checkpoints(folders[0], **how))
            if checkpoints
            else [look(folder, step, **how) for folder in folders]
        )
    if out is not None:
        from danlu.files.overwrite import write_output

        write_output(out, report(sides, over_steps=checkpoints), force)
        inform(f"wrote {out}")
    if as_json:
        from danlu.lab.inspect.look import definitions

        told = [side.json() for side in sides]
        names = dict.fromkeys(name for side in told for name in side["statistics"])
        print_json("inspect", {"sides": told, "definitions": definitions(list(names))})
    else:
        _tell(sides[-1:] if checkpoints else sides)


def _tell(sides: list[Any]) -> None:
    from danlu.lab.inspect.words import MORE, about, tables

    for side in sides:
        speak(about(side))
    for title, found in tables(sides):
        speak(f"\n{title}")
        layers = (0,) if found[0][0] == "layer" else ()  # which are names; of the output there are statistics
        print_table(spoken(found, names=layers), indent="  ", drop=range(len(found[0]) - 1, 0, -1))
    speak(f"\n{MORE.strip()}: without position 0. What each is: docs/inspect.md, or --json under definitions")


def _measures(folders: list[Path], names: list[str], as_json: bool) -> None:
    from danlu.files.json import finite
    from danlu.lab.measures import of_run

    found = [of_run(folder, names) for folder in folders]
    if as_json:
        told = [
            {"folder": str(folder), "measures": finite(values)}
            for folder, values in zip(folders, found, strict=True)
        ]
        print_json("inspect", {"sides": told})
        return
    rows = [[name, *(f"{values[name]:.6g}" for values in found)] for name in names]
    print_table([["", *map(str, folders)], *rows] if len(folders) > 1 else rows)
