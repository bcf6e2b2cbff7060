"""Many runs of ``nano`` at once (``danlu.train.population``): is a member what it is alone, and what does a
run cost among others? On a GPU gradients are replayed as a CUDA graph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.gpu.place import Place, Row, workshop
from bench.gpu.resume import carry_out, distance
from danlu.spec import resolve
from danlu.train.metrics import read
from danlu.train.population import train_together
from danlu.train.reporter import Silent

WARM, STEPS = 20, 60  # updates that are not counted, and all
WORDS = (
    "nano", "data.corpus=synthetic:markov-8", "train.evaluate_tokens=4096", "train.compile=false",
)  # fmt: skip


class Told(Silent):
    """Keeps what the population says, such as that there is no graph."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)


BAR = 50  # times as many experiments an hour as one at a time


def rows(at: Place) -> Iterator[Row]:
    with workshop() as folder:
        yield alone(at, folder)
        single, best = timed(at, 1, folder / "single", together=False), 0.0
        yield single
        for count in at.size((1, 8, 64, 256), (1, 3)):
            row = timed(at, count, folder / str(count))
            row["times one at a time"] = row["tok/s"] / single["tok/s"]
            best = max(best, row["times one at a time"])
            yield row
        row = {"what": f"experiments an hour, at best, beside one at a time (bar {BAR})", "times": best}
        yield row | ({"wrong": "below the bar"} if at.cuda and not at.tiny and best < BAR else {})


def alone(at: Place, folder: Path) -> Row:
    """Three members of other seeds and rates beside the same runs alone, in float32."""
    steps, off = at.size(20, 4), 0.0
    words = [*WORDS, f"train.device={at.device.type}", f"train.steps={steps}", "train.precision=float32"]
    own = [[f"train.seed={k}", f"optimizer.lr={1e-3 * (k + 1)}"] for k in range(3)]
    folders = [folder / f"member-{k}" for k in range(3)]
    train_together([resolve([*words, *its]) for its in own], folders)
    for k, its in enumerate(own):
        carry_out([*words, *its], folder / f"alone-{k}")
        off = max(off, distance(folders[k], folder / f"alone-{k}", steps))
    row: Row = {"what": "a member beside itself alone", "weights apart by": off}
    return row if off <= 1e-3 else row | {"wrong": "members disturb one another"}


def timed(at: Place, count: int, folder: Path, *, together: bool = True) -> Row:
    """Tokens a second of so many members together, or of one run alone; evaluation and checkpoints left
    out."""
    warm, steps = at.size((WARM, STEPS), (1, 3))
    words = [
        *WORDS,
        f"train.device={at.device.type}",
        f"train.steps={steps}",
        f"train.log_every={steps - warm}",
    ]
    told = Told()
    if together:
        members = [resolve([*words, f"train.seed={seed}"]) for seed in range(count)]
        train_together(members, [folder / str(seed) for seed in range(count)], reporter=told)
    else:
        carry_out(words, folder / "0", told)
    logged = [row for row in read(folder / "0" / "metrics.jsonl") if "loss" in row]
    (first,) = (row for row in logged if row["step"] == warm)
    last = logged[-1]
    rate = (last["tokens"] - first["tokens"]) / (last["seconds"] - first["seconds"])  # of a member's share
    what = f"{count} runs of nano at once" if together else "one run of nano alone"
    row: Row = {"what": what, "tok/s": round(rate)}
    missing = [text for text in told.said if text.startswith("no CUDA graph")]
    return row | ({"wrong": missing[0]} if missing else {})
