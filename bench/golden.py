"""The same numbers as before: metrics of short runs of this checkout and of another, compared bit for bit.

    python -m bench.golden --before CHECKOUT [--steps 60]

Both checkouts train the recipes, one after the other, on one thread in eager mode. Walls may be moved; the
losses, gradient norms and held-out metrics of a run may not, to the last bit. Exits with 1 where one differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RECIPES = ("nano", "tiny", "nanogpt-char")
FIELDS = ("step", "tokens", "loss", "grad_norm", "lr", "bits_per_byte", "held_out_loss")


def metrics(checkout: Path, words: list[str], folder: Path) -> list[dict[str, Any]]:
    """The rows of a run of the command of ``checkout``."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "danlu", "train", *words, "--run", str(folder)]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{checkout}: {' '.join(command)}\n{done.stderr[-2000:]}")
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{name: row[name] for name in FIELDS if name in row} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="another checkout")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--recipes", nargs="*", default=RECIPES)
    given = parser.parse_args()
    here, differ = Path(__file__).parents[1], 0
    for recipe in given.recipes:
        words = [
            recipe, f"train.steps={given.steps}", "train.log_every=1", "train.compile=false",
            f"train.evaluate_every={given.steps // 2}", "train.evaluate_tokens=20000",
        ]  # fmt: skip
        with tempfile.TemporaryDirectory() as scratch:
            now = metrics(here, words, Path(scratch, "now"))
            before = metrics(given.before.resolve(), words, Path(scratch, "before"))
        same = now == before
        differ += not same
        first = next((pair for pair in zip(now, before, strict=False) if pair[0] != pair[1]), "")
        said = "equal to the last bit" if same else f"differ: {first}"
        print(f"{recipe:14}{len(now)} rows {said}", flush=True)
    sys.exit(min(differ, 1))


if __name__ == "__main__":
    main()
