"""Many runs, from Python."""

from __future__ import annotations

import os
from collections.abc import Sequence

from danlu.lab.reading.notebook import Runs


def runs(*folders: str | os.PathLike[str], where: str | Sequence[str] = (), sort: str | None = None) -> Runs:
    """The runs at any depth under the folders (left out: ``runs`` and ``studies/runs``), newest first, as
    ``danlu runs`` lists them.

    ``where``: filters, all of which hold: ``"lr>1e-3"``; ``sort``: a name, ``"best"``, ``"-seconds"``.
    Raises ``LabError`` with the sentences of the command line.
    """
    found = Runs(*folders).where(*([where] if isinstance(where, str) else where))
    return found if sort is None else found.sort(sort)
