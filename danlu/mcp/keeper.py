"""The process that carries out one study: ``python -P -m danlu.mcp.keeper FOLDER``.

It stands in a session of its own, so that it outlives the server, and holds the study to its limits: seconds,
disk, FLOPs (counted beforehand), and a lease that servers renew while they live. FOLDER holds

order.json   what was asked, by whom, within which limits
state.json   how it stands; written by this process alone
answer.json  what danlu printed on stdout, with --json; log.txt: what it said on stderr
lease        its time is when a server last said that the study is wanted
stop         whoever writes it ends the study
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.files.errors import DanluError
from danlu.files.json import read_json, read_object, write_json
from danlu.files.lock import Held, Lock
from danlu.files.read import tail
from danlu.lab.study import STUDIES

ORDER, STATE, ANSWER, LOG = "order.json", "state.json", "answer.json", "log.txt"
LEASE, STOP, LOCK = "lease", "stop", ".lock"
TURN = 0.2  # seconds between two looks
GRACE = 60.0  # seconds that danlu has to save its runs after SIGTERM
WEIGHED_EVERY = 5.0  # seconds between two looks at the disk
GIB = 1 << 30
ANSWERED = (0, 3, 4, 5)  # exit codes with an answer on stdout: the last three are the referee's


def keep(folder: Path) -> str:
    """Carry out the study in ``folder``; its last state. Nothing is done where another keeper holds it."""
    order = read_object(folder / ORDER)
    try:
        with Lock(folder / LOCK, wait=0):
            (folder / STOP).unlink(missing_ok=True)
            return _Keeper(folder, order).keep()
    except Held:
        return "held"


class _Keeper:
    def __init__(self, folder: Path, order: Mapping[str, Any]) -> None:
        self.folder, self.order = folder, order
        self.begun = time.time()
        self.state: dict[str, Any] = {"state": "checking", "begun": self.begun, "pid": os.getpid()}
        self._weighed = -WEIGHED_EVERY
        self._full = ""

    def keep(self) -> str:
        self.write("checking")
        try:
            question = _question(self.order)
            question.check()
            self._afford(question)
        except DanluError as error:
            return self.write("refused", why=str(error))
        if why := self._over():
            return self.write("stopped", why=why)
        return self._carry_out(question)

    def write(self, state: str, **more: Any) -> str:
        """Say how it stands."""
        self.state |= {"state": state, "seconds": round(time.time() - self.begun, 1), **more}
        write_json(self.folder / STATE, self.state)
        return state

    def _afford(self, question: Any) -> None:
        """Raises ``Refused`` where the study takes more FLOPs than are left."""
        from danlu.mcp.inside import Refused
        from danlu.mcp.price import price

        found = price(question)
        self.state["planned"] = {"runs": found.runs, "flops": found.flops, "why": found.why}
        left = self.order["limits"]["flops"]
        if left is None:
            return
        if found.flops is None:
            raise Refused(f"this server has a budget in FLOPs, and {found.why}")
        if found.flops > left:
            raise Refused(
                f"it takes up to {found.flops:.2g} FLOPs in {found.runs} runs, and {left:.2g} are left of "
                "the server's budget (--max-flops); ask for fewer ideas or seeds, or shorter runs"
            )

    def _carry_out(self, question: Any) -> str:
        before = _entries()
        with open(self.folder / ANSWER, "wb") as answer, open(self.folder / LOG, "wb") as log:
            command = [sys.executable, "-P", "-m", "danlu", *question.command()]
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=answer, stderr=log)
            self.write("running", command=["danlu", *question.command()])
            why = self._watch(child)
        code = child.returncode
        if why:
            return self.write("stopped", why=why, exit_code=code)
        if code not in ANSWERED:
            return self.write("failed", why=_last_sentence(self.folder / LOG), exit_code=code)
        return self._end(question, code, before)

    def _watch(self, child: subprocess.Popen[bytes]) -> str:
        """Wait for its end; why it was ended before, or empty."""
        while child.poll() is None:
            time.sleep(TURN)
            if why := self._over():
                child.send_signal(signal.SIGTERM)
                try:
                    child.wait(GRACE)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
                return why
        return ""

    def _over(self) -> str:
        """Why the study must end now; empty where it may go on."""
        limits = self.order["limits"]
        if (self.folder / STOP).exists():
            return "it was told to stop"
        if time.time() - self.begun > (most := limits["seconds"]):
            return f"the {most:.0f} seconds that were left of the server's budget are over (--max-seconds)"
        if time.time() - (self.folder / LEASE).stat().st_mtime > self.order["lease"]:
            return f"no server asked for it in {self.order['lease']:.0f} seconds; start it again to go on"
        if time.monotonic() - self._weighed > WEIGHED_EVERY:
            self._weighed, self._full = time.monotonic(), full(limits["disk"])
        return self._full

    def _end(self, question: Any, code: int, before: Mapping[str, str]) -> str:
        """What came out, with digests of it: whoever edits it afterwards is found out."""
        from danlu.mcp.questions import digest

        try:
            read_json(self.folder / ANSWER)
        except DanluError as error:
            return self.write("failed", why=str(error), exit_code=code)
        entries = {name: found for name, found in _entries().items() if before.get(name) != found}
        return self.write(
            "ended", exit_code=code, ended=time.time(), answer=digest(self.folder / ANSWER),
            rule=question.rule(), entries=entries,
        )  # fmt: skip


def full(limit: float | None, studies: Path = STUDIES) -> str:
    """Why nothing more may be written: the studies take more bytes than ``limit``."""
    if limit is None:
        return ""
    taken = 0
    for place, _, files in os.walk(studies):
        for name in files:
            try:
                taken += os.lstat(os.path.join(place, name)).st_size
            except OSError:  # gone meanwhile
                continue
    if taken <= limit:
        return ""
    return (
        f"the studies take {taken / GIB:.2g} GiB of the disk, and {limit / GIB:.2g} are allowed (--max-disk)"
    )


def _entries() -> dict[str, str]:
    """The entries of the ledger, by id, with their digests."""
    from danlu.lab.ledger import read
    from danlu.mcp.told import entry_digest

    return {entry.id: entry_digest(entry) for entry in read()}


def _question(order: Mapping[str, Any]) -> Any:
    from danlu.mcp.questions import QUESTION, Referee

    Referee.file = Path(order["referee"]) if order["referee"] else None
    return QUESTION.validate_python(order["question"])


def _last_sentence(log: Path) -> str:
    """What danlu said of a mistake: its last lines that begin so."""
    lines = tail(log, 8_000).splitlines()
    said = [line.removeprefix("danlu: ") for line in lines if line.startswith("danlu: ")]
    return "; ".join(said[-3:]) or "it ended with a defect; its log has the traceback"


def main(arguments: Sequence[str]) -> int:
    """Keep the study in the folder that is named; SIGTERM ends it politely."""
    folder = Path(arguments[0])
    signal.signal(signal.SIGTERM, lambda *_: (folder / STOP).touch())
    keep(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
