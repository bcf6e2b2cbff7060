"""The examples in docstrings of ``danlu.quantization``, run as they are written."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import danlu.quantization as room

MODULES = [
    importlib.import_module(f"danlu.quantization.{m.name}") for m in pkgutil.iter_modules(room.__path__)
]
EXAMPLES = [
    test
    for module in MODULES
    for test in doctest.DocTestFinder().find(module, extraglobs=vars(room))
    if test.examples
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda test: test.name.removeprefix("danlu.quantization."))
def test_examples(example: doctest.DocTest) -> None:
    assert doctest.DocTestRunner().run(example).failed == 0


def test_there_are_some() -> None:
    assert {example.name.rpartition(".")[2] for example in EXAMPLES} >= {"quantize", "fake_quantize"}
