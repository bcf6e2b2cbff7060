"""The verb ``tour``: the lab in five commands, carried out."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from danlu.cli.output import inform, speak

FOLDER = Path("danlu-tour")


class Step(NamedTuple):
    """``words``: of the command, after ``danlu``; ``:variant`` and ``:baseline`` are runs of the trial."""

    title: str
    before: str
    words: str
    after: str


SMALL = "bed model.width=16"  # in regime, a few seconds a run
STEPS = (
    Step(
        "Try an idea",
        "Does QK-norm help? Pairs of runs, with and without it, with the same seed, weights and data.",
        f"try qk-norm --on '{SMALL}' --tune none --seeds 3",
        "The verdict has an interval. It is marked early, since no rate was tuned: danlu try qk-norm tunes "
        "both sides, and takes some minutes.",
    ),
    Step(
        "See why",
        "What is different inside? The two networks of the first pair, layer by layer.",
        "inspect :variant :baseline",
        "The page of the trial shows what moved while they trained: see the path above.",
    ),
    Step(
        "Across scale",
        "Does it hold for larger models? Both sides tuned at each size, and a verdict beyond the largest.",
        "try qk-norm --across-scale --rungs 2 --seeds 3 --on 'nano model.width=16'",
        "Two sizes of short runs say little, and the verdict is marked early; danlu try qk-norm "
        "--across-scale compares four sizes of longer ones, in hours.",
    ),
    Step(
        "Fit a law to small runs",
        "What would a large run reach? Small ones, a law, a test on the largest, a prediction.",
        "ladder nano model.mixer.heads=8 --budget 1.5e12flop --target 1e13flop",
        "The law is fitted without the largest runs, and tested on them.",
    ),
    Step(
        "Plan the large run",
        "What does it take on real machines?",
        "plan gpt2-124m --devices 8",
        "Figures are ranges: what published runs reached of published rates.",
    ),
)


def tour(
    folder: Annotated[
        Path, typer.Option("--folder", help="Where its runs and studies go; made if it is not there.")
    ] = FOLDER,
) -> None:
    """Walk through the lab: try, why, across scale, ladder, plan.

    It carries out five real commands, in some five minutes on two cores. A second tour in the same folder
    finds its runs again. Example: danlu tour
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, str] = {}
    for number, step in enumerate(STEPS, start=1):
        words = [found.get(word, word) for word in shlex.split(step.words)]
        speak(f"\n── {number} of {len(STEPS)}: {step.title}\n{step.before}\n\n$ danlu {shlex.join(words)}")
        _carry_out(words, folder)
        speak(f"\n{step.after}")
        if number == 1:
            found = _first_pair(folder / "studies")
    speak(
        f"\nThe end. Next: danlu watch {shlex.quote(str(folder))} (what was made), danlu ideas (what to "
        "try), danlu --help."
    )


def _carry_out(words: list[str], folder: Path) -> None:
    """Run danlu in ``folder``; where it fails the tour ends as it does."""
    import signal
    import subprocess

    from danlu.lab.queue.processes import python_path

    command = [sys.executable, "-m", "danlu", *words]
    environment = os.environ | {"PYTHONPATH": python_path()}
    with subprocess.Popen(command, cwd=folder, env=environment) as process:
        # A terminal sends Ctrl-C to both; SIGTERM comes to us alone.
        before = signal.signal(signal.SIGTERM, lambda number, frame: process.terminate())
        try:
            code = process.wait()
        except KeyboardInterrupt:
            code = process.wait() or 130
        finally:
            signal.signal(signal.SIGTERM, before)
    if code:
        inform(f"danlu: the tour ends here; danlu tour --folder {shlex.quote(str(folder))} goes on with it")
        raise typer.Exit(128 - code if code < 0 else code)


def _first_pair(studies: Path) -> dict[str, str]:
    """The runs of the first pair of the trial that was just made, as words of a command in the folder."""
    from danlu.lab.trial.kept import FILE, kept

    trial = max(studies.glob(f"try-*/{FILE}"), key=lambda path: path.stat().st_mtime).parent
    pair = kept(trial)[0]["runs"][0]
    return {f":{side}": f"studies/runs/{pair[side]}" for side in ("variant", "baseline")}
