"""The contracts of ``--json``, written down: ``python -m tests.contracts``.

docs/schemas/VERB-VERSION.json   what ``danlu --json-schema VERB`` prints
tests/cli/golden/NAME.json       what a verb prints in a folder that is always the same

Within a version a schema only grows: what is written down already and would miss something is refused, with
what it would miss. Then count the version of the verb up in ``danlu/cli/schemas.py``; the old file stays.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from danlu.cli.schemas import SCHEMAS, json_schema
from tests.conftest import ROOT
from tests.lab.reading.folders import make_run

FOLDER = ROOT / "docs" / "schemas"
GOLDEN = ROOT / "tests" / "cli" / "golden"
COMMANDS = {  # verbs that need no PyTorch, of what does not change with the catalog
    "ledger": "ledger all",
    "ledger-show": "ledger show 1",
    "ledger-judge": "ledger judge",
    "compare": "compare 'runs/a*' 'runs/b*'",
    "diff": "diff nano 'nano optimizer.lr=1e-3 train.batch=9'",
    "laws-show": "laws show chinchilla",
}
LEDGER = """\
- id: one-on-nano
  date: 2026-11-22
  idea: +one
  on: nano
  at: equal steps
  statement: One is better
  verdict: better
  effect: -0.1
  interval: [-0.2, -0.05]
  unit: bits per byte
  seeds: 5
  e: 40.0
  family: attention
  regime: {tokens_per_parameter: 20.0, updates: 2100, bits_below_chance: 2.0, warmup: 0.02}
  decision: adopt
  decided: 2026-11-23
  because: it is better
  by: agent x
- id: two-on-nano
  date: 2026-11-23
  idea: +two
  on: nano
  at: equal steps
  statement: Two is better
  verdict: not shown
  effect: 0.01
  interval: [-0.1, 0.12]
  unit: bits per byte
  seeds: 3
  e: 0.9
"""


def file_of(verb: str) -> Path:
    """Where the schema of a verb is written down."""
    return FOLDER / f"{verb.replace(' ', '-')}-{SCHEMAS[verb].version}.json"


def narrowed(old: dict[str, Any], new: dict[str, Any], place: str = "it") -> Iterator[str]:
    """What a reader of ``old`` may rely on and ``new`` does not promise: all that fits ``new`` must fit
    ``old``, in which any further names may be."""
    if "anyOf" in new:
        for one in new["anyOf"]:
            yield from narrowed(old, one, place)
        return
    if "anyOf" in old:
        each = [list(narrowed(one, new, place)) for one in old["anyOf"]]
        if all(each):
            yield f"{place} has a new form" if len(each) > 2 else min(each, key=len)[0]
        return
    if "const" in old and new.get("const") != old["const"]:
        yield f"{place} was {old['const']}, and is {new.get('const')}"
    kind = new.get("type", "string" if "const" in new else None)
    if "type" in old and kind != old["type"] and (old["type"], kind) != ("number", "integer"):
        yield f"{place} was {old['type']}, and may be {kind}"
        return
    for name, one in old.get("properties", {}).items():
        if name in new.get("properties", {}):
            yield from narrowed(one, new["properties"][name], f"{place}.{name}")
        elif name in old.get("required", ()) or "anyOf" in one:
            yield f"{place}.{name} is gone"
    for name in old.get("required", ()):
        if name in new.get("properties", {}) and name not in new.get("required", ()):
            yield f"{place}.{name} may be left out"
    for word, inside in (("items", "[]"), ("additionalProperties", ".*")):
        if word in old:
            yield from narrowed(old[word], new.get(word, {}), place + inside)


def world(folder: Path) -> None:
    """A ledger, and four runs on two sides."""
    (folder / "ledger.yaml").write_text(LEDGER, encoding="utf-8")
    for side, scores in {"a": (2.5, 2.0), "b": (2.25, 1.5)}.items():
        for seed in (0, 1):
            words = f"nano train.seed={seed} optimizer.lr={'1e-3' if side == 'a' else '3e-3'}"
            run = make_run(folder / "runs" / f"{side}{seed}", words, [score + seed / 8 for score in scores])
            os.utime(run / "experiment.yaml", (seed, seed))  # the newest comes first


def printed(command: str, folder: Path) -> Any:
    """What the verb prints there, with ``--json``."""
    words = [sys.executable, "-P", "-m", "danlu", *shlex.split(command), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DANLU_CACHE": str(folder / "cache")}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    for verb in SCHEMAS:
        path = file_of(verb)
        if path.exists() and (wrong := list(narrowed(json.loads(path.read_text()), json_schema(verb)))):
            sys.exit(f"danlu {verb} --json: {'; '.join(wrong)}. Count its version up in danlu/cli/schemas.py")
        write(path, json_schema(verb))
    with tempfile.TemporaryDirectory() as folder:
        world(Path(folder))
        for name, command in COMMANDS.items():
            write(GOLDEN / f"{name}.json", printed(command, Path(folder)))


if __name__ == "__main__":
    main()
