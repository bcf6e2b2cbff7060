"""Specifications and the classes they will build: the same names, the same fields, the same defaults."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

import danlu.flows
from danlu.spec import flows as spec

UNIONS = [
    spec.Kernel, spec.Path, spec.Levels, spec.Weight, spec.Grid, spec.Sampler, spec.Coupling, spec.Prior,
]  # fmt: skip


def members(union: Any) -> list[type]:
    """Those that a class of danlu.flows carries out: the pairs of reflow are another run's."""
    return [member for member in get_args(get_args(union)[0]) if member is not spec.Reflow]


MEMBERS = [member for union in UNIONS for member in members(union)]
BASES = [
    danlu.flows.Kernel,
    danlu.flows.Path,
    danlu.flows.Law,
    danlu.flows.Weight,
    danlu.flows.Grid,
    danlu.flows.Sampler,
    danlu.flows.Coupling,
    danlu.flows.Prior,
]


def class_of(member: type) -> type:
    found: type = getattr(danlu.flows, member.__name__.removesuffix("Path"))
    return found


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.__name__)
def test_a_specification_has_the_fields_of_its_class(member):
    built = class_of(member)
    fields = {f.name: f.default for f in dataclasses.fields(built) if f.init}
    assert member().settings() == fields
    assert built(**member().settings()) == built()


@pytest.mark.parametrize(
    ("union", "base"), list(zip(UNIONS, BASES, strict=True)), ids=lambda one: getattr(one, "__name__", "")
)
def test_every_class_of_a_family_has_its_specification(union, base):
    def concrete(cls: type) -> set[type]:
        below = {found for sub in cls.__subclasses__() for found in concrete(sub)}
        return below | (
            {cls} if dataclasses.is_dataclass(cls) and cls.__module__.startswith("danlu") else set()
        )

    assert concrete(base) == {class_of(member) for member in members(union)}


def read(union: Any, value: object) -> Any:
    return TypeAdapter(union).validate_python(value)


def test_a_part_is_chosen_by_name():
    assert read(spec.Kernel, "poisson") == spec.Poisson()
    assert read(spec.Kernel, {"kind": "student", "extra": 64}) == spec.StudentT(extra=64.0)
    assert read(spec.Sampler, "dpm2m") == spec.DPM2M()


@pytest.mark.parametrize(
    ("union", "value", "said"),
    [
        (spec.Kernel, {"kind": "student", "extra": 0.5}, "greater than or equal to 1"),
        (spec.Path, {"kind": "vp", "beta_min": 30.0}, "beta_min = 30.0 is not below beta_max = 20.0"),
        (spec.Grid, {"kind": "karras", "low": 100.0}, "low = 100.0 is not below high = 80.0"),
        (spec.Path, {"kind": "lipman", "sigma": 1.0}, "less than 1"),
        (spec.Sampler, "midpoint", "not a kind of sampler"),
        (spec.Levels, {"kind": "lognormal", "sd": 0.0}, "greater than 0"),
    ],
)
def test_what_no_part_can_do_is_refused(union, value, said):
    with pytest.raises(ValidationError, match=said):
        read(union, value)
