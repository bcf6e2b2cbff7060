"""The verb ``sample``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.output import print_json, say, say_exactly, tell
from danlu.cli.show import AsJson


def sample(
    run: Annotated[Path, typer.Argument(help="A run's folder.", show_default=False)],
    prompt: Annotated[str, typer.Option("--prompt", help="The text to continue.")] = "",
    tokens: Annotated[
        int, typer.Option("--tokens", min=1, max=10_000_000, help="How many tokens to write.")
    ] = 300,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0, help="Divides the logits; 0: always the likeliest token.")
    ] = 0.8,
    top_k: Annotated[
        int | None, typer.Option("--top-k", min=1, help="Draw among the k likeliest tokens.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            "--top-p", min=0, max=1, help="Draw among the likeliest tokens with this total probability."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="The same seed writes the same text.")] = 0,
    step: Annotated[
        int | None, typer.Option("--step", help="Step of the checkpoint. Default: the best.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a trained model writes, or how it answers.

    Example: danlu sample runs/first --prompt "def "
    """
    from danlu.objectives import Language
    from danlu.train.load import generate_text, load_run, shown, unknown_characters

    loaded = load_run(run, step)
    if loaded.warning:
        tell(f"warning: {loaded.warning}")
    if not isinstance(loaded.objective, Language):
        found = shown(loaded, run)
        if as_json:
            print_json({"run": str(run), "step": loaded.step, "kind": found.kind, **found.data})
        else:
            say(found.text)
        return
    text = generate_text(
        loaded, prompt, count=tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
    )
    if unknown := unknown_characters(loaded, prompt):
        some = ", ".join(map(repr, unknown[:5])) + (", …" if len(unknown) > 5 else "")
        tell(f"the run's tokenizer does not know {some}; the model saw a placeholder there")
    if as_json:
        print_json({"run": str(run), "step": loaded.step, "prompt": prompt, "text": text})
    else:
        say_exactly(prompt + text)
