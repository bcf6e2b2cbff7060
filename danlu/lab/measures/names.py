"""The measures by name. No torch here: a name is checked before anything runs."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from danlu.files.yaml import parse
from danlu.lab.errors import LabError
from danlu.parts import measures as own_measures
from danlu.spec import plugins
from danlu.spec.errors import did_you_mean
from danlu.spec.explain import explain
from danlu.spec.families import Own
from danlu.spec.metrics import Metric, loss_of

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
    """A measure as the table has it: where it is taken (``module.function``, or one's own), its unit (None:
    that of the run's metric), what it is in a few words, which direction is better (None: that of the run's
    metric), and what its argument is, where it takes one: the name then ends with what comes before it."""

    function: str | Own
    unit: str | None
    what: str
    argument: Argument | None = None
    better: Literal["lower", "higher"] | None = "lower"

    @property
    def reads(self) -> bool:
        """Whether it is read off the run's files, without PyTorch."""
        if isinstance(self.function, Own):
            return own_measures.reads(self.function.makes)
        return self.function.startswith("record.")


OF_LOSS = "that of the loss"  # a unit
OF_METRIC = "metric"  # names that begin with it are also written with the metric's own name

MEASURES: dict[str, Kind] = {
    # read off summary and metrics
    "metric": Kind("record.metric", None, "last held-out value of the objective's first metric", None, None),
    "best": Kind("record.best", None, "best held-out value of it", None, None),
    "last-weights": Kind("record.last_weights", None, "last of the weights, not their average", None, None),
    "metric@step:": Kind("record.at_step", None, "held-out value at a step", _count, None),
    "steps-to:": Kind("record.steps_to", "steps", "first held-out value as good as a number", _number),
    "tokens-to:": Kind("record.tokens_to", "tokens", "the same in tokens", _number),
    "flops-to:": Kind("record.flops_to", "FLOP", "the same in FLOPs", _number),
    "loss": Kind("record.loss", OF_LOSS, "mean training loss of the last tenth"),
    "gap": Kind("record.gap", OF_LOSS, "held-out loss minus training loss"),
    "bits-below-unigram": Kind(
        "record.bits_below_unigram", "bits", "of a term, below what its frequency alone gives", None, "higher"
    ),
    "spikes": Kind("record.spikes", "rows", "training losses six deviations above those before"),
    "share-clipped": Kind(
        "record.share_clipped", "share", "logged updates whose gradient was clipped", None, None
    ),
    "lost-updates": Kind("record.lost_updates", "share", "updates of weights lost to rounding"),
    "lost-updates:": Kind("record.lost_in_part", "share", "the same of a part, such as embedding", _word),
    "seconds": Kind("record.seconds", "s", "active time, of all parts"),
    "seconds-per-step": Kind("record.seconds_per_step", "s", "data, training and optimizer, per update"),
    "flops": Kind("record.flops", "FLOP", "of all updates"),
    "flops-with-teacher": Kind("record.flops_with_teacher", "FLOP", "that and its teacher's training"),
    "seconds-with-teacher": Kind("record.seconds_with_teacher", "s", "active, and of its teacher's training"),
    "parameters": Kind("record.parameters", "", "numbers that the model learns"),
    "tokens": Kind("record.tokens", "tokens", "trained on"),
    "steps": Kind("record.steps", "steps", "updates made"),
    "noise-scale": Kind(
        "record.noise_scale", "examples", "tr Σ/|G|² of the gradient, second half", None, None
    ),
    "update-to-weight": Kind("record.update_to_weight", "", "|update| / |weight|, last tenth, mean of parts"),
    "inside:": Kind("record.inside", "", "last value of a row of train.internals_every", _word),
    # of the trained model
    "metric@": Kind("text.metric_at", None, "held-out value at a context", _reading, None),
    "metric-other:": Kind("text.other_corpus", None, "held-out value on another corpus", _word, None),
    "offset:": Kind("text.offset", None, "value on another corpus minus that on its own", _word, None),
    "train-mode-gap": Kind(
        "text.train_mode_gap", None, "value in training minus evaluation mode", None, None
    ),
    "precise-statistics": Kind(
        "text.precise_statistics_gain", None, "value with precise minus with own batch norms", None, None
    ),
    "outputs-minus-weights": Kind(
        "text.outputs_minus_weights", None, "of kept models' mean output minus mean weights", None, None
    ),
    "rounded:": Kind("rounded.metric", None, "held-out value after danlu quantize", _word, None),
    "at-start": Kind("text.at_start", None, "held-out value of the initial weights", None, None),
    "accuracy": Kind("text.accuracy", "share", "held-out tokens predicted right", None, "higher"),
    "exact-match": Kind(
        "text.exact_match", "share", "whole answers of a synthetic corpus right", None, "higher"
    ),
    "answer-accuracy": Kind("text.answer_accuracy", "share", "tokens of answers right", None, "higher"),
    "match-excess": Kind("text.match_excess", "share", "exact-match minus what independent tokens give"),
    "choice-grade": Kind(
        "choices.choice_grade", "share", "multiple choices of a synthetic corpus right", None, "higher"
    ),
    "choice-brier": Kind("choices.choice_brier", "", "Brier score of the options of those choices"),
    "attention-to-first": Kind("inside.attention_to_first", "weight", "of the first position, later half"),
    "sink-elsewhere": Kind("sinks.sink_elsewhere", "weight", "of the first token where nothing is copied"),
    "sink-at-triggers": Kind("sinks.sink_at_triggers", "weight", "of the first token where a copy is made"),
    "sink-rate": Kind("inside.sink_rate", "share", "of heads whose first key is a sink"),
    "attention-entropy": Kind("inside.attention_entropy", "", "÷ ln(visible), mean of blocks", None, None),
    "nll": Kind("likelihood.nll", "nats", "−ln p of a held-out point under a flow"),
    "nll-above-entropy": Kind("likelihood.above_entropy", "nats", "that beyond −ln p of the data's own law"),
    "max-logit": Kind("inside.max_logit", "", "largest attention score"),
    "share-above-cap": Kind(
        "inside.share_above_cap", "share", "scores that the soft cap cuts off", None, None
    ),
    "dead-units": Kind("inside.dead_units", "share", "hidden units that are zero everywhere"),
    "kurtosis": Kind("inside.kurtosis", "", "excess kurtosis of the stream, mean of blocks"),
    "max-activation": Kind("inside.max_activation", "", "largest |activation| of the stream"),
    "logit-rms": Kind("inside.logit_rms", "", "root mean square of the output logits"),
    "increment": Kind("inside.increment", "", "RMS change of the last stream by training"),
    "codebook-perplexity": Kind("inside.codebook_perplexity", "codes", "codes in use, mean of codebooks"),
    "cache-bytes": Kind("weights.cache_bytes", "bytes/token", "of a cache of the whole context"),
    "writing-seconds": Kind("weights.writing_seconds", "s", "of a token written at the end of a context"),
    "unseen-rows": Kind("weights.unseen_rows", "", "mean |w| of embeddings of tokens not trained on"),
    "rare-rows": Kind("weights.rare_rows", "", "mean |w| of embeddings of tokens seldom trained on"),
    "at-the-edge": Kind(
        "curved.at_the_edge", "", "largest eigenvalue times the rate, over its edge of stability", None, None
    ),
    "nonzeros-of-loss": Kind(
        "curved.nonzeros_of_loss", "share", "second derivatives of the loss that are not zero", None, None
    ),
    "nonzeros-of-output": Kind("curved.nonzeros_of_output", "share", "the same of one output", None, None),
    "lipschitz-above": Kind("stretch.lipschitz_above", "", "bound of the Lipschitz constant from above"),
    "lipschitz-below": Kind("stretch.lipschitz_below", "", "largest stretch found at the points of a signal"),
    "above-optimum": Kind("optimum.above_optimum", "nats", "training loss above its least, of a convex one"),
    "latent-nats": Kind(
        "latent.latent_nats", "nats", "KL of a training example, all latent numbers", None, None
    ),
    "nats-of-the-spectrum": Kind(
        "latent.nats_of_the_spectrum", "nats", "the same at the optimum of a linear autoencoder", None, None
    ),
    "nats-off-the-spectrum": Kind(
        "latent.nats_off_the_spectrum", "nats", "largest difference of a latent number from that optimum"
    ),
    "weight-rms": Kind("weights.weight_rms", "", "root mean square of the blocks' matrices"),
}

READ = tuple(name for name, kind in MEASURES.items() if kind.reads)


@dataclass(frozen=True)
class Measure:
    """A measure with its argument: ``name`` is as it was written, ``kind`` with unit and direction."""

    name: str
    kind: Kind
    argument: Any = None

    @property
    def reads(self) -> bool:
        """Whether it is read off the run's files, without PyTorch."""
        return self.kind.reads

    @property
    def metric(self) -> Metric:
        """Its name, unit and direction."""
        return Metric(self.name, self.kind.unit or "", self.kind.better or "lower", self.kind.what)

    def take(self, source: Any) -> float:
        """The number. ``source``: a ``Record`` where it ``reads``, a ``Trained`` otherwise."""
        if isinstance(self.kind.function, Own):
            return _own_value(self.kind.function, self.argument, source)
        module, function = self.kind.function.split(".")
        taken = getattr(import_module(f"danlu.lab.measures.{module}"), function)
        given = () if self.kind.argument is None else (self.argument,)
        return float(taken(source, *given))


def measure(name: str, metrics: Sequence[Metric]) -> Measure:
    """The measure that ``name`` is, of runs whose objective has these ``metrics``: one of them; one of the
    table; one with an argument, such as ``steps-to:2.5``. What the table calls ``metric…`` may begin with the
    first metric's own name: ``bits-per-byte@256``. Raises ``LabError`` with the nearest name, or with what
    the argument may be."""
    first, folded = metrics[0], _folded(name)
    for one in metrics:
        if folded == _folded(one.name):
            return Measure(name, Kind("record.held_out", one.unit, one.text, str, one.better), one.name)
    known = {_folded(key): kind for key, kind in (MEASURES | _own_kinds()).items()}
    typed = name if _key(name, known) else _of_metric(name, first)
    if key := _key(typed, known):
        kind, argument = known[key], None
        if kind.argument is not None:
            text = typed[len(key) :]
            try:
                argument = kind.argument(text)
            except ValueError as error:
                before = name[: len(name) - len(text)]
                raise LabError(f"the measure {name!r} needs {error} after {before!r}") from None
    elif plugins.load():  # a package may offer it
        return measure(name, metrics)
    else:
        there = (*(one.name for one in metrics), *MEASURES, *_own_kinds())
        raise LabError(
            f"there is no measure {name!r}{did_you_mean(name, there)}; there are {', '.join(there)}"
        )
    unit = first.unit if kind.unit is None else kind.unit
    unit = loss_of(metrics).unit if unit == OF_LOSS else unit
    return Measure(name, replace(kind, unit=unit, better=kind.better or first.better), argument)


def _key(name: str, known: Mapping[str, Kind]) -> str | None:
    """What ``name`` is in the table: itself, or the longest that it begins with which takes an argument."""
    folded = _folded(name)
    if folded in known and known[folded].argument is None:
        return folded
    takes = (key for key, kind in known.items() if kind.argument is not None and folded.startswith(key))
    return max(takes, key=len, default=None)


def _of_metric(name: str, first: Metric) -> str:
    """``name`` with ``metric`` for the first metric's own name, where one of the table's may follow."""
    typed = OF_METRIC + name[len(first.name) :]
    begins = tuple(key for key in MEASURES if key.startswith(OF_METRIC) and key != OF_METRIC)
    own = _folded(name).startswith(_folded(first.name)) and _folded(typed).startswith(begins)
    return typed if own else name


def _own_kinds() -> dict[str, Kind]:
    """The user's own measures as the table would have them. One with fields is also written with a value of
    the first: ``late-loss:0.2``."""
    found = {}
    for name, own in own_measures.MEASURE.own.items():
        kind = Kind(own, own.spec.unit, own.statement, None, own.spec.better)  # type: ignore[attr-defined]
        found[name] = kind
        if len(own.spec.model_fields) > 1:
            found[f"{name}:"] = replace(kind, argument=partial(_own_argument, own))
    return found


def _own_argument(own: Own, text: str) -> dict[str, Any]:
    field = next(name for name in own.spec.model_fields if name != "kind")
    values = {field: parse(text)}
    try:
        return own.settings(own.spec.model_validate(values))
    except ValidationError as error:
        raise ValueError("; ".join(explain(error, values, own.spec).values())) from None


def _own_value(own: Own, settings: dict[str, Any] | None, source: Any) -> float:
    settings = own.settings(own.spec.model_validate({})) if settings is None else settings
    take: Any = own.makes(**settings) if inspect.isclass(own.makes) else partial(own.makes, **settings)
    return float(take(source))


def _folded(name: str) -> str:
    return name.lower().replace("_", "-")
