"""The tools: names, arguments, what they do. The SDK is not needed here."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError

from danlu.files.errors import DanluError
from danlu.files.json import finite
from danlu.lab import ledger as book
from danlu.mcp import reading, verdicts
from danlu.mcp.cut import LARGEST, MOST, cut
from danlu.mcp.inside import Refused
from danlu.mcp.questions import Arguments, Question, Word, Words
from danlu.mcp.studies import Studies
from danlu.spec.errors import did_you_mean

Handle = Annotated[str, StringConstraints(pattern=r"^[\w.+=-]{1,120}$")]
Offset = Annotated[
    int, Field(ge=0, le=10**6, description="Where the page begins: the `next` of the page before.")
]
Limit = Annotated[int, Field(ge=1, le=MOST)]


class Ideas(Arguments):
    words: Words = Field(
        default="", description="An idea's name, or words that stand in it. Empty: all ideas."
    )
    offset: Offset = 0
    limit: Limit = 25


class Show(Arguments):
    experiment: tuple[Word, ...] = Field(default=("tiny",), min_length=1, max_length=32)
    idea: Word | None = Field(
        default=None, description="Tell what this idea changes there, in place of all fields."
    )


class Start(Arguments):
    question: Question


class Status(Arguments):
    study: Handle | None = Field(
        default=None, description="Left out: the studies that are there, newest first."
    )
    wait_s: float = Field(default=0.0, ge=0, le=20, description="Wait so long at most for its end.")


class OfStudy(Arguments):
    study: Handle


class Compare(Arguments):
    sides: tuple[Word, ...] = Field(
        min_length=2,
        max_length=8,
        description="Each a run, a folder of runs or a pattern; the first is the baseline.",
    )
    metric: Words | None = None


class Runs(Arguments):
    run: Word | None = Field(default=None, description="One run's folder: its fields and a curve.")
    where: tuple[Word, ...] = Field(default=(), max_length=8, description="Filters: lr>1e-3, state=finished.")
    sort: Words | None = Field(default=None, description="best, lr, seconds; a - in front turns it round.")
    metric: Words | None = Field(default=None, description="Of the curve.")
    x: Literal["steps", "time", "flops", "tokens"] = "steps"
    offset: Offset = 0
    limit: Limit = 20


class Ledger(Arguments):
    view: Literal["list", "show", "search", "due", "judge"] = "list"
    words: Words = Field(default="", description="Of show: an id. Of search: an idea or any words.")
    offset: Offset = 0
    limit: Limit = 25


class Decide(Arguments):
    entry: Word = Field(description="The whole id of an entry of the ledger.")
    decision: Literal["adopt", "reject", "undecided"]
    because: Annotated[str, StringConstraints(min_length=3, max_length=500)]
    revisit: Words | None = Field(default=None, description="When to look again, such as 'parameters > 10M'.")


@dataclass(frozen=True)
class Tool:
    """``do``: arguments, studies and the agent's name to what is answered. ``reads``: nothing is written."""

    name: str
    about: str
    arguments: type[Arguments]
    do: Callable[[Any, Studies, str], dict[str, Any]]
    reads: bool = True

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of its arguments."""
        return self.arguments.model_json_schema()


def _status(given: Status, studies: Studies, agent: str) -> dict[str, Any]:
    if given.study is not None:
        return studies.status(given.study, given.wait_s)
    names = studies.names()
    there = [{"study": name, "state": studies.state(name)["state"]} for name in names]
    return {"studies": there, "budget": studies.budget()}


def _decide(given: Decide, studies: Studies, agent: str) -> dict[str, Any]:
    verdicts.unedited(studies, verdicts.entry_of(book.read(), given.entry))
    entry = book.decide(
        book.LEDGER, given.entry, given.decision, given.because, given.revisit, by=f"agent {agent}"
    )
    return {"entry": entry.written()}


def _runs(given: Runs, studies: Studies, agent: str) -> dict[str, Any]:
    if given.run is not None:
        return reading.run(given.run, given.metric, given.x)
    return reading.runs(given.where, given.sort, given.offset, given.limit)


TOOLS = (
    Tool(
        "ideas", "Small changes to training that have a name: what each claims, and its source.", Ideas,
        lambda given, studies, agent: reading.ideas(given.words, given.offset, given.limit),
    ),
    Tool(
        "show", "Every field of an experiment (a recipe and words), or what an idea changes. Trains nothing.",
        Show, lambda given, studies, agent: reading.show(given.experiment, given.idea),
    ),
    Tool(
        "start", "Ask a question; its study starts at once, and its handle is returned. The same question "
        "has the same study. Kinds: try, across-scale, sweep, ladder, referee, laws.",
        Start, lambda given, studies, agent: studies.start(given.question, agent), reads=False,
    ),
    Tool("status", "How a study stands; waits for its end, 20 seconds at most.", Status, _status),
    Tool(
        "stop", "End a study. What ran is saved; start with the same question goes on.", OfStudy,
        lambda given, studies, agent: studies.stop(given.study), reads=False,
    ),
    Tool(
        "verdict", "What came out of a study that has ended: each effect with its interval, how far training "
        "went, what moved inside, how much was asked of the same held-out text.",
        OfStudy, lambda given, studies, agent: verdicts.verdict(studies, given.study),
    ),
    Tool(
        "compare", "Runs that are there at equal steps, time, FLOPs and tokens; pairs share a seed.", Compare,
        lambda given, studies, agent: reading.compare(given.sides, given.metric),
    ),
    Tool("runs", "Runs that are there; one run with its fields and a curve of 50 points.", Runs, _runs),
    Tool(
        "ledger", "What was asked before, what came out, what was decided; judge tells which verdicts stand.",
        Ledger,
        lambda given, studies, agent: reading.ledger(given.view, given.words, given.offset, given.limit),
    ),
    Tool(
        "decide", "Write a decision on a verdict into the ledger, in your name; weak evidence is marked.",
        Decide, _decide, reads=False,
    ),
)  # fmt: skip
BY_NAME = {tool.name: tool for tool in TOOLS}


def call(name: str, arguments: dict[str, Any], studies: Studies, agent: str) -> dict[str, Any]:
    """The answer of a tool, short, with its schema. Raises ``DanluError`` with a sentence for an agent."""
    if name not in BY_NAME:
        hint = did_you_mean(name, BY_NAME) or ";"
        raise Refused(f"there is no tool {name}{hint} there are: {', '.join(BY_NAME)}")
    tool = BY_NAME[name]
    try:
        given = tool.arguments.model_validate(arguments)
    except ValidationError as error:
        raise Refused(_sentences(tool, error)) from None
    studies.renew()
    try:
        answer, left = cut(finite(tool.do(given, studies, agent)))
    except OSError as error:
        raise DanluError(f"{error.filename}: {error.strerror}") from error
    if left:
        answer["left_out"] = left | answer.get("left_out", {})  # of a page too
    answer = {"schema": f"danlu.mcp.{name}/1", **answer}
    if len(json.dumps(answer)) > LARGEST:
        raise Refused(
            f"the answer has more than {LARGEST:,} characters; ask for less: a smaller limit, one thing"
        )
    return answer


def _sentences(tool: Tool, error: ValidationError) -> str:
    """What is wrong with the arguments."""
    said = []
    for one in error.errors()[:5]:
        place = ".".join(str(part) for part in one["loc"]) or "arguments"
        message = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            message = "there is no such argument"
        said.append(f"{place}: {message}")
    return f"{tool.name}: {'; '.join(said)}"
