"""What would take all time or memory is refused before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.cli.main import main
from danlu.lab.errors import LabError
from danlu.lab.limits import within


def test_bounds() -> None:
    within("x", 1, 10)
    within("x", 10, 10)
    for count, said in ((0, "0"), (11, "11"), (10**9, "1e+09")):
        with pytest.raises(LabError, match=rf"x = {said.replace('+', '.')}; allowed: 1 to 10"):
            within("x", count, 10)


@pytest.mark.parametrize(
    "words",
    [
        ["try", "swiglu", "--seeds", "1000000000"],
        ["try", "swiglu", "--seeds", "0"],
        ["sweep", "nano", "optimizer.lr=1e-3,1e-2", "--seeds", "1000000000"],
        ["sweep", "nano", "optimizer.lr=1e-3..1e-1", "--trials", "1000000000"],
        ["sweep", "nano", *(f"{field}=1e-150..1e150/50" for field in ("optimizer.lr", "optimizer.adamw_lr"))],
        ["ladder", "nano", "--rungs", "1000000000"],
        ["ladder", "nano", "--seeds", "1000000000"],
        ["prove", "windows-cost-little", "--seeds", "1000000000"],
    ],
)
def test_commands(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2 and "allowed: " in capsys.readouterr().err
