"""Specifications of objectives: what is predicted from what; carried out by ``danlu.objectives``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from danlu.spec.autoencode import Autoencode
from danlu.spec.base import (
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Probability,
    Spec,
)
from danlu.spec.families import Family
from danlu.spec.fit import Fit
from danlu.spec.flows import (
    NOISY,
    OVER_LEVELS,
    Coupling,
    EDMWeight,
    Gaussian,
    Grid,
    Heun,
    Independent,
    Karras,
    Kernel,
    Levels,
    LinearPath,
    LogNormal,
    Normal,
    Path,
    Prior,
    Sampler,
    Weight,
)
from danlu.spec.metrics import DISTANCES, Judge, Metric, check_judge
from danlu.spec.teachers import Teacher

ZLoss = NonNegativeFloat

BITS_PER_BYTE = Metric("bits_per_byte", "bits/byte", "lower", "bits that a byte of held-out text costs")
HELD_OUT_LOSS = Metric("held_out_loss", "nats/token", "lower", "loss of a held-out token, without penalties")
BITS_PER_BYTE_BOUND = Metric(
    "bits_per_byte_bound",
    "bits/byte at most",
    "lower",
    "upper bound on the bits that a byte of held-out text costs",
)
HELD_OUT_LOSS_BOUND = Metric(
    "held_out_loss", "nats/token", "lower", "upper bound on −ln p of a held-out token, the loss of training"
)

ACCURACY = Metric("accuracy", "", "higher", "share of the held-out images whose likeliest class is right")
CROSS_ENTROPY = Metric("cross_entropy", "nats/image", "lower", "mean −log p of the right class, held out")


class Language(Spec):
    """What the objectives on text have in common. ``metrics``: the first decides. ``may_differ``: fields
    in which two runs may differ that are compared, since they change the loss and not how runs are scored."""

    data: ClassVar[tuple[str, ...]] = ("text",)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return BITS_PER_BYTE, HELD_OUT_LOSS

    may_differ: ClassVar[tuple[str, ...]] = ("z_loss",)


def _writes_nothing(teacher: Teacher | None) -> Teacher | None:
    if teacher is not None and teacher.on_policy:
        raise ValueError(
            f"on_policy = {teacher.on_policy} lets the student go on with a text token by token, as only "
            "kind = causal learns to; set on_policy = 0"
        )
    return teacher


class Causal(Language):
    """Predict each token from those before it. ``z_loss`` weighs (ln Σe^z)², added to each token's loss
    (PaLM: 1e-4), which keeps the logits from drifting. ``smoothing`` gives so much of the target's
    probability to all tokens alike (Szegedy et al. 2016, section 7). ``teacher``: another network to learn
    from."""

    stackable: ClassVar[bool] = True
    may_differ: ClassVar[tuple[str, ...]] = ("z_loss", "smoothing", "teacher")

    models: ClassVar[tuple[str, ...]] = ("decoder",)
    kind: Literal["causal"] = "causal"
    z_loss: ZLoss = 0.0
    smoothing: Probability = 0.0
    teacher: Teacher | None = None


class Prefix(Language):
    """Prefix language modelling (Raffel et al. 2020, section 3.2.1): the first ``length`` tokens of a
    sequence see one another and are not predicted."""

    stackable: ClassVar[bool] = True
    may_differ: ClassVar[tuple[str, ...]] = ("z_loss", "teacher")
    models: ClassVar[tuple[str, ...]] = ("decoder",)
    kind: Literal["prefix"] = "prefix"
    length: PositiveInt = 32
    z_loss: ZLoss = 0.0
    teacher: Annotated[Teacher | None, AfterValidator(_writes_nothing)] = None


class Masked(Language):
    """Masked language modelling (Devlin et al. 2019, section 3.1): a share ``rate`` of the tokens is
    predicted; of these ``mask`` are shown as the mask token, ``random`` as a random one, the rest as
    they are."""

    may_differ: ClassVar[tuple[str, ...]] = ("z_loss", "teacher")
    models: ClassVar[tuple[str, ...]] = ("encoder",)
    kind: Literal["masked"] = "masked"
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.15
    mask: Fraction = 0.8
    random: Fraction = 0.1
    z_loss: ZLoss = 0.0
    teacher: Annotated[Teacher | None, AfterValidator(_writes_nothing)] = None

    @model_validator(mode="after")
    def _shares(self) -> Masked:
        if self.mask + self.random > 1:
            raise ValueError(
                f"mask = {self.mask} and random = {self.random} are shares of the same tokens; "
                "allowed: together at most 1"
            )
        return self


class MaskedDiffusion(Language):
    """Masked diffusion (MDLM, Sahoo et al. 2024): a share t of the tokens, any from few to all, is masked and
    predicted with weight 1/t. The loss is an upper bound on −ln p of the text, so the metric has a name of
    its own: the text costs that much or less."""

    models: ClassVar[tuple[str, ...]] = ("encoder",)
    kind: Literal["masked-diffusion"] = "masked-diffusion"
    z_loss: ZLoss = 0.0

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return BITS_PER_BYTE_BOUND, HELD_OUT_LOSS_BOUND


EXCESS = Metric("excess_loss", "nats/token", "lower", "loss of a held-out token above that of the best model")
TRIGGER_LOSS = Metric(
    "trigger_loss", "nats/token", "lower", "loss of what follows a trigger, which is certain"
)
BIGRAM_EXCESS = Metric(
    "bigram_excess", "nats/token", "lower", "loss of what follows other tokens, above that of the best model"
)


class BigramBackcopy(Language):
    """Bigram-Backcopy (Guo et al. 2024, arXiv:2410.13835, section 2): after a trigger the token *before* it
    comes again, after any other token what the text's table of pairs draws. Heads that look back at triggers
    have nothing to do elsewhere, and learn to attend to the first token there.

    Of the text only a table is used: the ``characters`` most frequent tokens, or all, and how often each
    follows another. The first token is the separator, the second a draw by frequency; ``triggers``: so many
    of the most frequent tokens. The best loss is known, and the metrics are counted from it."""

    models: ClassVar[tuple[str, ...]] = ("decoder",)
    kind: Literal["bigram-backcopy"] = "bigram-backcopy"
    triggers: PositiveInt = 3
    characters: Annotated[PositiveInt, Field(le=2048)] = 64
    z_loss: ZLoss = 0.0

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return EXCESS, TRIGGER_LOSS, BIGRAM_EXCESS, HELD_OUT_LOSS

    @model_validator(mode="after")
    def _others(self) -> BigramBackcopy:
        if self.triggers >= self.characters:
            raise ValueError(
                f"triggers = {self.triggers} leave no other of characters = {self.characters}; "
                f"allowed: 1 to {self.characters - 1}"
            )
        return self


class Spans(Language):
    """Span corruption (Raffel et al. 2020, section 3.1.4): spans of ``mean`` tokens on average, a share
    ``rate`` of the text, are replaced by one sentinel each; the decoder writes each sentinel and its span."""

    models: ClassVar[tuple[str, ...]] = ("encoder-decoder",)
    kind: Literal["spans"] = "spans"
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.15
    mean: PositiveFloat = 3.0
    z_loss: ZLoss = 0.0


class Classify(Spec):
    """Name the class of an image. ``smoothing`` gives so much of the target's probability to all classes
    alike (Szegedy et al. 2016, section 7)."""

    models: ClassVar[tuple[str, ...]] = ("patches",)
    data: ClassVar[tuple[str, ...]] = ("digits", "images", "arrays")
    may_differ: ClassVar[tuple[str, ...]] = ("smoothing",)
    kind: Literal["classify"] = "classify"
    smoothing: Probability = 0.0

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return ACCURACY, CROSS_ENTROPY


SQUARES = Metric(
    "held_out_loss",
    "",
    "lower",
    "mean squared error of a number, weighted as in training, held out",
    judges=False,
)

STRAIGHTNESS = Metric(
    "straightness",
    "",
    "lower",
    "∫E‖x₁ − x₀ − v‖² of its paths, where a number of the data has mean square 1",
    judges=False,
)


class Generation(Spec):
    """What objectives that make data of noise have in common.

    ``conditional``: the class of the data is given to the network, but for a share ``unlabelled`` of the
    rows, and samples follow n + ``guidance`` · (c − n), of the answers n without and c with the class.
    Samples are made in ``steps`` steps from the same noise each time; metrics are on ``samples`` of them.
    ``judge``: what decides, the ``energy`` distance, ``sliced`` or exact ``w2``, ``mmd``, or of digits the
    ``frechet`` distance.
    """

    models: ClassVar[tuple[str, ...]] = ("point-mlp", "unet", "field-patches")
    data: ClassVar[tuple[str, ...]] = (
        "eight-gaussians", "moons", "checkerboard", "spiral", "rings", "digits", "images", "arrays",
    )  # fmt: skip
    may_differ: ClassVar[tuple[str, ...]] = ("conditional", "unlabelled", "guidance", "sampler")
    conditional: bool = False
    unlabelled: Probability = 0.1
    guidance: NonNegativeFloat = 1.0
    steps: Annotated[PositiveInt, Field(le=10_000)] = 8
    samples: Annotated[PositiveInt, Field(ge=16, le=100_000)] = 2048
    judge: Judge = "energy"

    _judged = model_validator(mode="after")(check_judge)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return DISTANCES[self.judge], SQUARES


class Flow(Generation):
    """Flow matching (Lipman et al. 2023): learn the velocity that carries noise to data along a ``path``.
    ``coupling``: which noise goes with which data of a batch. ``prior``: the law of the noise, which is free
    (Su 2022, spaces.ac.cn/archives/9379). ``sampler``: in equal steps of time; those over noise levels go
    over the levels σ/α of these times."""

    may_differ: ClassVar[tuple[str, ...]] = (*Generation.may_differ, "path", "coupling", "prior")
    kind: Literal["flow"] = "flow"
    path: Path = LinearPath()
    coupling: Coupling = Independent()
    prior: Prior = Normal()
    sampler: Sampler = Heun()

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return *super().metrics, STRAIGHTNESS

    @model_validator(mode="after")
    def _has_levels(self) -> Flow:
        sampler, path = self.sampler.kind, self.path.kind
        if sampler in OVER_LEVELS and path in NOISY:
            raise ValueError(
                f"sampler.kind = {sampler} goes over noise levels, and path.kind = {path} has noise between "
                "its ends besides, so that no level says where it is; allowed: euler, heun, rk4"
            )
        for field, kind, only, does in (
            ("prior", self.prior.kind, "normal", "starts from other noise"),
            ("coupling", self.coupling.kind, "independent", "pairs noise with data"),
        ):
            if sampler == "churn" and kind != only:
                raise ValueError(
                    f"sampler.kind = churn adds normal noise that knows no data, and {field}.kind = {kind} "
                    f"{does}; set {field}.kind = {only}, or take euler, heun, rk4, dpm2 or dpm2m"
                )
        return self


class Denoise(Generation):
    """Diffusion (Karras et al. 2022): learn what the data were, of data with the noise of a ``kernel`` at
    ``levels``, each with its ``weight``. ``sampler``: along the ``grid`` of levels. Data are scaled to a root
    mean square of .5, so that levels mean what they do there."""

    may_differ: ClassVar[tuple[str, ...]] = (*Generation.may_differ, "kernel", "levels", "weight", "grid")
    kind: Literal["denoise"] = "denoise"
    kernel: Kernel = Gaussian()
    levels: Levels = LogNormal()
    weight: Weight = EDMWeight()
    grid: Grid = Karras()
    sampler: Sampler = Heun()

    @model_validator(mode="after")
    def _gaussian(self) -> Denoise:
        if self.sampler.kind == "churn" and self.kernel.kind != "gaussian":
            raise ValueError(
                f"sampler.kind = churn adds normal noise, and kernel.kind = {self.kernel.kind} "
                "has other noise; allowed: euler, heun, rk4, dpm2, dpm2m"
            )
        return self


NATS = Metric("nats", "nats/row", "lower", "mean −log p of the class of a held-out row")
ROWS_RIGHT = Metric(
    "accuracy", "", "higher", "share of the held-out rows whose class is the likeliest by the model"
)


class MaximumEntropy(Spec):
    """The p(y|x) of the largest entropy whose features, each a column together with a class, have the means
    of the training rows (Berger, Della Pietra & Della Pietra 1996). An example is the whole training set,
    so that an update is one pass over it.

    ``smoothing`` gives so much of a row's probability to all classes alike, so that each feature is seen and
    an optimum exists; without it, pairs of a column and a class that are never seen are impossible.
    ``threshold``: columns become 1 where they are above it, and 0 elsewhere."""

    models: ClassVar[tuple[str, ...]] = ("maxent",)
    data: ClassVar[tuple[str, ...]] = ("digits", "table", "bigrams", "images", "arrays")
    may_differ: ClassVar[tuple[str, ...]] = ("smoothing", "threshold")
    unit: ClassVar[str] = "epoch"
    kind: Literal["maxent"] = "maxent"
    smoothing: Probability = 0.0
    threshold: float | None = None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return NATS, ROWS_RIGHT


class OwnObjective(Spec):
    """What the specifications of own objectives are made on: ``models`` and ``data`` are the kinds that it is
    for."""

    metrics: ClassVar[tuple[Metric, ...]]
    models: ClassVar[tuple[str, ...]] = ("decoder",)
    data: ClassVar[tuple[str, ...]] = ("text",)
    may_differ: ClassVar[tuple[str, ...]] = ()


OBJECTIVE = Family(
    "objective",
    ("source",),
    base=OwnObjective,
    place="objective",
    needs=("example", "held_out", "loss", "score", "measure"),
)
Objective = Annotated[
    Causal
    | Prefix
    | Masked
    | MaskedDiffusion
    | BigramBackcopy
    | Spans
    | Classify
    | Flow
    | Denoise
    | Autoencode
    | MaximumEntropy
    | Fit,
    OBJECTIVE,
]
