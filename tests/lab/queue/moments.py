"""Processes that die, or stand still until they are told to go on, at a named moment of a run.

So what a test asks about happens at that moment on every machine, however fast or busy: nothing is caught by
looking often enough.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import pytest

Deed = Literal["dies", "waits"]

# Python imports it at its start in every process that finds it on the path. Whatever a run leaves is renamed
# into place, or opened (its metrics): the moment is right before. Each deed is done once, by who comes first.
HOOK = """
import fnmatch, os, signal, sys, time

HERE, DEEDS = os.path.dirname(__file__), {deeds!r}
PATHS = {{"open": 0, "os.rename": 1}}  # which of the arguments names the file

def taken(number):
    try:
        os.mkdir(os.path.join(HERE, f"taken-{{number}}"))
    except FileExistsError:
        return False
    return True

def hook(event, arguments):
    if event not in PATHS or event == "open" and not arguments[2] & os.O_CREAT:
        return
    if not isinstance(path := arguments[PATHS[event]], (str, os.PathLike)):
        return
    for number, (deed, pattern) in enumerate(DEEDS):
        if fnmatch.fnmatch(os.fspath(path), pattern) and taken(number):
            if deed == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            while not os.path.exists(os.path.join(HERE, "go")):
                time.sleep(0.01)
            return

sys.addaudithook(hook)
"""


# Of a run in several processes: what the first does, once, when it puts that checkpoint in place.
AT_A_CHECKPOINT = """
import os, sys

def hook(event, arguments):
    if event != "os.rename" or not str(arguments[1]).endswith("checkpoints/step-4"):
        return
    try:
        os.mkdir(os.path.join(os.path.dirname(__file__), "taken"))
    except FileExistsError:
        return
    deed()

if os.environ.get("RANK") == "0":
    sys.addaudithook(hook)
"""


def at_a_checkpoint(folder: Path, deed: str) -> Path:
    """A folder for the path of Python, in ``folder``. ``deed``: the source of a function of that name, which
    the first process calls when it puts the checkpoint of step 4 in place; ``taken`` in it is there then."""
    hooks = folder / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(deed + AT_A_CHECKPOINT)
    return hooks


class Moments:
    """``deeds`` of the processes that are started from now on, until ``over``: what they do, and the pattern
    of the file that they are about to put in place."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, *deeds: tuple[Deed, str]) -> None:
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(HOOK.format(deeds=deeds))
        self._folder, self._deeds = folder, deeds
        self._before = os.environ.get("PYTHONPATH")
        paths = [str(folder), *([self._before] if self._before else [])]
        self._patch = patch
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))

    @property
    def come(self) -> list[bool]:
        """Of each deed, whether its moment has come."""
        return [(self._folder / f"taken-{number}").exists() for number in range(len(self._deeds))]

    def go_on(self) -> None:
        """Whoever waits goes on, and nobody waits any more."""
        (self._folder / "go").touch()

    def over(self) -> None:
        """Processes that are started from now on know nothing of it."""
        if self._before is None:
            self._patch.delenv("PYTHONPATH")
        else:
            self._patch.setenv("PYTHONPATH", self._before)
