"""The page of docs names each statistic, and the head of its column beside it."""

from __future__ import annotations

from danlu.inspection.table import IN_WORDS, STATISTICS
from tests.conftest import ROOT

KEPT_BY_A_RUN = {"update", "change"}  # told of in the text
IN_A_ROW_OF_ANOTHER = {f"sink-rate-{n}": "sink-rate" for n in (2, 3, 4)}


def test_each_statistic_stands_beside_the_head_of_its_column() -> None:
    lines = (ROOT / "docs" / "inspect.md").read_text().splitlines()
    rows = [line.split("|")[1:3] for line in lines if line.startswith("| `")]
    for name, one in STATISTICS.items():
        if name in KEPT_BY_A_RUN:
            continue
        label = IN_A_ROW_OF_ANOTHER.get(name, name) + ("/out" if one.group == "output" else "")
        head = IN_WORDS.get(label, one.short)
        assert any(f"`{label}`" in names and head in heads for names, heads in rows), name
