"""What is said on stderr while a verb works."""

from __future__ import annotations

import pytest

from danlu.cli import working
from danlu.cli.working import Working


def test_what_takes_long_is_told_though_it_says_nothing_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(working, "PATIENCE", 0.001)
    with Working() as told:
        told("fitting", 1, 10)
        told._late.join()
    assert capsys.readouterr().err.count("fitting: 1 of 10") == 1


def test_what_is_quick_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Working() as told:
        told("fitting")
    assert not told._late.is_alive()
    assert capsys.readouterr().err == ""
