"""Measures are found by name before anything runs; a wrong name says what is right."""

from __future__ import annotations

import subprocess
import sys

import pytest

from danlu.lab.errors import LabError
from danlu.lab.measures import MEASURES, READ, measure
from danlu.lab.measures.names import Reading
from danlu.spec import Causal, Metric

TEXT = Causal().metrics
NATS = (Metric("nats", "nats", "lower"),)  # of an objective whose metric's name begins a measure's
IMAGES = Metric("accuracy", "", "higher"), Metric("cross_entropy", "nats/image", "lower")

# An argument for each that takes one.
ARGUMENTS = {
    "metric@step:": "20", "steps-to:": "2.5", "tokens-to:": "2.5", "flops-to:": "1e0", "metric@": "64",
    "inside:": "logits/out", "metric-other:": "package:numpy", "offset:": "synthetic:copy-4",
    "rounded:": "int2/gptq", "lost-updates:": "embedding",
}  # fmt: skip


@pytest.mark.parametrize("metrics", [TEXT, NATS, IMAGES])
@pytest.mark.parametrize("name", [name for name in MEASURES if name != "accuracy"])
def test_each_is_found_and_has_a_function(name: str, metrics: tuple[Metric, ...]) -> None:
    found = measure(name + ARGUMENTS.get(name, ""), metrics)
    assert found.kind.function == MEASURES[name].function and found.reads == (name in READ)
    module, function = found.kind.function.split(".")
    taken = getattr(__import__(f"danlu.lab.measures.{module}", fromlist=[function]), function)
    assert len(taken.__doc__) > 20


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("bits-per-byte@256", Reading(256)),
        ("bits_per_byte@256:model.position.scaling={kind: ntk, factor: 4}",
         Reading(256, "model.position.scaling={kind: ntk, factor: 4}")),
        ("bits_per_byte@STEP:20", 20),
        ("steps_to:2.5", 2.5),
        ("bits-per-byte-other:synthetic:copy-4", "synthetic:copy-4"),
        ("bits-per-byte", "bits_per_byte"),
        ("held_out_loss", "held_out_loss"),
        ("metric@256", Reading(256)),
    ],
)  # fmt: skip
def test_arguments_and_either_dash(name: str, argument: object) -> None:
    found = measure(name, TEXT)
    assert found.argument == argument and found.name == name


@pytest.mark.parametrize(
    ("name", "metrics", "unit", "better"),
    [
        ("metric", TEXT, "bits/byte", "lower"), ("metric", IMAGES, "", "higher"),
        ("best", IMAGES, "", "higher"), ("bits-per-byte@64", TEXT, "bits/byte", "lower"),
        ("held-out-loss", TEXT, "nats/token", "lower"), ("cross_entropy", IMAGES, "nats/image", "lower"),
        ("accuracy", TEXT, "share", "higher"), ("accuracy", IMAGES, "", "higher"),
        ("accuracy@step:5", IMAGES, "", "higher"), ("steps-to:0.9", IMAGES, "steps", "lower"),
        ("loss", TEXT, "nats/token", "lower"), ("gap", IMAGES, "nats/image", "lower"),
        ("exact-match", TEXT, "share", "higher"), ("seconds", IMAGES, "s", "lower"),
    ],
)  # fmt: skip
def test_unit_and_direction_are_the_objectives(
    name: str, metrics: tuple[Metric, ...], unit: str, better: str
) -> None:
    found = measure(name, metrics).metric
    assert (found.name, found.unit, found.better) == (name, unit, better)


def test_a_metric_of_the_objective_is_read_and_another_is_measured() -> None:
    assert measure("accuracy", IMAGES).reads and not measure("accuracy", TEXT).reads


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("bits_per_bite", "did you mean bits_per_byte?"),
        ("kurtosiss", "did you mean kurtosis?"),
        ("kurtosis@3", "did you mean kurtosis?"),
        ("bits-per-byte-late", "there is no measure 'bits-per-byte-late'"),
        ("bits-per-byte@0", "a positive whole number after 'bits-per-byte@'"),
        ("bits-per-byte@long", "a positive whole number"),
        ("steps-to:low", "a number after 'steps-to:'"),
        ("steps-to:nan", "a number"),
        ("steps-to", "did you mean steps-to:?"),
        ("inside:", "a name after 'inside:'"),
        ("", "there are bits_per_byte, held_out_loss, metric"),
    ],
)
def test_what_is_no_measure(name: str, says: str) -> None:
    with pytest.raises(LabError) as caught:
        measure(name, TEXT)
    assert says in str(caught.value)


def test_names_need_no_torch() -> None:
    code = (
        "import sys, danlu.lab.measures as m, danlu.spec as s;"
        "m.measure('max-logit', s.Causal().metrics); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
