"""What the site is made of, laid out for Sphinx: the pages that docs/llms.txt lists, what they link to, and a
page of the API for each room that is used from Python. No list of pages stands here.
"""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import danlu

ROOT = Path(__file__).parents[2]
PACKAGE = Path(danlu.__file__).parent
FIRST = "README.md"
LIST = "docs/llms.txt"
ROOMS = ("danlu.spec", "danlu.nn", "danlu.optim", "danlu.laws", "danlu.lab")
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#\s:]+)(#[^)\s]*)?\)")
IMAGE = re.compile(r"!\[[^\]]*\]\(([^)#\s:]+)\)")


def sections(text: str) -> dict[str, dict[str, str]]:
    """The headings of llms.txt, and below each its pages, by path from the root, with their names there.
    Translations are a heading of their own, in their own language and by their own titles."""
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        if heading := re.fullmatch(r"## (.+)", line):
            found[heading[1]] = {}
        elif line.startswith("- ") and (link := LINK.search(line)):
            path = f"docs/{link[2]}" if not link[2].startswith("../") else link[2][3:]
            chinese = path.startswith("docs/zh/")
            found.setdefault("中文" if chinese else list(found)[-1], {})[path] = "" if chinese else link[1]
    return {heading: pages for heading, pages in found.items() if pages}


def lay_out(to: Path) -> list[str]:
    """Write the sources of the site to the folder ``to``. Returns the paths, from the root, of the pages and
    of the files that they link to, all of which the site serves as they are, too."""
    shutil.rmtree(to, ignore_errors=True)
    listed = sections((ROOT / LIST).read_text(encoding="utf-8"))
    listed.setdefault("中文", {})["README.zh-CN.md"] = ""
    there = list(dict.fromkeys([FIRST, *(path for pages in listed.values() for path in pages)]))
    for path in there:  # grows by what they link to
        if path.endswith(".md"):
            there += [link for link in _linked(path) if link not in there]
    for path in there:
        _copy(path, to)
    known = {FIRST, *(path for pages in listed.values() for path in pages)}
    listed["Project"] = {path: "" for path in there if path.endswith(".md") and path not in known}
    listed["API"] = {f"api/{name}.rst": name for name in _api(to / "api")}
    with open(to / FIRST, "a", encoding="utf-8") as file:
        for heading, pages in listed.items():
            file.write(_tree(heading, {path: name for path, name in pages.items() if path != FIRST}))
    return there


def served(text: str, links: str) -> str:
    """llms.txt with its links, which lead on from docs/, as from the root of the site."""
    return LINK.sub(lambda m: f"[{m[1]}]({(Path(links) / m[2]).as_posix().replace('docs/../', '')})", text)


def _linked(page: str) -> list[str]:
    """What a page links to and shows, by path from the root; of a folder, its files. What is not there is
    left for Sphinx to complain of."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for target in [*(m[2] for m in LINK.finditer(text)), *IMAGE.findall(text)]:
        path = (ROOT / page).parent / target
        inside = path.resolve().is_relative_to(ROOT)
        files = (
            sorted(path.iterdir()) if inside and path.is_dir() else [path] if inside and path.exists() else []
        )
        found += [file.resolve().relative_to(ROOT).as_posix() for file in files]
    return list(dict.fromkeys(found))


def _copy(path: str, to: Path) -> None:
    target = to / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if not path.endswith(".md"):
        shutil.copyfile(ROOT / path, target)
        return
    text = (ROOT / path).read_text(encoding="utf-8")
    target.write_text(LINK.sub(lambda m: _as_html(m, ROOT / path), text), encoding="utf-8")


def _as_html(link: re.Match[str], page: Path) -> str:
    """A link to a file that is no page stays one to that very file: Sphinx would serve it elsewhere."""
    target = page.parent / link[2]
    if link[2].endswith(".md") or not target.exists():
        return link[0]
    return f'<a href="{link[2]}{"/index.html" if target.is_dir() else ""}">{link[1]}</a>'


def _tree(heading: str, pages: dict[str, str]) -> str:
    lines = [
        f"{name} <{path.rpartition('.')[0]}>" if name else path.rpartition(".")[0]
        for path, name in pages.items()
    ]
    return "\n".join(["", "```{toctree}", ":hidden:", f":caption: {heading}", "", *lines, "```", ""])


def _api(to: Path) -> list[str]:
    """A page for danlu itself and for each of ``ROOMS``; of the lab, which offers nothing itself, with each
    of its rooms on it. Returns their names."""
    to.mkdir(parents=True)
    for page in ("danlu", *ROOMS):
        folder = PACKAGE.parent / page.replace(".", "/")
        names = sorted(danlu._DOORS) if page == "danlu" else _offered(folder)
        text = _automodule(page, "=", names)
        if page == "danlu":  # a room that can be called, which Sphinx takes for a module
            text += "\n.. autofunction:: danlu.door.run.train\n"
        for room in [] if names else sorted(file.parent for file in folder.glob("*/__init__.py")):
            text += _automodule(f"{page}.{room.name}", "-", _offered(room))
        (to / f"{page}.rst").write_text(text, encoding="utf-8")
    return ["danlu", *ROOMS]


def _offered(package: Path) -> list[str]:
    """The names in its ``__all__``, without importing it."""
    for node in ast.parse((package / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def _automodule(room: str, line: str, names: list[str]) -> str:
    members = f"   :members: {', '.join(names)}\n   :imported-members:\n" if names else ""
    return f"\n{room}\n{line * len(room)}\n\n.. automodule:: {room}\n{members}"
