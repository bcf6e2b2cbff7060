"""The pictures of the pages: there, small, told in words, and drawn of what is committed."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from bench.pictures import PICTURES, file_of, text_of
from tests.conftest import ROOT

LARGEST = 60_000  # bytes


@pytest.mark.parametrize("name", [*PICTURES, "coordinates"])
def test_each_page_has_its_picture_and_says_what_is_to_be_seen(name: str) -> None:
    page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    found = dict((path, said) for said, path in re.findall(r"!\[([^]]*)\]\(\.\./(\S+?)\)", page))
    path = f"bench/results/{name}.svg"
    assert len(found[path].split()) >= 6
    data = (ROOT / path).read_bytes()
    assert len(data) < LARGEST
    assert ElementTree.fromstring(data).tag == "{http://www.w3.org/2000/svg}svg"


def test_passes_to_a_gap_are_those_of_the_result() -> None:
    assert text_of(PICTURES["maximum-entropy"]()) == file_of("maximum-entropy").read_text(encoding="utf-8")
