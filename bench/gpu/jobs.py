"""Two jobs of the queue at once on one device, beside one."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.gpu.place import Place, Row, workshop
from bench.gpu.resume import WORDS


def rows(at: Place) -> Iterator[Row]:
    from danlu.lab.queue import Job, Queue
    from danlu.spec import resolve

    steps = at.size(100, 3)

    def jobs(*seeds: int) -> list[Job]:
        words = [
            *WORDS,
            f"train.steps={steps}",
            f"train.device={at.device.type}",
            "train.checkpoint_every=none",
        ]
        return [Job(resolve([*words, f"train.seed={seed}"])) for seed in seeds]

    with workshop() as folder, Queue(folder / "studies", workers=2, show=False) as queue:
        for what, seeds in (
            ("two, with the start of both workers", (1, 2)),
            ("one", (3,)),
            ("two at once", (4, 5)),
        ):
            start = time.perf_counter()
            outcomes = queue.run(jobs(*seeds))
            row: Row = {"what": f"{what}, {steps} updates of nano", "seconds": time.perf_counter() - start}
            wrong = [outcome.error or "no summary" for outcome in outcomes if outcome.summary is None]
            yield row | ({"wrong": wrong[0]} if wrong else {"aside": len(seeds) == 2 and 1 in seeds})
