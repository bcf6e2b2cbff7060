"""The examples in docstrings of ``danlu.nn``, run as they are written."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest
import torch

import danlu.nn

MODULES = [
    importlib.import_module(found.name) for found in pkgutil.walk_packages(danlu.nn.__path__, "danlu.nn.")
]
EXAMPLES = [test for module in MODULES for test in doctest.DocTestFinder().find(module) if test.examples]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda test: test.name.removeprefix("danlu.nn."))
def test_examples(example):
    torch.manual_seed(0)
    assert doctest.DocTestRunner().run(example).failed == 0


@pytest.mark.parametrize(
    "name", ["attention", "block", "contracts", "feed_forwards", "kernels", "lru", "masks", "norms", "scan"]
)
def test_the_main_modules_have_one(name):
    assert any(example.name.startswith(f"danlu.nn.{name}.") for example in EXAMPLES)
