"""The verb ``quantize``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.costs import human
from danlu.cli.output import inform, print_json, print_table, speak, spoken
from danlu.cli.show import AsJson
from danlu.cli.working import Working


def quantize(
    run: Annotated[
        Path,
        typer.Argument(
            help="A run's folder, or one that transformers or danlu export wrote.", show_default=False
        ),
    ],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FIELD=VALUE",
            help="Of data, and train.evaluate_tokens: what is evaluated on.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="int2 to int8, nf4, mxfp4, nvfp4, fp8-e4m3, ternary, … Default: int4; after train.quantize "
            "what the run was trained for, with its own scales.",
            show_default=False,
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            "--by", metavar="METHOD", help="rtn, gptq, awq; before it rotate, smoothquant: rotate+gptq."
        ),
    ] = "rtn",
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            metavar="N",
            help="Weights that share a scale; or channel, tensor. Default: the format's.",
        ),
    ] = None,
    scale: Annotated[str, typer.Option("--scale", help="Type of the scales of integers.")] = "float16",
    ranges: Annotated[
        str,
        typer.Option(
            "--range",
            help="whole: nothing is clipped; error, square: of the least error; percentile: 99.99.",
        ),
    ] = "whole",
    activations: Annotated[
        str | None,
        typer.Option("--activations", metavar="FORMAT", help="Round what comes into the maps too, by token."),
    ] = None,
    alpha: Annotated[
        float, typer.Option("--alpha", min=0, max=1, help="SmoothQuant: how much weights take over.")
    ] = 0.5,
    tokens: Annotated[
        int, typer.Option("--tokens", min=1, help="Tokens of training text that the method looks at.")
    ] = 16_384,
    seed: Annotated[int, typer.Option("--seed", help="Of these tokens, and of rotations.")] = 0,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Also round one layer at a time.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Default: RUN-FORMAT-METHOD. Nothing is overwritten."),
    ] = None,
    step: Annotated[
        int | None, typer.Option("--step", help="Step of the checkpoint. Default: the best.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a trained network in few bits, and say what that costs.

    Examples: danlu quantize runs/first --to int4 --by gptq; danlu quantize runs/first --to int8 --sensitivity
    """
    from danlu.lab.quantized import Settings, quantize_folder

    more: dict[str, Any] = {
        "activations": activations,
        "ranges": ranges,
        "alpha": alpha,
        "units": tokens,
        "seed": seed,
    }
    settings = Settings.of(to or "int4", by, group, scale, **more)
    folder = out or run.with_name(f"{run.resolve().name}-{to or 'int4'}-{settings.by}")
    with Working() as working:
        found = quantize_folder(
            run,
            settings,
            folder,
            words=words or (),
            step=step,
            sensitivity=sensitivity,
            own=to is None,
            tell=working,
        )
    if as_json:
        print_json("quantize", found)
    else:
        _tell(found)


def _tell(found: dict[str, Any]) -> None:
    from danlu.spec.metrics import Metric

    metric, size = found["metric"], found["bytes"]
    name, unit = Metric.read(metric).words, metric["unit"]
    rows = [
        ("", name, "size"),
        ("before", f"{found['before']:.4f} {unit}".rstrip(), human(size["before"], "B")),
        ("after", f"{found['after']:.4f} {unit}".rstrip(), human(size["file"], "B")),
    ]
    print_table(spoken(rows))
    error = "" if found["error"] is None else f" ± {1.96 * found['error']:.4f} (95 %)"
    speak(
        f"\n{name} {found['delta']:+.4f}{error}{unit and f' {unit}'}, in pairs over {found['passes']} passes"
    )
    if found["kl"] is not None:
        speak(
            f"KL(p ‖ p_q) {found['kl']:.4g} nats a token; another token is likeliest at {found['flips']:.2%}"
        )
    share = found["rounded"] / found["parameters"]
    speak(
        f"{found['rounded']:,} weights ({share:.0%} of all) at {found['bits']:.3g} bits: "
        f"{human(size['rounded'], 'B')} of the file"
    )
    if found["sensitivity"] is not None:
        speak("\none layer at a time")
        print_table(spoken([_layer(row) for row in found["sensitivity"]]), indent="  ")
    for note in found["notes"]:
        inform(note)
    speak(f"\nwritten as a run; try: danlu sample {shlex.quote(found['folder'])}")


def _layer(row: dict[str, Any]) -> tuple[str, ...]:
    error = "" if row["error"] is None else f"± {1.96 * row['error']:.4f}"
    kl = "" if row["kl"] is None else f"KL {row['kl']:.3g}"
    return (f"layer {row['layer']}", f"{row['delta']:+.4f}", error, kl)
