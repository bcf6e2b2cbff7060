"""Folders: sharded, broken, pickled, without config; what is said about each."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from danlu import spec
from danlu.files.errors import FileError
from danlu.interop import Imported, InteropError, from_huggingface, to_huggingface
from danlu.interop.folder import CONFIG, INDEX, MODEL, WEIGHTS, Kept, read_tensors
from danlu.models import build


def small(**model: object) -> Imported:
    """A GPT-2 of danlu's own making, every number drawn."""
    experiment = spec.validate(
        {
            "model.layers": 2,
            "model.width": 32,
            "model.norm": {"kind": "layer", "bias": True},
            "model.position": "learned",
            "model.bias": True,
            "data.context": 24,
            **{f"model.{name}": value for name, value in model.items()},
        }
    )
    made = build(experiment.model, 97, 24).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return Imported(made, experiment)


def test_there_and_back(tmp_path: Path) -> None:
    """danlu → folder → danlu, without transformers: the same tensors bit for bit."""
    source = small()
    assert to_huggingface(source, tmp_path).model_type == "gpt2"
    back = from_huggingface(tmp_path)
    assert back.model.state_dict().keys() == source.model.state_dict().keys()
    for name, tensor in source.model.state_dict().items():
        assert torch.equal(back.model.state_dict()[name], tensor)
    assert "readout.weight" not in read_tensors(tmp_path)
    assert json.loads((tmp_path / CONFIG).read_text())["model_type"] == "gpt2"


def test_shards(tmp_path: Path) -> None:
    source = small()
    to_huggingface(source, tmp_path)
    tensors = read_tensors(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    places = {}
    for i, (name, tensor) in enumerate(tensors.items()):
        places[name] = f"model-{i % 2}.safetensors"
        tensors[name] = tensor
    for file in set(places.values()):
        save_file({name: t for name, t in tensors.items() if places[name] == file}, tmp_path / file)
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": places}))
    assert torch.equal(from_huggingface(tmp_path).model.embedding.weight, source.model.embedding.weight)
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": places | {"ghost": "model-0.safetensors"}}))
    with pytest.raises(InteropError, match="don't agree on ghost"):
        from_huggingface(tmp_path)
    (tmp_path / "model-1.safetensors").unlink()
    with pytest.raises(InteropError, match=r"model-1\.safetensors is missing"):
        from_huggingface(tmp_path)
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"x": "../elsewhere.safetensors"}}))
    with pytest.raises(InteropError, match="files of its folder"):
        from_huggingface(tmp_path)


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    to_huggingface(small(), tmp_path)
    halves = {name: tensor.bfloat16() for name, tensor in read_tensors(tmp_path).items()}
    save_file(halves, tmp_path / WEIGHTS)
    imported = from_huggingface(tmp_path)
    assert torch.equal(imported.model.norm.gain, halves["transformer.ln_f.weight"].float())
    assert any("bfloat16 are now float32" in note for note in imported.notes)


def test_what_is_said_of_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(InteropError, match="is not a folder"):
        from_huggingface(tmp_path / "nowhere")
    with pytest.raises(InteropError, match=r"has no config\.json"):
        from_huggingface(tmp_path)
    (tmp_path / CONFIG).write_text("{")
    with pytest.raises(FileError, match="cannot be read as JSON"):
        from_huggingface(tmp_path)
    (tmp_path / CONFIG).write_text("[]")
    with pytest.raises(FileError, match=r"config\.json: it holds a list, not a mapping"):
        from_huggingface(tmp_path)
    (tmp_path / CONFIG).write_text(json.dumps({"model_type": "gpt_2"}))
    with pytest.raises(InteropError, match=r"gpt_2.*did you mean gpt2\? Known: bert, bloom"):
        from_huggingface(tmp_path)
    (tmp_path / CONFIG).write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(InteropError, match=r"has no model\.safetensors"):
        from_huggingface(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(InteropError, match=r"only in pytorch_model\.bin, a pickle"):
        from_huggingface(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"nonsense")
    with pytest.raises(InteropError, match="is not a safetensors file"):
        from_huggingface(tmp_path)


def test_a_folder_is_not_written_over(tmp_path: Path) -> None:
    to_huggingface(small(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InteropError, match=r"holds a config\.json already.*--force"):
        to_huggingface(small(), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", MODEL)
def test_a_file_of_another_model_is_not_joined(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    (tmp_path / "notes.txt").write_text("mine too")
    left = tmp_path / ".0123456789abcdef.writing"
    left.write_text("by an export that was killed")
    os.utime(left, (1, 1))
    with pytest.raises(InteropError, match=f"holds a {name} already"):
        to_huggingface(small(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "notes.txt", left.name])
    assert (tmp_path / name).read_text() == "mine"
    source = small()
    to_huggingface(source, tmp_path, force=True)  # an index would be read first, a tokenizer be another's
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([CONFIG, WEIGHTS, "notes.txt"])
    assert (tmp_path / "notes.txt").read_text() == "mine too"
    assert torch.equal(from_huggingface(tmp_path).model.embedding.weight, source.model.embedding.weight)


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ({"residual": "rezero"}, r"residual\.kind = 'rezero'"),
        ({"mixer.weights": "softmax1"}, r"mixer\.weights\.kind = 'softmax1'"),
        ({"position": "kerple"}, r"position\.kind = 'kerple'"),
        ({"mixer": "lru"}, r"mixer\.kind = 'lru'"),
    ],
)
def test_what_no_family_has_is_named(patch: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(InteropError, match=said):
        to_huggingface(small(**patch), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_family_by_name(tmp_path: Path) -> None:
    with pytest.raises(InteropError, match=r"the family opt: position\.offset = 0"):
        to_huggingface(small(), tmp_path, family="opt")
    with pytest.raises(InteropError, match=r"no family 'gtp2'; did you mean gpt2\?"):
        to_huggingface(small(), tmp_path, family="gtp2")


@pytest.mark.parametrize("value", [None, "many", -1, [3]])
def test_a_field_of_another_type_is_a_sentence(value: object, tmp_path: Path) -> None:
    to_huggingface(small(), tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    for name in ("n_layer", "n_embd", "layer_norm_epsilon", "activation_function", "vocab_size"):
        (tmp_path / CONFIG).write_text(json.dumps(config | {name: value}))
        with pytest.raises(InteropError, match=r"config\.json"):
            from_huggingface(tmp_path)


def test_wrong_shapes_are_named(tmp_path: Path) -> None:
    to_huggingface(small(), tmp_path)
    tensors = read_tensors(tmp_path)
    tensors["transformer.wpe.weight"] = torch.zeros(23, 32)
    save_file(tensors, tmp_path / WEIGHTS)
    with pytest.raises(InteropError, match=r"transformer\.wpe\.weight: shape \(23, 32\).*\(24, 32\)"):
        from_huggingface(tmp_path)


def test_a_file_is_read_before_an_index(tmp_path: Path) -> None:
    """As transformers does; that the other is left is said."""
    source = small()
    to_huggingface(source, tmp_path)
    others = {name: tensor + 1 for name, tensor in read_tensors(tmp_path).items()}
    save_file(others, tmp_path / "model-0.safetensors", {"format": "pt"})
    (tmp_path / INDEX).write_text(
        json.dumps({"metadata": {}, "weight_map": dict.fromkeys(others, "model-0.safetensors")})
    )
    imported = from_huggingface(tmp_path)
    assert torch.equal(imported.model.embedding.weight, source.model.embedding.weight)
    assert [note for note in imported.notes if INDEX in note and "is read" in note]
    transformers = pytest.importorskip("transformers")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path)
    assert torch.equal(theirs.transformer.wte.weight, source.model.embedding.weight)


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    to_huggingface(small(), tmp_path)
    tensors = read_tensors(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    first, *rest = tensors
    save_file(tensors, tmp_path / "model-0.safetensors")
    save_file({first: tensors[first] + 1}, tmp_path / "model-1.safetensors")
    places = {first: "model-1.safetensors", **dict.fromkeys(rest, "model-0.safetensors")}
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": places}))
    with pytest.raises(InteropError, match=f"{first} is in model-1.safetensors and in another file"):
        from_huggingface(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_noted(tmp_path: Path, value: float) -> None:
    to_huggingface(small(), tmp_path)
    tensors = read_tensors(tmp_path)
    assert not [note for note in from_huggingface(tmp_path).notes if "NaN" in note]
    tensors["transformer.h.1.ln_2.bias"][3] = value
    save_file(tensors, tmp_path / WEIGHTS)
    (note,) = (note for note in from_huggingface(tmp_path).notes if "NaN" in note)
    assert "transformer.h.1.ln_2.bias" in note


def test_going_on_with_training_begins_gently(tmp_path: Path) -> None:
    to_huggingface(small(), tmp_path)
    optimizer = from_huggingface(tmp_path).experiment.optimizer
    assert (optimizer.kind, optimizer.lr, optimizer.weight_decay) == ("adamw", 2e-5, 0.1)


def test_what_danlu_has_no_part_for_is_written_again(tmp_path: Path) -> None:
    """Ids of special tokens, settings of generation, the chat template: through danlu's model and back."""
    to_huggingface(small(), tmp_path / "a")
    config = json.loads((tmp_path / "a" / CONFIG).read_text())
    special = {"bos_token_id": 5, "eos_token_id": 7, "pad_token_id": 0, "decoder_start_token_id": 3}
    (tmp_path / "a" / CONFIG).write_text(json.dumps(config | special))
    files = {
        "chat_template.jinja": "{% for m in messages %}丹{{ m.content }}{% endfor %}",
        "generation_config.json": json.dumps({"eos_token_id": [7, 9], "top_p": 0.8}),
        "tokenizer_config.json": json.dumps({"chat_template": "x", "eos_token": "<|im_end|>"}),
        "special_tokens_map.json": json.dumps({"pad_token": "<pad>"}),
    }
    for name, text in files.items():
        (tmp_path / "a" / name).write_text(text, encoding="utf-8")
    imported = from_huggingface(tmp_path / "a")
    assert imported.kept.ends == [7, 9]
    to_huggingface(imported, tmp_path / "b")
    written = json.loads((tmp_path / "b" / CONFIG).read_text())
    assert {name: written[name] for name in special} == special
    assert {name: (tmp_path / "b" / name).read_text(encoding="utf-8") for name in files} == files


@pytest.mark.parametrize(
    ("special", "generation", "ends"),
    [
        ({}, None, []),
        ({"eos_token_id": None}, None, []),
        ({"eos_token_id": 4}, None, [4]),
        ({"eos_token_id": [4, 5]}, "{}", [4, 5]),
        ({"eos_token_id": 4}, '{"eos_token_id": 6}', [6]),
        ({"eos_token_id": 4}, '{"eos_token_id": null}', []),
    ],
)
def test_where_a_text_ends(special: dict[str, object], generation: str | None, ends: list[int]) -> None:
    files = {} if generation is None else {"generation_config.json": generation}
    assert Kept(special, files).ends == ends


@pytest.mark.parametrize("generation", ["{", '{"eos_token_id": "</s>"}', '{"eos_token_id": [1, true]}'])
def test_an_end_that_is_no_id(generation: str) -> None:
    with pytest.raises(InteropError, match=r"is neither an id nor a list|config\.json is not JSON"):
        Kept({}, {"generation_config.json": generation}).ends  # noqa: B018
