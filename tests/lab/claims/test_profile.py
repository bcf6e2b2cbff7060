"""Claims over runs of equal compute: what each run reads, and where the best size lies."""

from __future__ import annotations

import math
from typing import Any

import pytest

from danlu.lab.claims import experiment
from danlu.lab.claims.claim import Claim
from danlu.lab.claims.course import Ending, course
from danlu.lab.errors import LabError
from danlu.spec import Experiment
from tests.lab.claims.small import Runs, claim

WIDTHS = (16, 32, 64, 128)
PROFILES: dict[str, Any] = {
    "on": "nano model.layers=1",
    "arms": {"less": "", "more": ""},
    "over": {"model.width": ",".join(map(str, WIDTHS))},
    "of": "vertex",
    "profile": {"less": {"compute": 1e9}, "more": {"compute": 4e9, "embeddings": False}},
    "premises": [{"name": "learned", "arm": "less", "at": 32, "rule": {"below": 100}}],
    "contrast": {"more": 0.5, "less": -0.5},
}


def body(width: int) -> int:
    """Parameters of nano's one layer and of the norms: 12 matrices of width², three gains."""
    return 12 * width**2 + 3 * width


@pytest.mark.parametrize("arm", ["less", "more"])
def test_a_run_of_a_profile_reads_what_its_compute_pays_for(arm: str) -> None:
    profiles = claim(**PROFILES)
    for width in WIDTHS:
        made = experiment.experiment(profiles, arm, width)
        assert made.train.steps is not None and made.train.tokens is None
        size = body(width) + (2 * 257 * width if arm == "less" else 0)
        assert experiment.size(profiles, arm, width) == size
        update = made.train.batch * made.data.size
        assert made.train.steps == round({"less": 1e9, "more": 4e9}[arm] / (6 * size * update))


def bowl(made: Experiment, best: float) -> float:
    """The loss of a run whose best size is ``best`` parameters, those of embeddings not counted."""
    return 1 + 0.1 * math.log2(body(made.network.width) / best) ** 2


def ended(profiles: Claim, runs: Runs) -> Ending:
    """What becomes of a claim whose runs end at once."""
    way = course(profiles, profiles.seeds, {})
    try:
        jobs = next(way)
        while True:
            for job in jobs:
                runs.submit(job)
            found = {one.job.hash: one for one in (runs.next() for _ in jobs)}
            jobs = way.send([found[job.hash] for job in jobs])
    except StopIteration as end:
        found_ending: Ending = end.value
        return found_ending


def test_the_best_size_is_told_by_its_own_count() -> None:
    """Four times the compute and twice the best size: an exponent of a half."""
    counted = {"compute": 1e9, "embeddings": False}
    profiles = claim(**PROFILES | {"profile": {"less": counted, "more": counted | {"compute": 4e9}}})

    def measured(made: Experiment) -> float:
        compute = 6 * body(made.network.width) * (made.train.steps or 0) * made.train.batch * made.data.size
        return bowl(made, 40_000 if compute > 2e9 else 20_000)

    ending = ended(profiles, Runs(measured))
    assert ending.values["less"] == pytest.approx([math.log2(20_000)] * 3)
    assert ending.values["more"] == pytest.approx([math.log2(40_000)] * 3)
    assert ending.effects == pytest.approx([0.5] * 3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"of": "drop"}, "profile belongs to of = vertex"),
        ({"profile": None}, "profile belongs to of = vertex"),
        ({"profile": {"less": {"compute": 1e9}}}, "profile must name the arms, less, more"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(LabError) as error:
        claim(**PROFILES | changes)
    assert said in str(error.value)
