"""Models in GGUF, the file of llama.cpp: LLaMA's kind, with a byte-level BPE inside.

The package gguf reads the file and its formats of few bits; weights become float32. What the file says is
then written as the ``config.json`` and the tensors of transformers, and read as those are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from danlu.data.tokenizers import Pretrained
from danlu.files.json import to_json
from danlu.files.read import open_file
from danlu.files.yaml import brief
from danlu.interop import folder as folders
from danlu.interop.byte_bpe import SPECIAL, tokenizer_json
from danlu.interop.errors import InteropError
from danlu.interop.folder import Kept
from danlu.interop.huggingface import Imported, take_over
from danlu.spec.errors import either

Fields = dict[str, Any]
Arrays = dict[str, NDArray[Any]]

# general.architecture, which is transformers' model_type; whether llama.cpp turns neighbouring pairs of a
# head, for which its converter puts the rows of queries and keys in another order.
PAIRS = {"llama": True, "qwen2": False, "qwen3": False}

_WHOLE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_OF_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TURNED = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}
_CONFIG = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
}


def from_gguf(path: str | os.PathLike[str]) -> Imported:
    """The danlu model of a GGUF file, with its tokenizer.

    Raises FileError for what is no file, InteropError for a missing package and a broken file, and, naming
    it, for an architecture, a setting, a tensor, a format of weights or a tokenizer that danlu does not read.
    """
    fields, arrays = _read(path)
    config = config_of(fields, arrays)
    notes = [f"weights of {', '.join(fields.pop('formats'))} are now float32"]
    imported = take_over(config, tensors_of(config, arrays))
    special = folders.special_of(config)
    tokenizer = Pretrained(tokenizer_json(fields), "tokenizer.ggml", str(path))
    about: Fields = {"tokenizer_class": "PreTrainedTokenizerFast"}
    names = fields["tokenizer.ggml.tokens"]
    for name in SPECIAL:
        if (i := special.get(f"{name}_token_id")) is not None:
            about[f"{name}_token"] = names[i[0] if isinstance(i, list) else i]
    if template := fields.get("tokenizer.chat_template"):
        about["chat_template"] = template
    kept = Kept(special, {folders.TOKENIZER_CONFIG: to_json(about, indent=2) + "\n"})
    rows = imported.model.embedding.weight.shape[0]
    data = imported.experiment.data.model_copy(update={"vocabulary": rows})
    experiment = imported.experiment.model_copy(update={"data": data})
    return replace(
        imported, experiment=experiment, kept=kept, tokenizer=tokenizer, notes=(*imported.notes, *notes)
    )


def config_of(fields: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Fields:
    """The ``config.json`` of a file's settings. Raises InteropError for one that is missing, or that danlu
    does not read."""
    kind = fields.get("general.architecture")
    if kind not in PAIRS:
        raise InteropError(
            f"general.architecture = {brief(kind)} is not read from GGUF; allowed: {either(list(PAIRS))}. "
            "Others come in from a folder of transformers"
        )
    left = {n.removeprefix(f"{kind}."): v for n, v in fields.items() if n.startswith(f"{kind}.")}

    def take(name: str) -> Any:
        if name not in left:
            raise InteropError(f"the file lacks {kind}.{name}")
        return left.pop(name)

    config: Fields = {"model_type": kind, "hidden_act": "silu"}
    config |= {theirs: take(name) for name, theirs in _CONFIG.items()}
    heads = config["num_attention_heads"]
    for name in ("num_hidden_layers", "hidden_size", "num_attention_heads"):
        if type(config[name]) is not int or config[name] < 1:
            raise InteropError(f"the file says {name} = {brief(config[name])}, which is no positive number")
    config["num_key_value_heads"] = left.pop("attention.head_count_kv", heads)
    config["rms_norm_eps"] = _shortest(take("attention.layer_norm_rms_epsilon"))
    size = left.pop("attention.key_length", config["hidden_size"] // heads)
    if kind != "qwen2":  # its heads have no size of their own
        config["head_dim"] = size
    rotary = {"rope_type": "default", "rope_theta": _shortest(left.pop("rope.freq_base", 10000.0))}
    if (scaling := left.pop("rope.scaling.type", "none")) != "none":
        rotary |= {"rope_type": scaling, "factor": _shortest(take("rope.scaling.factor"))}
        if scaling == "yarn":
            rotary["original_max_position_embeddings"] = take("rope.scaling.original_context_length")
    config["rope_parameters"] = rotary
    left.pop("rope.scaling.finetuned", None)  # says how the file came about
    if "token_embd.weight" not in arrays:
        raise InteropError("the file has no token_embd.weight")
    config["vocab_size"] = len(arrays["token_embd.weight"])
    config["tie_word_embeddings"] = "output.weight" not in arrays
    usual = {
        "attention.value_length": size,
        "rope.dimension_count": size,
        "vocab_size": config["vocab_size"],
        "expert_count": 0,
        "expert_used_count": 0,
    }
    for name, value in left.items():
        if name not in usual:
            raise InteropError(f"the file says {kind}.{name} = {brief(value)}, which danlu does not know")
        if value != usual[name]:
            raise InteropError(f"{kind}.{name} = {brief(value)} has no equivalent; allowed: {usual[name]}")
    return config | _special(fields)


def tensors_of(config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    """The tensors by transformers' names, float32. Raises InteropError for a name danlu does not know."""
    made = {}
    for name, array in arrays.items():
        found = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", name)
        if found is not None and found[2] in _OF_LAYER:
            theirs = f"model.layers.{found[1]}.{_OF_LAYER[found[2]]}.{found[3]}"
        elif name in _WHOLE:
            theirs = _WHOLE[name]
        else:
            raise InteropError(f"the file has the tensor {name}, for which danlu has no place")
        tensor = torch.from_numpy(np.array(array, np.float32))  # a copy, which no file lies under
        if found is not None and found[2] in _TURNED and PAIRS[config["model_type"]]:
            tensor = halves(tensor, config[_TURNED[found[2]]])
        made[theirs] = tensor
    return made


def halves(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of which each head's neighbours turn together → rows of which the first half of a head turns with
    the second, as in transformers: the converse of ``permute`` in llama.cpp's convert_hf_to_gguf.py."""
    if heads < 1 or len(rows) % (2 * heads):
        raise InteropError(f"{len(rows)} rows of queries or keys are not {heads} heads of pairs")
    return rows.view(heads, -1, 2, *rows.shape[1:]).transpose(1, 2).reshape(rows.shape)


def _special(fields: Mapping[str, Any]) -> Fields:
    """The ids of special tokens by their fields in ``config.json``; the ends of a text and of a turn."""
    said = {ours: fields.get(f"tokenizer.ggml.{theirs}_token_id") for ours, theirs in SPECIAL.items()}
    found = {f"{ours}_token_id": i for ours, i in said.items()}
    turn = fields.get("tokenizer.ggml.eot_token_id")
    if turn not in (None, found["eos_token_id"]):
        found["eos_token_id"] = [found["eos_token_id"], turn]
    return {name: i for name, i in found.items() if i is not None}


def _shortest(value: float) -> float:
    """The number of fewest digits that is this float32: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def _read(path: str | os.PathLike[str]) -> tuple[Fields, Arrays]:
    """What the file says, by name, and its tensors as numbers; ``formats``: how it holds them."""
    open_file(path).close()  # no pipe, no device
    try:
        import gguf
    except ImportError:
        raise InteropError(f"reading {path} needs the package gguf: pip install 'danlu[real]'") from None
    try:
        reader = gguf.GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        arrays = {}
        for tensor in reader.tensors:
            arrays[tensor.name] = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    except NotImplementedError:
        raise InteropError(
            f"{tensor.name} of {path} is in {tensor.tensor_type.name}, which the package gguf does not read; "
            "take a file in F16, Q8_0 or Q4_1"
        ) from None
    except Exception as error:  # the library raises what the bytes lead it to
        raise InteropError(f"{path} is not a whole GGUF file: {error}") from None
    return fields | {"formats": sorted({t.tensor_type.name for t in reader.tensors})}, arrays
