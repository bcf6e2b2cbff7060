"""The verb ``publish``: what it prints, and where it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.cli.main import main
from tests.lab.reading.folders import make_run


def test_it_says_what_was_written_and_what_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(Path("runs/one"), scores=[2.0, 1.0])
    make_run(Path("runs/two"))
    for said in ("4", "nothing new"):
        with pytest.raises(SystemExit) as ended:
            main(["publish", "runs", "--to", "csv"])
        assert ended.value.code == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[1].split(maxsplit=2) == ["runs/one", "one", said]
        assert lines[-1] == "written to published/csv"
    assert Path("published/csv/one.csv").is_file()
    Path("there").mkdir()
    Path("there/one.csv").write_text("mine")
    with pytest.raises(SystemExit) as ended:
        main(["publish", "runs", "--to", "csv", "--out", "there"])
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert "warning: runs/one is not published to csv in there" in err
    assert "danlu: 1 of 2 runs are not published" in err and "runs/two" in out
