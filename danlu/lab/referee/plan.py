"""The file that ``danlu referee`` reads: how a program is run, what is compared, how its result is read.

Reading it runs nothing and imports no torch. Everything that can be known to be wrong is told here.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from danlu.files.errors import Missing
from danlu.files.yaml import brief, read_mapping
from danlu.lab.claims.rules import Rule
from danlu.lab.errors import LabError
from danlu.lab.referee.words import places_of, split
from danlu.spec.base import PositiveFloat, PositiveInt, Spec
from danlu.spec.errors import did_you_mean, either
from danlu.spec.explain import explain

ALSO = ("steps", "tokens", "flops", "parameters")
SOURCES = ("stdout", "stderr", "file", "tensorboard", "wandb")
FILES = (".json", ".jsonl", ".csv", ".tsv")
NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,40}")

T = TypeVar("T", bound=Spec)


class Reading(Spec):
    """Where a number of a run is read: one of ``stdout`` or ``stderr`` (a regular expression with one group),
    ``file`` (``FILE.json#/pointer``, ``FILE.jsonl#/pointer``, ``FILE.csv#column``), ``tensorboard``
    (``FOLDER#tag``), ``wandb`` (``FOLDER#key``, of a run in offline mode). Paths are relative to the folder
    where the program runs, or begin with ``{out}``. ``pick``: which one, where there are several."""

    stdout: str | None = None
    stderr: str | None = None
    file: str | None = None
    tensorboard: str | None = None
    wandb: str | None = None
    pick: Literal["only", "first", "last"] = "only"

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            said = f"{' and '.join(given)} are given" if given else "none is given"
            raise ValueError(f"a number is read from one of {either(SOURCES)}; {said}")
        source, text = self.source
        if source in ("stdout", "stderr"):
            try:
                groups = re.compile(text).groups
            except re.error as error:
                raise ValueError(f"{source} = {text!r} is not a regular expression: {error}") from None
            if groups != 1:
                raise ValueError(f"{source} = {text!r} has {groups} groups; put one, (…), around the number")
            return self
        place, mark, what = text.partition("#")
        if not (place and mark and what):
            raise ValueError(f"{source} = {text!r} is not PLACE#WHAT, such as {{out}}/{_EXAMPLES[source]}")
        if source == "file" and Path(place).suffix.lower() not in FILES:
            raise ValueError(f"file = {text!r}: allowed is a file of {either(FILES)}")
        if source == "file" and place.endswith((".json", ".jsonl")) and not what.startswith("/"):
            raise ValueError(f"file = {text!r}: a pointer begins with /, as in results.json#/val/loss")
        if wrong := places_of([place]) - {"out"}:
            raise ValueError(
                f"{source} = {text!r}: of {{{min(wrong)}}} nothing is known here; allowed: {{out}}"
            )
        return self

    @property
    def source(self) -> tuple[str, str]:
        """Its kind, and what is said of it."""
        return next((name, said) for name in SOURCES if (said := getattr(self, name)) is not None)


_EXAMPLES = {"file": "results.json#/val/loss", "tensorboard": "logs#val/loss", "wandb": "wandb#val/loss"}


class Metric(Reading):
    """The number that decides, and which direction is better."""

    name: str
    better: Literal["lower", "higher"]

    @property
    def sign(self) -> int:
        """1 where lower is better, −1 where higher is."""
        return 1 if self.better == "lower" else -1


class Arm(Spec):
    """What is compared: a tree of files, and words.

    ``git``: a branch, tag or commit; ``.``, the working tree as it is now; left out, as the first arm's, and
    ``.`` of the first. ``patch``: a diff laid over that, as ``git diff`` writes it. ``set``: the words that
    take the place of ``{set}``.
    """

    git: str | None = None
    patch: str | None = None
    set: str = ""


class Tune(Spec):
    """The rate that each arm is tuned by, on the same number of runs: ``flag`` as in ``--lr`` or
    ``--lr={value}``; ``start``: the middle of the first grid."""

    flag: str
    start: PositiveFloat


class Scale(Spec):
    """Rungs from small to large: ``set`` is laid over each arm with each of the ``values`` in place of
    ``{value}``."""

    set: str
    values: Annotated[tuple[int | float | str, ...], Field(min_length=2)]


def written(value: float | str) -> str:
    """A value of a scale as a word: what the program is given, and the rung's name. A number is exact."""
    if not isinstance(value, float):
        return str(value)
    return short if float(short := f"{value:g}") == value else repr(value)


class Premise(Reading):
    """What must hold for the verdict to mean anything, of the runs of an ``arm`` (left out: of each)."""

    name: str
    arm: str | None = None
    rule: Rule


class Budget(Spec):
    """``pairs`` of runs; ``kill_seconds`` after which a run has failed; ``seconds`` of all runs together."""

    pairs: Annotated[PositiveInt, Field(ge=2)] = 5
    kill_seconds: PositiveFloat = 3600.0
    seconds: PositiveFloat | None = None


class Plan(Spec):
    """One question on one program.

    ``run``: the command, with places ``{seed}``, ``{set}``, ``{out}``; ``setup``: one that is run once in
    each tree. ``folder``: where the program lives, relative to the file. ``patch``: a diff laid over every
    arm, such as one that gives the program a seed. The first of ``arms`` is the baseline. ``protect``: files
    that must be the same in all arms and stay as they are. ``inputs``: files that git does not hold; those
    within the folder are copied once and linked into each tree. ``env``: names of variables that the program
    gets besides the usual ones. ``margin``: a difference that is too small to matter, in the metric's units.
    ``timed``: the program ends by the clock, so that other work on the machine changes what it reaches.
    """

    run: str
    setup: str | None = None
    folder: str = "."
    patch: str | None = None
    arms: dict[str, Arm]
    protect: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    metric: Metric
    also: dict[str, Reading] = Field(default_factory=dict)
    scale: Scale | None = None
    tune: Tune | None = None
    margin: PositiveFloat | None = None
    premises: tuple[Premise, ...] = ()
    timed: bool = False
    budget: Budget = Budget()

    @property
    def words(self) -> list[str]:
        """The command's template."""
        return split(self.run, "run", ("seed", "out"), alone=("set",))

    @property
    def seeded(self) -> bool:
        """Whether the command takes a seed."""
        return "seed" in places_of(self.words)

    @property
    def baseline(self) -> str:
        """The first arm."""
        return next(iter(self.arms))

    @model_validator(mode="after")
    def _whole(self) -> Self:
        try:
            self._check()
        except LabError as error:
            raise ValueError(str(error)) from None
        return self

    def _check(self) -> None:
        if not self.words:
            raise LabError("run is empty; write the command that trains")
        if self.setup is not None and not split(self.setup, "setup"):
            raise LabError("setup is empty; leave it out, or write a command")
        if len(self.arms) < 2:
            raise LabError(f"arms: {len(self.arms)} given; write at least two, the baseline first")
        for name in self.arms:
            if not NAME.fullmatch(name):
                raise LabError(f"arms: {brief(name)} is not a name of letters, digits and ._+-")
        settable = "set" in places_of(self.words)
        needing = [f"arms.{name}" for name, arm in self.arms.items() if split(arm.set, f"arms.{name}.set")]
        needing += [name for name in ("scale", "tune") if getattr(self, name) is not None]
        if needing and not settable:
            raise LabError(f"{needing[0]} sets words, but run has no place for them; write {{set}} into run")
        for name in self.also:
            if name not in ALSO:
                raise LabError(
                    f"also.{name} is unknown{did_you_mean(name, ALSO) or '; '}allowed: {either(ALSO)}"
                )
        for premise in self.premises:
            if premise.arm is not None and premise.arm not in self.arms:
                hint = did_you_mean(premise.arm, self.arms) or f"; there are {either(self.arms)}"
                raise LabError(f"premise {premise.name!r} is of the arm {premise.arm}{hint}")
            if premise.rule.names_margin and self.margin is None:
                raise LabError(f"premise {premise.name!r} names the margin, and there is none; set margin")
        if self.scale is not None:
            if "value" not in places_of([self.scale.set]):
                raise LabError("scale.set has no {value}; write it where each of the values goes")
            rungs = [written(value) for value in self.scale.values]
            if twice := [rung for i, rung in enumerate(rungs) if rung in rungs[:i]]:
                raise LabError(f"scale.values: {twice[0]} is given twice; each is a rung of its own")


def read(file: Path) -> Plan:
    """The plan in a YAML file. Raises ``FileError`` or ``LabError`` with a sentence for each problem."""
    try:
        written = read_mapping(file, str(file))
    except Missing:
        begin = shlex.join(["danlu", "referee", "--init", str(file)])
        raise Missing(f"{file} is missing; {begin} writes an example with comments") from None
    try:
        if "arms" not in written:
            raise LabError("arms is missing; write at least two by name, the baseline first")
        named: dict[str, type[Arm] | type[Reading]] = {"arms": Arm, "also": Reading}
        whole = {**written, **{name: _each(written, name, kind) for name, kind in named.items()}}
        return _valid(Plan, {name: value for name, value in whole.items() if value is not None})
    except LabError as error:
        raise LabError("\n".join(f"{file}: {line}" for line in str(error).splitlines())) from None


def _each(written: Mapping[str, Any], field: str, kind: type[Reading] | type[Arm]) -> Any:
    """The mapping ``field`` by name, each value read as a ``kind``."""
    given = written.get(field)
    if not isinstance(given, Mapping):
        return given
    return {
        name: _valid(kind, {} if value is None else value, f"{field}.{name}") for name, value in given.items()
    }


def _valid(kind: type[T], given: Any, name: str = "") -> T:
    if not isinstance(given, Mapping):
        raise LabError(f"{name} = {brief(given)} is not a mapping of {', '.join(kind.model_fields)}")
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        said = explain(error, given, kind)
    whole = name or "the plan"
    lines = [
        f"{name}.{line}" if name and field else f"{name}: {line}" if name else line
        for field, line in said.items()
    ]
    raise LabError(
        "\n".join(line.replace(f"field of {kind.__name__}", f"field of {whole}") for line in lines)
    )
