"""Metrics: name, unit, direction."""

import math
import subprocess
import sys

import pytest

from danlu import spec
from danlu.spec.metrics import Metric, loss_of

BITS = Metric("bits_per_byte", "bits/byte", "lower")
ACCURACY = Metric("accuracy", "", "higher")


def test_the_better_value_is_the_one_on_the_better_side() -> None:
    assert BITS.improves(2.0, on=2.1) and not BITS.improves(2.1, on=2.0)
    assert ACCURACY.improves(0.9, on=0.8) and not ACCURACY.improves(0.8, on=0.9)
    assert not BITS.improves(2.0, on=2.0) and not ACCURACY.improves(0.9, on=0.9)


@pytest.mark.parametrize("metric", [BITS, ACCURACY])
def test_a_nan_improves_on_nothing_and_everything_improves_on_a_nan(metric: Metric) -> None:
    assert not metric.improves(math.nan, on=1.0) and metric.improves(1.0, on=math.nan)
    assert not metric.improves(math.nan, on=math.nan)


def test_the_sign_makes_a_cost_of_the_value() -> None:
    assert BITS.sign * 2.0 < BITS.sign * 2.1 and ACCURACY.sign * 0.9 < ACCURACY.sign * 0.8


def test_a_value_is_written_with_its_unit() -> None:
    assert BITS.format(2.25) == "2.2500 bits/byte" and ACCURACY.format(0.5) == "0.5000"
    assert BITS.words == "bits per byte"


def test_what_is_recorded_is_read_back_and_old_records_are_bits_per_byte() -> None:
    assert Metric.read(ACCURACY.record(0.5)) == ACCURACY
    assert Metric.read({"name": "bits_per_byte", "value": 2.0}) == BITS


@pytest.mark.parametrize("objective", [spec.Causal(), spec.Prefix(), spec.Masked(), spec.Spans()])
def test_text_is_scored_in_bits_per_byte_first(objective: spec.Objective) -> None:
    first, loss = objective.metrics
    assert (first.name, first.unit, first.better) == ("bits_per_byte", "bits/byte", "lower")
    assert (loss.name, loss.unit, loss.better) == ("held_out_loss", "nats/token", "lower")
    assert "metrics" not in objective.model_dump()  # no field: experiments are written as before


def test_the_loss_is_the_last_metric_where_lower_is_better() -> None:
    loss = Metric("cross_entropy", "nats/image", "lower")
    assert loss_of([ACCURACY, loss]) == loss and loss_of(spec.Causal().metrics).name == "held_out_loss"
    with pytest.raises(spec.SpecError, match="none is a loss"):
        loss_of([ACCURACY])


def test_metrics_load_no_torch() -> None:
    code = "import danlu.spec.metrics, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
