"""The smallest question that takes no timing, and studies that nobody carried out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from danlu.files.json import write_json
from danlu.mcp import keeper
from danlu.mcp.questions import QUESTION, digest, plain
from danlu.mcp.studies import AGENTS, Limits, Studies

ON = (
    "nano model.layers=1 data.context=32 data.corpus=synthetic:reverse-3 train.steps=6 "
    "train.evaluate_tokens=200 train.log_every=2"
)
TRY: dict[str, Any] = {"kind": "try", "ideas": ["optimizer.beta2=0.9"], "on": ON, "seeds": 2, "tune": "none"}


def finding(idea: str, p: float, *, level: float = 0.95, at: str = "steps", **more: Any) -> dict[str, Any]:
    """As ``danlu try --json`` prints it."""
    return {
        "idea": idea, "metric": "bits_per_byte", "unit": "bits/byte", "better": "lower", "at": at,
        "verdict": "not shown", "difference": 0.1, "interval": [-0.1, 0.3], "level": level, "kind": "t",
        "p": p, "seeds": 2, "pairs": [], "diverged": {"baseline": 0, "variant": 0}, "more_seeds": 4,
        "steps": {"baseline": 6, "variant": 6}, "cost_ratio": None, "regime": {"early": ["6 updates"]},
        "tuned": None, "cost": None, "note": "", "analyses": [], **more,
    }  # fmt: skip


def ended(studies: Studies, said: dict[str, Any], answer: Any, **state: Any) -> str:
    """A study in the working folder that ended with this answer; its handle."""
    question = QUESTION.validate_python(said)
    folder = AGENTS / question.name
    folder.mkdir(parents=True)
    write_json(folder / keeper.ORDER, {"question": plain(question), "session": studies.session})
    write_json(folder / keeper.ANSWER, answer)
    known = {
        "state": "ended", "begun": 0.0, "seconds": 1.0, "ended": time.time(), "rule": "", "entries": {},
        "answer": digest(folder / keeper.ANSWER), "planned": {"runs": 4, "flops": 1e9, "why": ""},
        "exit_code": 0,
    }  # fmt: skip
    write_json(folder / keeper.STATE, known | state)
    return question.name


def server(seconds: float = 60.0, flops: float | None = None, referee: Path | None = None) -> Studies:
    return Studies(Limits(seconds, flops), referee)
