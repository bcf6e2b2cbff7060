"""What writes a run for another tool: the contract, and how an exporter is found by its name."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

from danlu.lab.errors import LabError
from danlu.lab.publish.rows import Row
from danlu.lab.reading.run import Run
from danlu.spec.errors import did_you_mean, either
from danlu.spec.plugins import offered

GROUP = "danlu.exporters"
OURS = {
    "csv": "danlu.lab.publish.tables:Csv",
    "parquet": "danlu.lab.publish.tables:Parquet",
    "tensorboard": "danlu.lab.publish.tensorboard:TensorBoard",
    "mlflow": "danlu.lab.publish.mlflow:MLflow",
    "wandb": "danlu.lab.publish.wandb:WeightsAndBiases",
    "trackio": "danlu.lab.publish.trackio:Trackio",
}


class Exporter:
    """Writes one run into the folder ``out``, which it may share with other runs.

    ``open``, then ``row`` for each row in its order, then ``close``; a ``row`` has ``step``, and ``tokens``,
    ``seconds``, ``flops`` where they are known, beside what was measured, all numbers, also NaN and infinity.
    Whatever is raised becomes a warning that names the target; other runs are published all the same.

    ``wants``: which rows. *new*: each once, also by a later process; what is remembered from one to the next
    stands in ``kept``, a JSON mapping that is the run's own, and ``rewind`` takes rows back. *all*: all of
    them again whenever there is a new one, so that ``rewind`` is never called. *ended*: the same, but while a
    run is followed not before it has ended. ``package``: what must be installed, by the extra of danlu that
    is called ``extra``. ``hint``: how to look at what is in ``{out}``.
    """

    wants: ClassVar[Literal["new", "all", "ended"]] = "new"
    package: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    hint: ClassVar[str] = ""

    def __init__(self, out: Path) -> None:
        self.out = out

    def open(self, run: Run, name: str, kept: dict[str, Any]) -> None:
        """Begin, or go on. ``name``: of the run, no other's in ``out``, and a file's name on every system."""

    def row(self, row: Row) -> None:
        """One more row."""
        raise NotImplementedError

    def rewind(self, step: int) -> bool:
        """What was given of the steps past ``step`` counts no more: the run went on from a checkpoint. False:
        nothing can be taken back, it was begun anew, and every row is to be given again."""
        raise NotImplementedError

    def flush(self) -> None:
        """What was given is written now: after this danlu takes it as published."""

    def close(self, run: Run) -> None:
        """End. ``run``: as it is now; it may not have finished (yet)."""


def find(name: str) -> type[Exporter]:
    """The exporter that is called ``name``: ours, or an installed package's. Raises ``LabError`` where there
    is none, or where what it needs is not installed."""
    found = OURS.get(name)
    if found is not None:
        exporter: type[Exporter] = _load(found)
    else:
        others = {entry.name: entry for entry in offered(GROUP)}
        if name not in others:
            known = [*OURS, *others]
            raise LabError(f"--to {name}{did_you_mean(name, known) or ';'} allowed: {either(known)}")
        try:
            exporter = others[name].load()
        except Exception as error:
            raise LabError(
                f"the package that offers the exporter {name} cannot be imported "
                f"({type(error).__name__}: {error}); correct it, uninstall it, or set DANLU_PLUGINS=0"
            ) from error
    if exporter.package and find_spec(exporter.package) is None:
        install = (
            f"pip install 'danlu[{exporter.extra}]'" if exporter.extra else f"pip install {exporter.package}"
        )
        raise LabError(f"--to {name} needs the package {exporter.package}: {install}")
    return exporter


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
