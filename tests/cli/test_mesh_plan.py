"""``danlu plan`` as a person meets it: tables, JSON, what cannot be, wrong names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from danlu.cli.main import app
from danlu.files.errors import DanluError
from danlu.spec import resolve
from danlu.train.mesh_plan import words
from tests.conftest import ROOT

TINY = ["plan", "tiny", "optimizer=adamw", "train.batch=32", "train.seconds=none", "train.steps=100"]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*TINY, *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def found(*arguments: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(run(*arguments, "--json"))
    return said


def test_the_words_of_a_mesh_are_an_experiment_that_asks_for_it() -> None:
    first = found("--devices", "8", "--device", "a100")
    fits = [one for one in first["meshes"] if one["why"] is None]
    assert len(fits) > 1 and not first["asked"]
    for one in fits[:3]:
        experiment = resolve([*TINY[1:], *one["words"].split()])
        assert (experiment.train.parallel == "fsdp") is one["sharded"]
        assert experiment.train.mesh.tensor == one["mesh"]["tensor"]
        again = found("--devices", "8", "--device", "a100", *one["words"].split())
        if again["asked"]:
            assert again["chosen"]["words"] == one["words"]


def test_what_training_could_not_divide_is_told() -> None:
    """Half of 65 hidden units is none; an LRU has states in place of heads, which tensor parallel divides."""
    whys = {
        one["said"]: one["why"] for one in found("--devices", "2", "model.feed_forward.hidden=65")["meshes"]
    }
    assert "65 cannot be divided among train.mesh.tensor = 2" in whys["tensor=2"]
    assert whys["ddp=2"] is None
    asked = found("--devices", "2", "model.feed_forward.hidden=65", "train.mesh.tensor=2")
    assert "65 cannot be divided" in asked["notes"][0] and asked["chosen"]["said"] != "tensor=2"
    lru = found("--devices", "2", "model.mixer={kind: lru, state: 6}", "model.position=none")
    whys = {one["said"]: one["why"] for one in lru["meshes"]}
    assert whys["tensor=2"] is None and "deals out heads of attention" in whys["context=2"]


def test_what_it_says_adds_up() -> None:
    said = found("--devices", "4", "--price", "3")
    chosen = said["chosen"]
    assert chosen["memory"]["total"] == pytest.approx(
        sum(value for name, value in chosen["memory"].items() if name != "total")
    )
    for end in ("low", "high"):
        assert chosen["money"][end] == pytest.approx(chosen["hours"][end] * 4 * 3)
        assert chosen["hours"][end] == pytest.approx(chosen["seconds"][end] * said["updates"] / 3600)
    fast = said["batch"] * said["units"] / chosen["seconds"]["low"]
    assert chosen["per_second"]["high"] == pytest.approx(fast)


def test_it_is_said_to_be_an_estimate() -> None:
    text = run("--devices", "8")
    assert "An estimate: of published rates, published runs of others reached 38% to 65%." in text
    assert "by a measured MFU of 0.4 on one device" in run("--devices", "8", "--mfu", "0.4")


def test_nothing_fits_is_said_with_what_would_help(tmp_path: Path) -> None:
    small = tmp_path / "small.yaml"
    small.write_text(
        "name: small\npeak: {bfloat16: 1e12}\nmemory: 1e6\nbandwidth: 1e11\nlink: 1e9\nsource: me\n"
    )
    said = found("--devices", "2", "--device", str(small))
    assert said["chosen"] is None
    assert re.search(r"nothing fits: .* take \d+ of small at least", said["notes"][0])


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--device", "h10"], "device = h10 is not known; did you mean h100?"),
        (["--device", "none.yaml"], "none.yaml is missing"),
        (["--devices", "6", "train.mesh.tensor=4"], "a multiple of 4 processes, and there are 6"),
        (["--device", "t4", "train.precision=bfloat16"], "t4 has no published rate in bfloat16"),
        (["--device", "t4", "train.products=float8"], "t4 has no published rate in float8"),
    ],
)
def test_mistakes_are_sentences(arguments: list[str], why: str) -> None:
    with pytest.raises(DanluError, match=re.escape(why)):
        run(*arguments)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("peak: {bfloat16: -2e14}", "peak.bfloat16 = -200000000000000.0 is not a number greater than 0"),
        ("peak: {bf61: 2e14}", "peak.bf61 is not known; allowed: bfloat16, float16, float8, tf32 or float32"),
        ("peak: 3", "peak = 3 is not a mapping of bfloat16, float16, float8, tf32 or float32, each a number"),
        ("memory: 32", "memory = 32 is in bytes: 32 GB are 32e9"),
        ("link: 300", "link = 300 is in bytes/s: 32 GB are 32e9"),
        ("name: h100", "name = h100 is that of a device of the table; give yours another"),
    ],
)
def test_what_is_wrong_with_a_device_is_said(tmp_path: Path, change: str, why: str) -> None:
    rows = {
        "name": "name: mine", "peak": "peak: {bfloat16: 2.0e+14}", "memory": "memory: 8.0e+10",
        "bandwidth": "bandwidth: 2.0e+12", "link": "link: 3.0e+11", "source": "source: me",
    }  # fmt: skip
    file = tmp_path / "mine.yaml"
    file.write_text("\n".join(rows.values()))
    assert found("--devices", "1", "--device", str(file))["device"]["name"] == "mine"
    file.write_text("\n".join((rows | {change.partition(":")[0]: change}).values()))
    with pytest.raises(DanluError, match=re.escape(why)):
        run("--device", str(file))


def test_workers_say_how_many_devices_they_are() -> None:
    notes = " ".join(found("--devices", "2", "+noloco")["notes"])
    assert "each of the 4 workers is such a mesh, 8 devices in all" in notes
    assert "in each round of 50 updates every one gives" in notes
    assert "each of the" not in " ".join(found("--devices", "1", "+diloco")["notes"])


def test_heads_of_patches_are_dealt_out_too() -> None:
    """A network of 4 heads on images: two devices may have two heads each, and positions are whole."""
    said = CliRunner().invoke(app, ["plan", "digits", "--devices", "2", "--json"])
    meshes = json.loads(said.stdout)["meshes"]
    why = {axis: [one["why"] for one in meshes if one["mesh"][axis] == 2] for axis in ("tensor", "context")}
    assert None in why["tensor"] and set(why["context"]) == {"context = 2 does not divide 1 positions"}


def test_a_mesh_that_cannot_be_says_why_and_another_is_told() -> None:
    said = found("--devices", "8", "train.parallel=fsdp", "train.batch=12")
    assert "batch of 12" in said["notes"][0]
    assert said["chosen"] is not None


def test_words_of_plain_replicas_are_rows_alone() -> None:
    from danlu.planning import Layout

    assert words(Layout(replicate=8, rows=2)) == "train.microbatch=2"


def test_words_say_when_gradients_are_scattered() -> None:
    from danlu.planning import Layout

    said = words(Layout(shard=8, sharded=True, rows=1, held=False))
    assert said == "train.parallel=fsdp train.microbatch=1 train.gradient_sync=pass"
    whole, shards = (
        found("--devices", "8", *said.split(), f"train.gradient_sync={when}")["chosen"]
        for when in ("update", "pass")
    )
    assert shards["words"] == said and shards["passes"] == whole["passes"] == 4
    assert shards["memory"]["gathered"] < whole["memory"]["gathered"]


def test_the_page_runs() -> None:
    page = (ROOT / "docs" / "mesh-plan.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "docs/mesh-plan.md", "exec"), {})
