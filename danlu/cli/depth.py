"""The verb ``depth``."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

import typer

from danlu.cli.drawn import Html, check, end
from danlu.cli.output import Force, print_table, say, speak, spoken
from danlu.cli.show import AsJson, Words
from danlu.cli.working import Working


def depth(
    words: Words = None,
    layers: Annotated[
        str, typer.Option("--layers", metavar="N,N,…", help="Numbers of layers to compare.")
    ] = "4,16,64",
    idea: Annotated[
        list[str] | None,
        typer.Option(
            "--idea",
            metavar="IDEA",
            help="An idea to see beside the experiment as it is, as danlu try takes it; may be repeated.",
        ),
    ] = None,
    update: Annotated[
        str,
        typer.Option(
            "--update", help="sign (of the gradient, the first step of Adam) or gradient (a step of SGD)."
        ),
    ] = "sign",
    step: Annotated[float, typer.Option("--step", help="Size of the step.")] = 1e-6,
    html: Html = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Show what depth does to the first update of a network.

    For each number of layers: how far one small update moves the output, the gradient of the first and the
    last layer, and the last stream. Nothing is trained; the input is random tokens.

    Examples: danlu depth nano; danlu depth nano --idea post-norm --idea deepnorm --html depth.html
    """
    from danlu.lab.depths import depths, numbers, slopes, table

    check(html, force)
    chosen = words or ["nano"]
    with Working() as working:
        arms = depths(chosen, numbers(layers), idea or (), step=step, update=update, progress=working)
    said = (
        f"{shlex.join(chosen)}: one step of {step:g} along the {'sign of the ' * (update == 'sign')}gradient"
    )

    def tell() -> None:
        speak(said)
        say()
        print_table(spoken(table(arms)), shorten=(0,))
        say()
        print_table(spoken(slopes(arms)), shorten=(0,))
        for warning in (text for arm in arms for text in arm.warnings):
            speak(f"! {warning}")

    def draw() -> str:
        from danlu.lab.depths.page import html as drawn

        return drawn(arms, said)

    def found() -> dict[str, Any]:
        return {"update": update, "step": step, "arms": [arm.json() for arm in arms]}

    end("depth", found, tell, draw, path=html, force=force, as_json=as_json)
