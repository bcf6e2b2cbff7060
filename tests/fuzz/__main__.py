"""``python -m tests.fuzz --cases 2000``: hostile files and words, case by case; prints what does not hold."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.case import carry_out
from tests.fuzz.world import build


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--show", action="store_true", help="print every case, and what it said")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="danlu-fuzz-") as name:
        os.environ["DANLU_CACHE"] = f"{name}/cache"
        source = Path(name, "world")
        build(source)
        codes: Counter[object] = Counter()
        wrong, slowest, began = 0, 0.0, time.perf_counter()
        for number in range(asked.first, asked.first + asked.cases):
            case = carry_out(number, asked.seed, source, Path(name, "case"))
            codes[case.code] += 1
            wrong += bool(case.problems)
            slowest = max(slowest, case.seconds)
            if case.problems or asked.show:
                print(case, flush=True)
            if asked.show:
                print(case.said, flush=True)
    seconds = time.perf_counter() - began
    print(f"{asked.cases} cases, {wrong} wrong, exit codes {dict(codes)}")
    print(f"{seconds:.0f} s, the slowest {slowest:.1f} s")
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
