"""Whether runs went far enough for their verdict to carry further."""

from __future__ import annotations

from typing import Any

import pytest

from danlu.lab.regime import Regime, regime_of

FAR = {
    "tokens_per_parameter": 20.0, "updates": 2000, "bits_below_chance": 0.5, "warmup": 0.02,
    "whole_schedule": True,
}  # fmt: skip


def summary(**changed: Any) -> dict[str, Any]:
    return {"steps": 1, "parameters": 1, "regime": {**FAR, **changed}}


def test_far_enough_is_not_early() -> None:
    regime = regime_of([summary()], tuned=True)
    assert regime is not None and regime.early == ()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"tokens_per_parameter": 5.0}, "5 tokens per parameter"),
        ({"updates": 300}, "300 updates"),
        ({"bits_below_chance": 0.1}, "0.10 bits below chance"),
        ({"bits_below_chance": -1.33}, "1.33 bits above chance"),
        ({"warmup": 0.1}, "warm-up is 10%"),
        ({"whole_schedule": False}, "cut short"),
    ],
)
def test_each_thing_that_is_missing_is_said(changed: dict[str, Any], why: str) -> None:
    regime = regime_of([summary(), summary(**changed)], tuned=True)
    assert regime is not None
    (said,) = regime.early
    assert why in said


def test_an_idea_may_add_some_parameters() -> None:
    """A baseline of 20 tokens a parameter, and a variant with a twentieth more, or a quarter more."""
    for more, early in ((1.05, False), (1.25, True)):
        regime = regime_of([summary(tokens_per_parameter=20 / share) for share in (1, more)], tuned=True)
        assert regime is not None and bool(regime.early) is early


def test_rates_that_were_not_tuned_are_early() -> None:
    regime = regime_of([summary()], tuned=False)
    assert regime is not None and regime.early == ("the rates were not tuned",)


def test_a_warm_up_of_as_many_tokens_as_parameters_is_short_enough() -> None:
    assert Regime(25.0, 2000, 1.0, 0.04, True).early == ()
    assert Regime(50.0, 2000, 1.0, 0.04, True).early != ()


def test_images_are_asked_for_no_tokens() -> None:
    assert Regime(None, 2000, 1.0, 0.02, True).early == ()


def test_a_run_of_an_older_version_tells_what_it_can() -> None:
    regime = regime_of([{"steps": 3000, "parameters": 100, "tokens": 2500, "stopped": None}])
    assert regime is not None
    assert (regime.tokens_per_parameter, regime.updates, regime.bits_below_chance) == (25.0, 3000, None)
    assert regime_of([]) is None


def test_json_says_why_it_is_early() -> None:
    said = Regime(5.0, 300, 0.5, 0.02, True, False).json()
    assert len(said["early"]) == 3 and said["tuned"] is False
