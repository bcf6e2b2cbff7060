"""A study over sizes as a page: the gain against compute with its band, then every rung. No torch here."""

from __future__ import annotations

import math
from collections.abc import Sequence

from danlu.draw import Chart, Table, page
from danlu.lab.across.answer import Across, Scaled
from danlu.lab.across.terminal import details, sentence, table
from danlu.lab.configurations import in_pairs, links
from danlu.lab.statistics.across import known

SAMPLES = 40  # points of a band


def report(answer: Across, language: str | None = None) -> str:
    """The page, self-contained HTML, in ``language`` (None: the one of who asks)."""
    sections: list[tuple[str, Sequence[str | Table | Chart]]] = [
        ("", [sentence(idea, answer) for idea in answer.ideas]),
        ("Gain against compute", [figure(idea) for idea in answer.ideas if known(idea.gains)]),
        ("Rung by rung", [Table(table(answer), names=(0,))]),
        ("The best rates", [_rates(idea) for idea in answer.ideas if idea.at]),
        ("What differs", [_differs(answer)]),
        ("Runs", [_runs(answer)]),
        ("Details", list(details(answer))),
    ]
    names = ", ".join(idea.idea for idea in answer.ideas)
    return page(f"{names} on {answer.on}, over sizes", sections, language)


def _differs(answer: Across) -> Table:
    """The fields in which both sides of an idea differ at its largest rung: its own, and the best rates."""
    last = {idea.idea: idea.at[-1] for idea in answer.ideas if idea.at}
    return in_pairs({idea: (one.baseline.experiment, one.variant.experiment) for idea, one in last.items()})


def _runs(answer: Across) -> Table:
    """Both runs of each pair, as links from the page."""
    pairs = (
        ((idea.idea, f"{one.rung.parameters:,}", seed), folders)
        for idea in answer.ideas
        for one in idea.at
        for seed, folders in one.runs.items()
    )
    return links(answer.study.path, ("idea", "parameters", "seed", "baseline", "variant"), pairs)


def figure(idea: Scaled) -> Chart:
    """The compute-equivalent gain at each rung with its interval, the line through them with its band, and
    what is predicted two rungs beyond."""
    chart = Chart(
        "training FLOP of the baseline",
        "times the baseline's compute",
        log_x=True,
        log_y=True,
        title=f"{idea.idea}: {idea.said}",
        caption="How many times its compute the baseline needs to be as good. Dots: rungs, with 95 % "
        "intervals. The last dot: the prediction from which the verdict comes.",
    ).rule(y=1.0, label="no gain")
    fine = known(idea.gains)
    ends = [gain.interval() for gain in fine]
    chart.dots(
        [math.exp(gain.x) for gain in fine],
        [math.exp(gain.value) for gain in fine],
        "at equal FLOPs",
        y_ends=[(_times(low), _times(high)) for _, low, high in ends],
    )
    timed = known(idea.timed)
    if timed and any(abs(a.value - b.value) > 1e-9 for a, b in zip(fine, timed, strict=False)):
        chart.dots([math.exp(g.x) for g in timed], [math.exp(g.value) for g in timed], "at equal time")
    judged = idea.judged
    if judged is not None and judged.model is not None:
        first, last = fine[0].x, judged.at
        x = [first + (last - first) * i / (SAMPLES - 1) for i in range(SAMPLES)]
        band = [judged.model.predict(at) for at in x]
        flops = [math.exp(at) for at in x]
        chart.line(flops, [math.exp(one.value) for one in band], "model")
        if judged.model.df > 0:
            low, high = ([_times(one[end]) for one in band] for end in (1, 2))
            chart.band(flops, low, high, "model", means="the 95 % interval of a further rung")
        chart.dots(
            [math.exp(judged.at)],
            [math.exp(judged.gain.value)],
            "predicted",
            y_ends=[(_times(judged.gain.low), _times(judged.gain.high))],
        )
    return chart


def _times(log: float) -> float:
    """Within what can be drawn."""
    return math.exp(min(max(log, -20.0), 20.0))


def _rates(idea: Scaled) -> Chart:
    """The best rate of both sides by compute."""
    chart = Chart("training FLOP", "learning rate", log_x=True, log_y=True, title=f"{idea.idea}: best rates")
    for label in ("baseline", "variant"):
        rated = [(one.rung.flops, getattr(one, label)) for one in idea.at]
        rated = [(flops, side) for flops, side in rated if side.rate is not None]
        ends = [
            (side.tuned.low, side.tuned.high) if side.tuned is not None else (side.rate, side.rate)
            for _, side in rated
        ]
        chart.dots([flops for flops, _ in rated], [side.rate for _, side in rated], label, y_ends=ends)
        chart.line([flops for flops, _ in rated], [side.rate for _, side in rated], label)
    return chart
