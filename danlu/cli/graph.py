"""The verb ``graph``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.columns import flush
from danlu.cli.costs import human
from danlu.cli.drawn import check, end
from danlu.cli.output import Force, print_table, say, speak, spoken
from danlu.cli.show import AsJson, Words


def graph(
    words: Words = None,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE.svg", help="Also draw it as a picture.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Show the computation graph of a network.

    Examples: danlu graph tiny; danlu graph gpt2-124m --svg graph.svg
    """
    from danlu.spec import resolve
    from danlu.train.graph import of_experiment

    check(svg, force)
    found = of_experiment(resolve(words or []))

    def draw() -> str:
        from danlu.draw.graph import Graph

        title = " ".join(words or ["tiny"])
        return Graph(found["graph"], _told(found["graph"]), title, _about(found)).svg()

    end("graph", lambda: found, lambda: _say(found), draw, path=svg, force=force, as_json=as_json)


def _say(found: dict[str, Any]) -> None:
    from danlu.draw.graph import lines, passing, rails_of, rows_of

    rows = list(rows_of(found["graph"]))
    table = [("", "", "gives", "parameters", "FLOPs", "kept")]
    for rail, row in zip(lines(rows, rails_of(rows)), rows, strict=True):
        node = row.node
        times = f" ×{node['times']}" if node["times"] > 1 else ""
        once = "" if node["twice"] or row.open else " ¹"
        name = f"{rail} {'  ' * row.depth}{row.name}{times}"
        cells = [human(node[key]) for key in ("parameters", "flops")]
        table.append((name, node["kind"] + once, passing(node), *cells, human(node["kept"], "B")))
    speak(_about(found))
    say()
    table[0] = tuple(spoken([table[0]])[0])  # type: ignore[assignment]
    print_table([(*row[:3], *(flush(cell, 10) for cell in row[3:])) for row in table], shorten=(1, 2))
    if any("¹" in row[1] for row in table):
        speak("\n¹ has no second derivative, but within danlu.nn.pure()")


def _about(found: dict[str, Any]) -> str:
    return (
        f"a training pass of {found['rows']} {'example' if found['rows'] == 1 else 'examples'} on "
        f"{found['device']} in {found['precision']}: FLOPs of the forward pass, bytes kept for the backward "
        "pass; ×N: each of N alike"
    )


def _told(root: dict[str, Any]) -> dict[int, str]:
    from danlu.draw.graph import rows_of

    return {
        row.node[
            "number"
        ]: f"{human(row.node['parameters'])} parameters · {human(row.node['flops'])} FLOPs · "
        f"{human(row.node['kept'], 'B')} kept"
        for row in rows_of(root)
        if not row.open or row.depth == 0
    }
