"""What LLaMA and its kin share: fields, names of tensors, rotary positions, layers that differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from danlu.interop.errors import InteropError
from danlu.interop.families.common import qkv
from danlu.interop.family import Family
from danlu.interop.fields import (
    GATES,
    Custom,
    Field,
    Init,
    NoDropout,
    Reader,
    Row,
    completed,
    read_rope,
    refused,
    write_rope,
)
from danlu.interop.normal import Normal, get, layer
from danlu.interop.tensors import Map

FULL, SLIDING = "full_attention", "sliding_attention"


def sizes(
    *,
    vocabulary: int,
    context: int,
    layers: int,
    width: int,
    hidden: int,
    heads: int,
    kv_heads: int | None = None,
    head_size: int | None = None,
    activation: tuple[str, str] = ("hidden_act", "silu"),
    eps: tuple[str, float] = ("rms_norm_eps", 1e-6),
    tied: bool = False,
) -> tuple[Row, ...]:
    """The fields that all have, with transformers' defaults; ``activation`` and ``eps`` with their names."""
    return (
        Field("vocab_size", "vocabulary", vocabulary),
        Field("max_position_embeddings", "context", context),
        Field("num_hidden_layers", "layers", layers),
        Field("hidden_size", "width", width),
        Field("intermediate_size", "feed_forward.hidden", hidden),
        Field("num_attention_heads", "mixer.heads", heads),
        Field("num_key_value_heads", "mixer.kv_heads", kv_heads),
        Field("head_dim", "mixer.head_size", head_size),
        Field(activation[0], "feed_forward.activation", activation[1], GATES),
        Field(eps[0], "norm.eps", eps[1]),
        Field("tie_word_embeddings", "tied", tied),
        NoDropout("attention_dropout"),
        Init(),
    )


# What transformers checks of LLaMA, Gemma and DeepSeek-V2, though a head may have any size.
def _whole_heads(config: Reader) -> dict[str, Any]:
    width, heads = config.patch["width"], config.patch["mixer.heads"]
    if width % heads:
        raise refused("num_attention_heads", heads, [f"a divisor of hidden_size = {width}"])
    return {}


WHOLE_HEADS = Custom(_whole_heads, lambda n: {})
ATTENTION_BIAS = Field("attention_bias", "mixer.biases", False, {True: "all", False: "none"})

PRE = {"input_layernorm": "mixer_norm", "post_attention_layernorm": "feed_forward_norm"}


def by_head(heads: str) -> Callable[[Normal], Sequence[int]]:
    """The shape of gains that every one of the ``heads`` has of its own."""
    return lambda n: (n["mixer"][heads], n["mixer"]["head_size"])


def attention(normed: Callable[[str], Callable[[Normal], Sequence[int]]] | None = None) -> tuple[Map, ...]:
    """Queries, keys and values apart, and norms of queries and keys where the model has them; ``normed``: the
    shape of their gains, if it is not a row, by ``heads`` or ``kv_heads``."""
    theirs, ours = "model.layers.{i}.self_attn.", "blocks.{i}.mixer."
    q, k = (None, None) if normed is None else (normed("heads"), normed("kv_heads"))
    return (
        Map(tuple(f"{theirs}{x}_proj" for x in "qkv"), f"{ours}qkv", rows=qkv),
        Map(f"{theirs}q_norm", f"{ours}q_norm", shape=q),
        Map(f"{theirs}k_norm", f"{ours}k_norm", shape=k),
        Map(f"{theirs}o_proj", f"{ours}out"),
    )


def like_llama(
    model_type: str,
    architecture: str,
    always: Mapping[str, Any],
    fields: tuple[Row, ...],
    *,
    norms: Mapping[str, str] = PRE,
    mixer: tuple[Map, ...] = (),
) -> Family:
    """A family whose tensors are called as LLaMA's; ``norms`` of a layer, theirs and ours; ``mixer``: the
    tensors of its attention, if other than ``attention``."""
    theirs, ours = "model.layers.{i}.", "blocks.{i}."
    feed = {"gate_proj": "gate", "up_proj": "up", "down_proj": "down"}
    return Family(
        model_type=model_type,
        architecture=architecture,
        always={"kind": "decoder", "norm.kind": "rms", "feed_forward.kind": "glu", **always},
        fields=fields,
        tensors=(
            Map("model.embed_tokens", "embedding"),
            *(mixer or attention()),
            *(Map(f"{theirs}mlp.{a}", f"{ours}feed_forward.{b}") for a, b in feed.items()),
            *(Map(f"{theirs}{a}", f"{ours}{b}") for a, b in norms.items()),
            Map("model.norm", "norm"),
            Map("lm_head", "readout"),
        ),
        embedding="model.embed_tokens.weight",
        prefix="model.",
        unused={r"\.rotary_emb\.inv_freq$": ""},  # frequencies, in older files
    )


def qk_norm(**settings: Any) -> Custom:
    """Norms of queries and keys with a gain, their ε the other norms'."""
    return Custom(
        lambda config: {"mixer.qk_norm": {"gain": True, "eps": config.patch["norm.eps"], **settings}},
        lambda n: {},
    )


@dataclass(frozen=True)
class Turning:
    """Rotary positions, the same in all layers; ``base`` where it is left out."""

    base: float = 10000.0
    layout: str = "half"

    def read(self, config: Reader) -> None:
        config.patch["position"] = rotary(config, self.base, self.layout)

    def write(self, n: Normal) -> dict[str, Any]:
        return {"rope_parameters": write_rope(n["position"], n["context"], False)}


def rotary(config: Reader, base: float, layout: str = "half") -> dict[str, Any]:
    """The rotary position that ``rope_parameters`` says, or ``rope_theta`` and ``rope_scaling`` of before."""
    base = config.take("rope_theta", default=base)
    old, new = config.take("rope_scaling", default=None), config.take("rope_parameters", default=None)
    return position_of(old or new or {}, base, layout, config.patch["context"])


def position_of(given: Mapping[str, Any], base: float, layout: str, context: int) -> dict[str, Any]:
    """The rotary position of a flat ``rope_parameters``, with what transformers fills in."""
    fields = read_rope(completed(given, context), base, None, False, layout)
    return {name.removeprefix("position."): value for name, value in fields.items()}


def windows_of(config: Reader, types: Sequence[str], window: int | None) -> list[int | None]:
    """The window of each layer by ``layer_types``. Raises InteropError for types that danlu has not."""
    if len(types) != (layers := config.patch["layers"]):
        raise InteropError(f"config.json: layer_types has {len(types)} layers, num_hidden_layers = {layers}")
    for kind in types:
        if kind not in (FULL, SLIDING):
            raise refused("layer_types", kind, [FULL, SLIDING])
    if window is None and SLIDING in types:
        raise refused("sliding_window", window, [f"a number of positions, since layer_types has {SLIDING}"])
    return [inside(config, window) if kind == SLIDING else None for kind in types]


def inside(config: Reader, window: int | None) -> int | None:
    """A window that reaches beyond the context hides nothing, and danlu's is at most as long."""
    context = config.patch["context"]
    if window is None or window <= context:
        return window
    sentence = f"sliding_window = {window} is now {context}, the context, where both hide nothing"
    if sentence not in config.notes:
        config.note(sentence)
    return int(context)


def repeated(every: int, layers: int) -> list[str]:
    """Layer types of which each ``every``-th sees everything."""
    return [SLIDING if (i + 1) % every else FULL for i in range(layers)]


def layered(windows: Sequence[int | None], positions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The patch of layers with these windows and positions: the first layer's for the model, and the shortest
    ``pattern`` of what others have instead that repeats to all."""
    layers = [
        ({} if window == windows[0] else {"window": "full" if window is None else window})
        | ({} if position == positions[0] else {"position": position})
        for window, position in zip(windows, positions, strict=True)
    ]
    period = next(p for p in range(1, len(layers) + 1) if layers == (layers[:p] * len(layers))[: len(layers)])
    pattern = layers[:period] if any(layers) else None
    return {"mixer.window": windows[0], "position": positions[0], "pattern": pattern}


def each(n: Normal, name: str) -> list[Any]:
    """The value at a dotted name in every layer of a normal form."""
    return [get(layer(n, i), name) for i in range(n["layers"])]


def sliding(n: Normal) -> dict[str, Any]:
    """``layer_types`` and ``sliding_window`` of a normal form; where no layer has a window, the context."""
    windows = each(n, "mixer.window")
    return {
        "layer_types": [FULL if window is None else SLIDING for window in windows],
        "sliding_window": next((window for window in windows if window is not None), n["context"]),
    }


def turning(n: Normal, kind: str | None = None) -> Mapping[str, Any] | None:
    """The position of the first layer (of a ``kind``) that has a rotary one."""
    both = zip(each(n, "position"), sliding(n)["layer_types"], strict=True)
    return next((p for p, k in both if p["kind"] == "rotary" and kind in (None, k)), None)


def rope_of(position: Mapping[str, Any] | None, base: float, context: int) -> dict[str, Any]:
    """The ``rope_parameters`` of a position; where there is none, plain ones of ``base``."""
    return write_rope(position or {"base": base}, context, False)
