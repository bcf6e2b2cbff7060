"""The fields of a ``config.json`` and those of a specification, row by row, each row readable both ways.

A row takes what it knows from the ``Reader`` and adds to its ``patch`` (dotted names of the specification,
and ``vocabulary`` and ``context``); the other way it gives the fields to be written for a normal form
(``danlu.interop.normal``). A field that no row takes is refused by name, so nothing is dropped silently.
No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from danlu.files.yaml import brief
from danlu.interop.errors import InteropError
from danlu.interop.normal import Normal, get
from danlu.spec.errors import either

REQUIRED = object()

ACTIVATIONS = {
    "gelu": "gelu", "gelu_python": "gelu", "gelu_new": "gelu-tanh", "gelu_pytorch_tanh": "gelu-tanh",
    "gelu_fast": "gelu-tanh", "relu": "relu", "relu2": "relu2", "silu": "silu", "swish": "silu",
}  # fmt: skip
GATES = {
    "silu": "silu", "swish": "silu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu-tanh",
    "gelu_new": "gelu-tanh", "relu": "relu", "sigmoid": "sigmoid", "linear": "none",
}  # fmt: skip


class Reader:
    """A ``config.json`` being read: each field can be taken once, and at the end none may be left."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.left = dict(config)
        self.patch: dict[str, Any] = {}
        self.notes: list[str] = []

    def take(self, *names: str, default: Any = REQUIRED) -> Any:
        """The value of the first of ``names`` that is there (the others are older names for it)."""
        found = {name: self.left.pop(name) for name in names if name in self.left}
        if not found and default is REQUIRED:
            raise InteropError(f"config.json lacks {names[0]}")
        first = next(iter(found.values()), default)
        for name, value in found.items():
            if value != first:
                said = f"{next(iter(found))} = {brief(first)}, but {name} = {brief(value)}"
                raise InteropError(f"config.json contradicts itself: {said}")
        return first

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)


def refused(name: str, value: Any, allowed: Sequence[Any]) -> InteropError:
    """The error of a field whose value danlu has no part for."""
    return InteropError(
        f"config.json: {name} = {brief(value)} has no equivalent in danlu; "
        f"allowed: {either([brief(a) for a in allowed])}"
    )


class Row(Protocol):
    """A correspondence of some fields of a config with some of a specification."""

    def read(self, config: Reader) -> None: ...

    def write(self, n: Normal) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Field:
    """``theirs`` (or, older, one of ``also``) is ``ours``; ``default`` where it is left out; ``words``:
    their values and ours, where they are called differently. ``ours = None`` cannot be: see ``Only``."""

    theirs: str
    ours: str
    default: Any = REQUIRED
    words: Mapping[Any, Any] | None = None
    also: tuple[str, ...] = ()

    def read(self, config: Reader) -> None:
        value = config.take(self.theirs, *self.also, default=self.default)
        if self.words is not None:
            if not isinstance(value, str | bool | int | float | None) or value not in self.words:
                raise refused(self.theirs, value, list(self.words))
            value = self.words[value]
        config.patch[self.ours] = value

    def write(self, n: Normal) -> dict[str, Any]:
        value = get(n, self.ours)
        if self.words is None:
            return {self.theirs: value}
        for theirs, ours in self.words.items():
            if ours == value and type(ours) is type(value):
                return {self.theirs: theirs}
        return {self.theirs: self.default}  # reading it back will differ, and the difference is named


class Only:
    """Fields whose one value is what danlu does: any other is refused. ``Only(add_cross_attention=False)``;
    where a field may say the same in several ways, a tuple, the first of which is written."""

    def __init__(self, **values: Any) -> None:
        self.values = {name: v if isinstance(v, tuple) else (v,) for name, v in values.items()}

    def read(self, config: Reader) -> None:
        for name, allowed in self.values.items():
            value = config.take(name, default=allowed[0])
            if not any(value == a and isinstance(value, bool) == isinstance(a, bool) for a in allowed):
                raise refused(name, value, allowed)

    def write(self, n: Normal) -> dict[str, Any]:
        return {name: allowed[0] for name, allowed in self.values.items()}


class Ignored:
    """Fields that never alter the logits; not written."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def read(self, config: Reader) -> None:
        for name in self.names:
            config.take(name, default=None)

    def write(self, n: Normal) -> dict[str, Any]:
        return {}


class Dropout:
    """Dropout of the embedding and the branches: danlu has one number for them."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def read(self, config: Reader) -> None:
        given = {name: config.take(name, default=0.0) or 0.0 for name in self.names}
        config.patch["dropout"] = float(given[self.names[0]])
        if len(set(given.values())) > 1:
            config.note(
                f"{', '.join(f'{k} = {v}' for k, v in given.items())}: danlu has one dropout for these, "
                f"set to {given[self.names[0]]}; without effect on a trained model's logits"
            )

    def write(self, n: Normal) -> dict[str, Any]:
        return dict.fromkeys(self.names, n["dropout"])


class NoDropout:
    """Dropout where danlu has none: a note, since logits don't depend on it; written as 0."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def read(self, config: Reader) -> None:
        for name in self.names:
            if value := config.take(name, default=0.0):
                config.note(
                    f"{name} = {value} is left out: danlu has no dropout there; the logits are the same"
                )

    def write(self, n: Normal) -> dict[str, Any]:
        return dict.fromkeys(self.names, 0.0)


@dataclass(frozen=True)
class Init:
    """The standard deviation of initial weights; it has no part in the comparison of models."""

    theirs: str = "initializer_range"

    def read(self, config: Reader) -> None:
        if std := config.take(self.theirs, default=None):
            config.patch |= {"init.std": float(std), "init.embedding": float(std)}

    def write(self, n: Normal) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class Custom:
    """Where one row of names does not do: ``reading(config)`` takes fields and returns a patch;
    ``writing(n)`` returns the fields."""

    reading: Callable[[Reader], Mapping[str, Any]]
    writing: Callable[[Normal], dict[str, Any]]

    def read(self, config: Reader) -> None:
        config.patch.update(self.reading(config))

    def write(self, n: Normal) -> dict[str, Any]:
        return self.writing(n)


@dataclass(frozen=True)
class Rope:
    """Rotary positions: ``rope_parameters`` (transformers 5), or ``rope_scaling`` and the older names of base
    and fraction. ``base``, ``fraction``: where they are left out (None: the family has no such field)."""

    base: float = 10000.0
    fraction: float | None = None
    old_base: tuple[str, ...] = ("rope_theta",)
    old_fraction: tuple[str, ...] = ("partial_rotary_factor",)
    layout: str = "half"

    def read(self, config: Reader) -> None:
        base = config.take(*self.old_base, default=self.base)
        fraction = config.take(*self.old_fraction, default=self.fraction)
        new, old = config.take("rope_parameters", default=None), config.take("rope_scaling", default=None)
        given = completed(old or new or {}, config.patch["context"])
        config.patch |= read_rope(given, base, fraction, self.fraction is not None, self.layout)

    def write(self, n: Normal) -> dict[str, Any]:
        return {"rope_parameters": write_rope(n["position"], n["context"], self.fraction is not None)}


# What each kind of stretching needs, and may say.
_SCALINGS: dict[str, dict[str, str]] = {
    "linear": {"factor": "factor"},
    "yarn": {
        "factor": "factor", "original_max_position_embeddings": "original", "beta_fast": "fast",
        "beta_slow": "slow", "attention_factor": "attention", "truncate": "whole",
    },
    "llama3": {
        "factor": "factor", "original_max_position_embeddings": "original", "low_freq_factor": "slow",
        "high_freq_factor": "fast",
    },
}  # fmt: skip


# What a kind of stretching cannot do without.
_NEEDED = {
    "linear": ("factor",), "yarn": ("factor",), "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
}  # fmt: skip


def completed(given: Mapping[str, Any], context: int) -> dict[str, Any]:
    """``rope_parameters`` with what transformers fills in: the original context, YaRN's factor by the two
    contexts, its amplitude by DeepSeek's two ``mscale``. Raises InteropError for a factor that is missing."""
    rope = {name: value for name, value in given.items() if value is not None}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind in ("yarn", "llama3"):
        original = rope.setdefault("original_max_position_embeddings", context)
    if kind == "yarn":
        factor = rope.setdefault("factor", context / original)
        above, below = rope.pop("mscale", None), rope.pop("mscale_all_dim", None)
        if above and below:
            rope.setdefault("attention_factor", amplitude(factor, above) / amplitude(factor, below))
    for name in _NEEDED.get(kind, ()):
        if name not in rope:
            raise InteropError(f"config.json: rope_parameters of type {kind} lacks {name}")
    return rope


def amplitude(factor: float, mscale: float) -> float:
    """DeepSeek's factor of cosines and sines: 0.1 · mscale · ln factor + 1."""
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def read_rope(
    given: Mapping[str, Any], base: float, fraction: float | None, partial: bool, layout: str
) -> dict[str, Any]:
    """The dotted fields of ``position`` that a flat ``rope_parameters`` says. Raises InteropError for a kind
    of stretching, or a setting of it, that danlu does not have."""
    rope = {name: value for name, value in given.items() if value is not None}
    kind = rope.pop("rope_type", rope.pop("type", "default"))
    rope.pop("type", None)
    base = float(rope.pop("rope_theta", base))
    share = rope.pop("partial_rotary_factor", fraction)
    if share not in (None, 1) and not partial:
        raise refused("rope_parameters.partial_rotary_factor", share, [1.0])
    if kind not in ("default", *_SCALINGS):
        raise refused("rope_parameters.rope_type", kind, ["default", *_SCALINGS])
    scaling: dict[str, Any] | None = None
    if kind != "default":
        names = _SCALINGS[kind]
        scaling = {"kind": kind} | {ours: rope.pop(name) for name, ours in names.items() if name in rope}
        for ours in ("factor", "attention", "fast", "slow"):
            if ours in scaling:
                scaling[ours] = float(scaling[ours])
    if rope:
        name, value = next(iter(rope.items()))
        raise InteropError(f"config.json: rope_parameters.{name} = {brief(value)} has no equivalent in danlu")
    return {
        "position.kind": "rotary", "position.base": base, "position.layout": layout,
        "position.fraction": float(share or 1.0), "position.scaling": scaling,
    }  # fmt: skip


def write_rope(position: Mapping[str, Any], context: int, partial: bool) -> dict[str, Any]:
    """The ``rope_parameters`` of a normal form's rotary position."""
    written: dict[str, Any] = {"rope_type": "default", "rope_theta": position.get("base")}
    if partial:
        written["partial_rotary_factor"] = position.get("fraction")
    scaling = position.get("scaling")
    if scaling is not None and scaling["kind"] in _SCALINGS:
        kind = scaling["kind"]
        values = {name: scaling[ours] for name, ours in _SCALINGS[kind].items()}
        written |= {"rope_type": kind} | {name: v for name, v in values.items() if v is not None}
    return written


# What any config.json may hold beside the family's own, and never alters the logits: ids of special tokens,
# settings of generation, of objectives, of the file itself.
COMMON = frozenset({
    "_name_or_path", "architectures", "model_type", "transformers_version", "torch_dtype", "dtype",
    "auto_map", "use_cache", "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id",
    "cls_token_id", "mask_token_id", "unk_token_id", "decoder_start_token_id", "forced_bos_token_id",
    "forced_eos_token_id", "id2label", "label2id", "num_labels", "problem_type", "finetuning_task",
    "task_specific_params", "tokenizer_class", "prefix", "output_attentions", "output_hidden_states",
    "return_dict", "return_dict_in_generate", "output_scores", "chunk_size_feed_forward",
    "is_encoder_decoder", "torchscript", "tf_legacy_loss", "use_bfloat16", "gradient_checkpointing",
    "classifier_dropout", "max_length", "min_length", "do_sample", "early_stopping", "num_beams",
    "num_beam_groups", "diversity_penalty", "temperature", "top_k", "top_p", "typical_p",
    "repetition_penalty", "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size",
    "bad_words_ids", "num_return_sequences", "exponential_decay_length_penalty", "suppress_tokens",
    "begin_suppress_tokens", "remove_invalid_values", "tie_last_hidden_states", "pretraining_tp",
    "slow_but_exact", "attn_implementation", "_attn_implementation_autoset", "_flash_attn_2_enabled",
    "_commit_hash", "keys_to_ignore_at_inference", "is_llama_config", "transformers.js_config",
    "unsloth_fixed", "unsloth_version",
})  # fmt: skip
# What says nothing while it is off.
SWITCHES = (
    "add_cross_attention", "is_decoder", "tie_encoder_decoder", "cross_attention_hidden_size", "pruned_heads",
    "quantization_config", "use_mrope", "rope_interleaved", "use_sliding_window", "use_qk_norm",
    "qk_layernorm", "clip_qkv", "num_experts", "num_local_experts", "output_router_logits",
    "use_bidirectional_attention",
)  # fmt: skip


def read_common(config: Reader) -> None:
    """Take what every ``config.json`` may hold."""
    for name in COMMON & config.left.keys():
        config.left.pop(name)
    for name in SWITCHES:
        if not config.left.get(name, True):
            config.left.pop(name)
