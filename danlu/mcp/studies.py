"""Handles on studies: started at once, found again by their content, waited for, stopped; within one budget.

The studies of an agent are in ``studies/agents/HANDLE/`` (``danlu.mcp.keeper`` says what is in there). What
they ran is where every study is: the same words on the command line find it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from danlu.files.errors import FileError
from danlu.files.escape import escape
from danlu.files.json import read_json, read_object, write_json
from danlu.files.lock import is_held
from danlu.files.read import tail
from danlu.lab.study import STUDIES
from danlu.mcp import keeper
from danlu.mcp.cut import LONGEST
from danlu.mcp.inside import Refused
from danlu.mcp.questions import Asked, digest, plain

AGENTS = STUDIES / "agents"
LEASE = 600.0  # seconds that a study goes on when no server says that it is wanted
CHECKED = 15.0  # seconds that a start waits for what the keeper thinks of it
LOOK_EVERY = 0.1
UNDER_WAY = ("checking", "running")
GOES_ON = ("lost", "stopped", "failed", "refused")  # states from which a start begins anew, or goes on


@dataclass(frozen=True)
class Limits:
    """What the studies of one server may take together: ``seconds`` that they run, ``flops``, and bytes of
    the ``disk`` (of all studies that are there). None: no limit."""

    seconds: float
    flops: float | None = None
    disk: float | None = None


class Studies:
    """The studies of the working folder, for one server. ``referee``: the file by which it may judge."""

    def __init__(self, limits: Limits, referee: Path | None = None, lease: float = LEASE) -> None:
        self.limits, self.referee, self.lease = limits, referee, lease
        self.session = uuid4().hex[:12]
        self._held: set[str] = set()
        self._keepers: list[subprocess.Popen[bytes]] = []  # so that they are waited for when they end

    # ---------------------------------------------------------------- start, status, stop

    def start(self, question: Asked, agent: str) -> dict[str, Any]:
        """Have a study carried out, and return how it stands. One that is under way or has ended is not begun
        twice. Raises ``Refused``."""
        question.check()
        name = question.name
        folder = AGENTS / name
        known = self.state(name) if (folder / keeper.ORDER).exists() else None
        if known is not None and known["state"] not in GOES_ON:
            self._hold(name)
            return self.told(name) | {"already": True}
        left = self._left()
        folder.mkdir(parents=True, exist_ok=True)
        order = {
            "question": plain(question), "agent": agent, "session": self.session, "lease": self.lease,
            "referee": None if self.referee is None else os.fspath(self.referee), "limits": left,
        }  # fmt: skip
        write_json(folder / keeper.ORDER, order)
        (folder / keeper.STATE).unlink(missing_ok=True)
        self._hold(name)
        nothing = subprocess.DEVNULL
        command = [sys.executable, "-P", "-m", "danlu.mcp.keeper", os.fspath(folder)]
        self._keepers.append(
            subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
        )
        self._wait(name, CHECKED, ("begun", "checking"))
        told = self.told(name)
        if told["state"] == "refused":
            raise Refused(told["why"])
        return told

    def status(self, name: str, wait: float) -> dict[str, Any]:
        """How a study stands, once it has ended or ``wait`` seconds are over."""
        self._check(name)
        self._hold(name)
        self._wait(name, wait, ("begun", *UNDER_WAY))
        return self.told(name)

    def stop(self, name: str) -> dict[str, Any]:
        """End a study; what ran is saved."""
        self._check(name)
        if self.state(name)["state"] in ("begun", *UNDER_WAY):
            (AGENTS / name / keeper.STOP).touch()
            self._wait(name, keeper.GRACE / 3, ("begun", *UNDER_WAY))
        return self.told(name)

    def renew(self) -> None:
        """Say of the studies that this server was asked for that they are still wanted."""
        for name in tuple(self._held):  # calls add to it meanwhile
            with suppress(OSError):  # somebody removed the study
                (AGENTS / name / keeper.LEASE).touch()

    # ---------------------------------------------------------------- what is known

    def state(self, name: str) -> dict[str, Any]:
        """What the keeper wrote last; ``begun`` before its first word, ``lost`` where it is no more."""
        folder = AGENTS / name
        path = folder / keeper.STATE
        try:
            state = read_object(path, {"state": str})
        except FileError:
            age = time.time() - (folder / keeper.ORDER).stat().st_mtime
            return {"state": "begun" if age < 60 or is_held(folder / keeper.LOCK) else "lost"}
        if state["state"] in UNDER_WAY and is_held(folder / keeper.LOCK) is False:
            state = read_object(path, {"state": str})  # it may have ended between the two looks
            if state["state"] in UNDER_WAY:
                state |= {"state": "lost", "why": "its process was killed; start it again to go on"}
        return state

    def told(self, name: str) -> dict[str, Any]:
        """How a study stands, for an agent."""
        state, order = self.state(name), self.order(name)
        keys = ("state", "why", "seconds", "planned", "exit_code")
        more = {"seconds": round(time.time() - state["begun"], 1)} if state["state"] in UNDER_WAY else {}
        return {
            "study": name,
            **{key: state[key] for key in keys if state.get(key) is not None},
            **more,
            "question": order["question"],
            "budget": self.budget(),
            "next": _next(state["state"]),
            "quoted": {"log": _tail(AGENTS / name / keeper.LOG)},
        }

    def order(self, name: str) -> dict[str, Any]:
        """What was asked, by whom."""
        return read_object(AGENTS / name / keeper.ORDER, {"question": dict, "session": str})

    def answer(self, name: str) -> Any:
        """What danlu printed. Raises ``Refused`` where it has not ended, or was edited since."""
        self._check(name)
        state = self.state(name)
        if state["state"] != "ended":
            why = f": {state['why']}" if state.get("why") else ""
            raise Refused(f"{name} is {state['state']}{why}; it has no answer; {_next(state['state'])}")
        path = AGENTS / name / keeper.ANSWER
        if not path.is_file() or digest(path) != state["answer"]:
            raise Refused(
                f"{path} was edited after the study ended, so it is no answer; ask the question anew"
            )
        if (rule := state.get("rule")) and (self.referee is None or digest(self.referee) != rule):
            raise Refused(
                f"{self.referee} was edited after the study ended: the rule must stand before the runs"
            )
        return read_json(path)

    def names(self, session: str | None = None) -> list[str]:
        """The handles that are there, the newest first; of one session."""
        orders = sorted(AGENTS.glob(f"*/{keeper.ORDER}"), key=lambda path: -path.stat().st_mtime)
        found = [path.parent.name for path in orders]
        return [name for name in found if session is None or self.order(name)["session"] == session]

    def receipts(self) -> Iterator[tuple[float, dict[str, str]]]:
        """What each study that ended wrote into the ledger: when, and the digests by entry."""
        for name in self.names():
            state = self.state(name)
            if state["state"] == "ended":
                yield state["ended"], state["entries"]

    def budget(self) -> dict[str, Any]:
        """Of this server: what may be spent, and what is."""
        seconds, flops = self._spent()
        return {
            "seconds": {"most": self.limits.seconds, "spent": round(seconds, 1)},
            "flops": {"most": self.limits.flops, "spent": flops},
            "disk_gib": {"most": None if self.limits.disk is None else self.limits.disk / keeper.GIB},
        }

    # ---------------------------------------------------------------- the budget

    def _left(self) -> dict[str, float | None]:
        """What the next study may take. Raises ``Refused`` where nothing is left, or one is under way."""
        for name in self.names(self.session):
            if self.state(name)["state"] in ("begun", *UNDER_WAY):
                raise Refused(f"{name} is under way, and one study runs at a time: wait for it, or stop it")
        seconds, flops = self._spent()
        if seconds >= self.limits.seconds:
            raise Refused(
                f"the server's budget of {self.limits.seconds:g} seconds is spent (--max-seconds); "
                "the person who started it can give more"
            )
        if why := keeper.full(self.limits.disk):
            raise Refused(why)
        left = None if self.limits.flops is None else max(0.0, self.limits.flops - flops)
        return {"seconds": self.limits.seconds - seconds, "flops": left, "disk": self.limits.disk}

    def _spent(self) -> tuple[float, float]:
        """Seconds and FLOPs of the studies of this session; of FLOPs what was planned, since runs that are
        stopped don't say."""
        states = [self.state(name) for name in self.names(self.session)]
        now = time.time()
        seconds = sum(
            now - state["begun"] if state["state"] in UNDER_WAY else state.get("seconds", 0.0)
            for state in states
        )
        ran = [state for state in states if state["state"] not in ("refused", "begun", "checking")]
        return seconds, sum((state.get("planned") or {}).get("flops") or 0.0 for state in ran)

    # ---------------------------------------------------------------- inside

    def _check(self, name: str) -> None:
        if name not in self.names():
            from danlu.spec.errors import did_you_mean

            hint = did_you_mean(name, self.names()) or "; status without a study lists them"
            raise Refused(f"there is no study {name}{hint}")

    def _hold(self, name: str) -> None:
        self._held.add(name)
        (AGENTS / name / keeper.LEASE).touch()

    def _wait(self, name: str, seconds: float, states: tuple[str, ...]) -> None:
        """As long as the study is in one of these states, at most so many seconds."""
        until = time.monotonic() + seconds
        while self.state(name)["state"] in states and time.monotonic() < until:
            time.sleep(LOOK_EVERY)


def _next(state: str) -> str:
    """What to do now."""
    return {
        "ended": "verdict tells what came out",
        "running": "status with wait_s waits for it; stop ends it",
        "checking": "status with wait_s waits for it",
        "begun": "status with wait_s waits for it",
        "refused": "ask another question",
    }.get(state, "start with the same question goes on")


def _tail(log: Path) -> list[str]:
    """The last lines that danlu said: data, with names that people gave."""
    lines = tail(log, 4_000).splitlines()
    return [escape(line, cell=True)[:LONGEST] for line in lines[-3:]]
