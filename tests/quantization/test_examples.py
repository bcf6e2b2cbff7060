"""The examples of ``danlu.quantization``, in docstrings and on its page, run as they are written."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re

import pytest

import danlu.quantization as room
from tests.conftest import ROOT

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


def test_the_page_runs() -> None:
    text = (ROOT / "docs" / "quantization.md").read_text(encoding="utf-8")
    exec("\n".join(re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)), {})
