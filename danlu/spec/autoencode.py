"""The specification of autoencoders: data through a bottleneck and back."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from danlu.spec.base import ByKind, PositiveFloat, PositiveInt, Shorthand, Spec
from danlu.spec.bottlenecks import Bottleneck, Gaussian, Plain
from danlu.spec.metrics import DISTANCES, Judge, Metric, check_judge


class Rise(Spec):
    """From 0 to 1 over the first ``steps`` updates, and 1 from there (Bowman et al. 2016)."""

    kind: Literal["linear"] = "linear"
    steps: PositiveInt = 1000


class Cycles(Spec):
    """From 0 to 1 over the share ``rise`` of each ``period`` of updates, begun anew after it (Fu et al.
    2019)."""

    kind: Literal["cyclic"] = "cyclic"
    period: PositiveInt = 1000
    rise: Annotated[float, Field(gt=0, le=1)] = 0.5


Annealing = Annotated[Rise | Cycles, ByKind, Shorthand]

BITS = Metric(
    "bits_per_dimension", "bits", "lower", "bits of a held-out number by the ELBO, dequantised if whole"
)
IWAE_BITS = Metric(
    "iwae_bits_per_dimension", "bits", "lower", "the same by the importance-weighted bound of several draws"
)
ERROR = Metric("reconstruction_error", "", "lower", "mean squared error of a held-out number, as data are")
ACTIVE = Metric("active_units", "", "higher", "latent numbers whose mean varies by more than .01")
INFORMATION = Metric(
    "information", "nats", "higher", "I(x; z) of the held-out examples, at most ln of their number"
)
PERPLEXITY = Metric("code_perplexity", "", "higher", "exp of the entropy of codes over all held-out examples")
USED = Metric("used_codes", "", "higher", "codes that the held-out examples use at all")
NATS = Metric(
    "held_out_loss", "nats/example", "lower", "−ln p(x|z) of a held-out example, and the KL of its code"
)


class Autoencode(Spec):
    """Data through a ``bottleneck`` and back: −ln p(x|z) and what the bottleneck costs, by example (Kingma &
    Welling 2014; van den Oord et al. 2017).

    ``noise``: of the decoder, the standard deviation of a Gaussian, where data have mean square 1, or
    ``learned``. A fixed one is a second β: the squared error weighs 1/(2·noise²). ``anneal``: a factor of the
    bottleneck's penalty, by update. ``draws``: of z in the importance-weighted bound. ``judge``: what
    ``samples`` are compared with data by; they are drawn from N(0, 1), or where there are codes from a
    mixture of ``prior`` components that is fitted to the codes of training data.
    """

    models: ClassVar[tuple[str, ...]] = ("vector-pair", "image-pair")
    data: ClassVar[tuple[str, ...]] = (
        "digits", "eight-gaussians", "moons", "checkerboard", "spiral", "rings", "images", "arrays",
    )  # fmt: skip
    may_differ: ClassVar[tuple[str, ...]] = ("bottleneck", "noise", "anneal")
    kind: Literal["autoencode"] = "autoencode"
    bottleneck: Bottleneck = Gaussian()
    noise: PositiveFloat | Literal["learned"] = "learned"
    anneal: Annealing | None = None
    draws: Annotated[PositiveInt, Field(le=10_000)] = 64
    prior: Annotated[PositiveInt, Field(le=10_000)] = 64
    samples: Annotated[PositiveInt, Field(ge=16, le=100_000)] = 2048
    judge: Judge = "energy"

    _judged = model_validator(mode="after")(check_judge)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """By what the bottleneck is: the bound of a Gaussian, the codes of all others."""
        if isinstance(self.bottleneck, Gaussian):
            return BITS, IWAE_BITS, DISTANCES[self.judge], ERROR, ACTIVE, INFORMATION, NATS
        if isinstance(self.bottleneck, Plain):
            return ERROR, NATS
        return ERROR, DISTANCES[self.judge], PERPLEXITY, USED, NATS
