"""The specification is the signature: fields, types, defaults; what cannot be a field is refused."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

import danlu
from danlu.spec import Norm, RMSNorm, SpecError, WarmUp
from danlu.spec.families import FAMILIES
from danlu.spec.objectives import BITS_PER_BYTE, HELD_OUT_LOSS
from danlu.spec.schema import accepts


def spec_of(family: str, makes: Callable[..., Any], kind: str = "mine") -> type:
    danlu.part(family, kind)(makes)
    return FAMILIES[family].own[kind].spec


class Many:
    """Says what it is.

    And more.
    """

    def __init__(
        self,
        width: int,
        size: int,
        *,
        alpha: float = 0.5,
        form: Literal["a", "b"] = "a",
        rank: Annotated[int, Field(gt=0)] | None = None,
        on: bool = True,
        betas: tuple[float, ...] = (0.9, 0.99),
        inner: Norm = RMSNorm(),
    ) -> None: ...


def test_fields_types_and_defaults() -> None:
    spec = spec_of("norm", Many)
    made = spec(size=3)
    assert made.model_dump() == {
        "kind": "mine", "size": 3, "alpha": 0.5, "form": "a", "rank": None, "on": True, "betas": (0.9, 0.99),
        "inner": RMSNorm().model_dump(),
    }  # fmt: skip
    said = {name: to.describe() for name, to in accepts(spec).items()}
    assert said["size"] == "a whole number"
    assert said["form"] == "a or b"
    assert said["rank"] == "a whole number greater than 0, or none"
    assert said["inner"].startswith("rms, layer")
    assert FAMILIES["norm"].own["mine"].context == ("width",)
    assert FAMILIES["norm"].own["mine"].statement == "Says what it is."
    assert inspect.getdoc(spec) == inspect.getdoc(Many)


def test_a_function_has_its_input_and_fields() -> None:
    def saw(now: object, *, teeth: int = 4) -> float:
        return 0.0

    spec = spec_of("schedule", saw)
    assert issubclass(spec, WarmUp)
    assert set(spec.model_fields) == {"kind", "teeth", "warmup"}


def test_class_variables_are_read_off_the_class() -> None:
    class Across:
        across_positions = True

        def __init__(self, width: int) -> None: ...

    assert spec_of("norm", Across).across_positions is True  # type: ignore[attr-defined]
    assert spec_of("norm", Many, "other").across_positions is False  # type: ignore[attr-defined]


class NoType:
    def __init__(self, alpha=0.5) -> None: ...  # type: ignore[no-untyped-def]


class OddType:
    def __init__(self, alpha: dict[str, int] | None = None) -> None: ...


class ListType:
    def __init__(self, alpha: list[int] = []) -> None: ...  # noqa: B006


class Star:
    def __init__(self, width: int, **more: Any) -> None: ...


class WrongDefault:
    def __init__(self, alpha: int = 0.5) -> None: ...  # type: ignore[assignment]


class Bounded:
    def __init__(self, alpha: Annotated[float, Field(gt=0)] = -1.0) -> None: ...


class Taken:
    def __init__(self, copy: int = 1) -> None: ...


class Kind:
    def __init__(self, kind: str = "a") -> None: ...


class Unknown:
    def __init__(self, alpha: Nowhere = 1) -> None: ...  # type: ignore[name-defined]  # noqa: F821


class Placeless:
    def __init__(self, size: int) -> None: ...


class Heads:
    acts_on = "heads"

    def __init__(self, width: int) -> None: ...


class Required:
    def __init__(self, params: Any, size: int, lr: float = 0.1) -> None: ...


class Wordless:
    metrics = BITS_PER_BYTE, HELD_OUT_LOSS


def double(x: Any) -> Any:
    return 2 * x


def late(now: Any, *, warmup: float = 0.1) -> float:
    return 1.0


@pytest.mark.parametrize(
    ("family", "makes", "sentence"),
    [
        ("norm", NoType, "NoType: alpha has no type; write one, as in alpha: float; a type is int, float"),
        ("norm", OddType, "OddType: the type of alpha cannot be that of a field; allowed: int, float, bool"),
        ("norm", ListType, "ListType: the type of alpha cannot be that of a field"),
        ("norm", Star, r"Star: \*\*more cannot be a field; name each one"),
        ("norm", WrongDefault, "the default of WrongDefault: alpha = 0.5 is not a whole number"),
        ("norm", Bounded, "the default of Bounded: alpha = -1.0 is not a number greater than 0"),
        ("norm", Taken, "Taken: a field cannot be called copy; choose another name"),
        ("norm", Kind, "Kind: a field cannot be called kind"),
        ("norm", Unknown, "Unknown: a type in its signature is unknown .*Nowhere"),
        ("norm", double, "mine is a function, and a norm must be a class"),
        ("position", Placeless, "Placeless does not say acts_on: write acts_on = … in the class, 'emb"),
        ("position", Heads, "Heads: a position that acts there gets size from the model; leave width out"),
        ("schedule", late, "late: every schedule has the field warmup already"),
        ("optimizer", Wordless, "Wordless has no lr, which its optimizer needs"),
        ("optimizer", Required, "Required: size of an optimizer has no default; give it one"),
        ("objective", Many, "Many does not say metrics: write metrics = … in the class$"),
        ("objective", Wordless, "Wordless has no example, held_out, loss, score or measure, which its obj"),
        ("nrom", Many, "'nrom' is not a family of parts; did you mean norm.*activation, "),
    ],
)
def test_what_cannot_be_is_refused(family: str, makes: Callable[..., Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        danlu.part(family, "mine")(makes)
    assert not any("mine" in of.own for of in FAMILIES.values())


@pytest.mark.parametrize("kind", ["", "none", "True", "1e3", "a b", "a=b", "+a", "-a", "a.b", "a/b", "é"])
def test_a_kind_is_a_word(kind: str) -> None:
    with pytest.raises(SpecError, match="a kind is a word of letters"):
        danlu.part("norm", kind)(Many)


def test_a_class_without_a_constructor_has_no_fields() -> None:
    torch = pytest.importorskip("torch")

    class Plain(torch.nn.Module):  # type: ignore[name-defined,misc]
        def forward(self, x: Any) -> Any:
            return x

    assert set(spec_of("activation", Plain).model_fields) == {"kind"}
