"""The glossary's fields are fields, and its terms lead an error message to them."""

from __future__ import annotations

import re

import pytest

from danlu.spec import SpecError, flatten, resolve
from danlu.spec.explain import ALIASES
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
FIELDS = flatten(resolve("tiny model.base_width=64 train.average=ema"))


def test_its_fields_are_fields() -> None:
    named = set(re.findall(r"^\| `((?:train|model|data)\.[a-z_.]+)`", PAGE, flags=re.MULTILINE))
    assert len(named) >= 10
    assert [name for name in named if not any(f == name or f.startswith(f"{name}.") for f in FIELDS)] == []


@pytest.mark.parametrize("term", ["max_grad_norm", "d_model", "elementwise_affine", "dtype"])
def test_its_terms_lead_to_fields(term: str) -> None:
    assert f"`{term}`" in PAGE
    with pytest.raises(SpecError, match=rf"did you mean .*\b{ALIASES[term]}\?"):
        resolve(f"tiny {term}=1")


def test_every_alias_leads_to_a_field() -> None:
    """Of an experiment that has all the parts whose fields are meant."""
    known = {name.rpartition(".")[2] for name in FIELDS} | {"mixer", "feed_forward", "objective", "average"}
    assert set(ALIASES.values()) <= known


def test_every_row_has_its_chinese_term() -> None:
    rows = [row.split("|")[1:-1] for row in re.findall(r"^\| (?!--).*\|$", PAGE, flags=re.MULTILINE)]
    assert len(rows) > 100
    for row in rows:
        assert len(row) == 3 and any(re.search(r"[\u4e00-\u9fff]", cell) for cell in row), row
