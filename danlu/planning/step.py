"""Seconds of an update on a mesh, as a range, and what follows: speed, utilisation, hours, money."""

from __future__ import annotations

from dataclasses import dataclass

from danlu.planning.demand import Demand
from danlu.planning.layout import Layout
from danlu.planning.memory import Memory, memory
from danlu.planning.roofline import Work, work
from danlu.planning.traffic import Collective, hidden, traffic
from danlu.spec.devices import Device


@dataclass(frozen=True)
class Step:
    """An update. ``work``: of a device at published rates; ``reached``: the shares of that which real runs
    reach, from low to high; ``traffic``; ``bubble``: the share of a pipeline's work that stages wait beside
    it. Pairs are the ends of a range, the better one first."""

    demand: Demand
    layout: Layout
    device: Device
    memory: Memory
    work: Work
    traffic: list[Collective]
    reached: tuple[float, float]

    @property
    def bubble(self) -> float:
        """(p − 1)/m of p stages and m passes (1F1B; Narayanan et al. 2021, arXiv:2104.04473, section 2.2)."""
        return (self.layout.pipeline - 1) / self.layout.passes(self.demand.batch)

    def _at(self, reached: float) -> tuple[float, float]:
        """Seconds of work, waiting stages included, and of traffic that shows."""
        busy = self.work.total / reached
        return busy * (1 + self.bubble), hidden(self.traffic, busy, self.device)

    @property
    def seconds(self) -> tuple[float, float]:
        """Of an update."""
        low, high = self.reached
        return sum(self._at(high)), sum(self._at(low))

    @property
    def exposed(self) -> tuple[float, float]:
        """Seconds of traffic that no work hides."""
        low, high = self.reached
        return self._at(high)[1], self._at(low)[1]

    @property
    def per_second(self) -> tuple[float, float]:
        """Tokens a second, of all devices."""
        fast, slow = (self.demand.batch * self.demand.units / t for t in self.seconds)
        return fast, slow

    @property
    def utilisation(self) -> tuple[float, float]:
        """MFU: FLOPs of the network, recomputed ones left out, over those of all devices at their peak
        (Chowdhery et al. 2022, arXiv:2204.02311, appendix B)."""
        peak = self.device.rate(self.demand.precision) * self.layout.devices
        fast, slow = (self.demand.batch * self.demand.flops / (t * peak) for t in self.seconds)
        return fast, slow

    def hours(self, updates: int) -> tuple[float, float]:
        """Of so many updates, evaluations and checkpoints left out."""
        fast, slow = (t * updates / 3600 for t in self.seconds)
        return fast, slow


def step(demand: Demand, layout: Layout, device: Device, mfu: float | None = None) -> Step:
    """An update of ``demand`` on ``layout`` of ``device``. ``mfu``: the utilisation that one such device was
    measured to reach by itself, in place of the shares that published runs reached. Raises SpecError, a
    sentence, where it cannot be divided so; whether it fits into memory is for whoever asks."""
    layout.check(demand, device)
    busy, reached = work(demand, layout, device), device.reached
    if mfu is not None:
        flops = demand.batch * demand.flops / layout.devices / device.rate(demand.precision)
        reached = (mfu * busy.total / flops, mfu * busy.total / flops)
    return Step(
        demand, layout, device, memory(demand, layout), busy, traffic(demand, layout, device), reached
    )
