"""``danlu laws show``: the laws that there are, and one in full."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from danlu.cli.laws.columns import AsJson
from danlu.cli.output import print_json, print_table, say, speak, spoken


def show(
    name: Annotated[str | None, typer.Argument(help="A law. Default: list all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the laws, or one with its formula, paper and constants.

    Examples: danlu laws show; danlu laws show chinchilla
    """
    from danlu.laws import LAWS, law

    if name is None:
        if as_json:
            print_json("laws show", [_about(one) for one in LAWS.values()])
            return
        rows = [("name", "predicts", "of", "paper")]
        for one in LAWS.values():
            rows.append((one.name, one.target, ", ".join(one.columns), one.paper))
        print_table(spoken(rows, names=range(4)))
        return
    one = law(name)
    if as_json:
        print_json("laws show", _about(one))
        return
    speak(f"{one.title}\n{one.formula}\n{one.text}\n{one.paper}\n")
    print_table(spoken([(p.name, f"{p.meaning}{', ' + p.unit if p.unit else ''}") for p in one.parameters]))
    for label, given in one.published.items():
        values = ", ".join(f"{p} {v:.7g}" for p, v in zip(one.names, given.values, strict=True))
        say(f"\n{label}: {values}\n  {given.source}")


def _about(one: Any) -> dict[str, Any]:
    return {
        "law": one.name,
        "title": one.title,
        "formula": one.formula,
        "text": one.text,
        "paper": one.paper,
        "columns": list(one.columns),
        "target": one.target,
        "parameters": [{"name": p.name, "meaning": p.meaning, "unit": p.unit} for p in one.parameters],
        "published": {
            label: {"values": dict(zip(one.names, given.values, strict=True)), "source": given.source}
            for label, given in one.published.items()
        },
    }
