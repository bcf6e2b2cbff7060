"""Training: the loop and all that surrounds it; ``danlu.train.run.train`` is the way in.

No part of it is imported here: the verbs that only read use ``danlu.train.folder`` without PyTorch.

The room can be called: ``danlu.train("nano +swiglu", lr=1e-3)`` is ``danlu.door.run.train``, of which
``help`` tells more.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """Python sets ``danlu.train`` to this module whenever one of its files is imported, so that no function
    could keep the name."""

    def __call__(self, *words: Any, **settings: Any) -> Any:
        """See ``danlu.door.run.train``."""
        return import_module("danlu.door.run").train(*words, **settings)


sys.modules[__name__].__class__ = _Callable
