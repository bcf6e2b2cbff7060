"""What the referee says, in Chinese: the numbers of the English, no English sentence, no mixed page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from danlu.draw.phrases import chinese
from danlu.lab.claims.rules import Rule
from danlu.lab.referee import Answer, seeds
from danlu.lab.referee.errors import Void
from danlu.lab.referee.findings import Finding, Held, Sides, find
from danlu.lab.referee.report import report
from danlu.lab.referee.scale import across, among
from danlu.lab.referee.terminal import asked, details, table
from danlu.lab.statistics import Interval
from tests.chinese import left, numbers, texts
from tests.lab.referee.program import NOISY, answer, make
from tests.lab.referee.test_verdicts import LOSS, record

NAMES = ("+ --worse 1", "idea", "base", "loss", "nowhere", "plan")
BASE = [1.0, 1.1, 0.9, 1.05, 0.95]
BETTER, NONE, TINY = [-0.1, -0.11, -0.09, -0.1, -0.1], [0.1, -0.1, 0.05, -0.04, 0.0], [0.001, -0.001, 0, 0, 0]


def sides(
    by: Sequence[float], ends: str = "", seeded: bool = True, base: float = 0.0, cost: float = 1.0
) -> Sides:
    """An idea that is ``by`` so much other than the baseline; ``ends``: of its runs, d and f by place."""
    how = {"d": "diverged", "f": "failed"}
    both = (
        [record(x + base, flops=cost) for x in BASE],
        [
            record(x + base + d, how.get(end, "ended"), flops=cost)
            for x, d, end in zip(BASE, by, ends.ljust(5), strict=True)
        ],
    )
    return Sides("idea", tuple(both[0]), tuple(both[1]), tuple(range(5)), seeded)


def rungs(*effects: float) -> list[Finding]:
    found = {
        f"{10**k}": sides([effect + 0.002 * x for x in BASE], base=-0.3 * k, cost=1e9 * 4**k)
        for k, effect in enumerate(effects)
    }
    top = find([list(found.values())[-1]], LOSS, None, looking=False)[0]
    return among([across(top, found, LOSS.sign)])


CASES: dict[str, list[Finding]] = {
    "better": find([sides(BETTER)], LOSS, None, looking=False),
    "unpaired": find([sides(BETTER, seeded=False)], LOSS, None, looking=False),
    "after a look": find([sides(BETTER)], LOSS, None, looking=True),
    "not shown": find([sides(NONE)], LOSS, None, looking=False),
    "equivalent": find([sides(TINY)], LOSS, 0.05, looking=False),
    "the same": find([sides([0.0] * 5)], LOSS, None, looking=False),
    "all diverged": find([sides(BETTER, "ddddd")], LOSS, None, looking=False),
    "the baseline diverged": find(
        [replace(one := sides(BETTER, "ddddd"), baseline=one.variant, variant=one.baseline)],
        LOSS,
        None,
        looking=False,
    ),
    "both diverged": find(
        [replace(one := sides(BETTER, "ddddd"), baseline=one.variant)], LOSS, None, looking=False
    ),
    "one diverged": find([sides(BETTER, "d")], LOSS, None, looking=False),
    "one failed": find([sides(BETTER, "  f")], LOSS, None, looking=False),
    "equivalent but for one": find([sides(TINY, "d")], LOSS, 0.05, looking=False),
    "two ideas": find([sides(BETTER), replace(sides(NONE), idea="idea")], LOSS, None, looking=False),
    "over sizes": rungs(-0.1, -0.1, -0.1, -0.1),
    "fades": rungs(-0.2, -0.12, -0.06, 0.0),
    "three sizes": rungs(-0.1, -0.1, -0.1),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    return answer(make(tmp_path_factory.mktemp("zh") / "p", train_py=NOISY))


def check(english: list[str]) -> None:
    said = list(map(chinese, english))
    assert [numbers(line) for line in said] == [numbers(line) for line in english]
    assert left(said, NAMES) == []


@pytest.mark.parametrize("name", CASES)
def test_it_has_the_numbers_of_the_english_and_no_english(found: Answer, name: str) -> None:
    of = replace(found, findings=CASES[name])
    check([asked(of), *details(of), *(cell for row in table(of) for cell in row)])
    page = report(of, "zh")
    assert '<html lang="zh-CN">' in page and left(texts(page), (*NAMES, of.question.plan.run)) == []


@pytest.mark.parametrize(
    ("name", "who"),
    [("all diverged", "idea"), ("the baseline diverged", "the baseline"), ("both diverged", "either side")],
)  # fmt: skip
def test_where_no_run_finished_that_is_said_and_what_to_do(found: Answer, name: str, who: str) -> None:
    said = "\n".join(details(replace(found, findings=CASES[name])))
    assert f"nothing was compared: no run of {who} finished" in said
    assert "lower its rate" in said and "evidence" not in said


def test_what_stands_around_a_verdict(found: Answer) -> None:
    premise = Held("learned", "base", str(Rule(above=0.3)), Interval(0.4, 0.35, 0.45), True)
    early = {**found.regime, "early": ["300 updates (2,000 are needed)"], "updates": 300}
    tuned = {"rate": 0.03, "interval": [0.02, 0.04], "runs": 10}
    for control in ("stands", "alone", "interval only"):
        of = replace(found, premises=[premise], regime=early, control={"idea": control})
        check([*details(replace(of, tuned={"": {"base": tuned}, "1000": {"idea": tuned}}))])
    why = "no run of both sides ended"
    check([line for outcome in ("void", "failed", "budget") for line in details(
        replace(found, findings=(), why=why, outcome=outcome))])  # type: ignore[arg-type]  # fmt: skip


def test_what_the_seeds_say() -> None:
    same, other = record(3.0005), record(3.1)
    said = [
        seeds.judge(False, "loss", [same, other]).said,
        seeds.judge(True, "loss", [same, same, other]).said,
        seeds.judge(True, "loss", [same, other, other]).said,
    ]
    for seeded, runs in ((False, [same, same]), (True, [same, same, same])):
        with pytest.raises(Void) as void:
            seeds.judge(seeded, "loss", runs)
        said.append(str(void.value))
    check(said)
