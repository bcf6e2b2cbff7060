"""A page of HTML that holds everything it shows: nothing is loaded, and nothing runs but what moves
(``danlu.draw.moving``)."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from danlu.draw.figure import IN_ENGLISH, Drawing, Figure
from danlu.draw.language import language as choose
from danlu.draw.pdf import shown
from danlu.draw.phrases import Words, english, words
from danlu.draw.xml import text, uri
from danlu.files.overwrite import MARK

LARGEST = 300_000  # letters of a figure that a page offers for papers
STYLE = """:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;
color:#222;background:#fff}
h1,h2,p,figcaption{overflow-wrap:anywhere}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.15em 1.2em .15em 0;text-align:left;vertical-align:top}th{border-bottom:1px solid #999}
figure{margin:1.5em 0}svg{max-width:100%;height:auto}figcaption,.save{color:#666}
.save{font-size:.8em;margin:.3em 0}.wide{overflow-x:auto}
@media (prefers-color-scheme:dark){body{color:#ddd;background:#181818}figcaption,.save{color:#999}}"""


@dataclass(frozen=True)
class Link:
    """A word that leads to a file or folder, ``to``, which is named from the page's folder."""

    said: str
    to: str | os.PathLike[str]

    def __str__(self) -> str:
        return self.said

    def html(self) -> str:
        """It leads nowhere but to files beside the page: a name is never taken for a scheme."""
        place = quote(os.fspath(self.to).replace(os.sep, "/"), errors="replace")
        return f'<a href="./{place}">{text(self.said)}</a>'


_LANG = {"en": "en", "zh": "zh-CN"}  # by which a browser chooses the forms of Chinese characters


@dataclass(frozen=True)
class Table:
    """Rows of cells under the headings in the first; a cell is anything that becomes text, or a ``Link``.
    ``names``: the columns whose cells are names or values, which are the same in every language."""

    rows: Sequence[Sequence[object]]
    names: Collection[int] = ()

    def reworded(self, words: Words) -> Table:
        """The same in other words; links and numbers stay."""
        rows = [
            [cell if (i and j in self.names) or not isinstance(cell, str) else words(cell)
             for j, cell in enumerate(row)]
            for i, row in enumerate(self.rows)
        ]  # fmt: skip
        return Table(rows, self.names)

    def html(self) -> str:
        """The table alone."""
        head, body = self.rows[:1], self.rows[1:]
        lines = ["".join(f"<th>{text(cell)}</th>" for cell in row) for row in head]
        lines += ["".join(f"<td>{_cell(cell)}</td>" for cell in row) for row in body]
        inside = "\n".join(f"<tr>{line}</tr>" for line in lines)
        return f'<div class="wide"><table>{inside}</table></div>'


def _cell(cell: object) -> str:
    return cell.html() if isinstance(cell, Link) else text(cell)


class Written(Protocol):
    """What writes its own HTML: a table, what moves."""

    def html(self) -> str: ...


Part = str | Drawing | Written


def page(title: str, sections: Sequence[tuple[str, Sequence[Part]]], language: str | None = None) -> str:
    """An HTML document in ``language`` (None: the one of who asks, ``danlu.draw.language``). A section is a
    heading ("": none) and parts: text (a paragraph), a table, a figure. What is said in English is said in
    that language, as far as ``danlu.draw.phrases`` can.

    Everything is escaped; text is never taken for HTML.
    """
    language = choose() if language is None else language
    said = words(language)
    title = said(title)
    body = [f"<h1>{text(title)}</h1>"]
    for heading, parts in sections:
        if heading:
            body.append(f"<h2>{text(said(heading))}</h2>")
        body += (_html(reworded(part, said), said) for part in parts)
    return "\n".join([
        f'<!doctype html>\n{MARK}\n<html lang="{_LANG[language]}"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{text(title)}</title><style>{STYLE}</style></head><body>",
        *body,
        "</body></html>\n",
    ])  # fmt: skip


def reworded(part: Part, words: Words) -> Part:
    """The part in other words, where it can be."""
    if words is english:
        return part
    if isinstance(part, str):
        return words(part)
    return part.reworded(words) if hasattr(part, "reworded") else part


def _html(part: Part, words: Words) -> str:
    if isinstance(part, str):
        return f"<p>{text(part)}</p>"
    if hasattr(part, "html"):
        return part.html()
    caption = f"<figcaption>{text(part.caption)}</figcaption>" if part.caption else ""
    saved = _saved(part, words) if isinstance(part, Figure) else ""
    return f"<figure>{part.svg()}{caption}{saved}</figure>"


def _saved(figure: Figure, words: Words) -> str:
    """The figure for a paper, in two forms, as files that the page itself holds."""
    drawn = figure.paper()
    if len(drawn) > LARGEST:
        return ""
    name = re.sub(r"[^\w.+-]+", "-", figure.title or figure.caption)[:40].strip("-.").lower() or "figure"
    forms = (("svg", "image/svg+xml", drawn.encode()), ("pdf", "application/pdf", figure.pdf(drawn=drawn)))
    links = [
        f'<a download="{text(name)}.{ending}" href="{uri(kind, data)}">{ending.upper()}</a>'
        for ending, kind, data in forms
    ]
    beside = "" if shown(drawn) else f" {text(words(IN_ENGLISH))}"
    return f'<p class="save">{text(words("For a paper:"))} {", ".join(links)}{beside}</p>'
