"""The verbs ``import`` and ``export``: models of Hugging Face's transformers in and out."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.output import inform, print_json, print_table, print_yaml, speak, spoken
from danlu.cli.show import AsJson


def import_(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER|FILE",
            help="A folder that save_pretrained of transformers wrote, or a GGUF file.",
            show_default=False,
        ),
    ],
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Folder of the run to write, for danlu sample and danlu train."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read a model of Hugging Face's transformers, or one in GGUF.

    Examples: danlu import gpt2/ --to runs/gpt2; danlu import SmolLM2.gguf --to runs/smollm2
    """
    from danlu.files.yaml import dump
    from danlu.interop import from_gguf, from_huggingface
    from danlu.interop.run import save_run

    imported = from_gguf(source) if source.is_file() else from_huggingface(source)
    notes = [*imported.notes, *(save_run(imported, to) if to is not None else ())]
    parameters = sum(parameter.numel() for parameter in imported.model.parameters())
    fields = imported.experiment.model.model_dump(mode="json")
    if as_json:
        run = None if to is None else str(to)
        print_json("import", {"model": fields, "parameters": parameters, "notes": notes, "run": run})
        return
    print_yaml(dump({"model": fields}))
    for note in notes:
        inform(note)
    speak(f"\n{parameters:,} parameters, context {imported.experiment.text.context:,}")
    if to is not None:
        speak(f'written as a run; try: danlu sample {shlex.quote(str(to))} --prompt "…"')


def export(
    run: Annotated[Path, typer.Argument(help="A run's folder.", show_default=False)],
    to: Annotated[Path, typer.Option("--to", help="The folder to write.", show_default=False)],
    step: Annotated[
        int | None, typer.Option("--step", help="Step of the checkpoint. Default: the best.")
    ] = None,
    family: Annotated[
        str | None,
        typer.Option("--family", help="A model_type of transformers. Default: the first that fits."),
    ] = None,
    fold: Annotated[
        bool,
        typer.Option("--fold", help="Write a run of danlu's instead, batch norms folded into linear maps."),
    ] = False,
    precise_bn: Annotated[
        int,
        typer.Option(
            "--precise-bn",
            metavar="N",
            min=0,
            help="Write a run of danlu's instead, batch norms by the statistics of N batches, such as 200.",
        ),
    ] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite a model and a tokenizer that are in the folder.")
    ] = False,
) -> None:
    """Write a run as a model of Hugging Face's transformers.

    With --fold or --precise-bn: as a run of danlu's, its batch norms made ready for use.

    Examples: danlu export runs/first --to first/; danlu export runs/batch --to runs/folded --fold
    """
    if fold or precise_bn:
        _deploy(run, to, step, fold, precise_bn)
        return
    from danlu.interop import to_huggingface

    chosen = to_huggingface(run, to, family=family, step=step, force=force)
    speak(f"written as {chosen.model_type}; transformers.{chosen.architecture}.from_pretrained({str(to)!r})")


HOW = {
    "batch": "by each batch, as in training",
    "running": "by running averages, as in use",
    "precise": "by the statistics of --precise-bn batches",
    "folded": "folded into linear maps",
}


def _deploy(run: Path, to: Path, step: int | None, fold: bool, precise: int) -> None:
    from danlu.lab.deployed.batch_norms import deploy

    found = deploy(run, to, fold=fold, precise=precise, step=step, tell=inform)
    rows = [(HOW[name], f"{found['metric']} {value:.6g}") for name, value in found["values"].items()]
    print_table(spoken(rows))
    speak(f"written as a run; danlu compare, danlu sample and the measures read {to}")
