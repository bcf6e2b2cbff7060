"""Configurations beside one another, and links to runs, for the pages of studies."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from danlu.draw import Link, Table
from danlu.files.yaml import brief
from danlu.spec import Experiment, difference

Row = tuple[object, ...]


def in_pairs(sides: Mapping[str, tuple[Experiment, Experiment]]) -> Table:
    """The fields in which baseline and variant of each idea differ."""
    rows: list[Row] = [("idea", "field", "baseline", "variant")]
    for idea, (baseline, variant) in sides.items():
        for field, before, after in difference(baseline, variant):
            rows.append((idea, field, _brief(before), _brief(after)))
    return Table(rows, names=range(4))


def beside(first: tuple[str, Experiment], others: Sequence[tuple[str, Experiment]]) -> Table:
    """The fields in which any of the ``others`` differs from the ``first``; a column each."""
    name, experiment = first
    apart = [{field: after for field, _, after in difference(experiment, other)} for _, other in others]
    before = {field: was for _, other in others for field, was, _ in difference(experiment, other)}
    rows: list[Row] = [("field", name, *(said for said, _ in others))]
    rows += [
        (field, _brief(was), *(_brief(of.get(field, was)) for of in apart)) for field, was in before.items()
    ]
    return Table(rows, names=range(len(rows[0])))


def links(
    study: Path, heads: Sequence[str], runs: Iterable[tuple[Sequence[object], Sequence[Path | str]]]
) -> Table:
    """Runs as links from the page of ``study``: of each row what is said of them, and their folders."""
    here = os.path.realpath(study)
    rows: list[Row] = [tuple(heads)]
    for said, folders in runs:
        places = (os.path.relpath(os.path.realpath(folder), here) for folder in folders)
        rows.append((*said, *(Link(os.path.basename(place), place) for place in places)))
    return Table(rows, names=(0,))


def _brief(value: object) -> str:
    return value if isinstance(value, str) else brief(value)
