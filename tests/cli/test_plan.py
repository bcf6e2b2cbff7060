"""``danlu laws plan`` as a person meets it: text, JSON, a page, and the command that it ends with."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from danlu.cli.main import main
from danlu.cli.schemas import SCHEMAS
from danlu.files.json import misfit
from danlu.lab.planned import RECIPES, planned, recipe_for
from danlu.laws import plan
from danlu.laws.formulas.chinchilla import optimum
from danlu.spec.devices import HERE, device
from danlu.spec.shrink import count
from danlu.spec.words import resolve


def danlu(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["laws", "plan", *map(str, words)])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


def said(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    code, out, _ = danlu(capsys, *words, "--json")
    assert code == 0
    found = json.loads(out)
    assert not misfit(found, SCHEMAS["laws plan"].shape)
    return found


def test_text_ends_with_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = danlu(capsys, "--flops", "1e22", "--price", 2)
    assert (code, err) == (0, "")
    lines = out.rstrip().splitlines()
    assert lines[-1].startswith("danlu train llama-13b model.layers=")
    for heading in ("The run", "Batch and rate", "If the size is wrong", "How far", "The model"):
        assert any(line.startswith(heading) for line in lines), heading
    assert "warning: no intervals" in out


def test_the_command_is_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Its words mean an experiment of the planned size, tokens, batch and rate."""
    found = said(capsys, "--flops", "1e21")
    lines = {line["key"]: line["value"] for line in found["plan"]}
    words = shlex.split(found["train"]["command"])
    assert words[:2] == ["danlu", "train"]
    experiment = resolve(words[2:])
    parameters = count(experiment.network, experiment.text.vocabulary or 32000, experiment.text.context)
    assert parameters == lines["shape_parameters"]
    assert parameters == pytest.approx(lines["parameters"], rel=0.1)
    assert experiment.train.tokens == pytest.approx(lines["tokens"], rel=1e-3)
    assert experiment.optimizer.lr == pytest.approx(lines["lr_step_law"], rel=1e-2)
    batch = experiment.train.batch * experiment.text.context
    assert batch == pytest.approx(lines["batch_step_law"], rel=0.05)
    assert lines["memory_states"] == 18 * parameters


@pytest.mark.parametrize("names", [("--parameters", "--tokens"), ("--n", "--d")])
def test_numbers_are_read_as_people_write_them(
    capsys: pytest.CaptureFixture[str], names: tuple[str, str]
) -> None:
    found = said(capsys, names[0], "7B", names[1], "0.14T tokens", "--price", "2")["given"]
    assert (found["parameters"], found["tokens"]) == (7e9, 0.14e12)
    assert said(capsys, "--c", "1e5 PFLOP")["given"]["flops"] == 1e20


def test_warnings_come_before_what_they_put_in_doubt(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = danlu(capsys, "--flops", "2e22")
    assert 0 < out.index("warning: the law goes beyond") < out.index("The run (value")


def test_keys_are_ascii_and_stand_once(capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, "--loss", "2.3", "--serve", "1e12", "--unique-tokens", "1e11", "--published")
    keys = [line["key"] for line in found["plan"]]
    assert len(keys) == len(set(keys)) and all(re.fullmatch(r"[a-z0-9_]+", key) for key in keys)
    assert {"epochs", "serving_compute", "total_compute", "repetition_loss", "gpus_least"} <= set(keys)
    assert {"llama_3", "kaplan"} <= {row["key"] for row in found["published"]}
    assert found["given"]["loss"] == 2.3 and found["parameters"]["alpha"] == 0.34781


def test_published_laws_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = danlu(capsys, "--flops", "1e22", "--published")
    assert code == 0 and "Kaplan" in out and "Chinchilla refitted" in out and "left out" in out


def test_a_page(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "plan.html"
    fit = tmp_path / "fit.json"
    theta = dict(zip("EAB", (1.8, 480.0, 2000.0), strict=True)) | {"alpha": 0.35, "beta": 0.36}
    draws = [[value * shift for value in theta.values()] for shift in (0.98, 0.99, 1.01, 1.02)]
    fit.write_text(json.dumps({"law": "chinchilla", "parameters": theta, "draws": draws}))
    code, out, _ = danlu(capsys, "--flops", "1e21", "--by", fit, "--report", page)
    assert code == 0 and f"drawn in {page}" in out
    code, out, _ = danlu(capsys, "--flops", "1e21", "--by", fit, "--published")
    n, d = optimum(np.array([*theta.values()]), 1e21)
    own = next(line for line in out.splitlines() if line.startswith("this plan"))
    assert code == 0 and f"{n / 1e9:.3g}B" in own and f"{d / n:.3g}" in own and fit.name in own
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"\b(src|href)=(?!.data:)|<script|@import", text) and text.count("<svg") == 1
    assert "danlu train" in text and "nan" not in text
    code, _, err = danlu(capsys, "--flops", "1e21", "--report", fit)
    assert code == 2 and "fit.json" in err and len(err.splitlines()) == 1


def test_a_fit_of_one_group_and_its_warnings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    old = {"E": 1.8, "A": 480.0, "B": 2000.0, "alpha": 0.35, "beta": 0.36}
    warned = [{"code": "not-identified", "text": "E is not identified"}]
    one = {"law": "chinchilla", "parameters": old, "warnings": warned}
    groups = {"law": "chinchilla", "groups": {"old": one, "new data": one | {"parameters": old | {"E": 1.5}}}}
    (tmp_path / "groups.json").write_text(json.dumps(groups))
    found = said(capsys, "--loss", "1.79", "--by", f"{tmp_path / 'groups.json'}#new data")
    assert found["parameters"]["E"] == 1.5
    assert {"not-identified", "no-intervals"} <= {one["code"] for one in found["warnings"]}
    code, _, err = danlu(capsys, "--loss", "1.79", "--by", f"{tmp_path / 'groups.json'}#old")
    assert code == 2 and "floor" in err


@pytest.mark.slow
def test_no_pytorch_without_a_recipe() -> None:
    code = """if True:
        import sys
        from danlu.cli.main import app
        app(["laws", "plan", "--flops", "1e20"], standalone_mode=False)
        assert "torch" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


def test_a_size_that_no_recipe_can_have_has_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, "--parameters", "1e16", "--far")
    assert found["train"] is None and "no-command" in {one["code"] for one in found["warnings"]}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nope", "--flops", "1e20"), "nope"),
        (("digits-mlp", "--flops", "1e20"), "data.kind"),
        (("--flops", "1e22", "--gpu-memory", "-1"), "gpu-memory"),
        (("--loss", "2", "--flops", "1e20"), "cannot be reached"),
        (("--flops", "1e30"), "no answer without --far"),
        (
            ("--parameters", "seven"),
            "--parameters = 'seven'; allowed: a number above zero, such as 7e9 or 7B",
        ),
        (("--tokens", "7 FLOP"), "--tokens = '7 FLOP'; allowed: a number above zero"),
    ],
)
def test_wrong_input_is_one_sentence(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], sentence: str
) -> None:
    code, out, err = danlu(capsys, *words)
    assert (code, out) == (2, "") and sentence in err and "Traceback" not in err


def test_the_recipe_is_not_much_larger_than_the_plan() -> None:
    assert recipe_for(1e6) == "nano" and recipe_for(7e9) == "llama-13b" and recipe_for(1e13) == "llama-65b"
    sizes = [RECIPES[recipe_for(10.0**power)] for power in range(4, 13)]
    assert sizes == sorted(sizes)


@pytest.mark.slow
def test_memory_is_what_costs_counts(tmp_path: Path) -> None:
    """A named recipe: the network's own count, the rule's own state, the activations of one sequence."""
    from danlu.train.costs import costs

    run = planned(plan(flops=3e14, far=True), ("nano", "layers=2"), room=1e9)
    held = costs(
        run.experiment.model_copy(update={"train": run.experiment.train.model_copy(update={"microbatch": 1})})
    )
    assert held["parameters"]["total"] == run.sized.parameters
    assert run.memory.activations == held["memory"]["activations"]
    rule = run.memory.states - sum(held["memory"][name] for name in ("weights", "gradients", "copies"))
    assert (
        8 * run.sized.parameters <= rule < 8.1 * run.sized.parameters
    )  # Adam's moments, and counts of steps
    tight = planned(
        plan(flops=3e14, far=True), ("nano", "layers=2"), room=run.memory.states / 3 + run.memory.activations
    )
    assert tight.memory.gpus == 3 and tight.memory.of_one <= tight.memory.room + 1
    train = tight.experiment.train
    assert train.parallel == "fsdp" and train.batch % 3 == 0
    assert train.gradient_sync == ("update" if train.microbatch is None else "pass")


def test_the_machine_here_says_its_rate_and_memory(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a CPU, whose activations are of 32 bits; what is measured is taken as it comes."""
    measured = device("h100").model_copy(update={"name": HERE, "peak": {"float32": 2e11}, "memory": 3e10})
    monkeypatch.setattr("danlu.train.here.here", lambda: measured)
    found = said(capsys, "--flops", "1e19", "--device", "here")
    assert found["given"]["flops_per_second"] == 2e11
    hours = next(line["value"] for line in found["plan"] if line["key"] == "gpu_hours")
    assert hours == pytest.approx(1e19 / (0.4 * 2e11 * 3600))
    assert any("GPUs of 30 GB" in line["name"] for line in found["plan"])


def test_a_device_says_its_rate_and_memory(capsys: pytest.CaptureFixture[str]) -> None:
    by_name = said(capsys, "--flops", "1e21", "--device", "a100")
    by_number = said(capsys, "--flops", "1e21", "--flops-per-second", "312e12", "--gpu-memory", "80e9")
    assert by_name == by_number
    assert by_name["given"]["flops_per_second"] == 312e12
    own = said(capsys, "--flops", "1e21", "--device", "a100", "--flops-per-second", "1e14")
    assert own["given"]["flops_per_second"] == 1e14
    code, out, err = danlu(capsys, "--flops", "1e21", "--device", "a10O")
    assert (code, out) == (2, "") and "device = a10O is not known; did you mean a100?" in err
