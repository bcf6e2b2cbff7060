"""What came of a run, as ``summary.json`` and ``danlu train --json`` say it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Summary:
    """What came of a run; ``record`` is ``summary.json``.

    ``metric``: name, value, unit and ``better`` of the primary metric at the end, and its standard
    ``error`` against fresh data where one is known; ``best``: step and value; ``metrics``: the same of
    all, by name. ``loss``: of the last update, by
    ``term`` (nats a token of text). ``units``: trained on, of kind ``unit``. ``utilisation``: of the
    machine's measured ceiling of matrix products; ``mfu``: of the rate that the maker publishes (None:
    not known). ``sample``: what the model shows, as text. ``stopped``: the signal that ended it early.
    ``sent``: what workers that train apart said (``danlu.train.communication.sent``; None: there was
    one). ``regime``: as ``danlu.train.regime`` says it.
    """

    run: str
    metric: dict[str, Any]
    best: dict[str, Any]
    metrics: dict[str, dict[str, Any]]
    loss: float
    term: str
    loss_unit: str
    steps: int
    unit: str
    units: int
    units_per_second: float | None
    utilisation: float | None
    mfu: float | None
    flops: int
    parameters: int
    active_seconds: dict[str, float]
    wall_seconds: float
    sample: str | None
    stopped: str | None
    sent: dict[str, float] | None
    regime: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """As JSON: units under their own name (``tokens``, ``tokens_per_second``)."""
        return {name.replace("units", f"{self.unit}s"): value for name, value in asdict(self).items()}
