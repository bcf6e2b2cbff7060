"""What ``show --groups`` prints, and the page that explains it."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from danlu.cli.main import app
from danlu.spec import resolve
from danlu.train.groups import report
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "optimizers.md").read_text(encoding="utf-8")


def danlu(*words: str) -> str:
    done = CliRunner().invoke(app, ["show", *words])
    assert done.exit_code == 0, done.output
    return done.output


def test_json_is_what_python_says():
    words = ["tiny", "+bias", "+mup"]
    found = json.loads(danlu(*words, "--groups", "--json"))["groups"]
    assert found == json.loads(json.dumps(report(resolve(words))))
    both = json.loads(danlu(*words, "--groups", "--kernels", "--json"))
    assert set(both) == {"schema", "groups", "kernels"}


def test_layers_alike_are_one_row():
    rows = {row["names"]: row for row in report(resolve(["tiny"]), vocabulary=257)}
    qkv = rows["blocks.*.mixer.qkv.weight"]
    assert (qkv["tensors"], qkv["layers"], qkv["shape"]) == (4, None, [384, 128])
    assert rows["embedding.weight"]["tensors"] == 1


def test_layers_apart_are_told_apart():
    words = ["tiny", "optimizer.groups=[{names: 'blocks.[12].mixer.*', rate: 0.5}]"]
    rows = [row for row in report(resolve(words)) if row["names"] == "blocks.*.mixer.qkv.weight"]
    assert {tuple(row["layers"]): row["settings"]["lr"] for row in rows} == {(0, 3): 0.03, (1, 2): 0.015}
    printed = danlu(*words, "--groups")
    assert "blocks.*.mixer.qkv.weight 1–2 " in printed and "blocks.*.mixer.qkv.weight 0, 3 " in printed


def test_the_table_has_every_row():
    words = ["tiny", "+bias", "optimizer={kind: tiger, lr: 0.002}"]
    lines = {line.split("  ")[0]: line for line in danlu(*words, "--groups").splitlines()}
    for row in report(resolve(words)):
        line = lines[row["names"]]
        shape = "×".join(map(str, row["shape"]))
        assert all(word in line for word in (shape, row["role"], row["rule"], f"{row['settings']['lr']:.4g}"))


def test_a_mistake_is_one_sentence():
    done = subprocess.run(
        [sys.executable, "-m", "danlu", "show", "tiny", "optimizer.groups=[{names: '*.kv.*'}]", "--groups"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("danlu: optimizer.groups.0: names = *.kv.* matches no parameter; near are")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", re.findall(r"^danlu show (.*?) *(?:#.*)?$", PAGE, flags=re.MULTILINE))
def test_the_commands_of_the_page_run(words: str):
    assert danlu(*words.split())


def test_the_python_of_the_page_runs(capsys):
    code = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    exec(compile("\n".join(code), "docs/optimizers.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "the first nn.Linear, which takes the input" in printed and "logits" in printed
