"""What ``--json`` prints is what ``--json-schema`` says, of every verb."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from danlu.cli import schemas
from danlu.cli.main import app
from danlu.cli.output import signed
from danlu.cli.schemas import SCHEMAS, json_schema, shape
from danlu.files.json import misfit
from danlu.spec.errors import SpecError
from danlu.spec.words import PRINTED, resolve, validate
from tests.conftest import ROOT
from tests.fuzz import world

COMMANDS = """
train base.yaml --run made
try optimizer.lr=0.01 --on base.yaml --seeds 2
try optimizer.lr=0.01 --on base.yaml --dry-run
sweep base.yaml optimizer.lr=0.01,0.02
sweep base.yaml optimizer.lr=0.01,0.02 --dry-run
ladder base.yaml --budget 6e9flop --rungs 3 --tokens-per-parameter 1
ladder base.yaml --budget 6e9flop --rungs 3 --tokens-per-parameter 1 --dry-run
prove claim.yaml
prove claim.yaml --dry-run
prove --list
ledger
ledger show optimizer
ledger due
ledger search optimizer
ledger judge
runs
runs --group
compare runs/one runs/two
trust nn/block.py
spikes runs/one
spikes runs/one --at 2 --most 0
sample runs/one --tokens 3
quantize runs/one --to int3 --by gptq --group 8 --tokens 64 --sensitivity
inspect runs/one --rows 2
inspect runs/one --measure kurtosis
import hf
curvature runs/one --error 0.5
graph base.yaml
plan base.yaml --devices 2 --price 2
profile base.yaml --steps 1
depth base.yaml --layers 1,2
show base.yaml
show base.yaml --costs --kernels --groups
show base.yaml --groups
diff base.yaml nano
recipes
doctor
ideas
ideas swiglu --on base.yaml
ideas swiglu --on "nano +swiglu"
laws fit points.csv --resamples 2
laws show
laws show chinchilla
laws compare points.csv
laws isoflop profiles.csv --resamples 20
laws envelope profiles.csv --resamples 20
laws chain tasks.csv --resamples 20 --at loss=3
laws predict points.csv --n 1e7 --d 2e8
laws influence profiles.csv
laws design profiles.csv --budget 1e19 --target loss@1e21 --resamples 20
laws plan --flops 1e20
"""

SHARED = {"dry-run"}  # of several verbs
ELSEWHERE = {"referee"}  # compared in its own tests, which have a program to judge


def verbs(group: Any, above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        inside = verbs(command, f"{name} ") if hasattr(command, "commands") else {}
        found |= inside or {above + name: command}
    return found


def test_every_verb_with_json_has_a_schema() -> None:
    every = verbs(typer.main.get_command(app))
    said = {name for name, verb in every.items() if any("--json" in one.opts for one in verb.params)}
    assert said | SHARED == set(SCHEMAS)
    assert {verb_of(line) for line in COMMANDS.strip().split("\n")} == set(SCHEMAS) - ELSEWHERE


def verb_of(command: str) -> str:
    """Whose schema it is; a ladder's plan is a form of its own."""
    words = command.split()
    if words[-1] == "--dry-run" and words[0] != "ladder":
        return "dry-run"
    return " ".join(words[: 1 + (words[0] == "laws")])


def test_a_schema_is_json_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    for verb in SCHEMAS:
        jsonschema.Draft202012Validator.check_schema(json_schema(verb))


def test_it_is_printed_with_its_version() -> None:
    done = CliRunner().invoke(app, ["--json-schema", "compare"])
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert said == json_schema("compare")
    assert (said["$id"], said["version"]) == ("urn:danlu:compare:1", 1)
    texts = {"type": "array", "items": {"type": "string"}}
    numbers = {"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "null"}]}}
    assert said["properties"]["sides"] == {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "runs": texts,
                "counted": texts,
                "final": numbers,
                "best": numbers,
            },
            "required": ["name", "runs", "counted", "final", "best"],
        },
    }
    with pytest.raises(SpecError, match=r"--json-schema = 'run'; did you mean runs.* allowed: train, try, "):
        json_schema("run")


def test_every_output_says_which_it_is() -> None:
    """An object itself, of a list each item; what says it already stays."""
    assert signed("laws fit", {"schema": "danlu.laws.groups/1"}) == {"schema": "danlu.laws.groups/1"}
    assert signed("runs", []) == []
    assert signed("runs", [{"a": 1}, {"b": 2}]) == [
        {"schema": "danlu.runs/1", "a": 1},
        {"schema": "danlu.runs/1", "b": 2},
    ]
    assert next(iter(signed("laws plan", {"a": 1}))) == "schema"
    for verb, (version, _) in SCHEMAS.items():
        assert schemas.name(verb) == f"danlu.{verb.replace(' ', '.')}/{version}"


def test_an_experiment_that_was_printed_is_read_back(tmp_path: Path) -> None:
    """JSON is YAML, so that a file of it is an experiment; a schema of another name is a mistake."""
    done = CliRunner().invoke(app, ["show", "nano", "lr=3e-4", "--json"])
    said = json.loads(done.stdout)
    assert said["schema"] == schemas.name("show") == PRINTED
    (tmp_path / "printed.yaml").write_text(done.stdout)
    assert resolve([str(tmp_path / "printed.yaml")]) == resolve("nano lr=3e-4") == validate(said)
    with pytest.raises(SpecError, match="schema"):
        validate(said | {"schema": "danlu.show/9"})


def test_the_page() -> None:
    """docs/json.md: its schemas are there, and its program runs."""
    page = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    named = re.findall(r'--json-schema "?([a-z ]+[a-z])"?(?:  |\n)', page)
    assert len(named) == 2 and set(named) <= set(SCHEMAS)
    (program,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    exec(program.replace('["danlu", ', "[sys.executable, '-m', 'danlu', "), {"sys": sys})


@pytest.mark.parametrize(
    "command", ["ideas", "ideas --json", "show nano --json", "--json-schema runs", "--help"]
)
def test_a_pipe_that_closes_is_no_mistake(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with world.closed_pipe():
        code = world.danlu(*command.split())
    assert (code, capsys.readouterr().err) == (0, "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DANLU_CACHE", str(made / "cache"))
        world.build(made)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS.strip().split("\n"))
def test_what_is_printed_fits(
    folder: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DANLU_CACHE", str(folder / "cache"))
    with world.quick():
        code = world.danlu(*shlex.split(command), "--json")
    out, err = capsys.readouterr()
    assert code == 0, err
    assert misfit(json.loads(out), shape(verb_of(command))) == ""


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("another")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DANLU_CACHE", str(made / "cache"))
        world.build(made)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("command", {verb_of(one): one for one in COMMANDS.strip().split("\n")}.values())
def test_every_verb_ends_quietly_where_the_pipe_closes(
    another: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody reads: no traceback, no sentence about it, the same exit code."""
    monkeypatch.chdir(another)
    monkeypatch.setenv("DANLU_CACHE", str(another / "cache"))
    with world.quick(), world.closed_pipe():
        code = world.danlu(*shlex.split(command), "--json")
    err = capsys.readouterr().err
    assert code == 0, err
    assert not re.search("Traceback|[Pp]ipe|danlu: ", err)
