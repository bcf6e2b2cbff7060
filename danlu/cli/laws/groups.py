"""``danlu laws fit --group``: a law over groups of rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from danlu.cli.drawn import end
from danlu.cli.output import print_table, say, speak, spoken


def of_groups(
    law: Any,
    got: Any,
    group: str,
    shared: str | None,
    options: dict[str, Any],
    file: Path,
    report: Path | None,
    force: bool,
    as_json: bool,
    draws: bool,
) -> None:
    """Fit the law to the groups of what was read, print it, draw it."""
    from danlu.laws.groups import by_group

    column, _, baseline = group.partition("=")
    names = [name.strip() for name in (shared or "").split(",") if name.strip()]
    found = by_group(
        law, got.points, got.texts(column), column=column, shared=names, baseline=baseline or None, **options
    )

    def json() -> dict[str, Any]:
        said: dict[str, Any] = found.json(draws) | got.json()
        return said | {"warnings": [one.json() for one in (*got.warnings, *found.warnings)]}

    def draw() -> str:
        from danlu.laws.report import groups_html

        return groups_html(found, str(file))

    end("laws fit", json, lambda: _tell(law, got, found), draw, path=report, force=force, as_json=as_json)


def _tell(law: Any, got: Any, found: Any) -> None:
    for note in got.notes:
        speak(note)
    ((title,),) = spoken([(law.title,)])
    say(f"\n{title}, {law.paper}\n{law.formula}\n")
    print_table(spoken(found.parameter_rows(), names=(0,)))
    say()
    fits = found.answers if found.together is None else {"all": found.together}
    for label, one in fits.items():
        said = f"{label}: {one.fit.points.size} points; objective {one.fit.objective:.7g} ({one.fit.loss}); "
        said += f"{one.fit.agreeing_starts} of {one.fit.starts} starts agree"
        if one.held is not None:
            said += f"; held out, of the largest {one.held.by}: mean error {one.held.mean:.2%}"
        speak(said)
    if rows := found.gain_rows():
        say()
        print_table(spoken(rows, names=(0,)))
    for warning in (*got.warnings, *found.warnings):
        speak(f"warning: {warning}")
    for label, one in fits.items():
        for warning in one.warnings:
            speak(f"warning: {label}: {warning}")
