"""``danlu.files`` under its old address."""

from __future__ import annotations

from danlu.files.json import from_json, read_json, to_json, write_json
from danlu.files.write import clean_aside, write_atomically
from danlu.files.write import flush as sync_folder

__all__ = [
    "clean_aside", "from_json", "read_json", "sync_folder", "to_json", "write_atomically", "write_json",
]  # fmt: skip
