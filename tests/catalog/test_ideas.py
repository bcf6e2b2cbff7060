"""Every idea on six experiments, against a table of what the sources prescribe: ``ideas.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from danlu.files.yaml import read_mapping
from danlu.spec import Experiment, SpecError, catalog, resolve
from danlu.spec.overrides import leaves, nested
from danlu.spec.relative import fit

TABLE = read_mapping(Path(__file__).with_name("ideas.yaml"), "ideas.yaml")
EXPERIMENTS = ("nano", "tiny", "digits", "gpt2-124m", "llama-7b", "gpt3-175b")
OTHERS = tuple(sorted({catalog.idea(name).on for name in TABLE} - {""}))  # that ideas not on text are for


CASES = [
    (name, on) for name, row in TABLE.items() for on in (*EXPERIMENTS, *(one for one in OTHERS if one in row))
]


def test_every_idea_has_a_row_with_a_source_and_a_value_for_every_experiment() -> None:
    assert set(TABLE) == set(catalog.names("ideas"))
    for name, row in TABLE.items():
        assert row["source"], name
        assert "all" in row or set(EXPERIMENTS) <= set(row), name
        assert catalog.idea(name).on in ("", *row), name
        assert set(row) <= {"source", "all", *EXPERIMENTS, *OTHERS}, name


def sets(name: str, on: str) -> Any:
    """What the idea sets on an experiment, by field; what is said where it cannot be laid on it."""
    try:
        resolve([on, f"+{name}"])
    except SpecError as error:
        return str(error)
    return leaves(fit(catalog.idea(name).patch, resolve([on]).model_dump(), Experiment)[0])


def plain(value: Any) -> Any:
    """``none`` as it is read by a specification, within lists as well."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return None if value == "none" else value


@pytest.mark.parametrize(("name", "on"), CASES)
def test_an_idea_fits_the_experiment(name: str, on: str) -> None:
    row = TABLE[name]
    wanted, found = row.get(on, row.get("all")), sets(name, on)
    if isinstance(wanted, str):
        said = wanted.removeprefix("refused: ") if wanted != "already" else f"+{name} changes nothing"
        assert isinstance(found, str) and said in found
        return
    assert not isinstance(found, str), found
    wanted, found = plain(leaves(nested(wanted))), plain(found)
    assert set(found) == set(wanted)
    for field, value in wanted.items():
        if isinstance(value, float):
            assert found[field] == pytest.approx(value, rel=1e-5), field
        else:
            assert found[field] == value and type(found[field]) is type(value), field


@pytest.mark.parametrize("on", EXPERIMENTS)
def test_rates_lie_where_the_sources_put_them(on: str) -> None:
    """Lion: 3 to 10 times smaller than AdamW's, decay as many times larger (Chen et al. 2023). Schedule-Free:
    1 to 10 times larger (the authors' code)."""
    base, lion = resolve([on]).optimizer, resolve([on, "+lion"]).optimizer
    rate = getattr(base, "adamw_lr", base.lr)
    assert 3 <= rate / lion.lr <= 10
    assert lion.lr * lion.weight_decay == pytest.approx(rate * base.weight_decay)
    assert 1 <= resolve([on, "+schedule-free"]).optimizer.lr / rate <= 10
