"""What the verb ``sample`` prints and writes, of text and of points and images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from danlu.cli.output import inform, print_json, say, say_exactly, speak, tell

if TYPE_CHECKING:
    from danlu.train.load import LoadedRun


def written(
    loaded: LoadedRun, run: Path, prompt: str, how: dict[str, Any], as_json: bool, chat: bool = False
) -> None:
    """The prompt and the text that the model goes on with; in its ``chat`` form, the answer alone."""
    from danlu.train.load import generate_text, unknown_characters

    if chat:
        from danlu.interop.chat import asked

        text = generate_text(loaded, asked(run, loaded.tokenizer, prompt), **how)
    else:
        text = generate_text(loaded, prompt, **how)
    if unknown := unknown_characters(loaded, prompt):
        some = ", ".join(map(repr, unknown[:5])) + (", …" if len(unknown) > 5 else "")
        inform(f"the run's tokenizer does not know {some}; the model saw a placeholder there")
    if as_json:
        print_json("sample", {"run": str(run), "step": loaded.step, "prompt": prompt, "text": text})
    else:
        say_exactly(text if chat else prompt + text)


def generated(
    loaded: LoadedRun, run: Path, how: dict[str, Any], out: Path | None, force: bool, as_json: bool
) -> None:
    """Points or images: in characters, as JSON, or in the file ``out``."""
    from danlu.train.sample_files import moves, save
    from danlu.train.samples import generate

    samples = generate(loaded, run, **how, way=out is not None and moves(out))
    if out is not None:
        save(samples, out, force=force)
    shown = loaded.objective.show(samples.data)  # type: ignore[attr-defined]
    if as_json:
        said = {"run": str(run), "step": loaded.step, "kind": shown.kind, **samples.record()}
        print_json("sample", said | (shown.data if out is None else {"out": str(out)}))
        return
    if out is None:
        say(shown.text)
    made = f"{len(samples.data):,} samples in {samples.steps} steps of {samples.solver}, seed {samples.seed}"
    inform(made if out is None else f"{out}: {made}")


def answered(loaded: LoadedRun, run: Path, out: Path | None, force: bool, as_json: bool) -> None:
    """What a model of another kind shows: in characters, as JSON, or its pictures in the file ``out``."""
    from danlu.train.load import shown

    found = shown(loaded, run)
    if out is not None:
        from danlu.train.sample_files import save_shown

        save_shown(found, run, out, force=force)
        tell(f"{out}: {', '.join(found.pictures or found.points)}")
    if as_json:
        data = found.data if out is None else {"out": str(out)}
        print_json("sample", {"run": str(run), "step": loaded.step, "kind": found.kind, **data})
    elif out is None:
        speak(found.text)  # no model wrote it: what it draws has headings
