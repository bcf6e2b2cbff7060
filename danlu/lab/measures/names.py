"""The measures by name. No torch here: a name is checked before anything runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

from danlu.lab.errors import LabError
from danlu.spec.errors import did_you_mean

Argument = Callable[[str], Any]


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ValueError("a positive whole number")
    return int(text)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("a number")
    return number


class Reading(NamedTuple):
    """How a trained model reads: its context, and words laid over its experiment."""

    context: int
    words: str = ""


def _reading(text: str) -> Reading:
    context, _, words = text.partition(":")
    return Reading(_count(context), words)


def _word(text: str) -> str:
    if not text.strip():
        raise ValueError("a name")
    return text


@dataclass(frozen=True)
class Kind:
    """A measure as the table has it: where it is taken (``module.function``), its unit, what it is in a few
    words, and what its argument is, where it takes one: the name then ends with what comes before it."""

    function: str
    unit: str
    what: str
    argument: Argument | None = None

    @property
    def reads(self) -> bool:
        """Whether it is read off the run's files, without PyTorch."""
        return self.function.startswith("record.")


MEASURES: dict[str, Kind] = {
    # read off summary and metrics
    "bits_per_byte": Kind("record.bits_per_byte", "bits/byte", "last held-out score"),
    "best": Kind("record.best", "bits/byte", "lowest held-out score"),
    "last-weights": Kind("record.last_weights", "bits/byte", "last score of the weights, not their average"),
    "bits_per_byte@step:": Kind("record.at_step", "bits/byte", "held-out score at a step", _count),
    "steps-to:": Kind("record.steps_to", "steps", "first held-out score at or below a number", _number),
    "tokens-to:": Kind("record.tokens_to", "tokens", "the same in tokens", _number),
    "flops-to:": Kind("record.flops_to", "FLOP", "the same in FLOPs", _number),
    "held_out_loss": Kind("record.held_out_loss", "nats/token", "last held-out loss"),
    "loss": Kind("record.loss", "nats/token", "mean training loss of the last tenth"),
    "gap": Kind("record.gap", "nats/token", "held-out loss minus training loss"),
    "spikes": Kind("record.spikes", "rows", "training losses seven deviations above those before"),
    "lost-updates": Kind("record.lost_updates", "share", "updates of weights lost to rounding"),
    "seconds": Kind("record.seconds", "s", "active time, of all parts"),
    "seconds-per-step": Kind("record.seconds_per_step", "s", "data, training and optimizer, per update"),
    "flops": Kind("record.flops", "FLOP", "of all updates"),
    "parameters": Kind("record.parameters", "", "numbers that the model learns"),
    "tokens": Kind("record.tokens", "tokens", "trained on"),
    "steps": Kind("record.steps", "steps", "updates made"),
    "update-to-weight": Kind("record.update_to_weight", "", "|update| / |weight|, last tenth, mean of parts"),
    "inside:": Kind("record.inside", "", "last value of a row of train.internals_every", _word),
    # of the trained model
    "bits-per-byte@": Kind("text.bits_per_byte", "bits/byte", "held-out score at a context", _reading),
    "bits-per-byte-other:": Kind("text.other_corpus", "bits/byte", "score on another corpus", _word),
    "offset:": Kind("text.offset", "bits/byte", "score on another corpus minus that on its own", _word),
    "train-mode-gap": Kind("text.train_mode_gap", "bits/byte", "score in training minus evaluation mode"),
    "outputs-minus-weights": Kind(
        "text.outputs_minus_weights", "bits/byte", "score of kept models' mean output minus mean weights"
    ),
    "accuracy": Kind("text.accuracy", "share", "held-out tokens predicted right"),
    "exact-match": Kind("text.exact_match", "share", "whole answers of a synthetic corpus right"),
    "answer-accuracy": Kind("text.answer_accuracy", "share", "tokens of answers right"),
    "match-excess": Kind("text.match_excess", "share", "exact-match minus what independent tokens give"),
    "attention-to-first": Kind("inside.attention_to_first", "weight", "of the first position, later half"),
    "max-logit": Kind("inside.max_logit", "", "largest attention score"),
    "kurtosis": Kind("inside.kurtosis", "", "excess kurtosis of the stream, mean of blocks"),
    "max-activation": Kind("inside.max_activation", "", "largest |activation| of the stream"),
    "logit-rms": Kind("inside.logit_rms", "", "root mean square of the output logits"),
    "increment": Kind("inside.increment", "", "RMS change of the last stream by training"),
    "codebook-perplexity": Kind("inside.codebook_perplexity", "codes", "codes in use, mean of codebooks"),
    "cache-bytes": Kind("weights.cache_bytes", "bytes/token", "of a cache of the whole context"),
    "unseen-rows": Kind("weights.unseen_rows", "", "mean |w| of embeddings of tokens not trained on"),
    "rare-rows": Kind("weights.rare_rows", "", "mean |w| of embeddings of tokens seldom trained on"),
    "weight-rms": Kind("weights.weight_rms", "", "root mean square of the blocks' matrices"),
}

READ = tuple(name for name, kind in MEASURES.items() if kind.reads)


@dataclass(frozen=True)
class Measure:
    """A measure with its argument: ``name`` is as it was written."""

    name: str
    kind: Kind
    argument: Any = None

    @property
    def reads(self) -> bool:
        """Whether it is read off the run's files, without PyTorch."""
        return self.kind.reads

    @property
    def unit(self) -> str:
        return self.kind.unit

    def take(self, source: Any) -> float:
        """The number. ``source``: a ``Record`` where it ``reads``, a ``Trained`` otherwise."""
        module, function = self.kind.function.split(".")
        taken = getattr(import_module(f"danlu.lab.measures.{module}"), function)
        given = () if self.kind.argument is None else (self.argument,)
        return float(taken(source, *given))


def measure(name: str) -> Measure:
    """The measure that ``name`` is; one with an argument is written ``bits-per-byte@256``,
    ``steps-to:2.5``. Raises ``LabError`` with the nearest name, or with what the argument may be."""
    folded = name.lower().replace("_", "-")
    known = {key.replace("_", "-"): kind for key, kind in MEASURES.items()}
    if folded in known and known[folded].argument is None:
        return Measure(name, known[folded])
    takes = [key for key, kind in known.items() if kind.argument is not None and folded.startswith(key)]
    if takes:
        key = max(takes, key=len)
        kind, text = known[key], name[len(key) :]
        assert kind.argument is not None
        try:
            return Measure(name, kind, kind.argument(text))
        except ValueError as error:
            raise LabError(f"the measure {name!r} needs {error} after {name[: len(key)]!r}") from None
    raise LabError(
        f"there is no measure {name!r}{did_you_mean(name, MEASURES)}; there are {', '.join(MEASURES)}"
    )
