"""What ``danlu`` alone says: what is here, and what to do next."""

from __future__ import annotations

from pathlib import Path

from danlu import __version__
from danlu.cli.output import print_table, speak, spoken

FIRST = (
    ("danlu tour", "all of it, in some ten minutes"),
    ("danlu doctor", "what this machine can do"),
    ("danlu train tiny", "train a network on a text: a minute"),
    ("danlu try qk-norm", "test whether an idea helps: some minutes"),
    ("danlu ideas", "ideas to try"),
)
LATER = (
    ("danlu runs", "the runs, newest first"),
    ("danlu watch", "runs and studies in a browser"),
    ("danlu ledger", "the verdicts so far"),
    ("danlu ideas", "ideas to try"),
)


def start() -> None:
    """Of the folder that the person stands in."""
    runs = _count("runs") + _count("studies/runs")
    what = f"{runs} {'run' if runs == 1 else 'runs'} here" if runs else "nothing here yet"
    speak(f"danlu {__version__}, a laboratory for training neural networks; {what}\n")
    print_table(spoken(LATER if runs else FIRST, names=(0,)), indent="  ")
    speak("\nAll verbs: danlu --help")


def _count(folder: str) -> int:
    try:
        return sum(1 for path in Path(folder).iterdir() if path.is_dir())
    except OSError:
        return 0
