"""Reading runs: an index over thousands, filters, groups of seeds, comparisons, display in a notebook."""

from danlu.lab.reading.index import read_runs
from danlu.lab.reading.run import Run, read_run
from danlu.lab.reading.selection import select

__all__ = ["Run", "Runs", "read_run", "read_runs", "select"]


def __getattr__(name: str) -> object:
    if name == "Runs":  # with its drawings, which the verb `runs` has no use for
        from danlu.lab.reading.notebook import Runs

        return Runs
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
