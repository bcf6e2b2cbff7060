"""Everything that only a GPU can say about danlu, in at most eight minutes.

    python -m bench.gpu [--device cpu] [--tiny] [--only parts,resume] [--deadline 440] [--out FOLDER]
                        [--nanogpt CHECKOUT]

Each section is a process of its own with its own limit: whatever happens in one, the others run. A JSON line
is appended to ``gpu.jsonl`` in the folder before and after each; the table comes last, since of a long output
only the end may survive. What the compiler made is left in ``mega-SECTION.bin`` there; ``--warm FOLDER``
gives it back on another machine. ``--device cpu --tiny`` runs every section in less than a minute on two
cores, so that nobody meets a misspelt name on a GPU.

This file imports neither PyTorch nor danlu. Where a package is missing that danlu needs, it takes those that
``make gpu-wheels`` has laid down in ``.wheels``.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
WHEELS = ROOT / ".wheels"
NEEDED = ("pydantic", "annotated_types", "typing_inspection", "filelock", "yaml", "safetensors")  # to train
MARGIN = 5.0  # seconds before the deadline in which nothing is started
LINES = 40  # of the table, at most
WIDTH = 150

Row = dict[str, Any]


class Section(NamedTuple):
    """A ``function`` that yields rows, by its module and name; the seconds that it may take; what it asks."""

    name: str
    function: str
    limit: float
    about: str


# In the order of importance: what is right comes before what is fast.
SECTIONS = (
    Section("machine", "bench.gpu.machine.rows", 30, "what the machine is and what it can do at best"),
    Section("parts", "bench.gpu.parts.rows", 90, "every part and rule against float64 on the CPU"),
    Section(
        "attention", "bench.gpu.attention.rows", 30, "which kernel PyTorch takes for each kind of attention"
    ),
    Section("flex", "bench.gpu.flexible.rows", 90, "masks and scores that the compiler writes a kernel for"),
    Section(
        "resume", "bench.gpu.resume.rows", 40, "a run that is killed and resumed against one that is not"
    ),
    Section("eager", "bench.gpu.steps.eager", 40, "time of an update, launches, synchronisations"),
    Section(
        "compiled",
        "bench.gpu.steps.compiled",
        90,
        "the same compiled; memory against what costs() says",
    ),
    Section("rival", "bench.gpu.rival.rows", 60, "nanoGPT's update beside danlu's, both compiled"),
    Section(
        "losses",
        "bench.gpu.losses.rows",
        40,
        "ways to compute the loss of 50,000 words; steps of update rules",
    ),
    Section("populations", "bench.gpu.populations.rows", 60, "many small networks at once"),
    Section("queue", "bench.gpu.jobs.rows", 30, "two jobs of the queue on one GPU"),
    Section("large", "bench.gpu.steps.large", 60, "350 M parameters, compiled"),
)


# --- one section -------------------------------------------------------------------------------------------


def carry_out(section: Section, arguments: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Run a section in a process of its own for at most ``seconds``; what came of it.

    ``status``: ok, failed (it raised, or a row says what is wrong) or timeout; ``rows``: what it said until
    then; ``traceback``: the last twenty lines of its errors.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        said, errors = Path(folder) / "rows", Path(folder) / "errors"
        said.touch()
        with errors.open("wb") as file:
            process = subprocess.Popen(
                command(section, arguments, said),
                cwd=ROOT,
                env=environment(arguments.device),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,  # so that its own children end with it
            )
            try:
                code: int | None = process.wait(seconds)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                end(process)
        rows = list(read(said))
        tail = errors.read_text(errors="replace").splitlines()[-20:]
    wrong = code != 0 or any("wrong" in row for row in rows)
    return {
        "section": section.name,
        "status": "timeout" if code is None else "failed" if wrong else "ok",
        "seconds": round(time.monotonic() - start, 1),
        "rows": rows,
        "traceback": tail if code else [],
    }


def command(section: Section, arguments: argparse.Namespace, said: Path) -> list[str]:
    """What runs a section; ``said``: the file that it writes rows to."""
    flags = ["--tiny"] * arguments.tiny
    for name in ("warm", "nanogpt"):
        if getattr(arguments, name):
            flags += [f"--{name}", str(getattr(arguments, name))]
    places = ["--out", str(arguments.out), "--rows", str(said), "--device", arguments.device]
    return [sys.executable, "-m", "bench.gpu.place", section.name, section.function, *places, *flags]


def environment(device: str) -> dict[str, str]:
    """Of a section: this danlu, carried packages where they are needed, one cache of the compiler for all."""
    paths = [str(ROOT), *carried(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return (
        os.environ
        | {
            "PYTHONPATH": os.pathsep.join(paths),
            "TORCHINDUCTOR_CACHE_DIR": str(ROOT / ".inductor"),
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # what deterministic algorithms ask; a Hopper's own default
            "PYTHONUNBUFFERED": "1",
        }
        | ({"OMP_NUM_THREADS": "1"} if device == "cpu" else {})
    )


def carried() -> list[str]:
    """Where carried packages are, if one is missing that danlu needs; the first call unpacks them there."""
    site = WHEELS / "site"
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if not missing:
        return []
    if not site.exists():
        wheels = sorted(map(str, WHEELS.glob("*.whl")))
        if not wheels:
            raise SystemExit(
                f"danlu needs {missing[0]}, which is not installed; run `make gpu-wheels` where pip reaches "
                f"an index, and bring the folder {WHEELS.name} along"
            )
        options = ["--quiet", "--no-index", "--no-deps", "--no-compile", "--target", str(site)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, *wheels], check=True)
    return [str(site)]


def end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing of a section running."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def read(said: Path) -> Iterator[Row]:
    """The rows that a section has written whole."""
    for line in said.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:  # it was ended while it wrote
            return


# --- all of them -------------------------------------------------------------------------------------------


def run(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The sections one after another, each noted before and after; those that the time left cannot hold are
    skipped."""
    begun = time.monotonic()
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = []
    for section in SECTIONS:
        if arguments.only and section.name not in arguments.only:
            continue
        left = arguments.deadline - MARGIN - (time.monotonic() - begun)
        about = {"section": section.name, "limit": section.limit, "left": round(left, 1)}
        if left < section.limit:
            result = {**about, "status": "skipped", "seconds": 0.0, "rows": [], "traceback": []}
        else:
            note(arguments.out, {**about, "status": "started"})
            # The last one may take whatever remains.
            seconds = left if section is SECTIONS[-1] else section.limit
            result = carry_out(section, arguments, seconds)
        note(arguments.out, result)
        results.append(result)
        print(f"{section.name}: {result['status']}, {result['seconds']} s", flush=True)
    return results


def note(out: Path, line: Mapping[str, Any]) -> None:
    """Append a line to the record, on the disk before anything else happens."""
    with (out / "gpu.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def table(results: list[dict[str, Any]]) -> list[str]:
    """What the record says, in few lines: each section with what it asks, what is wrong first."""
    about = {section.name: section.about for section in SECTIONS}
    lines: list[tuple[int, str]] = []  # with their weight: the least go first where there are too many
    for result in results:
        name = result["section"]
        lines.append((2, f"{result['status'].upper():8}{name:12}{result['seconds']:6.1f} s  {about[name]}"))
        if result["traceback"]:
            lines.append((2, f"    {result['traceback'][-1]}"))
        for row in result["rows"]:
            if "wrong" in row or not row.get("aside"):
                lines.append((1 if "wrong" in row else 0, f"    {phrase(row)}"))
    for weight in (0, 1):
        while len(lines) > LINES and any(line[0] == weight for line in lines):
            del lines[max(i for i, line in enumerate(lines) if line[0] == weight)]
    return [line[:WIDTH] for _, line in lines]


def phrase(row: Row) -> str:
    """A row in words: what it is about, then its numbers."""
    numbers = [f"{key} {short(value)}" for key, value in row.items() if key not in ("what", "aside", "wrong")]
    said = [row["wrong"]] if "wrong" in row else []
    return f"{row['what']}: {', '.join([*said, *numbers])}"


def short(value: Any) -> str:
    """A number with three digits."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="every size small: only to see that it runs")
    parser.add_argument("--only", type=lambda text: text.split(","), help="sections, separated by commas")
    parser.add_argument("--deadline", type=float, default=440.0, help="seconds for everything")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or ROOT / ".gpu"))
    parser.add_argument("--warm", type=Path, help="a folder with mega-*.bin of an earlier run")
    parser.add_argument("--nanogpt", type=Path, help="a checkout of github.com/karpathy/nanoGPT")
    arguments = parser.parse_args(words)
    known = [section.name for section in SECTIONS]
    for name in arguments.only or ():
        if name not in known:
            parser.error(f"there is no section {name}; allowed: {', '.join(known)}")
    arguments.out = arguments.out.resolve()
    arguments.warm = arguments.warm and arguments.warm.resolve()
    arguments.nanogpt = arguments.nanogpt and arguments.nanogpt.resolve()
    return arguments


def main() -> None:
    arguments = parse()
    carried()  # before the clock: without it nothing can run
    results = run(arguments)
    print("\n".join(table(results)))
    if any(result["status"] in ("failed", "timeout") for result in results):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
