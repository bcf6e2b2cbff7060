"""Models in GGUF: the same logits as transformers' model that was written so, and what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from danlu import objectives, spec
from danlu.data import Dataset
from danlu.data.tokenizers import Bytes, Pretrained
from danlu.interop import InteropError, from_gguf
from danlu.interop.byte_bpe import tokenizer_json
from danlu.interop.chat import asked, rendered
from danlu.interop.gguf import config_of, halves, tensors_of
from danlu.interop.huggingface import take_over
from danlu.interop.run import save_run
from danlu.models import build, generate
from danlu.train.load import generate_text, load_run

TOKENS = ["<|endoftext|>", "<|end|>", *"abcdefgh0123", "Ġ", "ab", "Ċ"]
SIZES = {"vocab_size": len(TOKENS), "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}  # fmt: skip


def settings(kind: str, **more: Any) -> dict[str, Any]:
    """What a converter of llama.cpp writes of such a model."""
    said = {
        "block_count": 2, "context_length": 64, "embedding_length": 64, "feed_forward_length": 96,
        "attention.head_count": 4, "attention.head_count_kv": 2, "rope.freq_base": 50000.0,
        "attention.layer_norm_rms_epsilon": float(np.float32(1e-5)), "rope.dimension_count": 16,
        "vocab_size": len(TOKENS), **more,
    }  # fmt: skip
    tokenizer = {
        "model": "gpt2", "pre": "smollm", "tokens": TOKENS, "merges": ["a b"],
        "token_type": [3, 3] + [1] * (len(TOKENS) - 2), "bos_token_id": 0, "eos_token_id": 1,
        "add_space_prefix": False,
    }  # fmt: skip
    return {
        "general.architecture": kind,
        **{f"{kind}.{name}": value for name, value in said.items()},
        **{f"tokenizer.ggml.{name}": value for name, value in tokenizer.items()},
        "tokenizer.chat_template": "{{ messages[0]['content'] }}",
    }


def arrays(kind: str, model: Any) -> dict[str, Any]:
    """The tensors of a transformers model by the names of llama.cpp, and in its order of rows."""
    names = {
        "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
        "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    }  # fmt: skip
    whole = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    made = {}
    for name, tensor in model.state_dict().items():
        module, _, last = name.rpartition(".")
        array = tensor.numpy()
        if module in whole:
            made[f"{whole[module]}.{last}"] = array
            continue
        _, _, i, rest = module.split(".", 3)
        heads = {"self_attn.q_proj": 4, "self_attn.k_proj": 2}.get(rest)
        if kind == "llama" and heads:  # permute, llama.cpp, convert_hf_to_gguf.py
            half = array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:])
            array = half.swapaxes(1, 2).reshape(array.shape)
        made[f"blk.{i}.{names[rest]}.{last}"] = array
    return made


def theirs(kind: str, tied: bool = False) -> Any:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    from tests.interop.family import make

    head = {} if kind == "qwen2" else {"head_dim": 16}
    config = transformers.AutoConfig.for_model(
        kind, **SIZES, **head, rms_norm_eps=1e-5, tie_word_embeddings=tied,
        rope_parameters={"rope_type": "default", "rope_theta": 50000.0},
    )  # fmt: skip
    return make(config)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
@torch.no_grad()
def test_logits(kind: str) -> None:
    """From names and rows as llama.cpp has them: transformers' logits."""
    model = theirs(kind)
    more = {"attention.key_length": 16, "attention.value_length": 16} if kind == "qwen3" else {}
    found = arrays(kind, model)
    config = config_of(settings(kind, **more), found)
    ours = take_over(config, tensors_of(config, found))
    x = torch.randint(len(TOKENS), (2, 21), generator=torch.Generator().manual_seed(1))
    wanted = model(x).logits
    assert wanted.std() > 0.05
    assert (wanted - ours.model(x)).abs().max() <= 1e-5
    assert not ours.experiment.network.tied


def test_rows_of_pairs() -> None:
    """A head of pairs 0 1, 2 3, 4 5 is one of halves 0 2 4 and 1 3 5."""
    assert halves(torch.arange(12), 2).tolist() == [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]
    with pytest.raises(InteropError, match="10 rows of queries or keys are not 2 heads"):
        halves(torch.arange(10), 2)


EMBEDDING = {"token_embd.weight": np.zeros((len(TOKENS), 64), np.float32)}


@pytest.mark.parametrize(
    "change, said",
    [
        ({"general.architecture": "gemma2"}, "general.architecture = 'gemma2' is not read from GGUF"),
        ({"llama.expert_count": 8}, "llama.expert_count = 8 has no equivalent; allowed: 0"),
        ({"llama.rope.dimension_count": 8}, "llama.rope.dimension_count = 8 has no equivalent; allowed: 16"),
        ({"llama.attention.scale": 0.5}, r"llama.attention.scale = 0.5, which danlu does not know"),
        ({"llama.block_count": 0}, "num_hidden_layers = 0, which is no positive number"),
    ],
)
def test_settings_are_refused_by_name(change: dict[str, Any], said: str) -> None:
    config_of(settings("llama"), EMBEDDING)
    with pytest.raises(InteropError, match=said):
        config_of(settings("llama") | change, EMBEDDING)


def test_a_missing_setting_and_an_unknown_tensor() -> None:
    fields = settings("llama")
    config = config_of(fields, EMBEDDING)
    assert config["rms_norm_eps"] == 1e-5  # the float32's shortest name
    with pytest.raises(InteropError, match=r"the tensor rope_freqs.weight"):
        tensors_of(config, {"rope_freqs.weight": np.zeros(8)})
    del fields["llama.block_count"]
    with pytest.raises(InteropError, match=r"lacks llama.block_count"):
        config_of(fields, EMBEDDING)


def test_tokenizer() -> None:
    """Digits alone, pairs merged, special tokens only as such (llama.cpp, src/llama-vocab.cpp: smollm)."""
    pytest.importorskip("tokenizers")
    fields = settings("llama")
    tokenizer = Pretrained(tokenizer_json(fields), "gguf")
    named = [TOKENS[i] for i in tokenizer.encode("abc 12\n")]
    assert named == ["ab", "c", "Ġ", "1", "2", "Ċ"]
    assert (tokenizer.separator, tokenizer.vocabulary) == (0, len(TOKENS))
    assert tokenizer.decode(tokenizer.encode("abc 12\n")) == "abc 12\n"
    added = json.loads(tokenizer_json(fields))["added_tokens"]
    assert [(token["id"], token["special"]) for token in added] == [(0, True), (1, True)]
    for name, value in {"model": "llama", "pre": "tekken", "add_space_prefix": True}.items():
        with pytest.raises(InteropError, match=f"tokenizer.ggml.{name} = "):
            tokenizer_json(fields | {f"tokenizer.ggml.{name}": value})


@torch.no_grad()
def test_a_file(tmp_path: Path) -> None:
    """Written by the package gguf in Q4_1 and Q8_0, read back, kept as a run that ends with its turns."""
    gguf = pytest.importorskip("gguf", reason="gguf is not installed")
    model, path = theirs("llama", tied=True), tmp_path / "model.gguf"
    found = {n: a for n, a in arrays("llama", model).items() if n != "output.weight"}
    writer = gguf.GGUFWriter(path, "llama")
    for name, value in settings("llama").items():
        if name == "general.architecture":
            continue
        add = {list: writer.add_array, int: writer.add_uint32, float: writer.add_float32,
               bool: writer.add_bool, str: writer.add_string}[type(value)]  # fmt: skip
        add(name, value)
    wanted = {}
    for name, array in found.items():
        kind = gguf.GGMLQuantizationType.F32
        if array.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0 if "embd" in name else gguf.GGMLQuantizationType.Q4_1
        data = gguf.quants.quantize(array, kind)
        wanted[name] = gguf.quants.dequantize(data, kind)
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    imported = from_gguf(path)
    assert imported.experiment.network.tied
    assert torch.equal(imported.model.embedding.weight, torch.tensor(wanted["token_embd.weight"]))
    assert any("Q4_1" in note for note in imported.notes)
    save_run(imported, tmp_path / "run")
    loaded = load_run(tmp_path / "run")
    assert loaded.tokenizer.ends == {1}
    assert isinstance(generate_text(loaded, "ab", count=3), str)


def test_broken_files(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="gguf is not installed")
    path = tmp_path / "model.gguf"
    for content in (b"", b"GGUF", b"GGUF" + bytes(40), b"PK" + bytes(100)):
        path.write_bytes(content)
        with pytest.raises(InteropError, match="not a whole GGUF file"):
            from_gguf(path)


# The template of SmolLM2-135M-Instruct's GGUF.
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|endoftext|>a\n"
    "abc<|end|>\n' }}{% endif %}"
    "{{'<|endoftext|>' + message['role'] + '\n' + message['content'] + '<|end|>' + "
    "'\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|endoftext|>b\n' }}{% endif %}"
)


@pytest.mark.parametrize("message", ["abc 12", "a <|end|> b", ""])
def test_chat_is_as_transformers_has_it(tmp_path: Path, message: str) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    content = tokenizer_json(settings("llama"))
    (tmp_path / "tokenizer.json").write_text(content)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    (tmp_path / "config.json").write_text("{}")
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    wanted = theirs.apply_chat_template(
        [{"role": "user", "content": message}],
        chat_template=TEMPLATE,
        add_generation_prompt=True,
        return_dict=False,
    )
    ours = Pretrained(content, "gguf")
    assert asked(tmp_path, ours, message).tolist() == wanted
    assert 0 in wanted and 1 in wanted
    assert not {0, 1} & set(ours.encode("<|end|>").tolist())  # as before, elsewhere


def test_without_a_chat_form(tmp_path: Path) -> None:
    tokenizer = Pretrained(tokenizer_json(settings("llama")), "gguf")
    with pytest.raises(InteropError, match="has no chat_template; leave --chat out"):
        asked(tmp_path, tokenizer, "a")
    with pytest.raises(InteropError, match="cannot be written"):
        rendered("{{ ''.__class__.__mro__ }}", "a", {})
    with pytest.raises(InteropError, match="cannot be written"):
        rendered("{% for %}", "a", {})


@torch.no_grad()
def test_ids_are_gone_on_with_as_they_are(tmp_path: Path) -> None:
    """No separator before them; the greedy answer is what ``generate`` gives."""
    experiment = spec.validate(
        {"model.layers": 1, "model.width": 16, "model.mixer.heads": 2, "data.context": 16}
    )
    objective = objectives.build(experiment.objective, Dataset.outline(experiment.text, Bytes()))
    model = build(experiment.network, *objective.inputs).eval()
    ids = np.array([97, 98, 99])
    wanted = generate(model, torch.tensor(ids)[None], count=5, context=16, temperature=0.0)
    assert list(objective.follow(model, [97, 98, 99], 5, bare=True, temperature=0.0)) == list(
        map(int, wanted)
    )
    assert isinstance(objective.write(model, ids, count=5, temperature=0.0), str)
