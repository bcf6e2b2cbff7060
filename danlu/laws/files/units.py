"""Numbers as people write them, ``70M``, ``1,234.5``, ``5.8e23 FLOPs``, ``8.6 PF-days``, and their units."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from danlu.laws.errors import LawError

DAY = 86400.0  # seconds
_LETTERS = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12, "p": 1e15, "e": 1e18, "z": 1e21, "y": 1e24}
_WORDS = {
    "thousand": 1e3, "thousands": 1e3, "kilo": 1e3, "mn": 1e6, "mm": 1e6, "mil": 1e6, "million": 1e6,
    "millions": 1e6, "mega": 1e6, "bn": 1e9, "bil": 1e9, "billion": 1e9, "billions": 1e9, "giga": 1e9,
    "tn": 1e12, "tera": 1e12, "trillion": 1e12, "trillions": 1e12, "peta": 1e15, "exa": 1e18, "zetta": 1e21,
    "yotta": 1e24, "tsd": 1e3, "mio": 1e6, "millionen": 1e6, "mrd": 1e9, "mia": 1e9, "milliarden": 1e9,
    "milliard": 1e9, "milliards": 1e9, "billionen": 1e12,
    "千": 1e3, "万": 1e4, "百万": 1e6, "千万": 1e7, "亿": 1e8, "十亿": 1e9, "百亿": 1e10, "千亿": 1e11,
    "万亿": 1e12, **{letter: _LETTERS[letter] for letter in "kmbgt"},
}  # fmt: skip
_SAID = {1e3: "thousands", 1e6: "millions", 1e9: "billions", 1e12: "trillions"}
_WHOLE = {  # units that no scale goes before
    "nats": ("loss", 1.0), "nat": ("loss", 1.0), "nats/token": ("loss", 1.0), "nats/tok": ("loss", 1.0),
    "bits": ("loss", math.log(2)), "bit": ("loss", math.log(2)), "bits/token": ("loss", math.log(2)),
    "perplexity": ("loss", None), "ppl": ("loss", None), "log10": ("", None), "ln": ("", None),
    "%": ("share", 0.01), "percent": ("share", 0.01),
}  # fmt: skip
_KINDS = {
    "flop": "c", "flops": "c", "tokens": "d", "token": "d", "tok": "d", "toks": "d", "params": "n",
    "param": "n", "parameters": "n", "parameter": "n", "参数": "n", "词元": "d",
}  # fmt: skip
_SCALES = "|".join(sorted([*_WORDS, *_LETTERS], key=len, reverse=True))
_POWER = re.compile(r"(?:[x×·*]?\s*)(?:1?e\+?|10\s*(?:\^|\*\*)\s*\+?)(\d{1,2})")
_DAYS = re.compile(rf"({_SCALES})?\s*f(?:lops?)?(?:\s*/\s*s(?:ec)?|\s*s)?[\s_·*-]*(day|hour|d|h)s?")
_OF = re.compile(rf"({_SCALES})?[\s_-]*({'|'.join(sorted(_KINDS, key=len, reverse=True))})")


class Unit(NamedTuple):
    """``name`` as it was written; ``kind``: ours that it is of (n, d, c, loss, share), "" for a mere scale;
    ``factor``: to our unit, None where it is a logarithm, or is to be made one."""

    name: str
    kind: str
    factor: float | None

    @property
    def said(self) -> str:
        """The name in a sentence: billions where it was written ``b``, ``bn`` or ``Mrd``."""
        alone = self.kind == "" and self.name.strip(".").isalpha()
        return _SAID.get(self.factor or 0.0, self.name) if alone else self.name

    def ours(self, value: float) -> float:
        """A number of this unit in ours."""
        if self.factor is not None:
            return value * self.factor
        try:
            match self.name.lower():
                case "log10":
                    return 10.0**value
                case "ln":
                    return math.exp(value)
            return math.log(value) if value > 0 else math.nan
        except OverflowError:
            return math.inf


OURS = Unit("", "", 1.0)


def unit(text: str) -> Unit | None:
    """The unit that a text names: ``M``, ``billion``, ``1e18``, ``GFLOP``, ``PF-days``, ``B tokens``,
    ``bits``, ``perplexity``, ``log10``. None where it names none; FLOP per second are none."""
    plain = " ".join(text.lower().split()).rstrip(".")
    if not plain:
        return None
    if plain in _WHOLE:
        return Unit(text.strip(), *_WHOLE[plain])
    if plain in _WORDS:
        return Unit(text.strip(), "", _WORDS[plain])
    if match := _POWER.fullmatch(plain):
        return Unit(text.strip(), "", 10.0 ** int(match[1]))
    if match := _DAYS.fullmatch(plain):
        name = "PF-days" if plain == "pfdays" else text.strip()  # as headings are made alike
        return Unit(name, "c", _scale(match[1]) * (DAY if match[2][0] == "d" else DAY / 24))
    if match := _OF.fullmatch(plain):
        return Unit(text.strip(), _KINDS[match[2]], _scale(match[1]))
    if (power := re.fullmatch(r"(\S+)\s+(\w+)", plain)) and power[2] in _KINDS:  # 1e18 FLOP
        scale = _POWER.fullmatch(power[1])
        return Unit(text.strip(), _KINDS[power[2]], 10.0 ** int(scale[1])) if scale else None
    return None


def given(ours: str, text: str) -> Unit:
    """The unit of ``--unit OURS=TEXT``; a plain factor is one too. Raises LawError."""
    found = unit(text)
    if found is None:
        try:
            found = Unit(text, "", float(text))
        except ValueError:
            found = Unit(text, "", math.nan)
    if found.factor is not None and not 0 < found.factor < math.inf:
        raise LawError(
            f"--unit {ours}={text}: no such unit; there are M, billion, 1e18, GFLOP, PF-days, bits, "
            "perplexity, log10, or a factor"
        )
    if not fits(ours, found):
        raise LawError(f"--unit {ours}={text}: {text} is no unit of {ours}")
    return found


def fits(ours: str, found: Unit) -> bool:
    """Whether one of our columns can have a unit."""
    if found.kind == "share":
        return ours in ("", "error", "accuracy")
    return not ours or found.kind in ("", ours) or (found.kind == "d" and ours in ("u", "b"))


def _scale(text: str | None) -> float:
    return 1.0 if not text else _WORDS.get(text) or _LETTERS[text]


# ---------------------------------------------------------------- numbers

BLANK = {"", "-", "–", "—", "?", ".", "na", "n/a", "#n/a", "nan", "none", "null", "nil", "missing", "tbd"}
_GROUPS = {  # a number with its thousands apart, by its decimal mark
    ".": re.compile(r"[1-9]\d{0,2}(?:(?:,\d{3})+|(?:['’_ ]\d{3})+)(?:\.\d*)?"),
    ",": re.compile(r"[1-9]\d{0,2}(?:(?:\.\d{3})+|(?:['’_ ]\d{3})+)(?:,\d*)?"),
}
_PLAIN = {".": re.compile(r"\d+\.?\d*|\.\d+"), ",": re.compile(r"\d+,?\d*|,\d+")}
_PARTS = re.compile(
    r"(?P<sign>[+-]?)(?P<number>[\d.,'’_ ]*\d[.,]?)"
    r"(?:\s*[e](?P<e>[+-]?\d{1,3})(?![\d.])|\s*[x×·*]\s*10\s*(?:\^|\*\*)\s*(?P<ten>[+-]?\d{1,3}))?\s*(?P<rest>.*)",
    re.IGNORECASE,
)
_TEN = re.compile(r"10\s*(?:\^|\*\*)\s*([+-]?\d{1,3})")
_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"
_SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "−": "-"})


def blank(value: Any) -> bool:
    """Whether a cell holds nothing: no text, a dash, NA, NaN, None."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, str) and value.strip().lower() in BLANK


def number(value: Any, decimal: str = ".", of: str = "", scale: Unit = OURS) -> float | None:
    """A cell as a number in our unit; None where it is none, infinity where it says so.

    ``decimal``: the mark before fractions. ``of``: our column, whose units may stand in the cell (``70M``).
    ``scale``: the unit of the column, which a cell with one of its own is not in.
    """
    if isinstance(value, bool) or not isinstance(value, str):
        return None if isinstance(value, bool) else _of_number(value, scale)
    text = _raised(value.translate(_SPACES).strip())
    if decimal == "." and "_" not in text:
        try:
            return scale.ours(float(text))
        except ValueError:
            pass
    if match := _TEN.fullmatch(text):
        return scale.ours(10.0 ** int(match[1]))
    match = _PARTS.fullmatch(text.lstrip("~≈"))
    if match is None:
        return None
    digits = match["number"].strip()
    if not _PLAIN[decimal].fullmatch(digits) and not _GROUPS[decimal].fullmatch(digits):
        return None
    for mark in "'’_ " + (",", ".")[decimal == ","]:
        digits = digits.replace(mark, "")
    power = match["e"] or match["ten"]
    exact = float(f"{match['sign']}{digits.replace(',', '.')}{f'e{power}' if power else ''}")
    rest = match["rest"].strip()
    if not rest:
        return scale.ours(exact)
    own = unit(rest)
    return own.ours(exact) if own is not None and own.factor is not None and fits(of, own) else None


def _raised(text: str) -> str:
    """``10²³`` as ``10^23``."""
    if text.isascii():
        return text
    low = str.maketrans(_RAISED, "0123456789-")
    return re.sub(f"[{_RAISED}]+", lambda match: "^" + match[0].translate(low), text)


def _of_number(value: Any, scale: Unit) -> float | None:
    try:
        return scale.ours(float(value))
    except (TypeError, ValueError, OverflowError):
        return None


_COMMA = re.compile(
    r"\d+,(?:\d{1,2}|\d{4,})|0+,\d+|\d{4,},\d+|[1-9]\d{0,2}(?:\.\d{3})+,\d*|\d{1,3}(?:\.\d{3}){2,}"
)
_POINT = re.compile(
    r"\d+\.(?:\d{1,2}|\d{4,})|0+\.\d+|\d{4,}\.\d+|[1-9]\d{0,2}(?:,\d{3})+\.\d*|\d{1,3}(?:,\d{3}){2,}"
)
_BARE = re.compile(r"\d{1,3},\d{3}")


def decimal_mark(cells: Iterable[Any], separator: str = ",") -> str:
    """The mark before fractions in a table's cells, "." or ",". ``1,234`` alone is a thousand, but in a table
    whose fields are separated by ``;``. Raises LawError where cells contradict each other."""
    comma = point = bare = ""
    for cell in cells:
        if not isinstance(cell, str) or not ("," in cell or "." in cell):
            continue
        match = _PARTS.fullmatch(cell.translate(_SPACES).strip().lstrip("~≈"))
        digits = re.sub("['’_ ]", "", match["number"]) if match else ""
        if not comma and _COMMA.fullmatch(digits):
            comma = cell
        elif not point and _POINT.fullmatch(digits):
            point = cell
        elif not bare and _BARE.fullmatch(digits):
            bare = cell
    if comma and point:
        raise LawError(
            f"some numbers have a decimal comma ({comma}), others a decimal point ({point}); use one"
        )
    return "," if comma or (bare and not point and separator == ";") else "."
