"""Laws and plans: fits with their audit, predictions and plans that lie in the folder as ``--json`` printed
them, and the ladders among the studies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from danlu.files.errors import FileError
from danlu.files.json import misfit, read_object
from danlu.files.numbers import duration, power, rounded
from danlu.files.read import MIB, Stamp, stamp
from danlu.lab.reading.run import Run
from danlu.lab.reading.table import said
from danlu.watch.place import Place, StudyFolder, id_of

MOST, LARGEST = 500, 4 * MIB  # files; bytes of one
ALL = 10_000  # rows of a table
SHOWN = 200
_NUMBER = (float, None)
_TEXTS = ([{"text": str}], None)
_ENDS = {"value": _NUMBER, "low": _NUMBER, "high": _NUMBER}
FIT = {
    "law": str, "points": int, "parameters": {...: _NUMBER},
    "intervals": ({...: {**_ENDS, "error": _NUMBER}}, None), "ranges": ({...: [float]}, None),
    "audit": ({"dependence": {"text": str}, "findings": [{"text": str}]}, None),
    "hold_out": (dict, None), "warnings": _TEXTS, "folders": ([str], None),
}  # fmt: skip
PREDICTION = {
    "law": str, "target": str, "warnings": _TEXTS,
    "predictions": [
        {"at": {...: _NUMBER}, "value": _NUMBER, "mean": _ENDS, "run": _ENDS, "calibration": str}
    ],
}  # fmt: skip
PLAN = {
    "law": str, "by": str, "parameters": {...: float}, "given": {...: float}, "warnings": _TEXTS,
    "plan": [{"name": str, **_ENDS, "unit": str, "source": str}], "train": ({"command": str}, None),
}  # fmt: skip
DEVICES = {
    "device": {"title": str}, "devices": int, "parameters": int, "flops": float, "updates": int,
    "precision": str,
}  # fmt: skip
LADDER = {
    "metric": str, "unit": (str, None), "budget": str,
    "law": {"formula": str, "parameters": {...: _NUMBER}},
    "runs": [{"level": int, "seed": int, "parameters": int, "tokens": int, "flops": float, "metric": _NUMBER,
              "run": str}],
    "held_out": [dict], "warnings": [str],
    "target": {"parameters": int, "flops": float, "loss": _ENDS, "command": str},
}  # fmt: skip

HELD = {"by": "those of the largest", "mean_error": "mean error"}  # what is said of points that are held out

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Paper:
    """A file of a law or a plan. ``what`` it is; ``short``: what it says; ``by``: the file that it rests on;
    ``runs``: the folders of its points' runs, both by name; ``tables``: heading, rows, how many of them are
    said in the page's language."""

    id: str
    name: str
    what: str
    short: str
    tables: Sequence[tuple[str, Rows, int]] = ()
    warnings: Sequence[str] = ()
    audit: Sequence[str] = ()
    by: str = ""
    runs: Sequence[str] = ()
    command: str = ""


def papers(place: Place) -> list[Paper]:
    """Those of the folder, by the names of their files."""
    found = []
    for path in sorted(place.folder.glob("*.json"))[:MOST]:
        try:
            now = stamp(path)
            if now is not None and now.size < LARGEST and path.is_file() and place.holds(path):
                found.append(_paper(path, now))
        except (OSError, FileError):
            continue
    return [one for one in found if one is not None]


@lru_cache(maxsize=2 * MOST)
def _paper(path: Path, _: Stamp) -> Paper | None:
    """What the file holds, read once while it is as it was; None where that is no law and no plan."""
    content = read_object(path)
    kind = str(content.get("schema", "")).rpartition("/")[0]
    if kind not in KINDS or misfit(content, (shape := KINDS[kind][0])):
        return None
    return KINDS[kind][1](path, dict.fromkeys(shape) | content)


def evidence(place: Place, paper: Paper) -> list[tuple[str, str]]:
    """What it rests on, as far as that is here: addresses and names of a file and of runs."""
    files = [(f"/laws/{one.id}", one.name) for one in papers(place) if one.name == paper.by]
    by_name = place.by_name()
    runs = [by_name[name] for name in paper.runs if name in by_name]
    return [*files, *((f"/run/{id_of(run.path)}", place.shown(run.path)) for run in runs[:SHOWN])]


def of_run(place: Place, run: Run) -> list[Paper]:
    """The laws that have a point of the run."""
    return [one for one in papers(place) if run.path.name in one.runs]


def _fit(path: Path, fit: Mapping[str, Any]) -> Paper:
    ends = fit["intervals"] or {}
    head = ("parameter", "value", "95 % from", "to", "standard error")
    rows = [
        (name, _shown(value), *(_shown(ends.get(name, {}).get(key)) for key in ("low", "high", "error")))
        for name, value in fit["parameters"].items()
    ]
    tables: list[tuple[str, Rows, int]] = [("Parameters", [head, *rows], 0)]
    if fit["ranges"]:
        ranges = [(name, *map(_shown, ends[:2])) for name, ends in fit["ranges"].items()]
        tables.append(("What the points span", [("column", "from", "to"), *ranges], 0))
    if fit["hold_out"]:
        held = [
            (HELD.get(name, name), _shown(value) if isinstance(value, float) else said(value))
            for name, value in fit["hold_out"].items()
            if not isinstance(value, dict | list)
        ]
        tables.append(("Points that the fit did not see", [("", ""), *held], 1))
    audit = fit["audit"] or {"dependence": {"text": ""}, "findings": []}
    texts = [audit["dependence"]["text"], *(one["text"] for one in audit["findings"])]
    return Paper(
        id_of(path), path.name, "A fit", f"{fit['law']}, {fit['points']} points", tables, _texts(fit),
        [text for text in texts if text], runs=[Path(run).name for run in fit["folders"] or ()],
        command=f"danlu laws plan --by {path.name}",
    )  # fmt: skip


def _prediction(path: Path, found: Mapping[str, Any]) -> Paper:
    head = ("where", "value", "law: 95 % from", "to", "a run: 95 % from", "to")
    rows = [
        (", ".join(f"{name} {_shown(x)}" for name, x in one["at"].items()), _shown(one["value"]),
         *(_shown(one[of][end]) for of in ("mean", "run") for end in ("low", "high")))
        for one in found["predictions"][:SHOWN]
    ]  # fmt: skip
    audit = dict.fromkeys(one["calibration"] for one in found["predictions"] if one["calibration"])
    short = f"{found['target']}, {found['law']}"
    tables = [("Predictions", [head, *rows], 0)]
    return Paper(id_of(path), path.name, "A prediction", short, tables, _texts(found), [*audit])


def _plan(path: Path, found: Mapping[str, Any]) -> Paper:
    rows = [
        (one["name"], *(_shown(one[key]) for key in ("value", "low", "high")), one["unit"], one["source"])
        for one in found["plan"][:SHOWN]
    ]
    head = ("quantity", "value", "95 % from", "to", "unit", "by")
    given = ", ".join(f"{name} {_shown(value)}" for name, value in found["given"].items())
    tables, command = [("The plan", [head, *rows], ALL)], (found["train"] or {}).get("command", "")
    short = f"{found['law']}, {given}"
    return Paper(
        id_of(path), path.name, "A plan", short, tables, _texts(found), by=Path(found["by"]).name,
        command=command,
    )  # fmt: skip


def _devices(path: Path, found: Mapping[str, Any]) -> Paper:
    facts = [(name, said(value)) for name, value in found.items() if not isinstance(value, dict | list | str)]
    facts += [
        (f"{name}.{key}", duration(inner) if key == "seconds" else said(inner))
        for name, value in found.items() if isinstance(value, dict)
        for key, inner in value.items() if not isinstance(inner, dict | list)
    ]  # fmt: skip
    short = f"{found['devices']} × {found['device']['title']}, {rounded(found['parameters'])}"
    return Paper(id_of(path), path.name, "A plan for devices", short, [("All", [("", ""), *facts], 0)])


Reader = Callable[[Path, Mapping[str, Any]], Paper]
KINDS: dict[str, tuple[dict[str, Any], Reader]] = {
    "danlu.laws.fit": (FIT, _fit),
    "danlu.laws.predict": (PREDICTION, _prediction),
    "danlu.laws.plan": (PLAN, _plan),
    "danlu.plan": (DEVICES, _devices),
}


def _texts(found: Mapping[str, Any]) -> list[str]:
    return [one["text"] for one in found["warnings"] or ()]


def _shown(value: float | None) -> str:
    return "" if value is None else power(f"{value:.5g}")


# ---------------------------------------------------------------- ladders


def ladder(found: Any) -> dict[str, Any] | None:
    """The result of a ladder; None where it is another's."""
    return None if misfit(found, LADDER) else dict.fromkeys(LADDER) | found


def aimed(found: Mapping[str, Any]) -> str:
    """What the ladder predicts of its target, with its interval."""
    target = found["target"]
    loss = target["loss"]
    at = f"{target['parameters']:,} parameters, {_shown(target['flops'])} FLOP"
    return f"predicted loss at {at}: {_shown(loss['value'])} ({_shown(loss['low'])} … {_shown(loss['high'])})"


def rungs(place: Place, found: Mapping[str, Any]) -> list[list[str | tuple[str, str]]]:
    """Its runs, from the smallest: a cell is text, or an address and a name."""
    by_name = place.by_name()
    rows: list[list[str | tuple[str, str]]] = [
        ["rung", "seed", "parameters", "tokens", "FLOP", found["metric"], "run"]
    ]
    for one in found["runs"][:SHOWN]:
        name = Path(one["run"]).name
        run = by_name.get(name)
        link = name if run is None else (f"/run/{id_of(run.path)}", place.shown(run.path))
        rows.append([
            str(one["level"]), str(one["seed"]), f"{one['parameters']:,}", f"{one['tokens']:,}",
            _shown(one["flops"]), _shown(one["metric"]), link,
        ])  # fmt: skip
    return rows


def held_out(found: Mapping[str, Any]) -> Rows:
    """What the law of the smaller rungs said of the larger ones."""
    names = list(dict.fromkeys(name for one in found["held_out"] for name in one))
    flat = [
        name for name in names if all(not isinstance(one.get(name), dict | list) for one in found["held_out"])
    ]
    rows = [[_cell(one.get(name)) for name in flat] for one in found["held_out"]]
    return [[name.replace("_", " ") for name in flat] or [""], *rows]


def _cell(value: Any) -> str:
    return _shown(value) if isinstance(value, float) else said(value)


def ladders(place: Place) -> list[StudyFolder]:
    """The ladders among the studies."""
    return [study for study in place.studies() if study.verb == "ladder"]
