"""Arrays and columns in a user's files: NumPy's and Parquet, read in one way. Nothing is unpickled."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.data.errors import DataError
from danlu.files.errors import FileError
from danlu.files.read import open_file


def numpy_arrays(path: Path) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """The array of a .npy file, or those of a .npz file by name. Raises ``FileError`` for what is no file,
    ``DataError`` for a damaged one and for objects."""
    try:
        with open_file(path) as file:
            found = np.load(file, allow_pickle=False)
            return found if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}
    except (MemoryError, OSError, FileError):
        raise
    except Exception as error:  # NumPy raises whatever a damaged file leads it to
        said = str(error) if _is_numpys(path) else "its first bytes are another file's"
        if "pickle" in said:
            why = "it holds objects, which are not unpickled; save numbers"
        else:
            why = f"it is damaged, or no array ({said.splitlines()[0][:80] if said else 'empty'})"
        raise DataError(f"{path} cannot be read as {path.suffix}: {why}") from error


def _is_numpys(path: Path) -> bool:
    """Whether it begins as a .npy or a .npz file does; numpy takes all else for a pickle."""
    with open_file(path) as file:
        return file.read(6).startswith((b"\x93NUMPY", b"PK"))


def parquet_columns(path: Path) -> dict[str, Any]:
    """The columns of a Parquet file, as pyarrow's. Raises as ``numpy_arrays``, and ``DataError`` without
    pyarrow."""
    try:
        arrow, parquet = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
    except ImportError:
        raise DataError(
            f"{path} needs pyarrow: pip install 'danlu[data]', or save it in another format"
        ) from None
    try:
        with open_file(path) as opened, parquet.ParquetFile(opened) as file:
            table = file.read()
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error
    return {name: table.column(name) for name in table.column_names}
