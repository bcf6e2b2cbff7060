"""Updates that are left out, and checkpoints that stay, since the loss or the gradient spiked."""

from __future__ import annotations

import math
from sys import float_info
from typing import TYPE_CHECKING, Any

from danlu.train.callbacks import Callback
from danlu.train.errors import RunError
from danlu.train.folding import FOLDED
from danlu.train.spikes import GAP, THRESHOLD, Detector

if TYPE_CHECKING:
    from danlu.train.trainer import Trainer

IN_A_ROW = 10  # updates that are skipped, at most: what goes on longer is no spike
LARGEST = float_info.max  # what only infinity exceeds
SPIKES_KEPT = 3  # the first so many, of which the checkpoints before them stay


class Spikes(Callback):
    """``train.skip``: updates that spike are left out. ``train.ring``: checkpoints of before a spike stay.

    A spike is what ``danlu.train.spikes.Detector`` flags, and what is not finite. A row of metrics says of
    each: ``of`` what (loss, norm), its ``value`` and ``z``, and whether it was ``skipped``.
    """

    name = "spikes"

    def __init__(self, run: Trainer) -> None:
        train = run.experiment.train
        self.policy, self.ring = train.skip, train.ring
        if self.policy is not None and run.update.folding.active:
            raise run.group.once(
                RunError(
                    f"train.skip = {self.policy} leaves out the gradient of an update, and {FOLDED}; leave "
                    "train.skip out, or set train.clip"
                )
            )
        self.detectors = {"loss": Detector(), "norm": Detector()}
        self.skipped = 0  # in a row
        self.quiet = GAP  # updates since the last spike
        self.saved: list[int] = []  # the ring's newest checkpoints, two at most
        self.kept: list[int] = []  # those of before the first spikes
        self._row: dict[str, Any] | None = None

    @property
    def protects(self) -> list[int]:  # type: ignore[override]
        return [*self.saved, *self.kept]

    def after_gradients(self, run: Trainer) -> None:
        self._row = None
        if self.policy is None and self.ring is None:
            return
        values = {"loss": run.loss, "norm": run.update.norm}
        z = {name: detector.judge(values[name]) for name, detector in self.detectors.items()}
        if run.made.precision == "float16" and math.isfinite(run.loss) and not math.isfinite(z["norm"]):
            z["norm"] = math.nan  # an overflow is the loss scale's business
        looked = {"loss", "norm"} if self.policy == "either" else {self.policy or "loss"}
        high = {name for name, one in z.items() if one > (THRESHOLD if name in looked else LARGEST)}
        found = run.group.any(bool(high))
        run.skip = found and self.policy is not None and self.skipped < IN_A_ROW
        self.skipped = self.skipped + 1 if run.skip else 0
        saved = run.state.saved
        if self.ring is not None and saved % self.ring == 0 and saved not in self.protects:
            self.saved = [*self.saved, saved][-2:]
        if found:
            if self.quiet >= GAP and len(self.kept) < 2 * SPIKES_KEPT:
                self.kept += [step for step in self.saved if step not in self.kept]
            of = max(high or z, key=lambda name: z[name])
            self._row = {"of": of, "value": values[of], "z": z[of], "skipped": run.skip}
        self.quiet = 0 if found else self.quiet + 1

    def after_step(self, run: Trainer) -> None:
        if self._row is not None:
            run.write(run.where() | {"spike": self._row})

    def state(self) -> dict[str, Any] | None:
        if self.policy is None and self.ring is None:
            return None
        windows = {name: detector.state() for name, detector in self.detectors.items()}
        return {"windows": windows, "skipped": self.skipped, "quiet": self.quiet, "saved": self.saved,
                "kept": self.kept}  # fmt: skip

    def load_state(self, state: dict[str, Any]) -> None:
        self.detectors = {name: Detector(window) for name, window in state["windows"].items()}
        self.skipped, self.quiet = state["skipped"], state["quiet"]
        self.saved, self.kept = state["saved"], state["kept"]
