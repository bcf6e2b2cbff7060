"""What a teacher said of texts, kept on the disk: the likeliest tokens and the rest as one class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from danlu.files.read import read_bytes
from danlu.files.write import write_atomically


class SoftTargets:
    """The ``top`` likeliest tokens of ``context`` positions, in ``folder``, whose name says the teacher, the
    data and the order of samples. A file holds consecutive samples, as one pass of one process asks for
    them: ids, int32 [samples, context, top], then logarithms of probabilities, float32 [samples, context,
    top + 1], the last of all other tokens together."""

    def __init__(self, folder: Path, context: int, top: int) -> None:
        self.folder, self.context, self.top = folder, context, top

    def _path(self, first: int, count: int) -> Path:
        return self.folder / str(first // 10_000) / f"{first}-{count}"

    def read(self, first: int, count: int) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Ids, int64, and logarithms of samples ``first`` to ``first + count``; None where they are not kept
        whole."""
        path, places = self._path(first, count), count * self.context
        if not path.exists():
            return None
        raw = read_bytes(path)
        if len(raw) != 4 * places * (2 * self.top + 1):
            return None
        ids = np.frombuffer(raw, "<i4", places * self.top).reshape(count, self.context, self.top)
        logs = np.frombuffer(raw, "<f4", offset=ids.nbytes).reshape(count, self.context, self.top + 1)
        return torch.from_numpy(ids.astype(np.int64)), torch.from_numpy(logs.copy())

    def write(self, first: int, ids: torch.Tensor, logs: torch.Tensor) -> None:
        """Keep what ``read`` gives. Raises ``FileError`` where that cannot be written."""
        path = self._path(first, len(ids))
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = ids.cpu().numpy().astype("<i4").tobytes() + logs.cpu().numpy().astype("<f4").tobytes()
        write_atomically(path, whole)
