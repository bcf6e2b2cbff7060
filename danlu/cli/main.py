"""The command ``danlu``: its verbs, and what happens to their errors.

A verb is a function with typer's annotations in a module of this folder that imports typer and
``danlu.cli.output`` alone; what it calls is imported inside the function. To add one, name it
in ``VERBS``. Any ``danlu.files.errors.DanluError`` becomes ``danlu: sentence`` on stderr and its
exit code (2), and so does what the system refuses to do with a file (a name too long, no permission);
any other exception is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, Any

import typer

from danlu import __version__
from danlu.cli import completion, show, wrong
from danlu.cli.agents import agents
from danlu.cli.curvature import curvature
from danlu.cli.depth import depth
from danlu.cli.doctor import doctor
from danlu.cli.graph import graph
from danlu.cli.inspect import inspect
from danlu.cli.interop import export, import_
from danlu.cli.ladder import ladder
from danlu.cli.laws import laws
from danlu.cli.ledger import ledger
from danlu.cli.mcp import mcp
from danlu.cli.output import print_json, say, speak, tell
from danlu.cli.own import with_parts
from danlu.cli.plan import plan
from danlu.cli.profile import profile
from danlu.cli.prove import prove
from danlu.cli.publish import publish
from danlu.cli.quantize import quantize
from danlu.cli.recipes import recipes
from danlu.cli.referee import referee
from danlu.cli.runs import compare, runs
from danlu.cli.sample import sample
from danlu.cli.spikes import spikes
from danlu.cli.start import start
from danlu.cli.sweep import sweep
from danlu.cli.tour import tour
from danlu.cli.train import train
from danlu.cli.trust import trust
from danlu.cli.try_ import try_
from danlu.cli.watch import watch
from danlu.files.errors import DanluError

VERBS: tuple[Callable[..., Any], ...] = (
    tour,
    doctor,
    train,
    try_,
    sweep,
    ladder,
    prove,
    referee,
    ledger,
    runs,
    compare,
    watch,
    publish,
    trust,
    spikes,
    sample,
    inspect,
    import_,
    export,
    curvature,
    quantize,
    graph,
    plan,
    profile,
    depth,
    show.show,
    show.diff,
    recipes,
    show.ideas,
    agents,
    mcp,
)

# Verbs that read experiments, in which parts of one's own may stand.
READING = {
    train, try_, sweep, ladder, prove, trust, spikes, sample, inspect, export, curvature, quantize, graph,
    plan, profile, depth, show.show, show.diff, show.ideas,
}  # fmt: skip

# rich's help and tracebacks cost a third of the start and cut long lines; plain text does neither.
app = typer.Typer(name="danlu", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def _danlu(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    lang: Annotated[
        str | None,
        typer.Option("--lang", metavar="zh|en", help="The language of verdicts, statements and pages."),
    ] = None,
    json_schema: Annotated[
        str | None,
        typer.Option(
            "--json-schema",
            metavar="VERB",
            help="Print the JSON Schema of what a verb prints with --json, with its version, and exit.",
        ),
    ] = None,
) -> None:
    """A laboratory for training neural networks.

    An EXPERIMENT is a recipe's name, a YAML file or a run's folder. After it you may write ideas (+NAME)
    and fields (FIELD=VALUE). A field's name may be
    cut to its end (lr for optimizer.lr). Example: danlu show tiny +swiglu lr=1e-3
    """
    if lang is not None:
        from danlu.draw.language import OWN, language

        os.environ[OWN] = lang  # as for all that this command starts
        language()
    if version:
        from danlu.spec import plugins

        say(f"danlu {__version__}")
        for entry in plugins.offered():
            speak(f"parts of {plugins.package(entry)}: {entry.value}")
    elif json_schema is not None:
        from danlu.cli import schemas

        print_json(None, schemas.json_schema(json_schema))
    elif context.invoked_subcommand is None:
        start()


for _verb in VERBS:
    app.command(_verb.__name__.removesuffix("_"))(with_parts(_verb) if _verb in READING else _verb)
app.add_typer(laws)


@cache
def _command() -> Callable[..., Any]:
    """``app`` calls the same, and makes it anew each time, in 40 ms."""
    return typer.main.get_command(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line (``sys.argv`` if no arguments are given) and exit."""
    completion.switch_on()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without – or Greek is no reason to fail
    code = _run(arguments)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # One of several processes: PyTorch's threads sometimes abort while the interpreter takes them down.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        result = _command()(args=arguments, prog_name="danlu", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except (BrokenPipeError, SystemExit) as error:  # `danlu ideas | head`: nobody wants the rest
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise  # typer makes a SystemExit of a pipe that closed within a verb
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, typer.Abort):
        tell("danlu: interrupted")
        return 130
    except Exception as error:
        sentences = _sentences(error, sys.argv[1:] if arguments is None else arguments)
        if sentences is None:
            raise
        for sentence in filter(None, sentences.split("\n")):  # one told elsewhere is empty
            tell(f"danlu: {sentence}")
        return int(getattr(error, "exit_code", 2))


def _sentences(error: Exception, arguments: Sequence[str]) -> str | None:
    """What to tell the person, or None if the error is a defect of ours."""
    if hasattr(error, "format_message"):  # typer's: an option or a verb that does not exist, a wrong number
        said = wrong.sentence(error)
        verb = getattr(getattr(error, "ctx", None), "command_path", None)
        if verb is None:
            verb = " ".join(["danlu", *wrong.verb_of(arguments)])
        for one in laws.registered_commands if verb == "danlu" else ():
            if one.callback is not None and said == f"No such command '{one.callback.__name__}'.":
                return f"{said} Did you mean danlu laws {one.callback.__name__}? (see danlu laws --help)"
        return f"{said} (see {verb} --help)"
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # PyTorch's is a RuntimeError
        return "there is not memory enough for this; make the model, the batch or the context smaller"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}; name another file or folder"
    return str(error) if isinstance(error, DanluError) else None


if __name__ == "__main__":
    main()
