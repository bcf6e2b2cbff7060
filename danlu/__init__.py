"""danlu (丹炉): a laboratory for training neural networks."""

import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from danlu.door.across import try_across_scale as try_across_scale
    from danlu.door.experiment import experiment as experiment
    from danlu.door.ideas import try_ideas as try_ideas
    from danlu.door.ladder import ladder as ladder
    from danlu.door.ledger import ledger as ledger
    from danlu.door.run import run as run
    from danlu.door.runs import compare as compare
    from danlu.door.runs import runs as runs
    from danlu.door.sweep import sweep as sweep
    from danlu.parts import idea as idea
    from danlu.parts import load as load
    from danlu.parts import part as part
    from danlu.train.callbacks import Callback as Callback

__version__ = "0.4.0"

STARTED = time.perf_counter()  # when this process began to be danlu: start-up is counted from here

# The front door: a name, and the module that has it, imported when the name is first used. ``train`` is a
# room that can be called (``danlu/train/__init__.py``).
_DOORS = {
    "Callback": "danlu.train.callbacks",
    "compare": "danlu.door.runs",
    "experiment": "danlu.door.experiment",
    "idea": "danlu.parts",
    "ladder": "danlu.door.ladder",
    "ledger": "danlu.door.ledger",
    "load": "danlu.parts",
    "part": "danlu.parts",
    "run": "danlu.door.run",
    "runs": "danlu.door.runs",
    "sweep": "danlu.door.sweep",
    "try_across_scale": "danlu.door.across",
    "try_ideas": "danlu.door.ideas",
}
_ROOMS = ("data", "lab", "laws", "models", "nn", "objectives", "optim", "spec", "testing", "train")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"danlu.{name}")
    if name in _DOORS:
        return getattr(import_module(_DOORS[name]), name)
    raise AttributeError(f"module 'danlu' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_DOORS, *_ROOMS})
