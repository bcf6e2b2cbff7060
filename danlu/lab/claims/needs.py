"""Which claims are to be run here and now, and what those need that cannot."""

from __future__ import annotations

from collections.abc import Mapping

from danlu.lab.claims.claim import Claim
from danlu.lab.claims.results import NOT_RUN, Result
from danlu.lab.queue.gpus import kinds


def lacking(name: str, claim: Claim) -> str | None:
    """What a claim needs that this machine does not have, in a sentence; None where nothing is known to be
    missing. Only a GPU can be looked for: sizes and amounts are for whoever decides to run it."""
    if claim.needs is None or claim.needs.device != "gpu" or kinds() != "cpu":
        return None
    return (
        f"claim {name} needs {claim.needs}, and there is no GPU here: run `danlu prove {name}` on a machine "
        "that has one; until then it stands as not run"
    )


def due(claims: Mapping[str, Claim], known: Mapping[str, Result]) -> dict[str, Claim]:
    """Those of ``claims`` that have no verdict as they stand, without those that need a larger machine, which
    are run when they are named, and those whose seeds were found to be too few."""

    def answered(name: str, claim: Claim) -> bool:
        result = known.get(name)
        if result is None or not result.of(claim):
            return False
        return result.verdict != NOT_RUN or result.refused(claim.seeds)

    return {
        name: claim for name, claim in claims.items() if claim.needs is None and not answered(name, claim)
    }


def edited(claim: Claim, result: Result | None) -> str | None:
    """What is to be said of a claim that was changed after a verdict; None of others."""
    if result is None or result.verdict == NOT_RUN or result.of(claim):
        return None
    return (
        f"{result.name}: its bed, rule, arms, premises or margin were edited since it first ran on "
        f"{result.first}: it is another claim now, and the page tells the verdict of then, {result.said}"
    )
