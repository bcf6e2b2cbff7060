"""Models of Hugging Face's transformers in and out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn as nn

from danlu import spec
from danlu.data import Tokenizer, load_tokenizer
from danlu.data.tokenizers import Bytes
from danlu.files.json import read_object, to_json, write_json
from danlu.files.yaml import brief
from danlu.interop import folder as folders
from danlu.interop.errors import InteropError
from danlu.interop.families import FAMILIES
from danlu.interop.family import Family, Read
from danlu.interop.folder import Kept
from danlu.interop.normal import normal
from danlu.interop.tensors import Tensors, canonical, come, go, some
from danlu.models import build
from danlu.spec.errors import did_you_mean
from danlu.train.folder import IMPORTED
from danlu.train.load import TOKENIZER, load_run


@dataclass(frozen=True)
class Imported:
    """A model taken over: danlu's, in evaluation mode; the experiment that describes it, set up to go on with
    training (``danlu.interop.family.TRAINING``); ``notes``: what was left out because logits don't depend on
    it, and what is odd about the weights; ``kept``: what is only written again; ``tokenizer``: where it came
    with the model and is no file."""

    model: Any
    experiment: spec.Experiment
    notes: tuple[str, ...] = ()
    kept: Kept = field(default_factory=Kept)
    tokenizer: Tokenizer | None = None

    def reads_by(self) -> Tokenizer:
        """The tokenizer, which knows where the model ends a text; of a model that came with none and has as
        many ids as there are bytes and ends of texts, these. Raises InteropError for others."""
        tokenizer, source = self.tokenizer, self.experiment.text.tokenizer
        if tokenizer is None and source.endswith(TOKENIZER):
            tokenizer = load_tokenizer(source)
        if tokenizer is None:
            tokenizer, ids = Bytes(), self.model.embedding.weight.shape[0]
            if ids != tokenizer.vocabulary:
                raise InteropError(
                    f"the model came without a {TOKENIZER}, which it reads text by, and its {ids:,} ids are "
                    "not bytes; put it beside its config.json"
                )
        tokenizer.ends = frozenset(self.kept.ends)
        return tokenizer


class Trained(Protocol):
    """What ``to_huggingface`` writes: anything with a model and its experiment."""

    @property
    def model(self) -> Any: ...
    @property
    def experiment(self) -> spec.Experiment: ...


def from_huggingface(source: nn.Module | str | os.PathLike[str]) -> Imported:
    """The danlu model of a transformers model, or of a folder that its ``save_pretrained`` wrote.

    A folder is read without transformers: ``config.json``, safetensors (one file or several with an
    index); its ``tokenizer.json``, if there is one, becomes ``data.tokenizer``. Weights become float32.
    Raises InteropError, naming it, for anything that danlu has no part for: an unknown model type, a field
    or a value of the config, a tensor too many or too few.
    """
    if isinstance(source, nn.Module):
        config = json.loads(source.config.to_json_string(use_diff=False))  # type: ignore[union-attr, operator]
        imported = take_over(config, source.state_dict())
        generation: Any = getattr(source, "generation_config", None)
        files = {} if generation is None else {folders.GENERATION: generation.to_json_string()}
        return replace(imported, kept=Kept(folders.special_of(config), files))
    path = Path(source)
    config = folders.read_config(path)
    family_of(config)  # an unknown model is refused before its weights are read
    imported = take_over(config, folders.read_tensors(path))
    imported = replace(
        imported,
        notes=(*folders.left_unread(path), *imported.notes),
        kept=folders.read_kept(path, config),
    )
    if not (path / folders.TOKENIZER).is_file():
        return imported
    tokenizer = str((path / folders.TOKENIZER).resolve())
    vocabulary = imported.model.embedding.weight.shape[0]
    data = imported.experiment.data.model_copy(update={"tokenizer": tokenizer, "vocabulary": vocabulary})
    return replace(imported, experiment=imported.experiment.model_copy(update={"data": data}))


def take_over(config: Mapping[str, Any], found: Mapping[str, torch.Tensor]) -> Imported:
    """The danlu model of a ``config.json`` and tensors by name; see ``from_huggingface``."""
    family = family_of(config)
    read = family.read(config)
    named, tied, notes = canonical(dict(found), family, read.experiment.network.tied)
    if tied != read.experiment.network.tied:
        read = _untied(read)
    if types := sorted({str(t.dtype).removeprefix("torch.") for t in named.values()} - {"float32"}):
        notes.append(f"weights of {', '.join(types)} are now float32")
    if broken := [name for name, t in named.items() if not t.float().isfinite().all()]:
        notes.append(f"NaN or infinity among the weights of {some(broken)}: the logits are then no numbers")
    with torch.random.fork_rng(devices=[]):
        model = build(read.experiment.network, read.vocabulary, read.experiment.text.context)
    shapes = {name: tensor.shape for name, tensor in _own(model, tied).items()}
    model.load_state_dict(come(named, family.tensors, read.normal, shapes), strict=False)
    return Imported(model.eval(), read.experiment, (*read.notes, *notes))


def to_huggingface(
    source: Trained | str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    family: str | None = None,
    step: int | None = None,
    force: bool = False,
) -> Family:
    """Write a folder that transformers loads (``AutoModel….from_pretrained``), and return its family.

    ``source``: a run's folder (of ``step``, or of its best checkpoint), or anything with a ``model`` and an
    ``experiment``: a loaded run, what ``from_huggingface`` gave. ``family``: a ``model_type``; left out, the
    first that has this very model, which is decided on the specification: written as a config and read
    back, it must be the same. The special tokens, the chat template and the settings of generation of a model
    that was imported are written again. Raises InteropError naming the fields that no family has, or if
    ``folder`` holds a model already and ``force`` is not set.
    """
    path = Path(source) if isinstance(source, str | os.PathLike) else None
    if path is not None:
        source = load_run(path, step)
    assert not isinstance(source, str | os.PathLike)
    model, experiment = source.model, source.experiment
    n = normal(experiment.network, model.embedding.weight.shape[0], experiment.text.context)
    chosen = choose(n, family)
    tensors = go(_own(model, experiment.network.tied), chosen.tensors, n)
    kept: Kept = getattr(source, "kept", Kept()) if path is None else read_kept(path)
    tokenizer, special, files = _tokenizer(source)
    if any(value is not None for value in kept.special.values()):
        special = dict(kept.special)
    config = {**chosen.write(n), **special, "torch_dtype": "float32"}
    folders.write(Path(folder), config, tensors, tokenizer, {**files, **kept.files}, force)
    return chosen


def family_of(config: Mapping[str, Any]) -> Family:
    """The family of a ``config.json``. Raises InteropError with those there are."""
    kind = config.get("model_type")
    if isinstance(kind, str) and kind in FAMILIES:
        return FAMILIES[kind]
    hint = did_you_mean(kind, FAMILIES) if isinstance(kind, str) else ""
    said = "has no model_type" if kind is None else f"is of model_type {brief(kind)}"
    raise InteropError(
        f"the model {said}, which danlu does not read{hint or '.'} Known: {', '.join(sorted(FAMILIES))}"
    )


def choose(n: dict[str, Any], name: str | None = None) -> Family:
    """The family ``name``, or the first, that has the model of this normal form. Raises InteropError."""
    if name is not None and name not in FAMILIES:
        raise InteropError(
            f"there is no family {name!r}{did_you_mean(name, FAMILIES) or '.'} Known: {_known()}"
        )
    who = f"the family {name}" if name else "any family of transformers that danlu writes"
    misses: dict[str, dict[str, tuple[Any, Any]]] = {}
    others = []
    for family in FAMILIES.values() if name is None else [FAMILIES[name]]:
        try:
            missed = family.misses(n)
        except InteropError as error:
            others.append(str(error))
            continue
        if not missed:
            return family
        misses[family.model_type] = missed
    if not misses:
        said = next((other for other in others if other.startswith("mixer")), others[0])
        raise InteropError(f"the model is not of {who}: {said}")
    nowhere = set.intersection(*(set(missed) for missed in misses.values()))
    near = min(misses, key=lambda kind: len(misses[kind]))
    fields = {f: pair for f, pair in misses[near].items() if not nowhere or f in nowhere}
    said = "; ".join(
        f"{f} = {brief(wanted)} ({near} has {brief(has)})" for f, (wanted, has) in fields.items()
    )
    raise InteropError(
        f"the model is not of {who}: {said}. A run with what {near} has can be written; the weights of this "
        "one are in model.safetensors of its checkpoints"
    )


def _known() -> str:
    return ", ".join(sorted(FAMILIES))


def _untied(read: Read) -> Read:
    model = read.experiment.network.model_copy(update={"tied": False})
    return read._replace(experiment=read.experiment.model_copy(update={"model": model}))


def _own(model: nn.Module, tied: bool) -> Tensors:
    """The tensors of a danlu model, a tied readout once."""
    return {name: t for name, t in model.state_dict().items() if not (tied and name == "readout.weight")}


def _tokenizer(source: Trained) -> tuple[str | None, dict[str, Any], dict[str, str]]:
    """The text of a ``tokenizer.json`` that the tokenizers library reads, if the source has one; the ids of
    special tokens, where the separator begins and ends documents; and what transformers wants beside it."""
    tokenizer = getattr(source, "tokenizer", None)
    if tokenizer is None and source.experiment.text.tokenizer.endswith(TOKENIZER):
        path = Path(source.experiment.text.tokenizer)
        tokenizer = load_tokenizer(path) if path.is_file() else None
    separator = None if tokenizer is None else int(tokenizer.separator)
    special = {"bos_token_id": separator, "eos_token_id": separator, "pad_token_id": None}
    inner = getattr(tokenizer, "_tokenizer", None)  # bytes and characters have none
    if inner is None:
        return None, special, {}
    about = {"tokenizer_class": "PreTrainedTokenizerFast"}
    if token := inner.id_to_token(separator):
        about |= {"bos_token": token, "eos_token": token}
    return inner.to_str(), special, {folders.TOKENIZER_CONFIG: to_json(about, indent=2) + "\n"}


def write_kept(run: Path, kept: Kept) -> None:
    """Lay down in a run's folder what an export writes again (``danlu.interop.folder.Kept``)."""
    write_json(run / IMPORTED, {"special": dict(kept.special), "files": dict(kept.files)})


def read_kept(run: Path) -> Kept:
    """What ``write_kept`` laid down; nothing for a run that was not imported. Raises FileError."""
    if not (run / IMPORTED).is_file():
        return Kept()
    found = read_object(run / IMPORTED, {"special": dict, "files": dict})
    files = {name: text for name, text in found["files"].items() if name in folders.BESIDE}
    if wrong := [name for name, text in files.items() if not isinstance(text, str)]:
        raise InteropError(f"{run / IMPORTED}: files.{wrong[0]} is not text; restore it")
    return Kept(folders.special_of(found["special"]), files)
