"""Where the processes of ``torchrun`` meet: a store in which nothing of an earlier start is left.

torchrun keeps one store for all its restarts, and PyTorch's groups read from it the addresses that the
processes of the start before wrote: at times the new processes wait for the dead ones for ever
(https://github.com/pytorch/pytorch/issues/135712; so in 2.13 too). torchrun's count of restarts does not
help: each machine has its own. So the processes of one start agree on a name that no other start has.
"""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

_PAUSE = 0.02  # seconds between two looks


def store(rank: int, count: int, patience: timedelta) -> Store | None:
    """The store of this start for the process ``rank`` of ``count``; None: PyTorch's own is new anyway."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    shared = TCPStore(address, port, is_master=False, timeout=patience)
    return PrefixStore(f"danlu/{agree(shared, rank, count)}", shared)


def agree(shared: Store, rank: int, count: int) -> str:
    """A name that these ``count`` processes have alike, and that nobody had before.

    Every process but the first writes a mark of its own. The first reads all marks and offers a name for
    them; the others answer an offer that has their mark. When all have answered, the name holds. What the
    dead have left changes nothing: no offer of theirs has a mark of the living, and no answer of theirs is
    under the new name. If the first read the mark of a dead process, nobody answers for it until the mark
    changes; then the first offers another name.
    """
    if rank:
        mine = uuid4().hex
        shared.set(f"danlu/mark/{rank}", mine)
        while True:
            offer = json.loads(shared.get("danlu/offer"))
            if offer["marks"].get(str(rank)) == mine:
                name: str = offer["name"]
                shared.set(f"danlu/{name}/answer/{rank}", "1")
                if shared.check([f"danlu/{name}/holds"]):
                    return name
            time.sleep(_PAUSE)
    marks: dict[int, str] | None = None
    while True:
        now = {other: shared.get(f"danlu/mark/{other}").decode() for other in range(1, count)}
        if now != marks:
            marks, name = now, uuid4().hex
            shared.set("danlu/offer", json.dumps({"name": name, "marks": marks}))
        if all(shared.check([f"danlu/{name}/answer/{other}"]) for other in marks):
            shared.set(f"danlu/{name}/holds", "1")
            return name
        time.sleep(_PAUSE)
