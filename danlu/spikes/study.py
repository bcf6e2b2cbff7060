"""Why a spike came: the run repeated from a checkpoint before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from danlu.spikes import causes, changes
from danlu.spikes.listing import Listing, choose, listed
from danlu.spikes.replay import Replay, State, go, inside, put, taken
from danlu.spikes.table import OTHERS, cells, measured, others, read, rows, spiked
from danlu.spikes.trace import Moment
from danlu.train import store
from danlu.train.errors import RunError
from danlu.train.spikes import FEWEST, Detector, Spike
from danlu.train.trainer import Trainer

EARLIER = 100  # updates that the earlier state lies before the spike, where a checkpoint allows it
LEAST = 8  # and at least
Told = Callable[[str, int, int], None]  # what, how many of how many updates


def study(folder: Path, *, at: int | None = None, most: int = 1000, told: Told) -> dict[str, Any]:
    """What ``listed`` finds, as JSON, and why the spike at ``at`` (None: the highest) came."""
    known = listed(folder)
    chosen = choose(known.spikes, at)
    why = None if chosen is None else explain(known, chosen, most=most, told=told)
    return known.json(why)


def explain(known: Listing, spike: Spike, *, most: int, told: Told) -> dict[str, Any]:
    """Why ``spike``, one of those that are ``known``, came: see ``docs/spikes.md``. At most ``most`` updates
    are repeated at a time. Raises ``RunError`` where there is no state near enough."""
    with Replay(known.folder) as replay:
        start = _start(replay, spike.onset, most)
        state = replay.state(start)
        trainer = replay.at(state)

        def step() -> None:
            told("repeating", trainer.state.step - start, spike.top - start)

        # Up to the row's first update, then one by one: which of those in the row it was is not known.
        moments = go(trainer, max(start, spike.onset - known.every), step)
        climb = _climb(trainer, moments, spike.top, step)
        return _explained(replay, state, climb, moments, known.losses, told)


def _start(replay: Replay, step: int, most: int) -> int:
    """From which state to go: one that is 100 updates older, or as near to that as there is."""
    steps = [one for one in replay.before(step) if step - 1 - one <= most]
    old = [one for one in steps if step - 1 - one >= EARLIER]
    if old:
        return max(old)
    if far := [one for one in steps if step - 1 - one >= LEAST]:
        return min(far)
    if step - 1 < LEAST:
        raise RunError(
            f"step {step} is too early to explain: the state before it is compared with one at least {LEAST} "
            f"updates older, so the first that can be is step {LEAST + 1}; name that or a later one with --at"
        )
    have = ", ".join(map(str, store.list_steps(replay.folder.path))) or "none"
    raise RunError(
        f"no checkpoint lies {LEAST} to {most} updates before step {step} (there are: {have}); allow more "
        "with --most, or train with train.ring=100, which keeps those before a spike"
    )


def _climb(
    trainer: Trainer, moments: list[Moment], last: int, told: Callable[[], None]
) -> list[tuple[int, State]]:
    """The first update that spikes and the highest, of those up to ``last``, each with the state before it:
    one where they are the same, or where none spikes; ``moments`` get those up to it."""
    usual = measured(m.loss for m in moments)
    first: tuple[float, int, State] | None = None
    top: tuple[float, int, State] | None = None
    while trainer.state.step < last:
        state = taken(trainer)
        (moment,) = go(trainer, state.step + 1, told)
        moments.append(moment)
        z = usual.z(moment.loss)
        if top is None or z > top[0]:
            top = z, moment.step, state
        if first is None and spiked(z):
            first = z, moment.step, state
        if first is None:
            usual.judge(moment.loss)
        if not moment.applied:
            break
    assert top is not None
    del moments[next(i for i, m in enumerate(moments) if m.step == top[1]) + 1 :]
    steps = {one[1]: one[2] for one in (first, top) if one is not None}
    return sorted(steps.items())


def _explained(
    replay: Replay,
    earlier: State,
    climb: list[tuple[int, State]],
    moments: list[Moment],
    losses: Sequence[tuple[int, float]],
    told: Told,
) -> dict[str, Any]:
    onset, top = climb[0][0], climb[-1][0]
    usual = _usual(moments, onset, losses)
    trainer = replay.at(earlier)
    # A batch is to blame where the climb begins; where none is, the state is looked at where it is highest.
    for t, before in climb:
        put(trainer, before)
        now = cells(trainer, t, usual)
        put(trainer, earlier)
        cells_before = cells(trainer, t, others(trainer, t))
        if (reading := read(now, cells_before)) == "data":
            break
    found_rows = rows(trainer, t)
    put(trainer, earlier)
    inside_before = inside(trainer, t + 1)
    put(trainer, before)
    inside_now = inside(trainer, t + 1)
    checks = [
        causes.data(cells_before, found_rows, reading),
        causes.slow_beta2(moments, top if reading != "data" else t),
        causes.logits(inside_before, inside_now, t - 1),
        causes.epsilon(moments, onset),
        causes.part(moments, onset),
        causes.numbers(moments, top),
    ]
    cause = causes.cause(reading, checks)
    made: list[changes.Change] = []
    spikes = reading != "not repeated"
    possible = changes.possible(replay.experiment, replay.choices.precision, moments) if spikes else {}
    for name, words in possible.items():
        done = 0

        def step(name: str = name) -> None:
            nonlocal done
            done += 1
            told(name, done, top + changes.AFTER - earlier.step)

        made.append(changes.tried(replay, earlier, onset, top, usual, name, words, step))
    put(trainer, before)
    if spikes and (now_rows := rows(trainer, t)) is not None:
        made.append(changes.without_worst(now_rows, usual))
    check = next((one for one in checks if one.name == cause), None)
    return {
        "step": t, "onset": onset, "loss": now[0].loss, "z": now[0].z, "usual": usual.usual,
        "earlier": earlier.step, "before": t - 1, "others": OTHERS,
        "table": [cell.json() for cell in (*now, *cells_before)], "reading": reading,
        "cause": cause, "why": check.says if check else "no signature was found",
        "checks": [one.json() for one in checks], "changes": [one.json() for one in made],
        "next": _next(cause, made) if spikes else [],
        "trace": [
            {"step": m.step, "loss": m.loss, "norm": m.norm,
             "surprise": max(m.surprise.values(), default=None)} for m in moments
        ],
        "notes": replay.notes,
    }  # fmt: skip


def _usual(moments: Sequence[Moment], t: int, losses: Sequence[tuple[int, float]]) -> Detector:
    """What the losses were before the spike: of the updates that were repeated, or of the run's rows where
    those are too few."""
    own = [m.loss for m in moments if m.step < t]
    return measured(own if len(own) >= FEWEST else (loss for step, loss in losses if step < t))


def _next(cause: str, made: Sequence[changes.Change]) -> list[str]:
    """What to change, what was seen to help first."""
    helped = [f"{' '.join(one.words) or one.name} (tried: no spike)" for one in made if one.cures]
    return [*helped, causes.CURES[cause]]
