"""Whose rates are like Adam's: danlu's rules by a list, own ones by what their class says."""

from __future__ import annotations

from typing import Any, get_args

import pytest

import danlu
from danlu import spec
from danlu.lab.errors import LabError
from danlu.lab.ladder.rates import rated
from danlu.lab.ladder.shapes import Sized
from danlu.spec import SpecError, resolve
from danlu.spec.rates import OTHERS, like_adam
from danlu.spec.shrink import shrink

pytestmark = pytest.mark.usefixtures("no_parts")


def registered(said: bool | None) -> None:
    """An own rule, whose class says so, or nothing."""

    class Steps:
        def __init__(self, params: Any, lr: float = 0.01) -> None: ...

    if said is not None:
        Steps.like_adam = said  # type: ignore[attr-defined]
    danlu.part("optimizer", "steps")(Steps)


def test_danlus_own_rules() -> None:
    rules = get_args(get_args(spec.Optimizer)[0])
    assert {rule for rule in rules if not like_adam(rule(), "why")} == set(OTHERS)


@pytest.mark.parametrize("said", [None, False, True])
def test_a_rule_of_the_users_is_asked(said: bool | None) -> None:
    """Shrinking raises its rate where its class says that it is like Adam's, leaves it where not; without a
    word both this and a ladder's law ask."""
    registered(said)
    whole = resolve(["llama-15m", "optimizer.kind=steps"])
    recipe = Sized(1, 1, 1, 1, whole)
    if said is None:
        asked = r"the rates of the optimizer steps of .* are like Adam's is not known: write like_adam = True"
        with pytest.raises(SpecError, match=f"--shrink raises rates .*{asked}"):
            shrink(whole, 500_000)
        with pytest.raises(SpecError, match=f"rates = law is a law .*{asked}"):
            rated("law", recipe, 1e6)
        return
    assert (shrink(whole, 500_000).optimizer.lr > whole.optimizer.lr) == said
    if said:
        assert callable(rated("law", recipe, 1e6))
    else:
        with pytest.raises(LabError, match=r"optimizer\.kind = steps has others"):
            rated("law", recipe, 1e6)
