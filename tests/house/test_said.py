"""Each sentence that danlu's code tells a person has its Chinese, by the phrases of danlu/catalog.

What is told is written where it is told, in English, with places for names and numbers. Those are filled in,
a number, a name or nothing in each, and one of these sentences at least must leave no English in its Chinese.
That finds a sentence that is new, or reworded, without its Chinese; what a verb says on whole is asked of the
verbs (tests/cli/test_chinese.py).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path

from danlu.draw.phrases import chinese
from tests.chinese import left
from tests.conftest import ROOT

# By these a person is told something, in the person's language.
TELLING = {"speak", "inform", "label", "message", "show_progress"}
HANDED_ON = {"say", "tell"}  # and by these, where they are handed on; those of danlu/cli translate nothing
ROOMS = ("cli", "data", "door", "lab", "spikes", "train")
FILLED = ("7", "name", "better", "")  # in a place
MOST = 400  # sentences that one expression may be
WHOLE = (  # whose phrases stand apart: tests of these verbs ask for the whole
    "not installed: …",
    "…: without position 0",
    "… runs, … of each rung: ",
    "target: … layers of",
    "…: … points; objective …",
    "…-bound: memory moves",
    ", in pairs over … passes",
    "… over …: …",
    " of this machine's measured ceiling",
    "… at each size",
    "… at two sizes",
)

Form = tuple[str | None, ...]  # None: a place
PATHS = [path for room in ROOMS for path in sorted((ROOT / "danlu" / room).rglob("*.py"))]


def forms(node: ast.expr, known: dict[str, list[ast.expr]]) -> list[Form]:
    """What a text may be; ``known``: what the names of the function hold."""
    match node:
        case ast.Constant(value=str(text)):
            return [(text,)]
        case ast.JoinedStr(values=parts):
            made: list[Form] = [()]
            for part in parts:
                made = [(*one, *more) for one in made for more in forms(part, known)]
            return made
        case ast.FormattedValue(value=value):
            return forms(value, known)
        case ast.BinOp(op=ast.Add(), left=a, right=b):
            return [(*one, *more) for one in forms(a, known) for more in forms(b, known)]
        case ast.BinOp(op=ast.Mult(), left=a) if (once := forms(a, known)) != [(None,)]:
            return [*once, ()]
        case ast.IfExp(body=a, orelse=b):
            return [*forms(a, known), *forms(b, known)]
        case ast.Name(id=name) if name in known:
            rest = {other: values for other, values in known.items() if other != name}
            return [form for value in known[name] for form in forms(value, rest)]
    return [(None,)]


def sentences(form: Form) -> Iterator[str]:
    for filling in product(FILLED, repeat=form.count(None)):
        places = iter(filling)
        yield "".join(next(places) if part is None else part for part in form)


def said(path: Path, names: set[str]) -> Iterator[tuple[int, Form]]:
    """What the calls of ``names`` in a file tell, with their lines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        known: dict[str, list[ast.expr]] = {}
        for node in (*tree.body, *ast.walk(function)):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    known.setdefault(name, []).append(value)
                case ast.AugAssign(target=ast.Name(id=name), value=value) if name in known:
                    known[name] += [ast.BinOp(one, ast.Add(), value) for one in known[name]]
        for node in ast.walk(function):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            for argument in node.args[:2] if name in names else ():
                yield from ((node.lineno, form) for form in forms(argument, known))


def shown(form: Form) -> str:
    return "".join("…" if part is None else part for part in form)


def test_what_is_told_has_its_chinese() -> None:
    english = [
        f"{path.relative_to(ROOT)}:{line}: {shown(form)}"
        for path in PATHS
        for line, form in said(path, TELLING if "cli" in path.parts else TELLING | HANDED_ON)
        if all(left(chinese(text).split("\n")) for text in islice(sentences(form), MOST))
    ]
    assert [one for one in english if not any(known in one for known in WHOLE)] == []
    assert [known for known in WHOLE if not any(known in one for one in english)] == []


def test_a_verb_tells_in_the_language_of_who_asks() -> None:
    """``say`` and ``tell`` of danlu/cli/output.py are for numbers, names and what has its language."""
    english = [
        f"{path.name}: {shown(form)}"
        for path in sorted((ROOT / "danlu" / "cli").rglob("*.py"))
        for _, form in said(path, HANDED_ON)
        if left(["".join("7" if part is None else part for part in form)])
    ]
    assert english == []
