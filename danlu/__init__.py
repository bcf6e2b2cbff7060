"""danlu (丹炉): a laboratory for training neural networks."""

import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from danlu.parts import idea as idea
    from danlu.parts import load as load
    from danlu.parts import part as part

__version__ = "0.4.0"

STARTED = time.perf_counter()  # when this process began to be danlu: start-up is counted from here

# The front door: a name, and the module that has it, imported when the name is first used.
_DOORS = {
    "idea": "danlu.parts",
    "load": "danlu.parts",
    "part": "danlu.parts",
}
_ROOMS = ("data", "lab", "laws", "models", "nn", "objectives", "optim", "spec", "testing")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"danlu.{name}")
    if name in _DOORS:
        return getattr(import_module(_DOORS[name]), name)
    raise AttributeError(f"module 'danlu' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_DOORS, *_ROOMS})
