"""The help of every verb: one plain sentence, and examples that are right."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO

import click
import pytest
import typer
from typer.testing import CliRunner

from danlu.cli.main import app, main
from danlu.spec import resolve


def _verbs(group: click.Group, above: str = "danlu") -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        inside = _verbs(command, f"{above} {name}") if hasattr(command, "commands") else {}
        found |= inside or {f"{above} {name}": command}
    return found


ALL = typer.main.get_command(app)
VERBS = _verbs(ALL)  # type: ignore[arg-type]
EXAMPLES = [
    (verb, example.strip())
    for verb, command in VERBS.items()
    for line in re.findall(r"Examples?: ([^\n]*)", command.help or "")
    for example in line.split(";")
]
ROOM = 80 - len("  compare  ") - 4  # of a line, beside the verb
READING = ("danlu show", "danlu diff", "danlu ideas", "danlu recipes", "danlu laws show", "danlu laws plan")


def test_there_are_verbs() -> None:
    assert {"danlu train", "danlu try", "danlu laws fit"} <= set(VERBS)
    assert {verb for verb, _ in EXAMPLES} == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_one_sentence(verb: str) -> None:
    """It is not cut off in the list of verbs of a terminal of 80 columns."""
    command = VERBS[verb]
    first = (command.help or "").split("\n\n")[0]
    assert first.endswith(".") and first == command.get_short_help_str(ROOM)


@pytest.mark.parametrize(("verb", "example"), EXAMPLES)
def test_the_examples_are_of_the_verb(verb: str, example: str) -> None:
    """Its options are there; what only reads runs; what trains, trains an experiment."""
    assert example.startswith(verb)
    words = shlex.split(example)[1:]
    options = {name for parameter in VERBS[verb].params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options
    if verb.startswith(READING) or words[-1] == "--list":
        assert CliRunner().invoke(app, words).exit_code == 0
    elif verb in ("danlu train", "danlu profile"):
        resolve([word for word in words[1:] if not word.startswith(("--", "runs/"))])


@pytest.mark.parametrize("verb", ["prove", "try", "sweep", "ladder"])
def test_no_workers_are_refused_with_the_options(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([verb, "nano", "--workers", "0"])
    said = "--workers = 0; allowed: a whole number, 1 or more"
    assert end.value.code == 2 and said in capsys.readouterr().err


def numbers() -> Iterator[tuple[str, str]]:
    """Verbs and their options of numbers, as their help says."""
    for verb in VERBS:
        with redirect_stdout(StringIO()) as said:
            ALL.main([*verb.split()[1:], "--help"], standalone_mode=False)
        for option in re.findall(
            r"^  (--[a-z-]+)(?:, --[a-z]+)* +(?:<(?:int|float)\b|INTEGER|FLOAT)", said.getvalue(), re.M
        ):
            yield verb, option


@pytest.mark.parametrize(("verb", "option"), list(numbers()))
def test_what_is_no_number_is_told_with_the_option_and_what_is_allowed(
    verb: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([*verb.split()[1:], option, "soon"])
    found = re.escape(f"danlu: {option} = 'soon'; allowed: a ") + rf"(whole )?number.*\(see {verb} --help\)\n"
    assert end.value.code == 2 and re.fullmatch(found, capsys.readouterr().err)
