"""The guide for agents: it is printed as it is, and every command in it can be typed."""

from __future__ import annotations

import re
import shlex

import pytest
import typer
from typer.testing import CliRunner

from danlu.cli.main import app
from tests.conftest import ROOT

GUIDE = (ROOT / "danlu" / "catalog" / "SKILL.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", GUIDE, flags=re.DOTALL)
COMMANDS = [shlex.split(line, comments=True) for block in BLOCKS for line in block.strip().split("\n")]


def test_it_is_printed() -> None:
    done = CliRunner().invoke(app, ["agents"])
    assert (done.exit_code, done.stdout) == (0, GUIDE)


def test_it_is_a_skill() -> None:
    """https://agentskills.io: a front matter with a name and a description of at most 1,024 characters."""
    front = re.match(r"---\nname: (\S+)\ndescription: (.+)\n---\n", GUIDE)
    assert front is not None and front[1] == "danlu" and len(front[2]) <= 1024
    assert ": " not in front[2]  # as YAML, it is text without quotes


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_its_commands_can_be_typed(words: list[str]) -> None:
    """The parser of the verb takes them, with every option."""
    group = typer.main.get_command(app)
    name, *rest = words[1:]
    command = group.commands[name]  # type: ignore[attr-defined]
    if hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    context = command.make_context(name, rest, resilient_parsing=False)
    assert words[0] == "danlu" and context.params["as_json"]


def test_it_knows_the_exit_codes() -> None:
    """Those of the referee are written where it ends; those of signals where a queue does."""
    from danlu.lab.queue.queue import EXIT

    said = {
        int(code)
        for row in re.findall(r"^\| ([\d, ]+) \|", GUIDE, flags=re.MULTILINE)
        for code in row.split(",")
    }
    referee = (ROOT / "danlu" / "cli" / "referee.py").read_text(encoding="utf-8")
    codes = {int(code) for code in re.findall(r"\b(\d+) (?:answered|wrong|void|runs|budget|if)", referee)}
    assert {0, 2, 3, 4, 5, 11, 12} <= codes
    assert said == codes | {1, 10, *EXIT.values()}
