"""``danlu quantize``: what is written is what was measured."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from danlu.cli.main import main
from danlu.interop import Imported, to_huggingface
from danlu.lab.quantized import Settings, quantize_folder
from danlu.models import build
from danlu.quantization import named, quantize
from danlu.quantization.rounded import Rounded, multiply_integers
from danlu.spec import resolve, validate
from danlu.train.errors import RunError
from danlu.train.load import LoadedRun, generate_text, load_run
from tests.train import small


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("runs")
    small.run(small.corpus(made), made / "one", "train.steps=3", "model.layers=2")
    return made / "one"


def danlu(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as left, small.quick():
        main([str(word) for word in words])
    return int(left.value.code or 0)


def rounded(run: LoadedRun, format: Any) -> dict[str, torch.Tensor]:
    """The weights of a run, those in blocks to the nearest."""
    return {
        name: quantize(t, format).dequantize() if name.startswith("blocks.") and t.dim() == 2 else t
        for name, t in run.model.state_dict().items()
    }


def logits(run: LoadedRun) -> torch.Tensor:
    with torch.no_grad():
        return run.model(torch.arange(16)[None] % 7)


def test_the_folder_is_the_rounded_model(run: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    assert danlu("quantize", run, "--to", "int4", "--group", "8", "--out", out, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    exact, written = load_run(run), load_run(out)
    format = named("int4", 8, torch.float16)
    wanted = rounded(exact, format)
    state = written.model.state_dict()
    assert all(torch.equal(state[name], t) for name, t in wanted.items())
    exact.model.load_state_dict(wanted)
    assert torch.equal(logits(exact), logits(written))
    assert found["delta"] == found["after"] - found["before"] and found["kl"] > 0
    assert danlu("sample", out, "--tokens", "4") == 0


def test_int4_is_four_bits_on_the_disk(run: Path, tmp_path: Path) -> None:
    found = quantize_folder(run, Settings.of("int4", group="8"), tmp_path / "out")
    (file,) = (tmp_path / "out").glob("checkpoints/*/model.safetensors")
    tensors = load_file(file)
    codes = [t for name, t in tensors.items() if name.endswith(":codes")]
    scales = [t for name, t in tensors.items() if name.endswith(":scale")]
    weights = {n: t for n, t in load_run(run).model.state_dict().items() if "blocks" in n and t.dim() == 2}
    numbers = sum(t.numel() for t in weights.values())
    assert {t.dtype for t in codes} == {torch.uint8} and {t.dtype for t in scales} == {torch.float16}
    assert sum(t.nbytes for t in codes) == numbers / 2
    assert sum(t.nbytes for t in scales) == numbers / 8 * 2
    assert found["bytes"]["rounded"] == numbers * 6 / 8 and found["bits"] == 6
    assert found["bytes"]["file"] == file.stat().st_size
    assert not weights.keys() & tensors.keys()


def test_what_it_costs_is_what_the_run_itself_would_say(run: Path, tmp_path: Path) -> None:
    """bits per byte of the folder, evaluated apart."""
    from danlu.lab.measures import of_run

    found = quantize_folder(run, Settings.of("int2", group="8"), tmp_path / "out")
    before, after = (of_run(path, ["bits-per-byte@16"]) for path in (run, tmp_path / "out"))
    assert found["before"] == pytest.approx(before["bits-per-byte@16"], rel=1e-6)
    assert found["after"] == pytest.approx(after["bits-per-byte@16"], rel=1e-6)


def test_activations_are_rounded_in_the_folder_too(run: Path, tmp_path: Path) -> None:
    settings = Settings.of("int8", activations="int4-affine")
    found = quantize_folder(run, settings, tmp_path / "out")
    alone = quantize_folder(run, Settings.of("int8"), tmp_path / "weights")
    assert found["kl"] > 4 * alone["kl"]
    one, other = load_run(tmp_path / "out"), load_run(tmp_path / "weights")
    assert one.model.state_dict().keys() == other.model.state_dict().keys()
    assert not torch.allclose(logits(one), logits(other))
    assert generate_text(one, "the", count=3)


def test_a_folder_multiplies_integers(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quantize_folder(run, Settings.of("int8", activations="int8"), tmp_path / "out")
    fake, all_of_them = load_run(tmp_path / "out"), partial(multiply_integers, least=0)
    assert not any(one.integers for one in fake.model.modules() if isinstance(one, Rounded))  # all are small
    monkeypatch.setattr("danlu.train.quantized.multiply_integers", all_of_them)
    whole = load_run(tmp_path / "out")
    maps = [one for one in whole.model.modules() if isinstance(one, Rounded)]
    assert maps and all(one.integers for one in maps)
    torch.testing.assert_close(logits(whole), logits(fake), rtol=1e-4, atol=1e-4)
    assert generate_text(whole, "the", count=3) == generate_text(fake, "the", count=3)


SLOW = [pytest.param(by, marks=pytest.mark.slow) for by in ("awq", "gptq", "rotate")]


@pytest.mark.parametrize("by", ["rotate+gptq", *SLOW])
def test_methods(run: Path, tmp_path: Path, by: str) -> None:
    """The folder loads, though its experiment may be another, and writes."""
    found = quantize_folder(run, Settings.of("int2", by, group="8", units=256), tmp_path / "out")
    assert found["by"] == (by if "q" in by else "rotate+rtn")
    assert generate_text(load_run(tmp_path / "out"), "the", count=3)
    assert (found["notes"] != []) == ("rotate" in by)


def test_a_percentile_clips_the_largest_weights(run: Path, tmp_path: Path) -> None:
    """Of the tensor: nothing that the folder holds is beyond the 99.99th percentile, as some weights are."""
    settings = Settings.of("int8", group="tensor", ranges="percentile")
    quantize_folder(run, settings, tmp_path / "out")
    exact, found = (load_run(folder).model.state_dict() for folder in (run, tmp_path / "out"))
    changed = [name for name in exact if not torch.equal(exact[name], found[name])]
    assert changed
    for name in changed:
        bound = torch.quantile(exact[name].abs().flatten(), 0.9999)
        assert found[name].abs().max() < exact[name].abs().max()
        assert found[name].abs().max() <= bound * (1 + 1 / 127)


def test_sensitivity_is_of_each_layer_alone(run: Path, tmp_path: Path) -> None:
    settings = Settings.of("int3", group="8")
    found = quantize_folder(run, settings, tmp_path / "out", sensitivity=True)
    exact = load_run(run)
    for row in found["sensitivity"]:
        only = {
            name: t if f"blocks.{row['layer']}." in name else exact.model.state_dict()[name]
            for name, t in rounded(exact, settings.format).items()
        }
        assert row["before"] == found["before"] and row["kl"] < found["kl"]
        other = load_run(run)
        other.model.load_state_dict(only)
        assert not torch.equal(logits(other), logits(exact))
    assert [row["layer"] for row in found["sensitivity"]] == [0, 1]


GROUPS = "allowed: channel, tensor, or a number of weights that divides every map's inputs"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--to", "int9"], "--to int9: int9 is no format; did you mean int8? allowed: int2 to int8, ternary"),
        (["--to", "int4", "--group", "24"], f"--group = 24; {GROUPS}: 1, 2, 4, 8, 16"),
        (["--group", "0"], f"--group = 0; {GROUPS}"),
        (["--group", "many"], f"--group = many; {GROUPS}"),
        (["--to", "mxfp4", "--group", "16"], "has groups of 32 by definition"),
        (["--by", "gtpq"], "there is no method 'gtpq'; did you mean gptq?"),
        (["--by", "gptq+rtn"], "rounds twice"),
        (["--by", "smoothquant"], "add --activations int8"),
        (["--scale", "int8"], "--scale = int8 is none of float16, float32"),
        (["--range", "min"], "--range = min is none of whole, error, square, percentile"),
        (["--by", "awq", "--range", "error"], "awq finds ranges of its own"),
        (["model.width=32"], "changes what was trained"),
        (["--step", "7"], "steps with a checkpoint: 3"),
    ],
)
def test_mistakes(run: Path, tmp_path: Path, words: list[str], sentence: str, capsys: Any) -> None:
    assert danlu("quantize", run, *words, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


class Killed(BaseException):
    """Ends a process from within."""


def test_nothing_is_there_before_it_is_measured(run: Path, tmp_path: Path) -> None:
    """Neither while it is measured, when a kill would leave it, nor after that failed."""

    def there() -> list[Path]:
        return [path for path in tmp_path.iterdir() if path.suffix != ".lock"]  # a lock stays

    def tell(what: str, done: int = 0, of: int = 0) -> None:
        if what == "evaluating":
            assert not out.exists() and len(there()) == 1
            raise Killed

    out = tmp_path / "out"
    with pytest.raises(Killed):
        quantize_folder(run, Settings.of("int4", group="8"), out, tell=tell)
    assert there() == []
    quantize_folder(run, Settings.of("int4", group="8"), out)
    assert there() == [out] and load_run(out).quantized


def test_the_metric_is_named(run: Path, tmp_path: Path, capsys: Any) -> None:
    """As in summary.json, in words."""
    assert danlu("quantize", run, "--out", tmp_path / "out") == 0
    name = json.loads((run / "summary.json").read_text())["metric"]["name"].replace("_", " ")
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == [*name.split(), "size"] and f"\n{name} " in out


def test_nothing_is_overwritten(run: Path, tmp_path: Path, capsys: Any) -> None:
    assert danlu("quantize", run, "--out", tmp_path / "out") == 0
    for words in (["quantize", run, "--out", tmp_path / "out"], ["quantize", tmp_path / "out"]):
        assert danlu(*words) == 2
    error = capsys.readouterr().err
    assert "is not overwritten" in error and "in few bits already" in error


def test_a_folder_of_transformers(tmp_path: Path, capsys: Any) -> None:
    """On data that is named; its layer norms, biases and tied readout are rewritten where it is turned."""
    tokenizers = pytest.importorskip("tokenizers")
    letters = {chr(i): i for i in range(128)} | {"<|endoftext|>": 128}
    experiment = validate({
        "model.layers": 2, "model.width": 16, "model.mixer.heads": 2, "model.position": "learned",
        "model.norm": {"kind": "layer", "bias": True}, "model.bias": True, "model.tied": True,
        "data.context": 24,
    })  # fmt: skip
    torch.manual_seed(0)
    model = build(experiment.model, 129, 24).eval()
    to_huggingface(Imported(model, experiment), tmp_path / "theirs")
    tokenizers.Tokenizer(tokenizers.models.BPE(letters, [])).save(str(tmp_path / "theirs" / "tokenizer.json"))
    data = [f"data.corpus={small.corpus(tmp_path)}", "data.context=16"]
    for by in ("rtn", "rotate+gptq"):
        out = tmp_path / by
        assert danlu("quantize", tmp_path / "theirs", *data, "--by", by, "--to", "int8", "--out", out) == 0
        assert danlu("sample", out, "--tokens", "3") == 0
        text = torch.randint(128, (2, 24))
        with torch.no_grad():
            torch.testing.assert_close(load_run(out).model(text), model(text), rtol=0.05, atol=0.05)
    (tmp_path / "theirs" / "tokenizer.json").unlink()
    capsys.readouterr()
    assert danlu("quantize", tmp_path / "theirs", *data, "--out", tmp_path / "no") == 2
    assert "the model came without a tokenizer.json, which it reads text by" in capsys.readouterr().err


def test_a_cache_in_few_bits(run: Path, capsys: Any) -> None:
    told = []
    for words in ([], ["--cache", "8"]):
        assert danlu("sample", run, "--tokens", "6", *words) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]  # the context is shorter than what stays exact


def test_a_damaged_record_and_training_on(run: Path, tmp_path: Path) -> None:
    from danlu.train import checkpoint, store

    out = tmp_path / "out"
    quantize_folder(run, Settings.of("int4", group="8"), out)
    with pytest.raises(RunError, match=r"is in few bits, .* go on with"):
        small.go(resolve([str(out)]), out)
    tensors, state = checkpoint.load(out, 3)
    name = next(iter(state["quantized"]["weights"]))
    checkpoint.save(out, 4, {"model": {n: t for n, t in tensors["model"].items() if name not in n}}, state)
    with pytest.raises(RunError, match=rf"{name}: its codes are missing; write the folder anew"):
        load_run(out, 4)
    state["quantized"]["weights"][name]["format"] = "int1"
    checkpoint.save(out, 5, tensors, state)
    with pytest.raises(RunError, match=r"int1 is no format; did you mean int"):
        load_run(out, 5)
    assert store.latest_step(out) == 5
