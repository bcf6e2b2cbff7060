"""Measures are found by name before anything runs; a wrong name says what is right."""

from __future__ import annotations

import subprocess
import sys

import pytest

from danlu.lab.errors import LabError
from danlu.lab.measures import MEASURES, READ, measure
from danlu.lab.measures.names import Reading

# An argument for each that takes one.
ARGUMENTS = {
    "bits_per_byte@step:": "20", "steps-to:": "2.5", "tokens-to:": "2.5", "flops-to:": "1e0",
    "bits-per-byte@": "64",
    "inside:": "logits/out", "bits-per-byte-other:": "package:numpy", "offset:": "synthetic:copy-4",
}  # fmt: skip


@pytest.mark.parametrize("name", MEASURES)
def test_each_is_found_and_has_a_function(name: str) -> None:
    found = measure(name + ARGUMENTS.get(name, ""))
    assert found.kind is MEASURES[name] and found.reads == (name in READ)
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
        ("bits-per-byte", None),
    ],
)  # fmt: skip
def test_arguments_and_either_dash(name: str, argument: object) -> None:
    assert measure(name).argument == argument and measure(name).name == name


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("bits_per_bite", "did you mean bits_per_byte?"),
        ("kurtosiss", "did you mean kurtosis?"),
        ("kurtosis@3", "did you mean kurtosis?"),
        ("bits-per-byte@0", "a positive whole number after 'bits-per-byte@'"),
        ("bits-per-byte@long", "a positive whole number"),
        ("steps-to:low", "a number after 'steps-to:'"),
        ("steps-to:nan", "a number"),
        ("steps-to", "did you mean steps-to:?"),
        ("inside:", "a name after 'inside:'"),
        ("", "there are bits_per_byte"),
    ],
)
def test_what_is_no_measure(name: str, says: str) -> None:
    with pytest.raises(LabError) as caught:
        measure(name)
    assert says in str(caught.value)


def test_names_need_no_torch() -> None:
    code = "import sys, danlu.lab.measures as m; m.measure('max-logit'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
