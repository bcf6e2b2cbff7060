"""A recipe at a size that trains on one machine: its shape and its rules, fewer parameters.

What stays: kinds of parts, placement of norms, biases, tying, initialisation, betas, decay, clipping,
dropout; the ratio of feed-forward to width, of heads × size to width, of queries to keys; the order of a
pattern; warm-up, ramp and every other duration as a share of the run.

What changes: width and layers, in the recipe's proportion but for ``FEWEST`` layers; heads and the size of
one, each by the square root of width's factor; the context (at most ``CONTEXT``) and with it windows and
distances; bytes instead of the tokenizer; a batch of ``BATCH`` sequences; tokens for each parameter, at most
``TOKENS``; a warm-up of at least ``WARMUP``. Rates of the rules whose steps don't follow the size of the
weights are multiplied by (width/new width)^``POWER``: the slope of GPT-3's, Gopher's and OPT's tables (0.83,
0.78 and 0.81 from their smallest model to their largest, OPT's being 66B).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from danlu.files.numbers import three_digits
from danlu.files.yaml import brief
from danlu.spec import relative
from danlu.spec.attention import Attention
from danlu.spec.base import MOST
from danlu.spec.durations import length
from danlu.spec.errors import SpecError
from danlu.spec.experiment import Experiment
from danlu.spec.feed_forwards import GLU, MLP
from danlu.spec.models import Network, Parts
from danlu.spec.positions import Learned, Relative, T5Buckets
from danlu.spec.rates import like_adam
from danlu.spec.schema import Accepts, adapt
from danlu.spec.sizes import at_size, coarse, divisor
from danlu.spec.words import laid as lay
from danlu.spec.words import validate

FEWEST, CONTEXT, BATCH, TOKENS, WARMUP, POWER = 4, 128, 8, 2.0, 0.02, 0.8
BYTES = 260  # the byte values, a separator, and about what an objective adds
SMALLEST = 16  # of a width


def resolve(words: Sequence[str], parameters: str | None = None) -> Experiment:
    """The experiment that ``words`` mean (``danlu.spec.resolve``), what the first one names being shrunk to
    so many ``parameters`` before the others are laid over it."""
    return laid(words, parameters)[0]


def laid(
    words: Sequence[str], parameters: str | None = None
) -> tuple[Experiment, dict[str, list[relative.Became]]]:
    """``resolve``, and what the relative values of each idea became (``danlu.spec.words.laid``)."""
    if parameters is None:
        return lay(words)
    size = size_of(parameters)
    return lay(words, lambda experiment: shrink(experiment, size))


def size_of(text: str) -> int:
    """``2M`` → 2,000,000. Raises SpecError with a sentence."""
    value = adapt(text, Accepts(scalars=(int,)))
    if isinstance(value, str) and re.fullmatch(r"[0-9][0-9_]{0,30}", value):
        value = int(value)
    if not isinstance(value, int) or not 0 < value <= MOST:
        raise SpecError(f"--shrink = {brief(text)} is not a number of parameters such as 500k or 2M")
    return value


def count(model: Network, vocabulary: int, context: int) -> int:
    """About how many parameters a model has: all matrices, embeddings, biases and gains; what gates, sinks
    and learned biases of attention add is left out."""
    width, narrow = model.width, model.embedding_width or model.width
    encoder = getattr(model, "encoder_layers", None) or model.layers
    norm = width * (getattr(model.norm, "gain", True) + getattr(model.norm, "bias", False))
    norms = {"double": 4, "parallel": 1}.get(model.placement, 2)
    both = model.kind == "encoder-decoder"
    layers = 0
    for i, parts in enumerate(turn := model.turn()):
        mixer = _mixer(model, parts)
        one = mixer + _feed_forward(model, parts) + norms * norm
        times = len(range(i, model.layers, len(turn)))
        layers += times * (one + both * (mixer + norm)) + (encoder * one if both and i == 0 else 0)
    ends = vocabulary * narrow * (1 if model.tied else 2) + vocabulary * model.readout_bias
    if model.embedding_width is not None:
        ends += 2 * width * narrow
    if getattr(model, "transform", None):
        ends += width * width + width * model.bias + norm
    ends += getattr(model, "segments", 0) * width
    stacks = 2 if both else 1
    if isinstance(model.position, Learned):
        ends += stacks * width * ((model.position.length or context) + model.position.offset)
    return layers + ends + norm * stacks * (model.placement != "post") + norm * stacks * model.embedding_norm


def _mixer(model: Network, parts: Parts) -> int:
    mixer = parts.mixer
    if not isinstance(mixer, Attention):
        raise SpecError(f"parameters of mixer.kind = {mixer.kind} are not counted here; allowed: attention")
    size = mixer.head_size or model.width // mixer.heads
    heads, kv_heads = mixer.heads * size, (mixer.kv_heads or mixer.heads) * size
    biases = mixer.biases or ("all" if model.bias else "none")
    inputs = heads + 2 * kv_heads
    table = size * (2 * parts.position.distance + 1) if isinstance(parts.position, Relative) else 0
    return (
        model.width * (inputs + heads) + inputs * (biases != "none") + model.width * (biases == "all") + table
    )


def _feed_forward(model: Network, parts: Parts) -> int:
    layer, width = parts.feed_forward, model.width
    if not isinstance(layer, MLP | GLU):
        raise SpecError(
            f"parameters of feed_forward.kind = {layer.kind} are not counted here; allowed: mlp, glu"
        )
    bias = model.bias if layer.biases is None else layer.biases
    inputs = 2 if isinstance(layer, GLU) else 1
    hidden = layer.inner(width)
    return (inputs + 1) * width * hidden + (inputs * hidden + width) * bias


def shrink(experiment: Experiment, parameters: int) -> Experiment:
    """``experiment`` with about so many parameters, to be trained here. Raises SpecError where it is not
    larger than that, where nothing so small keeps its shape, or where a mixer is not attention."""
    model, data = experiment.network, experiment.text
    context = min(CONTEXT, data.context)
    largest = count(model, data.vocabulary or BYTES, data.context)
    if parameters >= largest:
        raise SpecError(
            f"--shrink = {parameters:,} is not less than the {largest:,} parameters that the experiment has"
        )
    small = min(_shapes(model, context / data.context, context, parameters), key=lambda found: found[0])[1]
    reached = count(small, BYTES, context)
    if not 0.75 < reached / parameters < 1.33:
        raise SpecError(
            f"--shrink = {parameters:,}: the nearest that keeps the recipe's shape has {reached:,} parameters"
        )
    changed = {
        "model": small,
        "data": data.model_copy(update={"tokenizer": "bytes", "vocabulary": None, "context": context}),
        "optimizer": _sped(experiment.optimizer, model.width / small.width),
        **_run(experiment, largest, reached, context),
    }
    return validate(experiment.model_copy(update=changed).model_dump())


def _shapes(
    model: Network, shorter: float, context: int, wanted: int
) -> Iterator[tuple[tuple[float, float], Network]]:
    """For each depth the network nearest to ``wanted`` parameters, with how far it is from what is wanted:
    first in parameters as far as that matters, then in width over layers."""
    turn = len(model.turn())
    fewest = min(model.layers, max(FEWEST, turn))
    for layers in range(
        fewest, model.layers + 1, turn if model.layers % turn == 0 and fewest % turn == 0 else 1
    ):
        best: tuple[float, Network] | None = None
        for width in range(SMALLEST, model.width + 1, 8):
            found = _narrowed(model, layers, width, shorter)
            off = abs(math.log(count(found, BYTES, context) / wanted))
            if best is not None and off > best[0] and width > best[1].width + 64:
                break
            if best is None or off < best[0]:
                best = off, found
        if best is not None:
            aspect = abs(math.log(best[1].width / layers * model.layers / model.width))
            yield (max(best[0], 0.1), aspect), best[1]
            if best[1].width == SMALLEST and count(best[1], BYTES, context) >= wanted:
                return  # deeper ones are only larger


def _narrowed(model: Network, layers: int, width: int, shorter: float) -> Network:
    """The network with ``layers`` layers of about ``width``, and everything that goes with them."""
    factor = width / model.width
    first = model.turn()[0].mixer
    if not isinstance(first, Attention):
        raise SpecError(f"mixer.kind = {first.kind} cannot be shrunk; allowed: attention")
    size = first.head_size or model.width // first.heads
    small = coarse(size * math.sqrt(factor))
    heads = max(1, round(first.heads * size * factor / small))
    if first.head_size is None:
        width = heads * small
    factor = width / model.width

    def attention(mixer: Any) -> Any:
        if not isinstance(mixer, Attention):
            raise SpecError(f"mixer.kind = {mixer.kind} cannot be shrunk; allowed: attention")
        kv_heads = mixer.kv_heads and divisor(heads, heads * mixer.kv_heads / mixer.heads)
        changed = {"heads": heads, "kv_heads": kv_heads, "head_size": mixer.head_size and small}
        if mixer.window is not None:
            changed["window"] = max(1, round(mixer.window * shorter))
        return mixer.model_copy(update=changed)

    def feed_forward(layer: Any) -> Any:
        changed: dict[str, Any] = {"hidden": layer.hidden and coarse(layer.hidden * factor)}
        if isinstance(layer, GLU):
            changed["multiple"] = min(layer.multiple, 8)
        return layer.model_copy(update=changed)

    def position(p: Any) -> Any:
        changed: dict[str, Any] = {}
        if isinstance(p, Relative):
            changed["distance"] = max(1, round(p.distance * shorter))
        elif isinstance(p, T5Buckets):
            changed["distance"] = max(p.buckets // 2 + 1, round(p.distance * shorter))
        elif isinstance(p, Learned) and p.length is not None:
            changed["length"] = math.ceil(p.length * shorter)
        return p.model_copy(update=changed)

    parts = {"mixer": attention, "feed_forward": feed_forward, "position": position}
    return at_size(_shorter(model, shorter), layers, width, parts)


def _shorter(model: Network, shorter: float) -> Network:
    """With shorter windows of whole layers of its pattern."""
    if model.pattern is None:
        return model

    def layer(one: Any) -> Any:
        window = max(1, round(one.window * shorter)) if isinstance(one.window, int) else one.window
        return one.model_copy(update={"window": window})

    return model.model_copy(update={"pattern": tuple(map(layer, model.pattern))})


def _sped(optimizer: Any, narrower: float) -> Any:
    """The rule at the rate for a width that is ``narrower`` times smaller."""
    if not like_adam(optimizer, "--shrink raises rates like Adam's with 1/width"):
        return optimizer
    return optimizer.model_copy(update={"lr": three_digits(optimizer.lr * narrower**POWER)})


def _run(experiment: Experiment, largest: int, reached: int, context: int) -> dict[str, Any]:
    """Schedule, what varies, and training: every duration as a share of the run."""
    train, tokens = experiment.train, tokens_of(experiment)
    per_parameter = TOKENS if tokens is None else min(TOKENS, tokens / largest)
    updates = max(1, round(reached * per_parameter / (BATCH * context)))
    steps = _updates(experiment)

    def shares(part: Any) -> Any:
        """Every duration in ``part`` that is in steps or tokens as a share of the run."""
        if isinstance(part, tuple):
            return tuple(shares(item) for item in part)
        if isinstance(part, BaseModel):
            return part.model_copy(
                update={name: shares(getattr(part, name)) for name in type(part).model_fields}
            )
        return _share(part, steps, tokens) if isinstance(part, str) else part

    schedule = shares(experiment.schedule)
    if schedule.warmup:
        schedule = schedule.model_copy(update={"warmup": max(schedule.warmup, WARMUP)})
    ramp = []
    for stage in shares(train.ramp):
        batch = max(1, round(stage.batch * BATCH / train.batch))
        if batch < BATCH:
            ramp.append(stage.model_copy(update={"batch": batch, "by": stage.by and 1}))
    every = max(1, updates // 5)
    return {
        "schedule": schedule,
        "vary": shares(experiment.vary),
        "train": train.model_copy(
            update={
                "steps": None, "seconds": None, "tokens": updates * BATCH * context,
                "batch": BATCH, "ramp": tuple(ramp), "microbatch": None, "recompute": False,
                "evaluate_every": every, "evaluate_tokens": 32768, "checkpoint_every": None,
            }
        ),
    }  # fmt: skip


def _share(text: str, steps: int | None, tokens: int | None) -> Any:
    """A duration of a run of so many ``steps`` and ``tokens`` as a share of it; other text as it is."""
    try:
        amount, unit = length(text)
    except ValueError:
        return text
    whole = tokens if unit == "tokens" else steps
    if whole is None:
        raise SpecError(f"{text} cannot be shrunk: the run has no bound in steps or tokens")
    return three_digits(min(1.0, amount / whole))


def tokens_of(experiment: Experiment) -> int | None:
    """The tokens of the whole run; None where only seconds bound it. A ramp counts as its last batch."""
    train, context = experiment.train, experiment.data.size
    bounds = [train.tokens, train.steps and train.steps * train.batch * context]
    return min((bound for bound in bounds if bound), default=None)


def _updates(experiment: Experiment) -> int | None:
    """The updates of the whole run, if tokens or steps bound it; a ramp counts as its last batch."""
    tokens = tokens_of(experiment)
    return tokens and max(1, round(tokens / (experiment.train.batch * experiment.data.size)))
