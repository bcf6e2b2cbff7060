"""What an agent may ask, and the command of danlu that asks it. Unknown names are errors. No torch here."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, field_validator

from danlu import code
from danlu.lab.study import folder_name
from danlu.mcp.inside import Refused, check_words

Word = Annotated[str, StringConstraints(min_length=1, max_length=400)]
Words = Annotated[str, StringConstraints(max_length=1000)]
LEAST = 2  # pairs


class Arguments(BaseModel):
    """Of a tool, or a part of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Asked(Arguments):
    """A question. ``judges``: whether a verdict can come out."""

    judges: ClassVar[bool] = True

    def words(self) -> list[str]:
        """Everything in it that danlu reads as words or as a path."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """The words after ``danlu`` that ask it."""
        raise NotImplementedError

    def check(self) -> None:
        """Raises ``Refused`` for what may not be asked here."""
        check_words(self.words())

    @property
    def name(self) -> str:
        """The handle: equal questions have one, by the same code of danlu."""
        said = [json.dumps(self.model_dump(mode="json"), sort_keys=True), self.rule(), code.now().short]
        digest = hashlib.sha256("\n".join(said).encode()).hexdigest()[:8]
        kind = self.model_dump()["kind"]
        return f"{folder_name('-'.join([kind, *self.words()]))[:48].rstrip('-.')}-{digest}"

    def rule(self) -> str:
        """A digest of the file that has the rule of the verdict; empty where there is none."""
        return ""


def _pairs(seeds: int | None) -> int | None:
    if seeds is not None and seeds < LEAST:
        raise ValueError(
            f"{seeds} is one run of each side, and one run gives no verdict: ask for {LEAST} or more"
        )
    return seeds


class Try(Asked):
    """Does an idea help? ``ideas``: names of the catalog, joined by +, or 'field=value'; ``on``: the words of
    the baseline (left out: what the idea is for); ``seeds``: pairs of runs; ``budget`` of a run: '500 steps',
    2M (tokens), 1e13flop; ``tune``: lr (each side at its best rate) or none (the verdict is then early)."""

    kind: Literal["try"]
    ideas: tuple[Word, ...] = Field(min_length=1, max_length=8)
    on: Words = ""
    seeds: int = Field(default=5, le=100)
    budget: Words | None = None
    tune: Literal["lr", "none"] = "lr"
    stop_early: bool = False

    _enough = field_validator("seeds")(_pairs)

    def words(self) -> list[str]:
        return [*self.ideas, *([self.on] if self.on else [])]

    def command(self) -> list[str]:
        options = ["--seeds", str(self.seeds), "--tune", self.tune]
        options += ["--on", self.on] if self.on else []
        options += [f"--budget={self.budget}"] if self.budget else []
        options += ["--stop-early"] if self.stop_early else []
        return ["try", *options, "--json", "--", *self.ideas]


class AcrossScale(Asked):
    """Is an idea worth anything in larger models? At ``rungs`` sizes, a verdict two sizes beyond; hours."""

    kind: Literal["across-scale"]
    ideas: tuple[Word, ...] = Field(min_length=1, max_length=8)
    on: Words = ""
    rungs: int = Field(default=4, ge=2, le=8)
    seeds: int = Field(default=5, le=100)

    _enough = field_validator("seeds")(_pairs)

    def words(self) -> list[str]:
        return [*self.ideas, *([self.on] if self.on else [])]

    def command(self) -> list[str]:
        options = ["--across-scale", "--rungs", str(self.rungs), "--seeds", str(self.seeds)]
        options += ["--on", self.on] if self.on else []
        return ["try", *options, "--json", "--", *self.ideas]


class Sweep(Asked):
    """Which point of a space is best? ``experiment``: a recipe and words, some of them grids, such as
    lr=1e-4..1e-1/3 or layers=2,3. A search: it gives no verdict."""

    judges = False
    kind: Literal["sweep"]
    experiment: tuple[Word, ...] = Field(min_length=1, max_length=32)
    seeds: int = Field(default=1, ge=1, le=100)
    trials: int | None = Field(default=None, ge=1, le=1000)
    sampler: Literal["random", "tpe", "qmc", "gp"] = "random"
    halving: bool = False
    metric: Words | None = None

    def words(self) -> list[str]:
        return list(self.experiment)

    def command(self) -> list[str]:
        options = ["--seeds", str(self.seeds), "--sampler", self.sampler]
        options += ["--trials", str(self.trials)] if self.trials else []
        options += ["--halving"] if self.halving else []
        options += [f"--metric={self.metric}"] if self.metric else []
        return ["sweep", *options, "--json", "--", *self.experiment]


class Ladder(Asked):
    """What will a large run reach? ``experiment``: a recipe and words; ``budget`` of all runs together and
    ``target``: 1e13flop. A plan: it gives no verdict."""

    judges = False
    kind: Literal["ladder"]
    experiment: tuple[Word, ...] = Field(min_length=1, max_length=32)
    budget: Words = "1e13flop"
    rungs: int = Field(default=4, ge=2, le=12)
    target: Words | None = None
    target_parameters: Words | None = None
    seeds: int = Field(default=1, ge=1, le=20)
    rates: Literal["mup", "law", "fixed"] = "mup"
    hold_out: int = Field(default=1, ge=0, le=10)
    design: Literal["chinchilla", "isoflop"] = "chinchilla"
    tokens_per_parameter: float = Field(default=20.0, gt=0, le=10_000)

    def words(self) -> list[str]:
        return list(self.experiment)

    def command(self) -> list[str]:
        options = [f"--budget={self.budget}", "--rungs", str(self.rungs), "--seeds", str(self.seeds)]
        options += ["--rates", self.rates, "--hold-out", str(self.hold_out), "--design", self.design]
        options += ["--tokens-per-parameter", f"{self.tokens_per_parameter:g}"]
        options += [f"--target={self.target}"] if self.target else []
        options += [f"--target-parameters={self.target_parameters}"] if self.target_parameters else []
        return ["ladder", *options, "--json", "--", *self.experiment]


class Referee(Asked):
    """Does a change to the user's own training program help? The person who started the server names its file
    (--referee FILE), which says what is run. ``pairs``: in place of the file's."""

    kind: Literal["referee"]
    pairs: int | None = Field(default=None, le=100)

    _enough = field_validator("pairs")(_pairs)
    file: ClassVar[Path | None] = None  # of this server

    def words(self) -> list[str]:
        return []

    def check(self) -> None:
        if self.file is None:
            raise Refused(
                "this server judges no programs; the person who starts it names one: --referee FILE"
            )

    def rule(self) -> str:
        return digest(self.file) if self.file is not None and self.file.is_file() else ""

    def command(self) -> list[str]:
        options = ["--pairs", str(self.pairs)] if self.pairs else []
        return ["referee", *options, "--json", "--", str(self.file)]


class Laws(Asked):
    """A scaling law through points: ``file`` is a table with sizes, tokens and losses. With two of ``n``,
    ``d`` and ``c`` (parameters, tokens, FLOPs; 7B, 1e9) the loss of such a run is predicted. No verdict."""

    judges = False
    kind: Literal["laws"]
    file: Word
    law: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,40}$")] | None = None
    n: Words | None = None
    d: Words | None = None
    c: Words | None = None

    def words(self) -> list[str]:
        return [self.file]

    def command(self) -> list[str]:
        given = [f"--{name}={value}" for name in "ndc" if (value := getattr(self, name))]
        options = ["--law", self.law] if self.law else []
        return ["laws", "predict" if given else "fit", *given, *options, "--json", "--", self.file]


Question = Annotated[Try | AcrossScale | Sweep | Ladder | Referee | Laws, Field(discriminator="kind")]
QUESTION: TypeAdapter[Asked] = TypeAdapter(Question)


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def plain(question: Asked) -> dict[str, Any]:
    """As JSON, without what was left out."""
    said: dict[str, Any] = question.model_dump(mode="json", exclude_none=True)
    return said
