"""The reading verbs as a person meets them: in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from danlu.spec import catalog, resolve, validate


def danlu(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "danlu.cli.main", *words], capture_output=True, text=True, encoding="utf-8"
    )


def test_show_can_be_run_again() -> None:
    done = danlu("show", "nanogpt-char", "+swiglu", "optimizer.lr=3e-4", "train.seed=-1")
    assert (done.returncode, done.stderr) == (0, "")
    experiment = resolve(["nanogpt-char", "+swiglu", "optimizer.lr=3e-4", "train.seed=-1"])
    assert validate(yaml.safe_load(done.stdout)) == experiment
    assert done.stdout.startswith("# danlu show nanogpt-char +swiglu optimizer.lr=3e-4 train.seed=-1\n")


def test_show_as_json() -> None:
    done = danlu("show", "--json", "train.steps=2k")
    assert validate(json.loads(done.stdout)) == resolve(["train.steps=2k"])


def test_diff() -> None:
    done = danlu("diff", "tiny", "tiny optimizer.lr=1e-4 data.corpus='my file.txt'")
    assert [line.split(maxsplit=2) for line in done.stdout.splitlines()[1:]] == [
        ["data.corpus", "python-stdlib", "my file.txt"],
        ["optimizer.lr", "0.03", "1e-4"],
    ]
    assert danlu("diff", "tiny", "tiny").stdout == "no difference\n"
    rows = json.loads(danlu("diff", "tiny", "tiny model.norm=layer", "--json").stdout)
    assert {"schema": "danlu.diff/1", "field": "model.norm.kind", "a": "rms", "b": "layer"} in rows
    assert {"schema": "danlu.diff/1", "field": "model.norm.bias", "b": False} in rows


def test_lists() -> None:
    recipes, ideas = danlu("recipes"), danlu("ideas")
    named = [line.split()[0] for line in recipes.stdout.splitlines()[1:]]
    assert sorted(named) == list(catalog.names("recipes"))
    listed = [line.split()[0] for line in ideas.stdout.splitlines() if line.startswith("  ")]
    assert sorted(listed) == [f"+{name}" for name in catalog.names("ideas")]
    assert {row["name"] for row in json.loads(danlu("recipes", "--json").stdout)} == set(
        catalog.names("recipes")
    )
    assert all(row["source"] and row["expect"] for row in json.loads(danlu("ideas", "--json").stdout))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "optimizer.lrr=1"], "did you mean optimizer.lr?"),
        (["show", "tinny", "--json"], "did you mean tiny?"),
        (["diff", "tiny", "'tiny"], "is not a list of words"),
        (["shwo"], "show"),
        (["show", "--jsn"], "--jsn"),
        (["diff", "tiny"], "danlu diff --help"),
    ],
)
def test_mistakes_are_sentences(words: list[str], said: str) -> None:
    done = danlu(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert all(line.startswith("danlu: ") for line in done.stderr.splitlines())


def test_version_and_help() -> None:
    from danlu import __version__

    assert danlu("--version").stdout == f"danlu {__version__}\n"
    for words, said in (([], "danlu --help"), (["--help"], "recipes")):
        done = danlu(*words)
        assert done.returncode == 0 and said in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--help"],
        ["show", "tiny"],
        ["show", "--help"],
        ["diff", "tiny", "gpt2-124m"],
        ["recipes"],
        ["ideas"],
    ],
    ids=" ".join,
)
def test_reading_never_loads_torch(words: list[str]) -> None:
    code = (
        "import sys\nfrom danlu.cli.main import main\n"
        f"try:\n    main({words!r})\n"
        "except SystemExit as left:\n    assert not left.code\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_an_idea_whole_and_what_it_changes() -> None:
    written = danlu("ideas", "mla").stdout
    assert written.startswith("+mla  ") and "latent: = 4 * head_size" in written and "DeepSeek-V2" in written
    there = danlu("ideas", "+mla", "hwfa", "--on", "gpt2-124m").stdout
    assert "latent       – → 256             = 4 * head_size" in there
    assert "on gpt2-124m it does not apply: model.pattern.11.position = none has no effect" in there
    found = json.loads(danlu("ideas", "lion", "sgd", "--on", "llama-7b", "--json").stdout)
    assert {"field": "optimizer.lr", "before": 3e-4, "after": 6e-5, "rule": "adamw_lr / 5"} in found[0][
        "changes"
    ]
    assert "it needs model.width <= 128" in found[1]["refused"]
    assert "did you mean +swiglu?" in danlu("ideas", "swigul").stderr


def test_show_says_what_ideas_became() -> None:
    head = danlu("show", "nano", "+window", "data.context=256").stdout.splitlines()[:2]
    assert head[1] == "# +window: model.mixer.window = 32, which is data.context / 2"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ideas", "swiglu", "--on", "digts"], "did you mean digits?"),
        (
            ["show", "nano", "model.width=1e12", "--costs"],
            "64 bits can count; make it smaller",
        ),
    ],
)
def test_a_mistake_is_told_before_anything_is_shown(words: list[str], said: str) -> None:
    done = danlu(*words)
    assert (done.returncode, done.stdout) == (2, "") and said in done.stderr and "Trace" not in done.stderr
