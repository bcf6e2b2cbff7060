"""The byte-level BPE in a GGUF file, as a ``tokenizer.json`` of the tokenizers library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from danlu.files.yaml import brief
from danlu.interop.errors import InteropError
from danlu.spec.errors import either

# transformers' names of special tokens and those of GGUF.
SPECIAL = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}
_CONTROL, _OWN = 3, 4  # token_type: never text of a model; added by its makers

_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# How text is cut before merging, by tokenizer.ggml.pre (llama.cpp, src/llama-vocab.cpp).
_CUTS: dict[str, list[dict[str, Any]]] = {
    "gpt-2": [_BYTES],
    "smollm": [{"type": "Digits", "individual_digits": True}, _BYTES],
    "qwen2": [
        {"type": "Split", "pattern": {"Regex": _QWEN}, "behavior": "Isolated", "invert": False},
        {**_BYTES, "use_regex": False},
    ],
}


def tokenizer_json(fields: Mapping[str, Any]) -> str:
    """The text of a ``tokenizer.json``. Raises InteropError for a tokenizer of another kind."""
    for name, allowed in (("model", ["gpt2"]), ("pre", list(_CUTS))):
        if (value := fields.get(f"tokenizer.ggml.{name}")) not in allowed:
            raise InteropError(
                f"tokenizer.ggml.{name} = {brief(value)} is not read from GGUF; allowed: {either(allowed)}"
            )
    if fields.get("tokenizer.ggml.add_space_prefix"):
        raise InteropError("tokenizer.ggml.add_space_prefix = True has no equivalent; allowed: False")
    tokens, merges = fields.get("tokenizer.ggml.tokens"), fields.get("tokenizer.ggml.merges")
    if not isinstance(tokens, list) or not isinstance(merges, list):
        raise InteropError("the file lacks tokenizer.ggml.tokens or tokenizer.ggml.merges")
    kinds = fields.get("tokenizer.ggml.token_type") or [1] * len(tokens)
    pre = fields["tokenizer.ggml.pre"]
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [
        {"id": i, "content": token, **plain, "special": kind == _CONTROL}
        for i, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind in (_CONTROL, _OWN)
    ]
    return json.dumps(
        {
            "version": "1.0",
            "added_tokens": added,
            "normalizer": {"type": "NFC"} if pre == "qwen2" else None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": _CUTS[pre]},
            "post_processor": None,
            "decoder": _BYTES,
            "model": {
                "type": "BPE",
                "vocab": {token: i for i, token in enumerate(tokens)},
                "merges": [merge.split(" ", 1) for merge in merges],
            },
        },
        ensure_ascii=False,
    )
