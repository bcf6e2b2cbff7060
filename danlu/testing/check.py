"""Every check of a part, in order."""

from __future__ import annotations

from typing import Any

import torch

from danlu.testing.alone import Alone
from danlu.testing.inside import in_a_model
from danlu.testing.place import corpus, experiment_with, found
from danlu.testing.report import Report
from danlu.testing.running import in_a_run
from danlu.testing.source import of_data, of_objective, of_schedule


def check_part(part: Any, **fields: Any) -> Report:
    """Check a part: its class or function, or its name, ``dyt``; ``norm dyt`` where two families have a kind
    of that name. ``fields``: of its specification, where they are not the defaults.

    Raises ``AssertionError`` with the whole report where anything does not hold, ``SpecError`` for what is no
    part. Takes some seconds. One thread is used, and the state of torch's generator stays what it was.
    """
    family, kind = found(part)
    report = Report(f"{family.name} {kind}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=()), corpus() as folder:
            torch.manual_seed(0)
            experiment = experiment_with(family, {"kind": kind, **fields}, folder)
            match family.name:
                case "schedule":
                    of_schedule(experiment, report)
                case "data":
                    of_data(experiment, report)
                case "objective":
                    of_objective(experiment, report)
                case "optimizer":
                    pass  # what a run shows
                case _:
                    Alone(family, experiment).check(report)
                    in_a_model(family, experiment, report)
            in_a_run(experiment, folder, report)
    finally:
        torch.set_num_threads(threads)
    if report.wrong:
        raise AssertionError(str(report))
    return report
