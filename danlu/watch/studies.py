"""A study: what was asked, what came out, drawn from ``result.json`` and the runs of its pairs.

The first chart of a trial is the paired difference over steps with its interval. That interval holds at each
step, not for all steps together; the verdict is at the fixed end, and is not made anew here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from danlu.draw import Chart
from danlu.draw.palette import MUTED
from danlu.files.errors import FileError
from danlu.files.json import misfit, read_json
from danlu.files.numbers import duration, rounded
from danlu.files.read import Stamp, stamp
from danlu.lab.errors import LabError
from danlu.lab.reading.curves import thinned
from danlu.lab.reading.groups import differing, short_names, shown
from danlu.lab.reading.run import Run
from danlu.lab.reading.table import said as told
from danlu.lab.statistics import paired
from danlu.lab.study import REPORT, RESULT
from danlu.lab.trial.answer import EQUAL
from danlu.lab.trial.kept import FILE as PAIRS
from danlu.lab.trial.kept import kept
from danlu.lab.why import BAND
from danlu.watch.page import address
from danlu.watch.place import Place, StudyFolder, id_of
from danlu.watch.run import curve

POINTS = 400  # of a difference over steps
MEMBERS, COMPARED = 100, 6  # runs of a study: in its table; side by side
FIELDS = 10  # that they differ in
NAMED = {  # where a sweep and a ladder name their runs
    "runs": ([{"run": str}], None), "trials": ([{"folders": ([str], None)}], None),
}  # fmt: skip
_NUMBER = (float, None)
FINDING = {  # of what is drawn of a trial's result
    "idea": str, "at": str, "verdict": str, "difference": _NUMBER, "interval": [_NUMBER, _NUMBER],
    "level": float, "unit": (str, None), "metric": str, "better": str, "note": (str, None),
    "pairs": [{"seed": int, "baseline": _NUMBER, "variant": _NUMBER, "difference": _NUMBER}],
    "regime": ({"early": [str]}, None), "moved": ([{"words": str, "when": str, "score": _NUMBER}], None),
    "p": _NUMBER, "cost": ({"runs": int, "seconds": _NUMBER, "flops": _NUMBER}, None),
    "analyses": ([{"way": str, "verdict": str}], None),
}  # fmt: skip
_GAIN = [_NUMBER, _NUMBER, _NUMBER]
ACROSS: dict[str, list[dict[str, Any]]] = {  # and of a trial over sizes
    "ideas": [{
        "idea": str, "verdict": str, "why": str, "gain": (_GAIN, None), "target_flops": _NUMBER,
        "regime": ({"early": [str]}, None),
        "rungs": [{"gain": _GAIN, "rung": {"flops": float, "parameters": int}}],
    }],
}  # fmt: skip


BAND_SAID = f"{BAND[0].upper()}{BAND[1:]}."


def result(place: Place, study: StudyFolder) -> Any:
    """What came out; None where nothing has yet, or where it cannot be read."""
    path = study.path / RESULT
    try:
        return read_json(path) if path.exists() and place.holds(path) else None
    except FileError:
        return None


def findings(found: Any) -> list[dict[str, Any]]:
    """Those of a trial; none where the result is another verb's."""
    return [] if misfit(found, [FINDING]) else [dict.fromkeys(FINDING) | one for one in found]


def across(found: Any) -> list[dict[str, Any]]:
    """The ideas of a trial over sizes; none where the result is another's."""
    shape = ACROSS["ideas"][0]
    return [] if misfit(found, ACROSS) else [dict.fromkeys(shape) | one for one in found["ideas"]]


def said(one: Mapping[str, Any]) -> str:
    """A verdict as it is told: an early one never without that word."""
    early = (one["regime"] or {}).get("early") and one["verdict"] not in ("void", "not measured")
    return f"{one['verdict']} (early)" if early else str(one["verdict"])


def has_report(place: Place, study: StudyFolder) -> bool:
    """Whether its verb wrote a page."""
    path = study.path / REPORT
    return path.is_file() and place.holds(path)


# ---------------------------------------------------------------- pairs


Pair = tuple[int, Run, Run]  # the seed, baseline and variant
Over = tuple[list[float], dict[int, list[float]]]  # steps, and by seed the differences there


def pairs(place: Place, study: StudyFolder) -> dict[tuple[str, str], list[Pair]]:
    """The runs of its pairs that there are, by idea and equality."""
    by_name = place.by_name()
    found: dict[tuple[str, str], list[Pair]] = {}
    for row in kept(study.path):
        both = [
            (one["seed"], by_name.get(one["baseline"]), by_name.get(one["variant"])) for one in row["runs"]
        ]
        found[row["idea"], row["at"]] = [
            (seed, b, v) for seed, b, v in both if b is not None and v is not None
        ]
    return found


def over_steps(of: Sequence[Pair], metric: str) -> Over:
    """The steps at which both runs of all pairs measured it, and the differences there, variant − baseline,
    by seed. Raises as ``danlu.watch.run.curve``."""
    curves = {seed: (dict(curve(b, metric, "steps")), dict(curve(v, metric, "steps"))) for seed, b, v in of}
    both = [b.keys() & v.keys() for b, v in curves.values()]
    steps = thinned(sorted(set.intersection(*both)) if both else [], POINTS)
    return steps, {seed: [v[step] - b[step] for step in steps] for seed, (b, v) in curves.items()}


def difference(
    over: Over, metric: str, better: str, judged: str, loss_unit: str | None = None, linear: bool = False
) -> Chart:
    """The mean paired difference over steps with its 95 % t interval, a grey line for each seed.
    ``judged``: the metric that the verdict is about; ``loss_unit``: of the training loss. Raises ``LabError``
    where there is no pair."""
    steps, by_seed = over
    if not by_seed:
        raise LabError("no pair of this study has begun yet")
    alone = len(by_seed) < 2
    chart = Chart(
        "steps", f"variant − baseline, {metric}", log_x=not linear, height=340,
        caption=f"{better} is better. Grey: each seed. {_about_verdict(metric, judged, loss_unit)}",
    ).rule(y=0)  # fmt: skip
    for seed, values in by_seed.items():
        chart.line(steps, values, f"seed {seed}" if alone else "", colour=0 if alone else MUTED)
    if not alone:
        means = [paired([values[i] for values in by_seed.values()]) for i in range(len(steps))]
        chart.line(steps, [mean.value for mean in means], "mean", colour=0)
        low, high = [mean.low for mean in means], [mean.high for mean in means]
        each = "at each step by itself, not for all steps together"
        said = f"95 % t interval of the mean over {len(by_seed)} pairs, {each}"
        chart.band(steps, low, high, "mean", means=said, colour=0)
    return chart


def _about_verdict(metric: str, judged: str, loss_unit: str | None) -> str:
    if metric == judged:
        return "The verdict is at the end."
    what = f"This is the training loss{f' in {loss_unit}' if loss_unit else ''}. " if metric == "loss" else ""
    return f"{what}The verdict is about another quantity: held-out {judged.replace('_', ' ')} at the end."


def not_drawn(differences: Mapping[str, Over], judged: str) -> str:
    """Why the metric of the verdict has no figure over steps; empty where it has one, or nothing has."""
    if not differences or judged in differences:
        return ""
    said = f"held-out {judged.replace('_', ' ')} was measured at fewer than two steps"
    return f"The verdict's metric has no figure here: {said}; train.evaluate_every=N measures it on the way"


def difference_rows(over: Over) -> list[tuple[str, ...]]:
    """The same in numbers."""
    steps, by_seed = over
    rows = [("step", "mean", "95 % from", "to", *(f"seed {seed}" for seed in by_seed))]
    for i, step in thinned(list(enumerate(steps)), 60):
        values = [of_seed[i] for of_seed in by_seed.values()]
        mean = paired(values)
        rows.append((f"{step:g}", *(_number(x) for x in mean), *(f"{x:+.4f}" for x in values)))
    return rows


def differences_of(of: Sequence[Pair], metric: str) -> dict[str, Over]:
    """By what both sides measured on the way and may be compared by: the held-out metric, where there are two
    steps at least, and the training loss."""
    found = {name: over_steps(of, name) for name in dict.fromkeys((metric, "loss"))}
    return {name: over for name, over in found.items() if len(over[0]) > 1}


# ---------------------------------------------------------------- its runs


@dataclass(frozen=True)
class Members:
    """``runs``: of the first ones id, name, state and the fields that they differ in; ``of`` all;
    ``compare``: the address of the first side by side."""

    head: Sequence[str]
    runs: Sequence[tuple[str, str, str, Sequence[str]]]
    of: int
    compare: str


def members(place: Place, study: StudyFolder, found: Any) -> Members:
    """The runs that the study names and that are there: of its pairs, its trials, its rungs."""
    by_name = place.by_name()
    runs = [by_name[name] for name in _named(study.path, found) if name in by_name]
    some = runs[:MEMBERS]
    fields = differing(some)[:FIELDS]
    short = short_names(fields, dict.fromkeys(name for run in some for name in run.fields))
    rows = [
        (id_of(run.path), place.shown(run.path), run.state, [told(shown(run, name)) for name in fields])
        for run in some
    ]
    first = [("run", id_of(run.path)) for run in runs[:COMPARED]]
    compare = address("/compare", first) if len(first) > 1 else ""
    return Members(["run", "state", *short.values()], rows, len(runs), compare)


def _named(study: Path, found: Any) -> list[str]:
    """The runs that the study names, by the names of their folders, each once."""
    names = [run[side] for row in kept(study) for run in row["runs"] for side in ("baseline", "variant")]
    if not misfit(found, NAMED):
        names += [run["run"] for run in found.get("runs") or ()]
        names += [folder for trial in found.get("trials") or () for folder in trial.get("folders") or ()]
    return list(dict.fromkeys(Path(name).name for name in names))


def of_run(place: Place, run: Run) -> list[StudyFolder]:
    """The studies that name the run, the last changed first."""
    name = run.path.name
    return [one for one in place.studies() if name in _names(place, one.path, _stamps(one.path))]


def _stamps(study: Path) -> tuple[Stamp | None, ...]:
    """Others, where the files that name its runs are others."""
    return stamp(study / PAIRS), stamp(study / RESULT)


@lru_cache(maxsize=1000)
def _names(place: Place, study: Path, _: tuple[Stamp | None, ...]) -> frozenset[str]:
    return frozenset(_named(study, result(place, StudyFolder(study, {}))))


# ---------------------------------------------------------------- verdicts


def forest(found: Sequence[Mapping[str, Any]]) -> Chart:
    """A row for each finding: its pairs as dots, the mean with the interval of the verdict above them."""
    names = [f"{one['idea']}, {EQUAL.get(one['at'], one['at'])}" for one in found]
    unit = found[0]["unit"] or found[0]["metric"]
    chart = Chart(
        f"variant − baseline, {unit}", y_names=names, height=90 + 34 * len(names),
        caption=f"A dot for each seed; the mean with its interval, from which the verdict comes, above them. "
        f"{found[0]['better']} is better.",
    ).rule(x=0)  # fmt: skip
    for i, one in enumerate(found):
        known = [pair for pair in one["pairs"] if pair["difference"] is not None]
        tips = [f"seed {pair['seed']}: {pair['difference']:+.4f}" for pair in known]
        chart.dots([p["difference"] for p in known], [i - 0.1] * len(known), "pairs", tips=tips)
        if one["difference"] is not None:
            low, high = one["interval"]
            ends = [(-math.inf if low is None else low, math.inf if high is None else high)]
            chart.dots([one["difference"]], [i + 0.2], "mean", x_ends=ends)
    return chart


def finding_rows(found: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The findings as a table."""
    rows: list[tuple[str, ...]] = [("idea", "equal", "verdict", "difference", "interval", "p", "seeds")]
    for one in found:
        about = (one["idea"], EQUAL.get(one["at"], one["at"]), said(one))
        if not one["pairs"]:
            rows.append((*about, "", "", "", ""))
            continue
        low, high = one["interval"]
        rows.append((
            *about, _number(one["difference"]),
            f"{_number(low)} … {_number(high)} ({one['level']:.3g})", f"{one['p']:.3g}" if one["p"] else "",
            str(len(one["pairs"])),
        ))  # fmt: skip
    return rows


def beside(one: Mapping[str, Any]) -> list[str]:
    """What must be said beside a verdict: how far it reaches, what it hangs on, what it cost."""
    lines = [f"early: {why}" for why in (one["regime"] or {}).get("early", ())]
    lines += [one["note"]] if one.get("note") else []
    others = [way for way in one.get("analyses") or () if way["verdict"] != one["verdict"]]
    lines += [f"{way['way']}: {way['verdict']}" for way in others]
    if cost := one.get("cost"):
        flops = rounded(cost["flops"] or 0)
        lines.append(f"{cost['runs']} runs, {duration(cost['seconds'])} of active time, {flops} FLOP")
    return lines


def gain(ideas: Sequence[Mapping[str, Any]]) -> Chart:
    """The compute-equivalent gain of each idea at each rung with its interval, and what is predicted beyond,
    from which the verdict comes."""
    chart = Chart(
        "training FLOP of the baseline", "times the baseline's compute", log_x=True, log_y=True,
        caption="How many times its compute the baseline needs to be as good, with 95 % intervals; the last "
        "dot is the prediction from which the verdict comes.",
    ).rule(y=1.0, label="no gain")  # fmt: skip
    for i, one in enumerate(ideas):
        dots = [(rung["rung"]["flops"], rung["gain"]) for rung in one["rungs"] if rung["gain"][0]]
        ahead = [(one["target_flops"], one["gain"])] if one["gain"] and one["gain"][0] else []
        for label, some in ((one["idea"], dots), (f"{one['idea']}, predicted", ahead)):
            ends = [(low or 1e-9, high or 1e9) for _, (_, low, high) in some]
            xs, ys = [x for x, _ in some], [value[0] for _, value in some]
            colour = 2 * i + (some is ahead)
            chart.dots(xs, ys, label, y_ends=ends, colour=colour)
            if some is dots:
                chart.line(xs, ys, label, colour=colour)
    return chart


def gain_rows(ideas: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The same in numbers."""
    rows: list[tuple[str, ...]] = [("idea", "parameters", "FLOP", "gain", "95 % from", "to")]
    for one in ideas:
        for rung in one["rungs"]:
            at = rung["rung"]
            rows.append(
                (one["idea"], f"{at['parameters']:,}", f"{at['flops']:.3g}", *map(_times, rung["gain"]))
            )
        if one["gain"]:
            rows.append((one["idea"], "predicted", _times(one["target_flops"]), *map(_times, one["gain"])))
    return rows


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:+.4f}"


def _times(value: float | None) -> str:
    return "?" if value is None else f"{value:.3g}"
