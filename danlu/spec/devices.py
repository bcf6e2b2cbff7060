"""Devices that one may train on, as their makers publish them: the one table of peak rates (no torch)."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal, Self

from pydantic import ValidationError, model_validator

from danlu.files.yaml import is_file_name, read_mapping
from danlu.spec.base import Fraction, PositiveFloat, PositiveInt, Spec
from danlu.spec.errors import SpecError, did_you_mean, either
from danlu.spec.explain import explain

HERE = "here"  # the name of the machine that a command runs on, as it is measured
REACHED = (0.38, 0.83)  # of devices without published runs: all that others reached
IN_BYTES = ("memory", "bandwidth", "link", "network")
LEAST = 1e5  # bytes, or bytes/s, below which a number was meant in another unit
Rate = Literal["bfloat16", "float16", "float8", "tf32", "float32"]
Type = Literal["bfloat16", "float16", "float32"]
TYPES: tuple[Type, ...] = ("bfloat16", "float16", "float32")  # of activations; the first is taken


class Device(Spec):
    """``peak``: dense FLOP/s of matrix products by precision. ``memory``: bytes. ``bandwidth``: bytes/s of
    its own memory. ``link``: bytes/s, in one direction, to the others in its machine, of which there are
    ``machine`` with itself; ``network``: bytes/s of each device, in one direction, to other machines (None:
    not published). ``processor``: what PyTorch calls its kind. ``reached``: the shares of these rates, low
    and high, that published training runs reached (``bench.plan``). ``also``: other names; ``seen_as``: what
    drivers call it; ``source``: who says so."""

    name: str
    also: tuple[str, ...] = ()
    seen_as: tuple[str, ...] = ()
    title: str = ""
    peak: dict[Rate, PositiveFloat]
    memory: PositiveFloat
    bandwidth: PositiveFloat
    link: PositiveFloat
    machine: PositiveInt = 8
    network: PositiveFloat | None = None
    processor: Literal["cuda", "cpu"] = "cuda"
    reached: tuple[Fraction, Fraction] = REACHED
    source: str

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not any(name in self.peak for name in TYPES):
            raise ValueError(f"peak has no rate of a type that activations have; write {either(TYPES)}")
        for name in IN_BYTES:
            if (value := getattr(self, name)) is not None and value < LEAST:
                raise ValueError(f"{name} = {value:g} is in bytes{'/s' * (name != 'memory')}: 32 GB are 32e9")
        low, high = self.reached
        if not 0 < low <= high:
            raise ValueError(
                f"reached = [{low}, {high}] is not a low and a high share; allowed: 0 < low ≤ high"
            )
        return self

    @property
    def type(self) -> Type:
        """Of activations: the first of ``TYPES`` that it has a rate of."""
        return next(name for name in TYPES if name in self.peak)

    def rate(self, precision: str) -> float:
        """Its FLOP/s in ``precision``. Raises SpecError where none is published."""
        for name, found in self.peak.items():
            if name == precision:
                return found
        raise SpecError(f"{self.name} has no published rate in {precision}; known: {either(self.peak)}")


@cache
def devices() -> tuple[Device, ...]:
    """The devices of the catalog."""
    found = read_mapping(resources.files("danlu") / "catalog" / "devices.yaml", "the table of devices")
    return tuple(Device.model_validate(row) for row in found["devices"])


def device(word: str) -> Device:
    """The device of that name, or of a YAML file with the fields of ``Device``. Raises SpecError."""
    if is_file_name(word):
        return _of_file(word)
    named = {name: one for one in devices() for name in (one.name, *one.also)}
    found = named.get(word.lower().replace("_", "-").replace(" ", "-"))
    if found is None:
        near = did_you_mean(word, named)
        known = either(one.name for one in devices())
        raise SpecError(f"device = {word} is not known{near or f'; known: {known}'}; or write a YAML file")
    return found


def recognised(driver: str) -> Device | None:
    """The device that a driver calls ``driver`` (``torch.cuda.get_device_name()``); None where the table has
    it not."""
    return next((one for one in devices() if driver.strip() in one.seen_as), None)


def _of_file(word: str) -> Device:
    written = read_mapping(Path(word), word)
    try:
        found = Device.model_validate(written)
        if found.name in (known.name for known in devices()):
            raise SpecError(
                f"{word}: name = {found.name} is that of a device of the table; give yours another"
            )
        return found
    except ValidationError as error:
        sentences = explain(error, written, Device).values()
        raise SpecError("\n".join(f"{word}: {text}" for text in sentences)) from None
