"""A family: the correspondence of one of transformers' model types with specifications of danlu."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from danlu import spec
from danlu.files.yaml import brief
from danlu.interop.errors import InteropError
from danlu.interop.fields import Reader, Row, read_common
from danlu.interop.normal import Normal, differences, get, normal
from danlu.interop.tensors import Map
from danlu.spec.errors import SpecError


class Read(NamedTuple):
    """What a ``config.json`` says: the experiment's specification, the vocabulary, notes for the reader."""

    experiment: spec.Experiment
    vocabulary: int
    notes: tuple[str, ...]

    @property
    def normal(self) -> Normal:
        return normal(self.experiment.network, self.vocabulary, self.experiment.text.context)


@dataclass(frozen=True)
class Family:
    """One ``model_type``.

    ``architecture``: transformers' class with the head for language modelling. ``always``: the fields of
    the specification (dotted) that every member has, where ``fields`` say nothing else. ``tensors``: names
    and names (``danlu.interop.tensors``). ``embedding``, ``readout``: their weights that may be tied.
    ``prefix``: what the names of a checkpoint without head lack. ``copies``: tensors that a checkpoint may
    hold although they are another's. ``renamed``: endings that older checkpoints have. ``unused``: patterns
    of names of tensors that have no part in the logits, and why they are left out ("": constants).
    """

    model_type: str
    architecture: str
    always: Mapping[str, Any]
    fields: tuple[Row, ...]
    tensors: tuple[Map, ...]
    embedding: str
    readout: str = "lm_head.weight"
    prefix: str = ""
    copies: Mapping[str, str] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    unused: Mapping[str, str] = field(default_factory=dict)

    def read(self, config: Mapping[str, Any]) -> Read:
        """Raises InteropError for a field, or a value, that danlu has no part for."""
        reader = Reader(config)
        try:
            for row in self.fields:
                row.read(reader)
        except (
            TypeError,
            ValueError,
            AttributeError,
            ZeroDivisionError,
        ) as error:  # a null, a text for a number
            raise InteropError(
                f"config.json has a field of another type than {self.model_type}'s: {error}"
            ) from error
        read_common(reader)
        if left := {name: value for name, value in reader.left.items() if value is not None}:
            said = ", ".join(f"{name} = {brief(value)}" for name, value in left.items())
            raise InteropError(
                f"config.json: {said}: danlu does not know what that means for {self.model_type}, "
                "and drops nothing silently; remove it if it does not alter the model"
            )
        fields = {**self.always, **reader.patch}
        vocabulary, context = fields.pop("vocabulary"), fields.pop("context")
        if type(vocabulary) is not int or vocabulary < 1:
            raise InteropError(f"config.json: vocab_size = {brief(vocabulary)} is not a number of tokens")
        experiment = _experiment(fields, context)
        return Read(experiment, vocabulary, tuple(reader.notes))

    def write(self, n: Normal) -> dict[str, Any]:
        """The ``config.json`` nearest to a normal form; ``misses`` tells whether it is the same model."""
        written: dict[str, Any] = {"architectures": [self.architecture], "model_type": self.model_type}
        for row in self.fields:
            written |= row.write(n)
        return written

    def misses(self, n: Normal) -> dict[str, tuple[Any, Any]]:
        """``{field: (wanted, what the family has)}``: empty where it has this very model.
        Raises InteropError where not even the nearest member can be written down."""
        for name, usual in (("kind", "decoder"), ("mixer.kind", "attention")):
            if (has := self.always.get(name, usual)) != get(n, name):
                raise InteropError(f"{name} = {brief(get(n, name))} ({self.model_type} has {brief(has)})")
        return differences(n, self.read(self.write(n)).normal)


# How to go on with training a model that is trained already: the rate and the decay of Llama 2's fine-tuning
# (Touvron et al. 2023, arXiv:2307.09288, section 3.1), where the schedule is a cosine too.
TRAINING = {"optimizer.kind": "adamw", "optimizer.lr": 2e-5, "optimizer.weight_decay": 0.1}
OBJECTIVES = {"decoder": "causal", "encoder": "masked", "encoder-decoder": "spans"}


def _experiment(fields: Mapping[str, Any], context: int) -> spec.Experiment:
    model = {f"model.{name}": value for name, value in fields.items()}
    try:
        return spec.validate(
            {"objective.kind": OBJECTIVES[fields["kind"]], "data.context": context, **TRAINING, **model}
        )
    except SpecError as error:
        raise InteropError(f"config.json, read as a model of danlu: {error}") from None
