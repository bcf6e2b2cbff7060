"""The verb ``sample``: its options, and which of them are for which run."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.output import Force, inform
from danlu.cli.show import AsJson

# Options of runs on text, and of runs that generate points or images.
OF_TEXT = ("prompt", "chat", "tokens", "temperature", "top_k", "top_p", "cache")
OF_SHOWN = ("out", "force")  # and of autoencoders and fits of coordinates, where they show pictures
OF_MADE = ("steps", "solver", "count", "class_", "guidance", "out", "force")


def sample(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="A run's folder.", show_default=False)],
    prompt: Annotated[str, typer.Option("--prompt", help="Text: the text to continue.")] = "",
    chat: Annotated[
        bool, typer.Option("--chat", help="Text: ask an imported model in its own chat form.")
    ] = False,
    tokens: Annotated[
        int, typer.Option("--tokens", min=1, max=10_000_000, help="Text: how many tokens to write.")
    ] = 300,
    temperature: Annotated[
        float,
        typer.Option("--temperature", min=0, help="Text: divides the logits; 0: always the likeliest token."),
    ] = 0.8,
    top_k: Annotated[
        int | None, typer.Option("--top-k", min=1, help="Text: draw among the k likeliest tokens.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            "--top-p", min=0, max=1, help="Text: draw among the likeliest tokens with this total probability."
        ),
    ] = None,
    cache: Annotated[
        int | None,
        typer.Option(
            "--cache", metavar="BITS", min=2, max=8, help="Text: keep old keys and values in 2 to 8 bits."
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            min=1,
            help="Points, images: steps of the solver. Default: the run's. Masked diffusion: steps that "
            "unmask a window of text. Default: token by token.",
        ),
    ] = None,
    solver: Annotated[
        str | None,
        typer.Option(
            "--solver", help="Points, images: euler, heun, rk4, dpm2, dpm2m or churn. Default: the run's."
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option("--count", min=1, help="Points, images: how many. Default: 400 points, 36 images."),
    ] = None,
    class_: Annotated[
        str | None,
        typer.Option("--class", help="Points, images: the class, by name or number. Default: all in turn."),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            "--guidance", help="Points, images: how far to go towards the class. Default: the run's."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Points, images: write a .npy, .npz, .csv, .svg, .png or .html file. Autoencoders, fits of "
            "coordinates: pictures, as .png, .svg or .html.",
        ),
    ] = None,
    force: Force = False,
    seed: Annotated[int, typer.Option("--seed", help="The same seed makes the same.")] = 0,
    step: Annotated[
        int | None, typer.Option("--step", help="Step of the checkpoint. Default: the best.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a trained model writes, draws or answers.

    Examples: danlu sample runs/first --prompt "def "; danlu sample runs/flow --steps 8 --out flow.html
    """
    from danlu.cli.sampled import answered, generated, written
    from danlu.objectives import Autoencode, Fit, Generation, Language, MaskedDiffusion
    from danlu.train.load import load_run

    if out is not None:
        from danlu.train.sample_files import check

        check(out, force)
    loaded = load_run(run, step)
    if loaded.warning:
        inform(f"warning: {loaded.warning}")
    what = f"objective.kind = {loaded.experiment.objective.kind}"
    if isinstance(loaded.objective, Language):
        taken = (*OF_TEXT, "steps") if isinstance(loaded.objective, MaskedDiffusion) else OF_TEXT
        _refuse(
            context, [name for name in OF_MADE if name not in taken], f"{what} makes text", (*taken, "seed")
        )
        if cache is not None:
            _round_cache(loaded.model, cache)
        how = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "steps": steps}
        written(loaded, run, prompt, {"count": tokens, "seed": seed, **how}, as_json, chat)
    elif isinstance(loaded.objective, Generation):
        _refuse(context, OF_TEXT, f"{what} makes points or images", (*OF_MADE, "seed"))
        made = {"steps": steps, "solver": solver, "count": count, "label": class_, "guidance": guidance}
        generated(loaded, run, {"seed": seed, **made}, out, force, as_json)
    else:
        written_too = OF_SHOWN if isinstance(loaded.objective, Autoencode | Fit) else ()
        others = [name for name in (*OF_TEXT, *OF_MADE, "seed") if name not in written_too]
        _refuse(context, others, f"{what} shows answers", written_too)
        answered(loaded, run, out, force, as_json)


def _round_cache(model: Any, bits: int) -> None:
    from danlu.quantization import round_caches
    from danlu.train.errors import RunError

    try:
        round_caches(model, bits)
    except ValueError as error:
        raise RunError(f"--cache = {bits}: {error}") from None


def _refuse(context: typer.Context, options: Collection[str], why: str, others: Collection[str]) -> None:
    """Raises ``RunError`` for an option that was given and does not belong to the run."""
    from danlu.train.errors import RunError

    for name in options:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            allowed = ", ".join(map(_written, [*others, "step", "json", "with_"]))
            raise RunError(f"{_written(name)} is not for this run, whose {why}; allowed: {allowed}")


def _written(name: str) -> str:
    return f"--{name.rstrip('_').replace('_', '-')}"
