"""Values of an idea that follow from the experiment it is laid on: ``window: = data.context / 2``.

A value that begins with ``=`` is arithmetic over the experiment as it stands before the idea. It is read by
the few rules below and by nothing else: no part of it is ever run as Python.

    choice   sum, or: sum if sum <= sum else choice         (also <, >=, >)
    sum      product + product - …
    product  factor * factor / …
    factor   number, -factor, (choice), name, function(choice, …)

A name with a dot is a field of the experiment. A name without one is of ``DERIVED``; functions are those of
``FUNCTIONS``. A single name gives the field's value as it is, none included. A number for a field that holds
whole numbers is rounded to the nearest, at least 1; for another it is given with six digits. In a list,
``{repeat: = model.layers - 1, …}`` stands for so many equal items.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from danlu.files.yaml import brief
from danlu.spec.errors import SpecError, did_you_mean, either
from danlu.spec.optim import AdamW
from danlu.spec.schema import Accepts, accepts
from danlu.spec.sizes import divisor

NAME = r"[a-z_][a-z0-9_]*(?:\.[a-z0-9_]+)*"
TOKEN = re.compile(
    rf"\s*(?:(?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)"
    rf"|(?P<word>(?:if|else)\b)|(?P<name>{NAME})|(?P<sign><=|>=|[-+*/(),<>]))"
)
DEEPEST = 20  # brackets within brackets
MOST = 10_000  # items of a list
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Became:
    """What a value turned out to be: the ``field``, the ``rule`` as it is written, the ``value``."""

    field: str
    rule: str
    value: Any

    def __str__(self) -> str:
        return f"{self.field} = {brief(self.value)}, which is {self.rule}"


def fit(patch: Values, values: Values, root: type[BaseModel]) -> tuple[dict[str, Any], list[Became]]:
    """``patch`` with a number in place of every rule, for an experiment of these ``values``, and what each
    rule became. Raises SpecError with the field, its rule, and what the experiment lacks."""
    became: list[Became] = []

    def part(patch: Values, old: Any, spec: type[BaseModel] | None, inside: str) -> dict[str, Any]:
        fields = accepts(spec) if spec is not None else {}
        before = old if isinstance(old, Mapping) else {}
        found = {}
        for key, value in patch.items():
            name = key.removesuffix("?")
            if name == key or before.get(name) is not None:
                fitted = one(value, before.get(name), fields.get(name), f"{inside}{name}")
                if fitted != {} or value == {}:  # a part of which nothing is left is left out itself
                    found[name] = fitted
        return found

    def one(value: Any, old: Any, to: Accepts | None, name: str) -> Any:
        if is_rule(value):
            became.append(Became(name, value[1:].strip(), _number(value, values, to, name)))
            return became[-1].value
        if isinstance(value, Mapping):
            kind = old.get("kind") if isinstance(old, Mapping) else None
            return part(value, old, to.spec_of(value, kind) if to else None, f"{name}.")
        if isinstance(value, list | tuple):
            items = to.items if to else None
            return [
                one(item, None, items, f"{name}.{i}") for i, item in enumerate(_repeated(value, values, name))
            ]
        return value

    return part(patch, values, root, ""), became


def check_needs(needs: Mapping[str, str], values: Values) -> None:
    """Raises SpecError with the reason of the first comparison in ``needs`` that fails for an experiment of
    these ``values``."""
    for rule, reason in needs.items():
        try:
            reader = _Reader(rule, values)
            holds = reader.comparison()
            reader.end()
        except SpecError as error:
            raise SpecError(f"it needs {rule}: {error}") from None
        if not holds:
            raise SpecError(f"it needs {rule}: {reason}")


def is_rule(value: Any) -> bool:
    """Whether a value is arithmetic and not what it says."""
    return isinstance(value, str) and value.startswith("=")


def _number(rule: str, values: Values, to: Accepts | None, name: str) -> Any:
    text = rule[1:].strip()
    try:
        value = _named(text, values) if (single := re.fullmatch(NAME, text)) else evaluate(text, values)
    except SpecError as error:
        raise SpecError(f"{name} = {text}: {error}") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if to is not None and int in to.scalars and float not in to.scalars:
        return max(1, math.floor(value + 0.5))
    return value if single else float(f"{value:.6g}")


def _repeated(items: list[Any] | tuple[Any, ...], values: Values, name: str) -> list[Any]:
    """The items, those with ``repeat`` as often as that says."""
    found: list[Any] = []
    for i, item in enumerate(items):
        if not (isinstance(item, Mapping) and "repeat" in item):
            found.append(item)
            continue
        where, times = f"{name}.{i}.repeat", item["repeat"]
        count = _number(times, values, None, where) if is_rule(times) else times
        if isinstance(count, bool) or not isinstance(count, int | float) or not 0 <= count <= MOST:
            raise SpecError(f"{where} = {brief(count)} is not a whole number from 0 to {MOST}")
        rest = {key: value for key, value in item.items() if key != "repeat"}
        found += [rest] * math.floor(count + 0.5)
    return found


# ---------------------------------------------------------------- names


def _field(name: str, values: Values) -> Any:
    """The value of a field by its dotted name."""
    found: Any = values
    for i, step in enumerate(path := name.split(".")):
        if not isinstance(found, Mapping) or step not in found:
            above = ".".join(path[:i])
            kind = found.get("kind") if isinstance(found, Mapping) else None
            here = f"{above}.kind = {kind}" if kind else above or "the experiment"
            hint = did_you_mean(step, found) if isinstance(found, Mapping) and not kind else ""
            raise SpecError(f"{here} has no {step}{hint}")
        found = found[step]
    return found


def _named(name: str, values: Values) -> Any:
    if name in DERIVED:
        try:
            return DERIVED[name](values)
        except (ArithmeticError, ValueError):  # a width of 0, which is refused at the end
            raise SpecError(f"{name} cannot be computed for this experiment") from None
    if "." not in name:
        raise SpecError(f"{name} is not known; write a field's full name, or one of {', '.join(DERIVED)}")
    return _field(name, values)


def _amount(name: str, values: Values) -> float:
    value = _named(name, values)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecError(f"{name} = {brief(value)} is not a number")
    return value


def _head_size(values: Values) -> Any:
    """Numbers in a head: ``model.mixer.head_size``, or left out the width over the heads."""
    mixer = _field("model.mixer", values)
    own = mixer.get("head_size") if isinstance(mixer, Mapping) else None
    return own or _amount("model.width", values) / _amount("model.mixer.heads", values)


def _initial(values: Values) -> Any:
    """The standard deviation of initial weights: ``model.init.std``, or left out 1/√width."""
    std = _field("model.init.std", values)
    return 1 / math.sqrt(_amount("model.width", values)) if std is None else std


def _hidden(values: Values, kind: str) -> Any:
    """The inner width of a feed-forward of this ``kind`` with as many parameters as the experiment's (three
    matrices in a gated one, two in a plain one); none where the experiment leaves it to follow the width."""
    own = _field("model.feed_forward.hidden", values)
    if own is None or _field("model.feed_forward.kind", values) == kind:
        return own
    return own * (2 / 3 if kind == "glu" else 3 / 2)


# The rate that AdamW has, or would have, by the rule that the experiment has now. SOAP's authors give it
# the rate that is best for AdamW (Vyas et al. 2024, section 5); Muon leaves what is no matrix to AdamW.
AS_ADAMW = {"adamw": "lr", "adam": "lr", "soap": "lr", "muon": "adamw_lr"}


def _adamw_lr(values: Values) -> Any:
    kind = _field("optimizer.kind", values)
    if kind not in AS_ADAMW:
        raise SpecError(
            f"optimizer.kind = {kind} does not tell the rate that AdamW would have; write "
            "optimizer.kind=adamw and optimizer.lr=RATE before the idea"
        )
    return _field(f"optimizer.{AS_ADAMW[kind]}", values)


def _adamw_decay(values: Values) -> Any:
    """The decay beside that rate; after Adam, whose decay is L2 in the gradient, AdamW's default."""
    _adamw_lr(values)
    if _field("optimizer.kind", values) == "adam":
        return AdamW.model_fields["weight_decay"].default
    return _field("optimizer.weight_decay", values)


DERIVED: dict[str, Callable[[Values], Any]] = {
    "head_size": _head_size,
    "initial_std": _initial,
    "plain_hidden": lambda values: _hidden(values, "mlp"),
    "gated_hidden": lambda values: _hidden(values, "glu"),
    "adamw_lr": _adamw_lr,
    "adamw_decay": _adamw_decay,
}


# ---------------------------------------------------------------- functions


def _even(x: float) -> float:
    """The nearest even number, at least 2."""
    return 2 * max(1, math.floor(x / 2 + 0.5))


FUNCTIONS: dict[str, tuple[int, Callable[..., float]]] = {  # with the number of arguments
    "sqrt": (1, math.sqrt),
    "ln": (1, math.log),
    "floor": (1, math.floor),
    "even": (1, _even),
    "min": (2, min),
    "max": (2, max),
    "divisor": (2, divisor),
}
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


# ---------------------------------------------------------------- reading


def evaluate(text: str, values: Values) -> float:
    """The number that a rule (without its ``=``) gives. Raises SpecError where it cannot be read, or has no
    value for an experiment of these ``values``."""
    reader = _Reader(text, values)
    value = reader.choice()
    reader.end()
    return value


class _Reader:
    """Reads from left to right, one method for each of the rules above."""

    def __init__(self, text: str, values: Values) -> None:
        self.values, self.tokens, self.depth = values, list[tuple[str, str]](), 0
        at, text = 0, text.rstrip()
        while at < len(text):
            match = TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise SpecError(f"{text[at:].strip()!r} cannot be read there")
            self.tokens.append((match.lastgroup, match[match.lastgroup]))
            at = match.end()

    def peek(self, *wanted: str) -> bool:
        """Whether the next token is one of these signs or words, or of the kind number or name."""
        if not self.tokens:
            return False
        kind, text = self.tokens[0]
        return (text if kind in ("sign", "word") else kind) in wanted

    def take(self, *wanted: str) -> str:
        if not self.peek(*wanted):
            here = repr(self.tokens[0][1]) if self.tokens else "the end"
            raise SpecError(f"{here} stands where {either(wanted)} is needed")
        return self.tokens.pop(0)[1]

    def end(self) -> None:
        if self.tokens:
            raise SpecError(f"{self.tokens[0][1]!r} cannot be read there")

    def choice(self) -> float:
        self.depth += 1
        if self.depth > DEEPEST:
            raise SpecError(f"it has more than {DEEPEST} brackets within one another")
        value = self.sum()
        if self.peek("if"):
            self.take("if")
            holds = self.comparison()
            self.take("else")
            other = self.choice()
            value = value if holds else other
        if not math.isfinite(value):
            raise SpecError("its value is too large")
        self.depth -= 1
        return value

    def comparison(self) -> bool:
        left = self.sum()
        return COMPARE[self.take("<", "<=", ">", ">=")](left, self.sum())

    def sum(self) -> float:
        value = self.product()
        while self.peek("+", "-"):
            value = value + self.product() if self.take("+", "-") == "+" else value - self.product()
        return value

    def product(self) -> float:
        value = self.factor()
        while self.peek("*", "/"):
            sign, other = self.take("*", "/"), self.factor()
            if sign == "/" and other == 0:
                raise SpecError("it divides by 0")
            value = value * other if sign == "*" else value / other
        return value

    def factor(self) -> float:
        negative = False
        while self.peek("-"):
            self.take("-")
            negative = not negative
        value = self.atom()
        return -value if negative else value

    def atom(self) -> float:
        if self.peek("number"):
            return float(self.take("number"))
        if self.peek("("):
            self.take("(")
            value = self.choice()
            self.take(")")
            return value
        name = self.take("name")
        if not self.peek("("):
            return _amount(name, self.values)
        if name not in FUNCTIONS:
            raise SpecError(f"{name} is not a function{did_you_mean(name, FUNCTIONS) or '.'}")
        count, function = FUNCTIONS[name]
        self.take("(")
        arguments = [self.choice()]
        while self.peek(","):
            self.take(",")
            arguments.append(self.choice())
        self.take(")")
        if len(arguments) != count:
            raise SpecError(f"{name} takes {count} number{'s' * (count > 1)} and has {len(arguments)}")
        try:
            return function(*arguments)
        except (ArithmeticError, ValueError):
            raise SpecError(f"{name}({', '.join(f'{x:g}' for x in arguments)}) is not a number") from None
