"""Values of ideas that follow from the experiment: what they become, and what is refused."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.spec import Experiment, SpecError, catalog, resolve
from danlu.spec.relative import DERIVED, FUNCTIONS, check_needs, evaluate, fit

VALUES = resolve(["nano"]).model_dump()  # width 64, 4 heads, 3 layers, context 64, AdamW at 6e-3


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("2", 2), ("1.5e-3", 0.0015), ("-3 + 5", 2), ("2 + 3 * 4", 14), ("(2 + 3) * 4", 20),
        ("12 / 4 / 3", 1), ("10 - 4 - 3", 3), ("2 * -3", -6), ("--3", 3),
        ("data.context / 2", 32), ("model.width-1", 63), ("sqrt(model.width)", 8),
        ("4 * ln(data.context)", 4 * math.log(64)), ("floor(7 / 2) + 1", 4),
        ("min(128, model.width / 6)", 64 / 6), ("max(0.99, optimizer.beta2)", 0.99),
        ("1 if 2 < 3 else 4", 1), ("1 if 3 <= 2 else 4", 4), ("1 if 3 > 2 else 4", 1),
        ("1 if 2 >= 3 else 4", 4),
        ("1 if 9 <= 2 else 2 if 9 <= 5 else 3", 3), ("2 * (1 if 1 < 2 else 5)", 2),
        ("head_size", 16), ("initial_std", 0.125), ("adamw_lr / 5", 0.0012), ("5 * adamw_decay", 0.5),
        # An even number, at least 2; the divisor nearest as ratios go, of two the larger.
        ("even(7)", 8), ("even(6.9)", 6), ("even(0.1)", 2), ("even(32)", 32),
        ("divisor(4, 2)", 2), ("divisor(12, sqrt(12))", 4), ("divisor(32, sqrt(32))", 8),
        ("divisor(64, 8)", 8), ("divisor(96, sqrt(96))", 12), ("divisor(768, 32)", 32), ("divisor(7, 3)", 7),
    ],
)  # fmt: skip
def test_arithmetic(rule: str, value: float) -> None:
    assert evaluate(rule, VALUES) == pytest.approx(value, rel=1e-12)


numbers = st.integers(1, 99).map(str)
sums = st.recursive(
    numbers,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/"]), inner).map(lambda t: f"{t[0]} {t[1]} {t[2]}"),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"-{text}"),
    ),
    max_leaves=8,
)


@given(sums)
def test_agrees_with_python(text: str) -> None:
    """Where it can be read, it means what Python means by it."""
    try:
        wanted = eval(text)  # digits, signs and brackets of our own
    except ZeroDivisionError:
        with pytest.raises(SpecError, match="divides by 0"):
            evaluate(text, VALUES)
        return
    assert evaluate(text, VALUES) == pytest.approx(wanted, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("", "the end stands where name is needed"),
        ("1 +", "the end stands where name is needed"),
        ("1 2", "'2' cannot be read there"),
        ("(1", r"the end stands where \) is needed"),
        ("1 if 2 else 3", "'else' stands where <, <=, > or >= is needed"),
        ("1; 2", "'; 2' cannot be read there"),
        ("__import__('os')", "cannot be read there"),
        ("2 ** 9", r"'\*' stands where name is needed"),
        ("1 / 0", "divides by 0"),
        ("1e300 * 1e300", "its value is too large"),
        ("1e999", "its value is too large"),
        ("sqrt(0 - 1)", r"sqrt\(-1\) is not a number"),
        ("ln(0)", r"ln\(0\) is not a number"),
        ("min(1)", "min takes 2 numbers and has 1"),
        ("sqrt(1, 2)", "sqrt takes 1 number and has 2"),
        ("sqrrt(4)", "sqrrt is not a function; did you mean sqrt"),
        ("divisor(0, 1)", "needs a whole number"),
        ("divisor(1e9, 3)", "needs a whole number"),
        ("width / 2", "width is not known; write a field's full name, or one of head_size"),
        ("data.contxt", "has no contxt"),
        ("model.mixer.latent / 2", "model.mixer.kind = attention has no latent"),
        ("model.mixer.window / 2", "model.mixer.window = none is not a number"),
        ("data.corpus * 2", "data.corpus = 'python-stdlib' is not a number"),
        ("model.tied + 1", "model.tied = false is not a number"),
        ("(" * 30 + "1" + ")" * 30, "more than 20 brackets within one another"),
    ],
)
def test_refused_in_a_sentence(rule: str, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        evaluate(rule, VALUES)


def test_any_text_is_read_or_refused_in_a_sentence() -> None:
    """Two thousand rules of the words of the language, in no order."""
    random.seed(0)
    words = ["1", "2.5", "data.context", "model.width", "if", "else", "(", ")", ",", "<", ">=", *"+-*/", " "]
    words += [*DERIVED, *FUNCTIONS, "model", "x", "é", "\n", "1e308", "'"]
    read = 0
    for _ in range(2000):
        rule = "".join(random.choice(words) for _ in range(random.randint(1, 9)))
        try:
            assert math.isfinite(evaluate(rule, VALUES))
            read += 1
        except SpecError as error:
            assert str(error)
    assert read > 50


@pytest.mark.parametrize(
    ("words", "lr", "decay"),
    [
        ("nano", 6e-3, 0.1),
        ("tiny", 0.01, 0.0),  # Muon leaves the embedding to AdamW at adamw_lr
        ("gopher-117m", 6e-4, 0.1),  # Adam: its decay would be L2, so AdamW's default
        ("nano optimizer=soap optimizer.lr=2e-3", 2e-3, 0.01),
    ],
)
def test_the_rate_that_adamw_would_have(words: str, lr: float, decay: float) -> None:
    values = resolve(words).model_dump()
    assert (DERIVED["adamw_lr"](values), DERIVED["adamw_decay"](values)) == (lr, decay)


@pytest.mark.parametrize("kind", ["sgd", "lamb", "adafactor", "lion", "tiger", "schedule-free"])
def test_rates_of_another_kind_are_not_adamws(kind: str) -> None:
    with pytest.raises(
        SpecError, match=f"optimizer.kind = {kind} does not tell the rate.*optimizer.kind=adamw"
    ):
        evaluate("adamw_lr", resolve(["nano", f"optimizer={kind}"]).model_dump())


def laid(patch: dict[str, Any], values: dict[str, Any] = VALUES) -> dict[str, Any]:
    return fit(patch, values, Experiment)[0]


def test_a_number_fits_its_field() -> None:
    """Whole where the field is, at least 1; six digits elsewhere; a single name exactly as it is."""
    assert laid({"model": {"mixer": {"window": "= data.context / 5"}}}) == {
        "model": {"mixer": {"window": 13}}
    }
    assert laid({"model": {"mixer": {"window": "= data.context / 999"}}})["model"]["mixer"]["window"] == 1
    assert laid({"optimizer": {"lr": "= adamw_lr / 7"}})["optimizer"]["lr"] == 0.000857143
    values = resolve(["nano", "optimizer.lr=0.00123456789"]).model_dump()
    assert laid({"optimizer": {"lr": "= optimizer.lr"}}, values)["optimizer"]["lr"] == 0.00123456789
    assert (
        laid({"model": {"mixer": {"kv_heads": "= model.mixer.kv_heads"}}})["model"]["mixer"]["kv_heads"]
        is None
    )
    assert laid({"data": {"corpus": "a = b"}}) == {"data": {"corpus": "a = b"}}


def test_items_of_a_list_repeat() -> None:
    pattern = [{"repeat": "= model.layers - 1", "window": "= data.context / 4"}, {"window": "full"}]
    found, became = fit({"model": {"pattern": pattern}}, VALUES, Experiment)
    assert found["model"]["pattern"] == [{"window": 16}, {"window": 16}, {"window": "full"}]
    assert [(one.field, one.rule, one.value) for one in became] == [
        ("model.pattern.0.window", "data.context / 4", 16),
        ("model.pattern.1.window", "data.context / 4", 16),
    ]
    pattern[0]["repeat"] = 0
    assert laid({"model": {"pattern": pattern}})["model"]["pattern"] == [{"window": "full"}]
    for many in ("= 1e9", -1, "2", True):
        pattern[0]["repeat"] = many
        with pytest.raises(SpecError, match=r"model\.pattern\.0\.repeat = .* is not a whole number from 0"):
            laid({"model": {"pattern": pattern}})


def test_a_part_that_may_not_be_there() -> None:
    patch = {"model": {"mixer": {"qk_norm?": {"when": "before"}}}}
    assert laid(patch) == {}
    assert laid(patch, resolve(["tiny"]).model_dump()) == {
        "model": {"mixer": {"qk_norm": {"when": "before"}}}
    }


def test_needs() -> None:
    check_needs({"model.layers >= 3": "so", "sqrt(model.width) < 9": "so"}, VALUES)
    with pytest.raises(SpecError, match=r"^it needs model\.layers >= 4: every fourth layer is full$"):
        check_needs({"model.layers >= 3": "so", "model.layers >= 4": "every fourth layer is full"}, VALUES)
    for rule in ("model.layers", "model.layers >= 3 4", "model.layerz > 1"):
        with pytest.raises(SpecError, match=f"it needs {rule}: "):
            check_needs({rule: "so"}, VALUES)


def test_no_field_is_called_repeat() -> None:
    """``repeat`` is a word of lists, not of any specification."""
    assert "repeat" not in set(_names(Experiment.model_json_schema()))


def _names(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        return [*schema.get("properties", {}), *(name for part in schema.values() for name in _names(part))]
    return [name for part in schema for name in _names(part)] if isinstance(schema, list) else []


# ---------------------------------------------------------------- in words


@pytest.mark.parametrize(
    "broken",
    ["model=3", "model={kind: [1]}", "model.mixer=none", "model.mixer={heads: 0}", "model.mixer.heads=many",
     "model.width=0", "model.layers=none", "data=3", "data.context=none", "data.context=-1", "optimizer=[]",
     "optimizer.lr=none", "optimizer.kind=3", "train=none", "model.pattern=3", "objective=none"],
)  # fmt: skip
def test_an_idea_on_a_broken_experiment_is_a_sentence(broken: str) -> None:
    for name in catalog.names("ideas"):
        try:
            resolve(["nano", broken, f"+{name}"])
        except SpecError as error:
            assert str(error) and "Error" not in str(error)


def test_an_idea_reads_what_stands_to_its_left() -> None:
    assert resolve("nano +window").model.mixer.window == 32
    assert resolve("nano data.context=128 +window").model.mixer.window == 64
    assert resolve("nano +window data.context=128").model.mixer.window == 32
    wide = resolve("nano +mup model.width=256").model
    assert (wide.base_width, wide.width) == (64, 256)


def test_an_own_idea_comes_from_a_file(write: Callable[[str, str], str]) -> None:
    path = write("idea.yaml", "patch:\n  model.mixer.window: = data.context / 4\n")
    assert resolve(["nano", f"+{path}"]) == resolve("nano model.mixer.window=16")
    whole = write("fields.yaml", "model: {mixer: {window: = data.context / 4}}\n")
    assert resolve(["nano", f"+{whole}"]) == resolve("nano model.mixer.window=16")
    assert resolve(["nano", f"+{path}", "+swiglu"]) == resolve("nano model.mixer.window=16 +swiglu")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("patch: {model.widht: 3}", "model.widht is not a field.*did you mean model.width"),
        (
            "patch: {model.mixer.window: = data.context /}",
            r"does not fit: model\.mixer\.window = data\.context /: the end",
        ),
        ("patch: 3", "patch = 3 is not a mapping of fields"),
        (
            "patch: {model.layers: 2}\nstatment: x",
            "statment is not a field of an idea; did you mean statement",
        ),
        ("patch: {model.layers: 2}\nneeds: 3", "needs = 3 is not a mapping"),
        (
            "patch: {model.layers: 2}\nneeds: {model.layers > 9: it is deep}",
            "it needs model.layers > 9: it is deep",
        ),
        ("patch: {model.layers: 3}", "changes nothing: the experiment already has model.layers = 3"),
        ("patch: {model..layers: 3}", "a dot needs a name on either side"),
        ("model: {layers: 2}\nmodel.layers: 3", "model.layers is given twice"),
    ],
)
def test_a_mistake_in_a_file_is_named(write: Callable[[str, str], str], text: str, sentence: str) -> None:
    path = write("idea.yaml", text + "\n")
    with pytest.raises(SpecError, match=sentence) as caught:
        resolve(["nano", f"+{path}"])
    assert path in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_registered_idea_is_one_like_the_catalogs() -> None:
    made = catalog.register_idea(
        "half-window", {"model.mixer.window": "= data.context / 2"}, statement="Half  a window\nis enough"
    )
    try:
        assert (made.statement, made.family, made.source) == ("Half a window is enough", "own", "")
        assert resolve("nano +half-window") == resolve("nano +window")
        assert "half-window" in catalog.names("ideas") and made in catalog.ideas()
        with pytest.raises(SpecError, match=r"no idea named half-widow; did you mean \+half-window\?"):
            resolve("nano +half-widow")
        with pytest.raises(SpecError, match=r"did you mean \+half-window\?"):
            resolve("nano half-window")
        catalog.register_idea("half-window", {"model.layers": 2})  # edited, and run again
        assert resolve("nano +half-window").model.layers == 2
    finally:
        catalog.forget_idea("half-window")
    assert "half-window" not in catalog.names("ideas")


@pytest.mark.parametrize(
    ("name", "patch", "sentence"),
    [
        ("swiglu", {"model.layers": 2}, "the catalog has an idea of this name"),
        ("qk-gain", {"model.layers": 2}, "the catalog has an idea of this name"),
        ("a+b", {"model.layers": 2}, "a name is letters, digits, - and _"),
        ("mine.yaml", {"model.layers": 2}, "a name is letters, digits, - and _"),
        ("mine", {}, "patch = {} is not a mapping of fields"),
        ("mine", {"model..layers": 2}, "idea mine: model..layers is not a field"),
    ],
)
def test_what_cannot_be_registered(name: str, patch: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        catalog.register_idea(name, patch)


def test_former_names_mean_what_took_their_place() -> None:
    assert not set(catalog.FORMER) & set(catalog.names("ideas"))
    assert set(catalog.FORMER.values()) <= set(catalog.names("ideas"))
    assert resolve("nano +qk-gain") == resolve("nano +qk-norm")
