"""What a pipeline and sequences over several processes don't go with, and what the refusal says."""

from __future__ import annotations

import re

import pytest

from danlu.spec import resolve
from danlu.spec.errors import SpecError


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train.mesh.pipeline=2"], "takes 2 passes or more in every update, and 8 sequences of a process"),
        (["train.mesh.pipeline=5", "train.microbatch=1"], "model.layers = 4 has no block for each stage"),
        (["train.mesh.pipeline=2", "train.microbatch=1", "+masked-lm"], "cuts decoders into stages"),
        (
            ["train.mesh.pipeline=2", "train.microbatch=1", "model.position=t5"],
            "model.position.shared = false",
        ),
        (
            ["train.mesh.pipeline=2", "train.microbatch=1", "train.compile=true"],
            "train.compile = true; leave one",
        ),
        (["train.mesh.pipeline=2", "train.internals_every=3"], "does not go with train.internals_every = 3"),
        (
            ["train.mesh.context=2", "model.mixer=lru", "model.position=none"],
            "model.mixer.kind = lru has none",
        ),
        (["train.mesh.context=2", "+admin"], "context = 2 does not go with model.residual = admin"),
        (["train.mesh.context=3"], "train.mesh.context = 3 does not divide data.context = 64"),
        (["train.mesh.context=8"], "train.mesh.context = 8 does not divide model.mixer.heads = 4"),
        (
            ["train.mesh.context=2", "train.mesh.tensor=4"],
            "train.mesh.context = 2 · train.mesh.tensor = 4 does not divide model.mixer.heads = 4",
        ),
        (["train.mesh.context=2", "model.mixer.weights=sinks"], "weights = sinks, which has numbers of all"),
        (["train.mesh.context=2", "+masked-diffusion"], "objective.kind = masked-diffusion; allowed: causal"),
        (["train.mesh.context=2", "+masked-lm", "model.norm=batch"], "normalises over positions"),
        (["train.mesh.context=2", "+span-corruption"], "model.kind = encoder-decoder; leave it out"),
    ],
)
def test_what_cannot_lie_apart_is_told(words: list[str], said: str) -> None:
    size = ["nano", "model.layers=4", "model.mixer.heads=4", "data.context=64", "train.batch=8"]
    with pytest.raises(SpecError, match=re.escape(said)):
        resolve([*size, *words])


def test_all_axes_go_with_each_other() -> None:
    said = ["train.microbatch=1", *(f"train.mesh.{axis}=2" for axis in ("tensor", "pipeline", "context"))]
    mesh = resolve(["nano", "model.layers=4", "model.mixer.heads=4", *said]).train.mesh
    assert (mesh.tensor, mesh.pipeline, mesh.context) == (2, 2, 2)
