"""What is asked, by content: the trees of the arms, and everything else that an answer depends on. What makes
no question is refused here, before anything runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danlu.lab.errors import LabError
from danlu.lab.referee import machine, plan
from danlu.lab.referee.errors import Void
from danlu.lab.referee.git import HERE, STORE, Repository
from danlu.lab.referee.inputs import Inputs
from danlu.lab.referee.plan import Plan
from danlu.lab.referee.words import split
from danlu.lab.study import folder_name

PLACES = re.compile(r"\d+")


@dataclass(frozen=True)
class Question:
    """A plan, read from ``file``, on the program in ``folder``, and what its arms are now. ``trees``: of each
    arm; ``stats``: what it changes against the baseline, as ``git diff --stat`` says it."""

    file: Path
    plan: Plan
    folder: Path
    repository: Repository
    trees: Mapping[str, str]
    stats: Mapping[str, str]
    inputs: Inputs

    @property
    def about(self) -> dict[str, Any]:
        """What must be the same for the same answer, but for the number of pairs and limits."""
        said = self.plan.model_dump(mode="json", exclude={"budget", "arms", "patch"})
        arms = {name: {"tree": self.trees[name], "set": arm.set} for name, arm in self.plan.arms.items()}
        return {**said, "arms": arms, "inputs": self.inputs.digest}

    @property
    def name(self) -> str:
        """Of the study: the file's, and what stands for the question."""
        return folder_name(f"referee-{self.file.stem[:60]}-{machine.digest(self.about)[:8]}")

    @property
    def program(self) -> str:
        """What it is called: the folder's name."""
        return self.folder.name

    @property
    def ideas(self) -> list[str]:
        """All arms but the baseline."""
        return [name for name in self.plan.arms if name != self.plan.baseline]

    def comparable(self) -> None:
        """Raises ``Void`` where protected files differ between arms."""
        base, protect = self.plan.baseline, self.plan.protect
        for idea in self.ideas if protect else []:
            changed = self.repository.differing(self.trees[base], self.trees[idea], protect)
            if changed:
                raise Void(
                    f"{idea} changes {changed[0]}, which is protected: it would be measured by another rule "
                    f"than {base}"
                )


def ask(file: Path, studies: Path, apart: Sequence[Path]) -> Question:
    """The question that a file asks now. ``apart``: files that are no part of the program, such as the
    ledger. Raises ``LabError`` and ``FileError`` for what makes no question."""
    said = plan.read(file)
    folder = (file.parent / said.folder).resolve()
    if not folder.is_dir():
        raise LabError(f"{file}: folder = {said.folder!r} is no folder beside it; name the program's folder")
    repository = Repository(folder, studies / STORE)
    patches = [file.parent / one for one in (said.patch, *(arm.patch for arm in said.arms.values())) if one]
    without = [file, studies, *patches, *apart]
    trees = {name: _tree(said, name, repository, file.parent, without) for name in said.arms}
    base = trees[said.baseline]
    for pattern in said.protect:
        if not repository.files(base, [pattern]):
            raise LabError(f"{file}: protect: {pattern!r} names no file of {said.baseline}; correct the name")
    inputs = Inputs(said.inputs, folder)
    stats = {name: repository.diff(base, tree, "--stat").rstrip() for name, tree in trees.items()}
    _check(file, said, repository, trees)
    return Question(file, said, folder, repository, trees, stats, inputs)


def _tree(said: Plan, name: str, repository: Repository, beside: Path, without: Sequence[Path]) -> str:
    arm, first = said.arms[name], said.arms[said.baseline]
    reference = arm.git or first.git or HERE
    tree = repository.working_tree(without) if reference == HERE else repository.tree(reference)
    for patch in (said.patch, arm.patch):
        if patch is not None:
            tree = repository.patched(tree, beside / patch)
    return tree


def _check(file: Path, said: Plan, repository: Repository, trees: Mapping[str, str]) -> None:
    seen: dict[tuple[str, str], str] = {}
    flag = seed_flag(said.words)
    base = trees[said.baseline]
    for name, arm in said.arms.items():
        other = seen.setdefault((trees[name], arm.set), name)
        if other != name:
            raise LabError(f"{file}: {name} is the same as {other}, files and words; change one of them")
        if flag and any(word == flag or word.startswith(f"{flag}=") for word in split(arm.set, "set")):
            raise LabError(f"{file}: arms.{name}.set sets {flag}, which the referee draws; leave it out")
        if trees[name] != base and seeds_alone(repository.diff(base, trees[name], "--unified=0")):
            raise LabError(
                f"{file}: {name} changes nothing but a seed, which is luck; the referee draws seeds"
            )


def seed_flag(words: Sequence[str]) -> str | None:
    """The option by which a command takes its seed: of ``--seed {seed}`` and ``--seed={seed}`` it is
    ``--seed``."""
    for before, word in zip(["", *words], words, strict=False):
        if "{seed}" in word:
            flag = word.partition("=")[0] if "=" in word else before
            return flag if flag.startswith("-") else None
    return None


def seeds_alone(diff: str) -> bool:
    """Whether a diff changes nothing but numbers in lines that speak of a seed."""
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    gone = [line[1:] for line in lines if line.startswith("-")]
    new = [line[1:] for line in lines if line.startswith("+")]
    return (
        bool(gone)
        and len(gone) == len(new)
        and all(
            "seed" in a.lower() and PLACES.sub("#", a) == PLACES.sub("#", b)
            for a, b in zip(gone, new, strict=True)
        )
    )
