"""docs/architecture.md names what there is: the rooms in their order, the files of training."""

from __future__ import annotations

import re
import tomllib

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_rooms_stand_in_the_order_that_is_checked() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(one["layers"] for one in settings["contracts"] if one["type"] == "layers")
    rooms = [room.strip() for layer in layers for room in layer.split("|")]
    table = PAGE[PAGE.index("```\ncli/") : PAGE.index("catalog/")]
    named = [room for line in re.findall(r"^[a-z].*$", table, flags=re.MULTILINE) for room in _rooms(line)]
    assert set(named) == set(rooms)
    order = {room: i for i, layer in enumerate(layers) for room in (r.strip() for r in layer.split("|"))}
    assert [order[room] for room in named] == sorted(order[room] for room in named)


def _rooms(line: str) -> list[str]:
    """The names at the beginning of a line of the table."""
    found = re.match(r"(?:[a-z]+/ *)+", line)
    return [] if found is None else re.findall(r"([a-z]+)/", found[0])


def test_the_files_that_it_names_are_there() -> None:
    paths = re.findall(r"`(danlu/[\w/]+\.py)`", PAGE)
    assert len(paths) >= 10 and [path for path in paths if not (ROOT / path).exists()] == []
    lists = {"train": "How a run is put together", "lab": "The lab"}
    for room, title in lists.items():
        block = PAGE[PAGE.index(f"## {title}") :].split("```")[1]
        names = re.findall(r"^([\w]+(?:\.py|/))", block, flags=re.MULTILINE)
        assert len(names) >= 9 and [n for n in names if not (ROOT / "danlu" / room / n).exists()] == []
