"""Hostile values, and what they do to a file: replaced, nested, cut, of another kind."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from danlu.files.json import to_json

LONG = "9" * 5_000
DEEP = "[" * 3_000 + "]" * 3_000
EVIL = "a\x1b[2Jb\x08c\x0e\u202ed\u009be[/no]"

# As they would be written in a command or in a YAML file.
SHORT = """
none null ~ true [] {} [1,2] {kind:odd} -1 0 -0.0 1e18 1e30 -1e30 1e308 1e-38 1e-320 .inf -.inf .nan nan inf
0x10 1_000 1:30 ' " { a|b | + = +swiglu kind auto 1000000000 99999999999 bpe:99999999999 bpe:1 x.json .
../.. / /dev/zero /dev/null /proc/self/mem ~nouser/x * ** [ ${HOME} %s%n 丹炉 1,2 1..2 1e-3..1e-1/0
1e-3..1e-1/1000000000 1e9flop 60s -60s 1e400flop 0.5
"""
WORDS = [
    *SHORT.split(),
    "", " ", "{kind: odd}", "{a: {b: {c: 1}}}", LONG, "-" + LONG, "1." + LONG, DEEP, "&a [*a]", "- x",
    "a: b", EVIL,
    "!!python/object/apply:os.getcwd []", "\u202e", "x" * 300, "n" * 256, "\udcff",
    "10000000000000000 steps", "5 steps",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -1, -5, 1, 3, 10**18, 10**30, 10**99, -(10**30), 0.5, 1e308, -1e308, 5e-324,
    float("nan"), float("inf"), "", "x", EVIL, "NaN", "Infinity", "0", [], {}, [None], [[]], {"a": None},
    {"": 0},
    "../x", "/dev/zero", "/" * 300, [0] * 1000, "9" * 5_000, ["x", 1, None],
]  # fmt: skip
TEXTS = [
    *(text.encode(errors="surrogateescape") for text in WORDS),
    b"\n", b"3", b'"x"', b"{", b"[1, 2", b"\xff\xfe\x00", b"\x00" * 50, b"NaN", b"\xef\xbb\xbf{}",
    b"PAR1PAR1",
    b'{"a": ' * 2_000 + b"1" + b"}" * 2_000, f'{{"steps": {LONG}}}'.encode(), b"- - - -", b"%PDF-1.4",
    b"\n".join(b" " * i + b"a:" for i in range(300)), b"a: &x [1]\nb: [*x, *x]", b"a,b\n1,2\n",
    b"n,d,loss\n1,2\n",
    b"n,d,loss\n1,2,3\n" * 3, b"a: 1\na: 2\n", b"train: 3\n", b"base: base.yaml\n", b"- 1\n",
    b"SQLite format 3\x00" + b"\x00" * 200,
]  # fmt: skip
LINKS = ["/dev/zero", "/dev/null", "/dev/full", "loop", "absent", "/proc/self/environ", "."]


def word(draw: random.Random) -> str:
    return draw.choice(WORDS)


def damage(path: Path, draw: random.Random) -> str:
    """Change the file in one hostile way; what was done."""
    ways: list[Callable[[Path, random.Random], str]] = [_replace, _cut, _flip, _kind, _text]
    if path.suffix in (".json", ".jsonl"):
        ways += [_json] * 8
    if path.suffix in (".yaml", ".csv", ".txt", ".md"):
        ways += [_line] * 6
    if path.suffix == ".safetensors":
        ways += [_header] * 4
    done = draw.choice(ways)(path, draw)
    if draw.random() < 0.7:
        done += _sums(path)
    return done


def _replace(path: Path, draw: random.Random) -> str:
    data = draw.choice(TEXTS)
    path.write_bytes(data)
    return f"holds {data[:20]!r}"


def _text(path: Path, draw: random.Random) -> str:
    value = draw.choice(VALUES)
    path.write_text(json.dumps(value))
    return f"holds {str(value)[:20]!r}"


def _cut(path: Path, draw: random.Random) -> str:
    data = path.read_bytes()
    at = draw.randrange(len(data) + 1)
    path.write_bytes(data[:at])
    return f"cut at {at}"


def _flip(path: Path, draw: random.Random) -> str:
    data = bytearray(path.read_bytes())
    for _ in range(min(len(data), draw.choice((1, 3, 50)))):
        data[draw.randrange(len(data))] = draw.randrange(256)
    path.write_bytes(data)
    return "bytes flipped"


def _kind(path: Path, draw: random.Random) -> str:
    """A pipe, a folder, a link, nothing, in place of the file."""
    data = path.read_bytes()
    path.unlink()
    kind = draw.choice(("pipe", "folder", "link", "nothing", "itself"))
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "link":
            target = draw.choice(LINKS)
            path.symlink_to(path.name if target == "loop" else target)
        case "itself":
            path.write_bytes(data * 2)
    return f"is {kind}"


def _json(path: Path, draw: random.Random) -> str:
    """One value inside replaced, removed or added; the sum of a checkpoint's state made right again."""
    lines = (
        path.read_text(errors="replace").splitlines()
        if path.suffix == ".jsonl"
        else [path.read_text(errors="replace")]
    )
    at = draw.randrange(len(lines)) if lines else 0
    try:
        value = json.loads(lines[at])
    except (ValueError, IndexError):
        return _replace(path, draw)
    said = _change(value, draw)
    if isinstance(value, dict) and set(value) == {"sha256", "content"}:
        value["sha256"] = hashlib.sha256(to_json(value["content"]).encode()).hexdigest()
    lines[at] = json.dumps(value, indent=1 if path.suffix == ".json" else None)
    path.write_text("\n".join(lines) + "\n")
    return said


def _change(value: Any, draw: random.Random) -> str:
    """Change something inside a list or a mapping; what."""
    place, name = value, "it"
    while isinstance(place, dict | list) and place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw.choice(keys)
        inner = place[key]
        name = f"{name}.{key}"
        if not (isinstance(inner, dict | list) and inner) or draw.random() < 0.25:
            match draw.choice(("value", "value", "value", "gone", "more")):
                case "value":
                    place[key] = draw.choice(VALUES)
                    return f"{name} = {str(place[key])[:20]}"
                case "gone":
                    del place[key]
                    return f"{name} is gone"
                case _:
                    if isinstance(place, dict):
                        place[draw.choice(("x", "kind", EVIL, ""))] = draw.choice(VALUES)
                    else:
                        place.insert(key, draw.choice(VALUES))
                    return f"more beside {name}"
        place = inner
    return "unchanged"


def _line(path: Path, draw: random.Random) -> str:
    """A line of a text file: its value replaced, doubled, removed, indented."""
    lines = path.read_text(errors="replace").splitlines()
    if not lines:
        return _replace(path, draw)
    at = draw.randrange(len(lines))
    for separator in (": ", ","):
        if separator in lines[at] and draw.random() < 0.7:
            parts = lines[at].split(separator)
            parts[draw.randrange(1, len(parts))] = word(draw)
            lines[at] = separator.join(parts)
            break
    else:
        match draw.choice(("double", "gone", "indent", "noise")):
            case "double":
                lines.insert(at, lines[at])
            case "gone":
                del lines[at]
            case "indent":
                lines[at] = f"  {lines[at]}"
            case _:
                lines[at] = word(draw)
    path.write_text("\n".join(lines) + "\n", errors="surrogateescape")
    return f"line {at + 1} changed"


def _header(path: Path, draw: random.Random) -> str:
    """A tensor's name, shape or type in the header of a safetensors file."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + size])
    except ValueError:
        return _flip(path, draw)
    names = [name for name in header if name != "__metadata__"]
    name = draw.choice(names)
    match draw.choice(("rename", "drop", "shape", "any")):
        case "rename":
            header[f"{name}x"] = header.pop(name)
        case "drop":
            del header[name]
        case "shape":
            shape = header[name].get("shape", [1])
            header[name]["shape"] = shape[::-1] if len(set(shape)) > 1 else [1, *shape]
        case _:
            _change(header, draw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    return "header changed"


def _sums(path: Path) -> str:
    """Make a checkpoint's record agree with a file of its that was changed."""
    state = path.parent / "state.json"
    if path.suffix != ".safetensors" or not state.is_file() or not path.is_file():
        return ""
    content = json.loads(state.read_bytes())["content"]
    digest = {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    content["files"][path.name] = digest
    sum_ = hashlib.sha256(to_json(content).encode()).hexdigest()
    state.write_text(to_json({"sha256": sum_, "content": content}, indent=1))
    return ", sums right"


def rename(path: Path, draw: random.Random) -> Path:
    """The file or folder under a name that is hard to print or to open."""
    name = draw.choice(
        (
            EVIL.replace("/", ""),
            "-",
            "--json",
            " ",
            "\n",
            "x" * 255,
            os.fsdecode(b"\xff\xfe"),
            "丹",
            "a=b",
            "+a",
        )
    )
    new = path.with_name(f"{name}{path.suffix}"[-255:] if path.is_file() else name)
    try:
        shutil.move(path, new)
    except OSError:
        return path
    return new
