"""Folders as tables: danlu's runs, ladders and sweeps; runs that Weights & Biases or TensorBoard recorded.

Of a danlu run, N comes from summary.json, D, C and the held-out loss from the last evaluation in
metrics.jsonl, the rate and the batch from experiment.yaml. Of other runs, each number's last value, and the
configuration.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from danlu.files import event_files, offline_runs
from danlu.files.errors import FileError
from danlu.files.json import misfit, parse, read_json, read_object
from danlu.files.read import read_bytes
from danlu.files.yaml import read_mapping
from danlu.laws.errors import LawError, Warned
from danlu.laws.files.formats import read_table
from danlu.laws.files.tables import Table, columns_of

MOST_RUNS = 100_000
METRICS, POINTS, RESULT, EVENTS = "metrics.jsonl", "points.csv", "result.json", "*tfevents*"


def read_folder(path: Path) -> Table:
    """The table of a folder: a run, a study (a ladder, a sweep), or runs in it or below. Raises LawError or
    FileError, one sentence."""
    if (path / METRICS).exists():
        return _table([path], _run)
    if (path / POINTS).is_file():  # a ladder's
        return read_table(path / POINTS)
    if (path / RESULT).is_file() and (runs := _of_study(path)):
        return _table(runs, _run)
    for pattern, row in (
        (METRICS, _run),
        ("*.wandb", _log),
        (offline_runs.SUMMARY_FILE, _summary),
        (EVENTS, _events),
    ):
        found = _below(path, pattern)
        if found:
            return _table([one.parent for one in found] if row in (_run, _events) else found, row)
    raise LawError(
        f"{path} holds no runs: there is no {METRICS} in it or below, no file of Weights & Biases or "
        "TensorBoard, and no study's result"
    )


def _below(path: Path, pattern: str) -> list[Path]:
    found = sorted(path.rglob(pattern))[: MOST_RUNS + 1]
    if len(found) > MOST_RUNS:
        raise LawError(f"{path} holds more than {MOST_RUNS:,} runs; name a folder of fewer")
    return found


def _table(places: Iterable[Path], row_of: Callable[[Path], dict[str, Any] | str]) -> Table:
    rows: dict[Path, dict[str, Any]] = {}
    warnings = []
    for place in dict.fromkeys(places):
        row = row_of(place)
        if isinstance(row, str):
            warnings.append(Warned("run-left-out", f"{place} is left out: {row}"))
        else:
            rows[place] = row
    if not rows:
        raise LawError(warnings[0])
    return Table(columns_of(list(rows.values()), "the runs"), warnings=warnings)


# ---------------------------------------------------------------- danlu's


def _of_study(path: Path) -> list[Path]:
    """The folders of the runs that a study's result names: as it names them, or beside the study."""
    found = []
    for said in _folders(read_json(path / RESULT)):
        for folder in (Path(said), path.parent / "runs" / Path(said).name, path / said):
            if (folder / METRICS).exists():
                found.append(folder)
                break
    return found


def _folders(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _folders(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            if name in ("folder", "run") and isinstance(one, str):
                yield one
            elif name == "folders" and isinstance(one, list):
                yield from (said for said in one if isinstance(said, str))
            else:
                yield from _folders(one)


def _run(folder: Path) -> dict[str, Any] | str:
    """The point that a run stands for, or why it is none."""
    summary = _parsed(read_bytes(folder / "summary.json")) if (folder / "summary.json").is_file() else None
    if not isinstance(summary, dict) or "parameters" not in summary:
        return "it has not ended, so that no summary.json tells its number of parameters"
    lines = read_bytes(folder / METRICS).splitlines()
    rows = [row for line in lines if isinstance(row := _parsed(line), dict)]
    scored = [row for row in rows if "held_out_loss" in row]
    if not scored:
        return "nothing held out was scored"
    last = scored[-1]
    row = {
        "run": os.fspath(folder),
        "n": summary["parameters"],
        "d": last.get("tokens"),
        "s": last.get("step"),
        "loss": last["held_out_loss"],
    }
    spent = [one["flops"] for one in rows if one.get("step") == last.get("step") and "flops" in one]
    return {**row, **({"c": spent[-1]} if spent else {}), **_settings(folder / "experiment.yaml")}


def _settings(path: Path) -> dict[str, Any]:
    """The peak learning rate and the batch in tokens, as far as the experiment says."""
    try:
        experiment = read_mapping(path, str(path))
    except FileError:
        return {}
    if misfit(experiment, {"train": {"batch": int}, "data": {"context": int}, "optimizer": {"lr": float}}):
        return {}
    batch = experiment["train"]["batch"] * experiment["data"]["context"]
    return {"lr": experiment["optimizer"]["lr"], "b": batch}


def _parsed(text: bytes) -> Any:
    try:
        return parse(text)
    except ValueError:
        return None


# ---------------------------------------------------------------- others'


def _log(file: Path) -> dict[str, Any] | str:
    summary = file.parent / "files" / offline_runs.SUMMARY_FILE
    found = {**(read_object(summary) if summary.is_file() else {}), **offline_runs.last(file)}
    return _named(file.parent, {**_config(file.parent), **found}) if found else "nothing was logged in it"


def _summary(file: Path) -> dict[str, Any] | str:
    found = read_object(file)
    return _named(file.parent, {**_config(file.parent), **found}) if found else "it is empty"


def _config(folder: Path) -> dict[str, Any]:
    """What Weights & Biases wrote down of a run's configuration, beside its summary or in ``files``."""
    for path in (folder / "config.yaml", folder / "files" / "config.yaml"):
        if path.is_file():
            said = read_mapping(path, str(path))
            whole = {name: one.get("value") if isinstance(one, dict) else one for name, one in said.items()}
            return {"config": {name: one for name, one in whole.items() if not name.startswith("_")}}
    return {}


def _events(folder: Path) -> dict[str, Any] | str:
    found: dict[str, float] = {}
    for file in sorted(folder.glob(EVENTS)):  # one for each time that the run was started
        found.update(event_files.last(file))
    return _named(folder, found) if found else "there are no scalars in it"


def _named(folder: Path, row: dict[str, Any]) -> dict[str, Any]:
    place = folder.parent if folder.name == "files" else folder
    return {"run": os.fspath(place), **{name: one for name, one in row.items() if name != "_wandb"}}
