"""Specifications of attention and of the small parts along its way; built by ``danlu.nn.attention``."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from danlu.spec.base import ByKind, PositiveFloat, PositiveInt, Shorthand, Spec
from danlu.spec.errors import did_you_mean, either

Biases = Literal["none", "inputs", "all"]


class QKNorm(Spec):
    """Norm of queries and keys: ``norm`` is ``rms``, ``layer`` or ``l2`` (length one), ``over`` each head or
    the whole ``width`` (OLMo 2), ``when`` before or after the positions; ``of`` both or the keys alone
    (KeyNorm, Su 2023). After a rotation only norms that it leaves alone keep distances relative: rms and l2
    without gain. ``gain`` gives each a learned gain, of its own for every head with ``per_head``
    (Cohere), as 1 + w with ``around_one`` (Gemma 3). ``qk_norm: rms``, a name alone, is the field's standard
    form, with a gain (Qwen3); likewise ``layer``."""

    stackable: ClassVar[bool] = True
    norm: Literal["rms", "layer", "l2"] = "rms"
    over: Literal["head", "width"] = "head"
    when: Literal["before", "after"] = "before"
    of: Literal["both", "keys"] = "both"
    eps: PositiveFloat = 1e-6
    gain: bool = False
    per_head: bool = False
    around_one: bool = False

    @model_validator(mode="before")
    @classmethod
    def _by_norm(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        norms = get_args(cls.model_fields["norm"].annotation)
        if given not in norms:
            raise ValueError(f"norm = {given!r} is not {either(norms)}{did_you_mean(given, norms)}")
        return {"norm": given, "gain": given != "l2"}

    @model_validator(mode="after")
    def _gains(self) -> QKNorm:
        if (self.per_head or self.around_one) and not self.gain:
            raise ValueError("per_head and around_one are about the gain; set gain = true")
        if self.per_head and self.over == "width":
            raise ValueError("per_head = true with over = width: a gain over the width has a number for each")
        if self.norm == "l2" and self.gain:
            raise ValueError(
                "norm = l2 has no gain; set gain = false, or norm = rms, which is √size times it"
            )
        if self.when == "after" and self.over == "width":
            raise ValueError("over = width is taken before the positions; set when = before")
        return self


class Softmax(Spec):
    """e^s / Σe^s."""

    stackable: ClassVar[bool] = True
    kind: Literal["softmax"] = "softmax"


class SoftmaxOne(Spec):
    """e^s / (1 + Σe^s): a head may attend to nothing (Miller 2023, "QuietAttention")."""

    stackable: ClassVar[bool] = True
    kind: Literal["softmax1"] = "softmax1"


class Sinks(Spec):
    """e^s / (e^b + Σe^s) with a learned b for each head (GPT-OSS; Xiao et al. 2024)."""

    stackable: ClassVar[bool] = True
    kind: Literal["sinks"] = "sinks"


class Clipped(Spec):
    """clip((ζ − γ)·softmax + γ, 0, 1), γ = −``alpha``/visible keys (Bondarenko et al. 2023, eq. 4): weights
    can be exactly 0 (and, with ζ > 1, 1) without unbounded scores."""

    stackable: ClassVar[bool] = True
    kind: Literal["clipped"] = "clipped"
    alpha: PositiveFloat = 3.2
    zeta: PositiveFloat = 1.0


class ReLUWeights(Spec):
    """max(s, 0)/n over the n visible keys (Wortsman et al. 2023, arXiv:2309.08586, section 3): weights that
    need not sum to 1, so that a head attends to nothing where no score is above 0."""

    stackable: ClassVar[bool] = True
    kind: Literal["relu"] = "relu"


Weights = Annotated[Softmax | SoftmaxOne | Sinks | Clipped | ReLUWeights, ByKind, Shorthand]


class HeadGate(Spec):
    """Each head's output times a sigmoid of that head's slice of the input (Bondarenko et al. 2023, eq. 6):
    linear, or an MLP of ``hidden`` inner units; ``open`` is its value at the start."""

    stackable: ClassVar[bool] = True
    kind: Literal["heads"] = "heads"
    hidden: PositiveInt | None = None
    open: Annotated[float, Field(gt=0, lt=1)] = 0.25


class ElementGate(Spec):
    """The output of the heads times sigmoid(xW), element by element (Qiu et al. 2025; Qwen3-Next)."""

    stackable: ClassVar[bool] = True
    kind: Literal["elements"] = "elements"


Gate = Annotated[HeadGate | ElementGate, ByKind, Shorthand]


class Strided(Spec):
    """The last ``stride`` positions, and every ``stride``-th before them (Child et al. 2019, section 4.2)."""

    stackable: ClassVar[bool] = True
    kind: Literal["strided"] = "strided"
    stride: PositiveInt = 16


class Fixed(Spec):
    """The positions of the own block of ``block``, and the last ``columns`` of every block before
    (Child et al. 2019, section 4.2)."""

    stackable: ClassVar[bool] = True
    kind: Literal["fixed"] = "fixed"
    block: PositiveInt = 16
    columns: PositiveInt = 4

    @model_validator(mode="after")
    def _inside(self) -> Fixed:
        if self.columns > self.block:
            raise ValueError(f"columns = {self.columns} are more than the block = {self.block} has")
        return self


Sparse = Annotated[Strided | Fixed, ByKind, Shorthand]


class Attention(Spec):
    """Multi-head attention (Vaswani et al. 2017, eq. 1); with ``kv_heads`` fewer than ``heads``,
    grouped-query attention (Ainslie et al. 2023).

    ``window`` counts the visible positions, the present one included; ``sparse`` is a pattern instead.
    ``scale`` multiplies q·k (left out: 1/√(head size)), ``log_n`` besides by max(1, ln n/ln log_n) for n
    visible positions (Su 2021). ``softcap`` c bounds the scores by c·tanh(s/c) (Gemma 2). ``biases``: on
    none of the maps, the inputs' (Qwen2), or all; left out, as the model.
    """

    stackable: ClassVar[bool] = True
    kind: Literal["attention"] = "attention"
    heads: PositiveInt = 4
    kv_heads: PositiveInt | None = None
    head_size: PositiveInt | None = None
    window: PositiveInt | None = None
    sparse: Sparse | None = None
    qk_norm: QKNorm | None = None
    scale: PositiveFloat | None = None
    log_n: PositiveInt | None = None
    softcap: PositiveFloat | None = None
    weights: Weights = Softmax()
    gate: Gate | None = None
    biases: Biases | None = None

    @model_validator(mode="after")
    def _groups(self) -> Attention:
        if self.kv_heads is not None and self.heads % self.kv_heads:
            raise ValueError(
                f"kv_heads = {self.kv_heads} does not divide heads = {self.heads}; "
                f"allowed: {', '.join(str(d) for d in range(1, self.heads + 1) if self.heads % d == 0)}"
            )
        if self.window is not None and self.sparse is not None:
            raise ValueError(
                f"window = {self.window} and sparse = {self.sparse.kind} are two patterns for one layer; "
                "set one of them to none"
            )
        if self.log_n == 1:
            raise ValueError("log_n = 1 divides by ln 1 = 0; allowed: 2 or more (the training context)")
        return self
