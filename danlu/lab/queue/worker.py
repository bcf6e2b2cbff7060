"""A worker: a process that carries out one job after another for the queue that started it.

Tasks come as JSON lines on stdin, and each is answered by a line on stdout. PyTorch is imported once, not
once a run. When stdin ends (the queue is done with us, or was killed) the run in hand is saved, and the
process ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from queue import SimpleQueue
from typing import Any, TextIO

GRACE = 60.0  # seconds to save after the queue's end, before the process ends as it is


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints goes where errors go

    import torch

    from danlu import code
    from danlu.lab.queue.carry_out import carry_out
    from danlu.train import run  # noqa: F401  imported now: while the first task is on its way
    from danlu.train.interrupt import Interrupt

    torch.set_num_threads(1)
    interrupt = Interrupt()
    inbox: SimpleQueue[dict[str, Any] | None] = SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            inbox.put(json.loads(line))
        interrupt.request(signal.SIGTERM)
        inbox.put(None)
        time.sleep(GRACE)
        os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
    _tell(answers, {"ready": os.getpid(), "code": code.loaded().tier_a})
    while interrupt.requested is None and (task := inbox.get()) is not None:
        _tell(answers, {"ended": carry_out(task, interrupt)})
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()  # for those who share the GPU
    os._exit(0)  # nothing is left to write; taking PyTorch down would only take time


def _tell(answers: TextIO, what: dict[str, Any]) -> None:
    try:
        print(json.dumps(what), file=answers, flush=True)
    except BrokenPipeError:  # the queue was killed: what came out is in the run's folder
        os._exit(0)


if __name__ == "__main__":
    main()
