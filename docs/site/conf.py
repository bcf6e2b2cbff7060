"""Sphinx's settings for the site, whose sources ``sources.py`` lays out and ``build.py`` builds."""

from __future__ import annotations

import re
from typing import Any

import danlu

project = "danlu"
author = "danlu developers"
project_copyright = author
release = version = danlu.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"  # index.html is a copy of it, so that links of the repository hold here too
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

myst_heading_anchors = 4
highlight_language = "text"  # of blocks that name none: mostly commands and what they print
default_role = "code"
smartquotes = False

autodoc_member_order = "groupwise"
autodoc_typehints = "none"  # types stand in the docstrings where they say more than the names do
autodoc_preserve_defaults = True
autodoc_default_options = {"exclude-members": "model_config"}  # pydantic's

html_theme = "furo"
html_title = "danlu 丹炉"
html_copy_source = html_show_sourcelink = False
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_theme_options = {"navigation_with_keys": True}

_LITERAL = re.compile(r"(``.+?``|`[^`\n]+`)", flags=re.DOTALL)


def readable(lines: list[str]) -> list[str]:
    """A docstring as reStructuredText. danlu's know ``names``, lists, **headings** and blocks of code that
    are indented by four; all else that could be markup (x*, |x|, name_) is what it looks like."""
    parts = _LITERAL.split("\n".join(lines))
    for i in range(0, len(parts), 2):
        bold = re.split(r"(\*\*\w[^*\n]*\*\*)", parts[i])
        bold[::2] = [re.sub(r"[*|\\]|(?<=\w)_(?!\w)", r"\\\g<0>", text) for text in bold[::2]]
        parts[i] = "".join(bold)
        if i and re.match(
            r"[^\s.,:;!?)\]}'\"/—–-]", parts[i]
        ):  # a literal ends before a space or such a sign
            parts[i] = "\\ " + parts[i]
        if i + 1 < len(parts) and re.search(r"[^\s(\[{<'\"/:—–-]$", parts[i]):
            parts[i] += "\\ "
    found: list[str] = []
    for line in "".join(parts).split("\n"):
        inside = len(line) - len(line.lstrip())
        above = next((one for one in reversed(found) if one.strip()), "")
        opens = inside >= len(above) - len(above.lstrip()) + 4 and found and not found[-1].strip()
        found += ["::", "", line] if opens and not above.endswith("::") else [line]
    return found


def _docstring(app: Any, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    lines[:] = readable(lines)


def _language(app: Any, page: str, template: str, context: dict[str, Any], tree: object) -> None:
    if page.endswith(".zh-CN") or "/zh/" in page:
        context["language"] = "zh-CN"


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", _docstring, priority=400)  # before napoleon, which knows "Args:"
    app.connect("html-page-context", _language)
