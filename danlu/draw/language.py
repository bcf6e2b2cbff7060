"""The language of what people read: answers, tables, pages, statements of ideas and claims.

Verbs, fields, kinds, errors and JSON are English in every language.
"""

from __future__ import annotations

import os

from danlu.files.errors import DanluError

OWN = "DANLU_LANG"
LANGUAGES = ("zh", "en")
LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")  # the first that is set and not empty decides, as POSIX has it


def language() -> str:
    """``zh`` or ``en``: what ``DANLU_LANG`` says, else ``zh`` where the locale of messages is a Chinese one,
    else ``en``. Raises DanluError for another value of ``DANLU_LANG``."""
    if said := os.environ.get(OWN, ""):
        if said not in LANGUAGES:
            from danlu.files.yaml import brief

            raise DanluError(
                f"--lang or {OWN} = {brief(said)} is no language of danlu; allowed: zh, en, or leave it out"
            )
        return said
    locale = next(filter(None, map(os.environ.get, LOCALE)), "")
    return "zh" if locale.lower().startswith("zh") else "en"
