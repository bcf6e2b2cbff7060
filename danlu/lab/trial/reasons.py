"""Why a verdict came out, as a section of a study's page: what moved inside, when, what did not, and the
experiment that would test the reading. No torch here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from danlu.draw import Chart, Table
from danlu.files.numbers import times
from danlu.inspection.table import in_words
from danlu.lab.trial.answer import Answer
from danlu.lab.trial.findings import Finding
from danlu.lab.why.charts import figures
from danlu.lab.why.interventions import faster

HEAD = ("statistic", "baseline", "variant", "ratio", "score", "by seed", "without position 0", "when")


def reasons(answer: Answer, finding: Finding) -> list[str | Table | Chart]:
    """The section on a finding of equal steps."""
    why, idea = finding.why, finding.pairs.idea
    sides = answer.sides[idea, "steps"]
    rows = [HEAD, *map(_row, why.moved)]
    loss = "stays in its band" if why.loss_left is None else f"leaves its band at step {why.loss_left}"
    metric = finding.pairs.metric
    loss_itself = metric.unit.startswith(("bit", "nat"))  # if in another unit
    about = "" if loss_itself else f" The verdict is about held-out {metric.words}."
    rows = [HEAD, *map(_row, why.moved)]
    tests = [line for one in why.moved if (line := _test(answer, finding, one))]
    return [
        "These statistics differ most between the sides, in units of their noise over seeds. That they moved "
        "with the verdict is correlation: they may be its cause, its effect, or neither. "
        f"The training loss {loss}.{about} The band is where one more run of the baseline would be with "
        "95 %: a change that ends within it may be chance.",
        Table(rows),
        *_ruled_out(why.still),
        *([Table([("what would test it", "command"), *dict.fromkeys(tests)])] if tests else []),
        *figures(why.moved, answer.runs.pairs(*sides, finding.pairs.seeds), (answer.question.on, idea)),
        Table([("statistic", "definition"), *dict.fromkeys(_defined(one) for one in why.moved)]),
        f"Of the first {_rows(answer, finding)} examples of an update, without dropout; gradients and "
        "updates are of all. With position 0 unless it says otherwise. "
        f"Cost: {finding.cost.words if finding.cost is not None else 'not known'}. "
        f"Command: {answer.question.command()}",
    ]


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    rest = one["without_first"]
    return (
        in_words(one["name"]), f"{one['baseline']:.3g}", f"{one['variant']:.3g}", times(one["ratio"]),
        f"{one['score']:+.1f}", " ".join(f"{ratio:.2f}" for ratio in one["seeds"]),
        "–" if rest is None else times(rest), one["when"],
    )  # fmt: skip


def _ruled_out(still: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for one in still:
        yield f"Did not move: {one['words']}."


def _defined(one: Mapping[str, Any]) -> tuple[str, str]:
    return one["name"].partition("/")[0], one["text"]


def _test(answer: Answer, finding: Finding, one: Mapping[str, Any]) -> tuple[str, str] | None:
    """What holds the statistic still, and the command that asks the question again there."""
    test = one["test"]
    if test is None:
        return None
    asked, idea = answer.question, finding.pairs.idea
    if test["arm"] == "baseline":  # of the rate: does the baseline gain as much by updates as large?
        words = faster(answer.sides[idea, "steps"][0].experiment, one["ratio"])
        if words is None:
            return None
        return f"{words} {test['what']}: does it gain as much?", asked.command(ideas=(words,), tune=None)
    again = asked.command(ideas=(idea,), on=f"{asked.on} {test['words']}")
    said = f"{test['words']} {test['what']}: if the effect goes, it went through {in_words(one['name'])}"
    return said, again


def _rows(answer: Answer, finding: Finding) -> int:
    train = answer.sides[finding.pairs.idea, "steps"][0].experiment.train
    return int(train.rows)
