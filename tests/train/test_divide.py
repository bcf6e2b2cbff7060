"""Tensor parallel, sharded and replicated trainings are those of one process: ten updates, float64, 1e-10."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from danlu import spec
from danlu.spec import resolve
from danlu.spec.errors import SpecError
from tests.train.meshes import check

TENSOR = {"tensor": 2}
EVERY = [
    {},
    TENSOR,
    {"tensor": 4},
    {"replicate": 2},
    {"replicate": 2, "tensor": 2},
    {"replicate": 1, "tensor": 2},
]
PARTS = [
    ["model.mixer={kind: attention, heads: 2, kv_heads: 1}", "model.feed_forward=glu", "model.bias=true"],
    ["model.tied=false", "objective.z_loss=0.01", "objective.smoothing=0.1", "train.microbatch=2"],
    ["model.mixer={kind: lru, state: 12}", "model.position=none"],
    ["model.mixer={kind: latent, query_latent: 6, heads: 2}"],
    ["model.mixer={kind: vq, heads: 2, codes: 4, block: 4}", "model.position=none"],
    ["+masked-lm", "train.recompute=true"],
    ["+span-corruption", "model.encoder_layers=2"],
]
# Its words are buffers, which would be drawn as float64 where they are drawn once they are sharded.
WORDS = ["model.bottleneck={kind: vq, size: 4, codes: 8, restart: 0.5}", "train.microbatch=2"]
# Where one process has all rows, masks of dropout are those of one process too.
ALONE = [["model.dropout=0.1"], ["+masked-lm", "model.norm={kind: batch, statistics: synchronised}"]]
RULES = tuple(
    kind.model_fields["kind"].default
    for kind in get_args(get_args(spec.Optimizer)[0])
    if not issubclass(kind, spec.Solver)  # which train no blocks
)
# DDP, FSDP2 and each axis; what goes together.
TWO: list[dict[str, int]] = [{}, {"replicate": 1}, TENSOR, {"pipeline": 2}]
FOUR = [
    {"replicate": 2, "tensor": 2},
    {"pipeline": 2},
    {"pipeline": 2, "replicate": 1},
    {"pipeline": 2, "tensor": 2},
]
# A basis of a gradient's null space is any, and SOAP's updates depend on which: sides that have one are left
# out. Adam's quotient of two small numbers would magnify what is left of it.
MORE = {"soap": ["optimizer.longest=16", "optimizer.eps=1e-2", "optimizer.every=3"]}


@pytest.mark.slow
def test_parts_under_tensor_parallel(tmp_path: Path) -> None:
    check(tmp_path, 2, [(words, TENSOR) for words in [*PARTS, *ALONE, WORDS]])


@pytest.mark.slow
def test_parts_under_tensor_parallel_and_sharding(tmp_path: Path) -> None:
    check(tmp_path, 2, [(words, {"replicate": 1, **TENSOR}) for words in [*PARTS, *ALONE]])


@pytest.mark.slow
def test_every_mesh_of_four(tmp_path: Path) -> None:
    check(tmp_path, 4, [(["model.mixer.heads=4", "model.mixer.kv_heads=2"], mesh) for mesh in EVERY])


@pytest.mark.slow
def test_gradients_summed_after_each_pass_are_those_of_an_update(tmp_path: Path) -> None:
    """Of replicas, and of parts of them, in two passes or four."""
    given = ["train.microbatch=1", "train.gradient_sync=pass", "train.clip=0.3"]
    check(tmp_path, 4, [(given, mesh) for mesh in ({"replicate": 1}, *EVERY[3:5])])


def by_rule(rules: tuple[str, ...], meshes: list[dict[str, int]]) -> list[tuple[list[str], Any]]:
    more = ["schedule=constant", "train.microbatch=2"]
    return [([f"optimizer={rule}", *MORE.get(rule, []), *more], mesh) for rule in rules for mesh in meshes]


@pytest.mark.slow
@pytest.mark.parametrize("rules", [RULES[::2], RULES[1::2]], ids=" ".join)
def test_every_rule_on_every_kind_of_mesh(tmp_path: Path, rules: tuple[str, ...]) -> None:
    check(tmp_path, 2, by_rule(rules, TWO))


@pytest.mark.slow
@pytest.mark.parametrize("rules", [RULES[::3], RULES[1::3], RULES[2::3]], ids=" ".join)
def test_every_rule_where_two_kinds_go_together(tmp_path: Path, rules: tuple[str, ...]) -> None:
    check(tmp_path, 4, by_rule(rules, FOUR), updates=5)


@pytest.mark.slow
def test_a_checkpoint_goes_on_on_any_mesh(tmp_path: Path) -> None:
    """Two by two, four, one; and other ways. Rows of 20 and of the vocabulary four do not share evenly."""
    two, four = {"replicate": 1, "tensor": 2}, {"replicate": 1}
    check(tmp_path, 4, [
        (["model.width=20"], [two, four, None]),
        (["model.width=20", "optimizer=soap", *MORE["soap"]], [two, {"replicate": 2}, {"tensor": 2}, four]),
        (["model.width=20", "optimizer=muon", "model.tied=false"], [{"replicate": 2, "tensor": 2}, None]),
        (["optimizer=adafactor", "model.mixer=lru", "model.position=none"], [two, four, {}]),
        (["model.mixer={kind: vq, heads: 2, codes: 4}", "model.position=none"], [two, four, {}]),
    ])  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        "train.compile=true",
        "train.products=float8",
        "train.internals_every=2",
        "train.quantize={format: int8}",
    ],
)
def test_what_needs_whole_layers_is_refused(words: str) -> None:
    with pytest.raises(SpecError, match=r"tensor = 2 does not go with train.*leave one out"):
        resolve(["nano", "train.mesh.tensor=2", words])
