"""A worker: a process that carries out jobs for the queue that started it, one by one or some together.

Tasks come as JSON lines on stdin, a list of those to be carried out together on each, and each line is
answered by one on stdout. PyTorch is imported once, not once a run. When stdin ends (the queue is done with
us, or was killed) the runs in hand are saved, and the process ends.
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
    from danlu.lab.queue.together import carry_out_all
    from danlu.train import run  # noqa: F401  imported now: while the first task is on its way
    from danlu.train.interrupt import Interrupt

    torch.set_num_threads(1)
    interrupt = Interrupt()
    inbox: SimpleQueue[list[dict[str, Any]] | None] = SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            inbox.put(json.loads(line))
        interrupt.request(signal.SIGTERM)
        inbox.put(None)
        time.sleep(GRACE)
        os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
    _tell(answers, {"ready": os.getpid(), "code": code.loaded().tier_a})
    while interrupt.requested is None and (tasks := inbox.get()) is not None:
        _tell(answers, carry_out_all(tasks, interrupt)._asdict())
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()  # for those who share the GPU; what is left goes with the process
    os._exit(0)  # nothing is left to write; taking PyTorch down would only take time


def _tell(answers: TextIO, what: dict[str, Any]) -> None:
    try:
        print(json.dumps(what), file=answers, flush=True)
    except BrokenPipeError:  # the queue was killed: what came out is in the run's folder
        os._exit(0)


if __name__ == "__main__":
    main()
