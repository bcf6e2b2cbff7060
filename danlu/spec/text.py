"""Names of files, and YAML under its old address (``danlu.files.yaml``)."""

from __future__ import annotations

from pathlib import Path

from danlu.files.yaml import SCALARS, brief, dump, parse, read_mapping

__all__ = ["SCALARS", "brief", "dump", "is_file_name", "parse", "read_mapping"]


def is_file_name(word: str) -> bool:
    """Whether a word names a YAML file."""
    return Path(word).suffix.lower() in (".yaml", ".yml")
