"""The verb ``try``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from danlu.cli import completion
from danlu.cli.drawn import FigureFile, check_figure, save
from danlu.cli.dry_run import DryRun
from danlu.cli.dry_run import show as show_forecast
from danlu.cli.options import Ledger, Studies, Workers
from danlu.cli.output import print_json, print_table, say, speak, spoken
from danlu.cli.show import AsJson

ONE_SIZE = ("budget", "tune", "stop_early")  # options of a trial at one size


def try_(
    context: typer.Context,
    ideas: Annotated[
        list[str],
        typer.Argument(
            metavar="IDEA...",
            help="An idea's name, several joined by + (qk-norm+swiglu), 'field=value …', or a YAML file.",
            show_default=False,
            autocompletion=completion.ideas,
        ),
    ],
    on: Annotated[
        str,
        typer.Option(
            metavar="WORDS",
            help="The baseline, as after danlu train: bed (15 s a run), tiny (a minute). Default: what the "
            "idea is for, bed for ideas on text.",
            autocompletion=completion.words,
        ),
    ] = "",
    seeds: Annotated[
        int,
        typer.Option(
            help="Number of pairs of runs; the two of a pair have the same seed. Across scale: at the first "
            "size, with fewer at the dear ones."
        ),
    ] = 5,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Budget of each run: 60s, 2M (tokens), 1e13flop, '500 steps'. Default: the recipe's."
        ),
    ] = None,
    tune: Annotated[
        str,
        typer.Option(
            metavar="lr|none",
            help="lr: find the best rate of each side first, in the same number of trials. none: don't; the "
            "verdict is then early.",
        ),
    ] = "lr",
    stop_early: Annotated[
        bool,
        typer.Option(
            "--stop-early", help="Stop as soon as a sequential test decides; --seeds is the maximum."
        ),
    ] = False,
    across_scale: Annotated[
        bool,
        typer.Option(
            "--across-scale",
            help="Test at several sizes, each side tuned at each, and predict two sizes beyond. Takes hours.",
        ),
    ] = False,
    rungs: Annotated[
        int | None,
        typer.Option(metavar="N", help="Sizes of --across-scale, each 4 times the compute. Default: 4."),
    ] = None,
    studies: Studies = Path("studies"),
    workers: Workers = None,
    ledger: Ledger = Path("ledger.yaml"),
    figure: FigureFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Test whether an idea helps.

    danlu finds the best learning rate of both sides. Then it trains pairs of runs, one with the idea and one
    without, with the same seed, initial weights and order of the data. The verdict is better, worse or not
    shown, from the 95 % interval of the difference, at equal steps, equal FLOPs and equal time. It is marked
    as early where the runs are too short, or not tuned, to speak of longer ones. The default takes about five
    minutes on two cores.

    Examples: danlu try qk-norm; danlu try swiglu --on digits; danlu try lion --across-scale
    """
    check_figure(figure, force=False)
    if across_scale:
        _across(context, tuple(ideas), rungs, seeds, studies, workers, ledger, figure, dry_run, as_json)
        return
    if rungs is not None:
        from danlu.spec.errors import SpecError

        raise SpecError("--rungs belongs to --across-scale; add it, or leave --rungs out")
    from danlu.lab.trial import Question, try_ideas

    question = Question(tuple(ideas), on, seeds, budget, None if tune == "none" else tune, stop_early)
    if dry_run:
        from danlu.lab.trial.forecast import forecast

        show_forecast(forecast(question), workers, as_json)
        return
    answer = try_ideas(question, studies, workers=workers, book=ledger)
    from danlu.files.write import write_atomically
    from danlu.lab.trial.report import figure as main_figure
    from danlu.lab.trial.report import report
    from danlu.lab.trial.terminal import details, table
    from danlu.lab.trial.words import answered

    write_atomically(answer.study.report, report(answer).encode())
    if figure is not None:
        save(main_figure(answer), figure, force=False)
    if as_json:
        print_json("try", [finding.json() for finding in answer.findings])
        return
    for line in answered(answer):
        speak(line)
    speak(f"\n{answer.what}\n")
    print_table(spoken(table(answer), names=(0,)), shorten=(0,), drop=(5,))
    say()
    for line in details(answer):
        speak(line)


def _across(
    context: typer.Context,
    ideas: tuple[str, ...],
    rungs: int | None,
    seeds: int,
    studies: Path,
    workers: int | None,
    ledger: Path,
    figure: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    if figure is not None and len(ideas) > 1:
        from danlu.spec.errors import SpecError

        raise SpecError("--figure with --across-scale has room for one idea; try the ideas one by one")
    if given := [name for name in ONE_SIZE if _typed(context, name)]:
        from danlu.spec.errors import SpecError

        option = f"--{given[0].replace('_', '-')}"
        raise SpecError(f"{option} is of a trial at one size, and --across-scale sets it; leave {option} out")
    from danlu.lab.across import Question, try_across

    question = Question(ideas, context.params["on"], 4 if rungs is None else rungs, seeds)
    if dry_run:
        from danlu.lab.across.forecast import forecast

        show_forecast(forecast(question), workers, as_json)
        return
    answer = try_across(question, studies, workers=workers, book=ledger)
    from danlu.files.write import write_atomically
    from danlu.lab.across.report import figure as main_figure
    from danlu.lab.across.report import report
    from danlu.lab.across.terminal import details, sentence, table

    write_atomically(answer.study.report, report(answer).encode())
    if figure is not None:
        save(main_figure(answer.ideas[0]), figure, force=False)
    if as_json:
        print_json("try", [idea.json() for idea in answer.ideas])
        return
    for idea in answer.ideas:
        speak(sentence(idea, answer))
    say()
    print_table(spoken(table(answer), names=(0,)), shorten=(0,), drop=(2,))
    say()
    for line in details(answer):
        speak(line)


def _typed(context: typer.Context, name: str) -> bool:
    """Whether the user gave the option."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
