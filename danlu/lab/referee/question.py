"""What is asked, by content: the trees of the arms, and everything else that an answer depends on. What makes
no question is refused here, before anything runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
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

NUMBER = re.compile(r"\d+")
# The number that stands right behind a name that ends with "seed", as its value or its first argument.
SEED = re.compile(r"""(?<=seed)["']?(\s*:\s*\w+)?\s*[=:(\s]\s*\d+\b(?![.\w])""", re.IGNORECASE)


SHOWN = 4  # files that are named before one says how many more there are


@dataclass(frozen=True)
class Question:
    """A plan, read from ``file``, on the program in ``folder``, and what its arms are now. ``trees``: of each
    arm; ``stats``: what it changes against the baseline, as ``git diff --stat`` says it; ``notes``: what must
    be said beside the answer."""

    file: Path
    plan: Plan
    folder: Path
    repository: Repository
    trees: Mapping[str, str]
    stats: Mapping[str, str]
    inputs: Inputs
    notes: tuple[str, ...] = ()

    @property
    def bed(self) -> dict[str, Any]:
        """What is asked of each arm: all but the arms, the number of pairs and limits."""
        said = self.plan.model_dump(mode="json", exclude={"budget", "arms", "patch"})
        return {**said, "inputs": self.inputs.digest}

    @property
    def about(self) -> dict[str, Any]:
        """What must be the same for the same answer, but for the number of pairs and limits."""
        arms = {name: {"tree": self.trees[name], "set": arm.set} for name, arm in self.plan.arms.items()}
        return {**self.bed, "arms": arms}

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
    notes = _check(file, said, repository, trees)
    if any(_reference(said, name) == HERE for name in said.arms):
        notes += _left_out(repository.untracked([*without, *inputs.files]))
    return Question(file, said, folder, repository, trees, stats, inputs, tuple(notes))


def _reference(said: Plan, name: str) -> str:
    """What an arm's files are taken from."""
    return said.arms[name].git or said.arms[said.baseline].git or HERE


def _left_out(untracked: Sequence[str]) -> list[str]:
    """A log that grows is not to make another question, so that files which git was not told of are out."""
    if not untracked:
        return []
    named = ", ".join(untracked[:SHOWN]) + (
        f" and {len(untracked) - SHOWN} more" if untracked[SHOWN:] else ""
    )
    return [
        f"not tracked by git, so no part of any arm: {named} (git add what the program needs, or name it in "
        "inputs)"
    ]


def _tree(said: Plan, name: str, repository: Repository, beside: Path, without: Sequence[Path]) -> str:
    reference = _reference(said, name)
    tree = repository.working_tree() if reference == HERE else repository.tree(reference)
    for patch in (said.patch, said.arms[name].patch):
        if patch is not None:
            tree = repository.patched(tree, beside / patch)
    return repository.without(tree, without)


def _check(file: Path, said: Plan, repository: Repository, trees: Mapping[str, str]) -> list[str]:
    """What must be said beside the verdict. Raises ``LabError`` for what makes no question."""
    seen: dict[tuple[str, str], str] = {}
    notes: list[str] = []
    flag = seed_flag(said.words)
    base = trees[said.baseline]
    for name, arm in said.arms.items():
        other = seen.setdefault((trees[name], arm.set), name)
        if other != name:
            raise LabError(f"{file}: {name} is the same as {other}, files and words; change one of them")
        if flag and any(word == flag or word.startswith(f"{flag}=") for word in split(arm.set, "set")):
            raise LabError(f"{file}: arms.{name}.set sets {flag}, which the referee draws; leave it out")
        changed = "" if trees[name] == base else repository.diff(base, trees[name], "--unified=0")
        if seeds_alone(changed):
            raise LabError(
                f"{file}: {name} changes nothing but a seed, which is luck; the referee draws seeds"
            )
        if perhaps_seeds(changed):
            notes.append(
                f"{name} changes nothing but numbers in lines that speak of a seed; if one of them is a "
                "seed, the difference is luck"
            )
    return notes


def seed_flag(words: Sequence[str]) -> str | None:
    """The option by which a command takes its seed: of ``--seed {seed}`` and ``--seed={seed}`` it is
    ``--seed``."""
    for before, word in zip(["", *words], words, strict=False):
        if "{seed}" in word:
            flag = word.partition("=")[0] if "=" in word else before
            return flag if flag.startswith("-") else None
    return None


def seeds_alone(diff: str) -> bool:
    """Whether a diff changes nothing but the literal numbers of seeds: ``seed = 1``, ``manual_seed(1)``."""
    return _alike(diff, lambda line: SEED.sub("#", line))


def perhaps_seeds(diff: str) -> bool:
    """Whether a diff changes nothing but numbers in lines that speak of a seed; whose numbers they are is not
    known."""
    return _alike(diff, lambda line: NUMBER.sub("#", line) if "seed" in line.lower() else line)


def _alike(diff: str, told: Callable[[str], str]) -> bool:
    """Whether the lines that a diff takes and those that it gives are the same as they are ``told``."""
    lines, inside = list[str](), False
    for line in diff.splitlines():  # what precedes the first @@ of a file names the file
        inside = line.startswith("@@") or (inside and not line.startswith("diff "))
        lines += [line] if inside else []
    gone = [line[1:] for line in lines if line.startswith("-")]
    new = [line[1:] for line in lines if line.startswith("+")]
    return (
        bool(gone)
        and len(gone) == len(new)
        and all(told(a) == told(b) for a, b in zip(gone, new, strict=True))
    )
