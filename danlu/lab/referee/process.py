"""One process to its end: with a limit of seconds and of what it prints, and with all that it started."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from danlu.files import read
from danlu.lab.errors import LabError

MARK = "DANLU_REFEREE_RUN"  # a variable by which what a run started is known, whatever session it moved to
PRINTED = 256 << 20  # bytes: a program that prints more would fill the disk
GRACE = 5.0  # seconds between a request to end and the end
TAIL = 4000  # bytes of what was printed that a record keeps


@dataclass(frozen=True)
class Ended:
    """How a process ended. ``exit``: its code, the negative number of a signal; ``stopped``: why the referee
    ended it, or ""; ``seconds`` by the clock and ``cpu`` of it and what it waited for; ``others``: the share
    of the machine that other work took meanwhile."""

    exit: int
    stopped: str
    seconds: float
    cpu: float
    others: float

    @property
    def killed(self) -> bool:
        """Whether a signal of somebody else ended it, told by a shell or a launcher too."""
        return not self.stopped and (self.exit < 0 or 128 < self.exit < 160)


def run(argv: Sequence[str], folder: Path, variables: Mapping[str, str], logs: Path, limit: float) -> Ended:
    """Run a command in ``folder`` with these ``variables`` alone; what it prints goes to ``logs/stdout.txt``
    and ``stderr.txt``. All that it started is ended with it, and is known by ``logs``, which no other command
    has at a time. Raises ``LabError`` where it cannot start."""
    out, err, mark = logs / "stdout.txt", logs / "stderr.txt", _mark(logs)
    before = _busy()
    start = time.perf_counter()
    with out.open("wb") as to_out, err.open("wb") as to_err:
        try:
            process = subprocess.Popen(
                argv, cwd=folder, env={**variables, MARK: mark}, stdin=subprocess.DEVNULL, stdout=to_out,
                stderr=to_err, start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            raise LabError(f"{argv[0]} cannot be started ({error}); name a program that can") from None
    stopped = ""
    try:
        while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            if time.perf_counter() - start > limit:
                stopped = f"it took more than {limit:g} s"
            elif out.stat().st_size + err.stat().st_size > PRINTED:
                stopped = f"it printed more than {PRINTED >> 20} MiB"
            if stopped:
                _end(process.pid, mark)
                ended = os.wait4(process.pid, 0)
                break
            time.sleep(0.02)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(ended[1])
    finally:  # Ctrl-C, too
        _end(process.pid, mark)
        if process.returncode is None:
            process.wait()
    cpu = ended[2].ru_utime + ended[2].ru_stime
    others = max(0.0, _busy() - before - cpu) / max(seconds * (os.cpu_count() or 1), 1e-9)
    return Ended(process.returncode, stopped, seconds, cpu, others)


def end_left(logs: Path) -> None:
    """End what a command with these ``logs`` has left behind because its referee was killed."""
    _end(0, _mark(logs))


def _mark(logs: Path) -> str:
    """Stands for a place: two studies may run the same command at once."""
    return hashlib.sha256(os.fsencode(os.path.realpath(logs))).hexdigest()[:16]


def _end(leader: int, mark: str) -> None:
    """End what a run started: its session, its group, and whatever else carries its mark; by request, and
    what is still there after ``GRACE`` seconds at once."""
    start, asked = time.monotonic(), set[int]()
    while found := _belonging(leader, mark):
        late = time.monotonic() - start
        for process in found:
            if late > GRACE or process not in asked:
                asked.add(process)
                with suppress(OSError):
                    os.kill(process, signal.SIGKILL if late > GRACE else signal.SIGTERM)
        if late > 2 * GRACE:  # one that the system itself holds fast
            break
        time.sleep(0.02)


def _belonging(leader: int, mark: str) -> list[int]:
    """The processes of a run that have not ended; ``leader`` 0: those with its mark alone."""
    if not os.path.isdir("/proc/self"):  # a system that does not tell: minus its number is the whole group
        try:
            os.killpg(leader, 0)
        except (OSError, ValueError):
            return []
        return [-leader] if leader else []
    wanted, found = f"{MARK}={mark}".encode(), []
    for process in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        with suppress(OSError, IndexError):
            state, _, group, session, *_ = (
                Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            )
            ours = bool(leader) and str(leader) in (group, session)
            if state != "Z" and (ours or wanted in _environment(process)):
                found.append(process)
    return found


def _environment(process: int) -> list[bytes]:
    with suppress(OSError):  # somebody else's
        return Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    return []


def tail(file: Path) -> str:
    """The end of what was printed."""
    return read.tail(file, TAIL)


def last_line(file: Path) -> str:
    """The last line of what was printed that says something."""
    return next((line.strip() for line in reversed(tail(file).splitlines()) if line.strip()), "")


def _busy() -> float:
    """Seconds that the cores of this machine worked since it started; 0 where the system does not tell."""
    try:
        numbers = [
            int(x) for x in Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:9]
        ]
    except (OSError, ValueError):
        return 0.0
    user, nice, system, _idle, _wait, irq, soft, steal = numbers
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")
