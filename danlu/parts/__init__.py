"""Parts of your own: what is registered, the files that hold it, what a run keeps of them. No torch here.

A kind is a name. Code is loaded where the user says so: on the command line (``--with mine.py``), in Python,
or by installing a package. A file that is only read, a run's or a recipe, cannot ask for it.

register (``part``, ``idea``) · sources (the code of an own part: found, run, run again) · runs (what a run's
folder keeps, what a worker is sent) · measures.
"""

from danlu.parts.register import idea, part
from danlu.parts.runs import changed, check, digests, keep, own_files, pack, unpack, used
from danlu.parts.sources import load, not_while_loading
from danlu.spec.kept import RECORD

__all__ = [
    "RECORD", "changed", "check", "digests", "idea", "keep", "load", "not_while_loading", "own_files", "pack",
    "part", "unpack", "used",
]  # fmt: skip
