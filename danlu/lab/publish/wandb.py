"""A run for Weights & Biases: an offline run by its own library, which ``wandb sync`` may send later."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Literal

from danlu.lab.publish.exporter import Exporter
from danlu.lab.publish.rows import Row
from danlu.lab.reading.run import Run

PROJECT = "danlu"


class WeightsAndBiases(Exporter):
    """A folder ``OUT/wandb/offline-run-…``, whole: an offline run cannot be gone on with.

    A run that was published before it ended, or that went on after it, is therefore written again, with an id
    of its own that ends in 2, 3, …; the older folders stay. Rows of one step become one. ``tokens``,
    ``seconds`` and ``flops`` are among the values, so that they can be an axis.
    """

    wants: ClassVar[Literal["new", "all", "ended"]] = "ended"
    package = extra = "wandb"
    hint = "wandb sync {out}/wandb/offline-run-* sends them, if you want that"

    def open(self, run: Run, name: str, kept: dict[str, Any]) -> None:
        os.environ["WANDB_ERROR_REPORTING"] = "false"  # it would tell its makers of errors
        import wandb

        times = kept["times"] = kept.get("times", 0) + 1
        settings = wandb.Settings(
            silent=True, console="off", disable_git=True, disable_code=True, disable_job_creation=True,
            x_disable_stats=True, x_disable_meta=True, x_disable_machine_info=True,
        )  # fmt: skip
        self._run = wandb.init(
            project=PROJECT, id=name if times == 1 else f"{name}-{times}", name=name, dir=self.out,
            config={key: value for key, value in run.fields.items() if value is not None},
            mode="offline", reinit="create_new", settings=settings,
        )  # fmt: skip

    def row(self, row: Row) -> None:
        self._run.log({key: value for key, value in row.items() if key != "step"}, step=int(row["step"]))

    def close(self, run: Run) -> None:
        if run.state == "finished":
            self._run.summary.update({"best": run.best, "best_step": run.best_step})
        self._run.finish(exit_code=0 if run.state in ("finished", "running") else 1)
