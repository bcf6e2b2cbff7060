"""The computation graph of networks: costs that are known, edges that are known, ``danlu graph``."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn as nn

from danlu.cli.schemas import SCHEMAS
from danlu.draw.graph import Graph, lines, passing, rails_of, rows_of
from danlu.files.json import misfit
from danlu.models.graph import as_json, graph
from danlu.objectives import chunks
from danlu.spec import resolve
from danlu.train.assemble import outline, outlined
from danlu.train.costs import costs
from danlu.train.graph import of_experiment
from tests.cli.test_train import danlu

KINDS = [
    "nano", "nano +mla", "nano +lru", "nano +vq-bottleneck", "mdlm", "digits", "digits-mlp", "flow-digits",
    "flow-8gaussians", "vae-digits", "siren-photograph", "signed-distance", "maxent-digits",
]  # fmt: skip
BETWEEN = ("t5-small", "maxent-digits")  # products that no module inside of the network makes


def drawn(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row.node["name"]: row.node for row in rows_of(found["graph"]) if not row.open}


@pytest.mark.slow
@pytest.mark.parametrize("words", [*KINDS, "t5-small", "gpt2-124m train.device=cuda"])
def test_its_flops_are_the_models_own(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts count theirs by formulas, the graph by operators; what is kept is what ``danlu show --costs``
    says."""
    # What looks at modules sees all logits at once.
    monkeypatch.setattr(chunks, "LARGE", dict.fromkeys(chunks.LARGE, 2**60))
    experiment = resolve(words.split())
    found = of_experiment(experiment)
    objective, model, *_ = outline(experiment, outlined(experiment))
    root = found["graph"]
    assert root["flops"] == model.flops(found["rows"], *objective.lengths)
    assert root["parameters"] == sum(p.numel() for p in model.parameters())
    leaves = sum(row.node["flops"] * _times(root, row.node) for row in rows_of(root) if not row.open)
    assert leaves <= root["flops"] and (leaves == root["flops"] or words in BETWEEN)
    memory = costs(experiment)["memory"]
    assert root["kept"] <= memory["activations"] + memory["copies"]  # the loss keeps something too


def _times(root: dict[str, Any], wanted: dict[str, Any]) -> int:
    """How many alike of a node there are in the whole network."""
    if root is wanted:
        return int(root["times"])
    return int(root["times"]) * sum(_times(child, wanted) for child in root["inside"])


def test_the_residual_is_a_rail() -> None:
    rows = list(rows_of(of_experiment(resolve(["nano"]))["graph"]))
    names = [row.name for row in rows]
    assert names[:3] == ["network", "embedding", "blocks.0"] and rows[2].node["times"] == 3
    ends = {names[rail.begin]: [names[end] for end in rail.ends] for rail in rails_of(rows)}
    assert ends == {"embedding": ["mixer_residual"], "mixer_residual": ["feed_forward_residual"]}
    told = dict(zip(names, lines(rows, rails_of(rows)), strict=True))
    assert (told["embedding"], told["mixer"], told["mixer_residual"], told["feed_forward_residual"]) == (
        "┌ ", "│ ", "├▶", "└▶",
    )  # fmt: skip
    assert told["readout"] == "  "


def test_the_skips_of_a_unet() -> None:
    found = of_experiment(resolve(["flow-digits"]))
    nodes = drawn(found)
    names = {node["number"]: name for name, node in nodes.items()}
    read = {name: {names.get(s, "input") for s in node["sources"]} for name, node in nodes.items()}
    assert read["blocks.3"] == {"blocks.2", "blocks.1", "condition"}
    assert read["blocks.4"] == {"blocks.3", "shrink.0", "condition"}
    assert read["blocks.5"] == {"grow.0", "blocks.0", "condition"}
    assert read["blocks.6"] == {"blocks.5", "embedding", "condition"}
    assert read["embedding"] == {"input"} and read["readout"] == {"norm"}


def test_blocks_that_repeat_in_turn_are_one() -> None:
    root = of_experiment(resolve(["nano", "+alternating-windows", "model.layers=6"]))["graph"]
    embedding, blocks, *_ = root["inside"]
    assert blocks["times"] == 3 and [one["name"] for one in blocks["inside"]] == ["blocks.0", "blocks.1"]
    plain = of_experiment(resolve(["nano", "model.layers=6"]))["graph"]["inside"][1]
    assert plain["times"] == 6 and plain["kind"] == "Block" and embedding["times"] == 1
    assert blocks["flops"] == 2 * plain["flops"]


def test_what_has_no_second_derivative_is_dashed() -> None:
    found = of_experiment(resolve(["nano", "train.device=cuda"]))
    once = [name for name, node in drawn(found).items() if not node["twice"]]
    assert once == ["blocks.0.mixer"] and not found["graph"]["twice"]
    assert "stroke-dasharray" in Graph(found["graph"], {}).svg()
    on_cpu = of_experiment(resolve(["nano", "train.device=cpu"]))
    assert on_cpu["graph"]["twice"] and "stroke-dasharray" not in Graph(on_cpu["graph"], {}).svg()


class Own(nn.Module):
    """Two branches that join, equal modules in a row, a module that is not called."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two0, self.two1, self.never = (nn.Linear(3, 3) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.one(x)
        return self.two1(a.sin() + self.two0(x)) + a


def test_any_network() -> None:
    """What each of those reads that stand as one is kept."""
    model = Own()
    root = as_json(graph(model, lambda: model(torch.randn(2, 3))))
    one, two = root["inside"]
    assert (one["name"], two["name"], two["times"]) == ("one", "two0", 2)
    assert two["sources"] == [-1, one["number"]]
    assert root["flops"] == 3 * 2 * 2 * 9 and root["parameters"] == 4 * 12
    with pytest.raises(ValueError, match="did not call the network"):
        graph(model, lambda: None)


SMALL = [
    "nano", "nano +mla", "nano +lru", "nano +vq-bottleneck", "mdlm", "digits", "digits-mlp",
    "flow-8gaussians", "vae-digits", "siren-photograph", "signed-distance", "maxent-digits", "gpt2-124m",
    "bert-base", "t5-small train.batch=2",
]  # fmt: skip


@pytest.mark.parametrize(
    "words", ["bigram-backcopy", *(pytest.param(w, marks=pytest.mark.slow) for w in SMALL)]
)
def test_its_nodes_have_all_parameters(words: str) -> None:
    """Each once: those that no module inside applies, those that are tied, of modules that run again."""
    experiment = resolve(words.split())
    root = of_experiment(experiment)["graph"]
    _, model, *_ = outline(experiment, outlined(experiment))
    boxes = [row.node for row in rows_of(root) if not row.open]
    assert sum(node["parameters"] * _times(root, node) for node in boxes) == sum(
        p.numel() for p in model.parameters()
    )


def test_learned_positions_are_a_node() -> None:
    found = of_experiment(resolve(["bigram-backcopy"]))
    nodes = drawn(found)
    positions = nodes["position.weight"]
    assert (
        positions["shape"] == [64, 128] and positions["parameters"] == 64 * 128 and not positions["sources"]
    )
    first = nodes["blocks.0.mixer_norm"]
    assert first["sources"] == [nodes["embedding"]["number"], positions["number"]]


def test_a_module_that_runs_again_has_its_parameters_once() -> None:
    layer = nn.Linear(3, 3)
    model = nn.Sequential(layer, layer)
    root = as_json(graph(model, lambda: model(torch.randn(2, 3))))
    assert [node["parameters"] for node in root["inside"]] == [12, 0] and root["parameters"] == 12


def test_the_picture_is_as_wide_as_what_is_drawn() -> None:
    """Within 16 px on the right of the boxes, where no word reaches further; the totals are at the top, and
    each box but those of parameters has an arrow out of it."""
    found = of_experiment(resolve(["flow-digits"]))
    nodes = drawn(found)
    svg = Graph(found["graph"], {-1: "all of it"}, "flow").svg()
    root = ElementTree.fromstring(svg)
    boxes = [one for one in root.iter() if one.tag.endswith("rect")]
    right = max(float(box.attrib["x"]) + float(box.attrib["width"]) for box in boxes)
    words = max(len(passing(node)) for node in nodes.values())
    assert right <= float(root.attrib["width"]) - 16 <= max(right, right - 142 + 7 * words)
    assert "all of it" in "".join(root.itertext())
    last = max(float(box.attrib["y"]) + float(box.attrib["height"]) for box in boxes)
    assert any(f" {last:g}V" in one.attrib.get("d", "") for one in root.iter())


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    svg = tmp_path / "graph.svg"
    assert danlu("graph", "nano", "--svg", str(svg)) == 0
    out = capsys.readouterr().out
    assert "blocks.0 ×3" in out and "├▶" in out and f"drawn in {svg}" in out
    root = ElementTree.fromstring(svg.read_text())
    said = "".join(root.itertext())
    assert root.tag.endswith("svg") and "feed_forward_residual" in said and "8 × 64 × 64 bfloat16" in said
    assert "181 k parameters" in said  # of all
    assert danlu("graph", "nano", "--json") == 0
    assert misfit(json.loads(capsys.readouterr().out), SCHEMAS["graph"].shape) == ""
    assert danlu("graph", "nona") == 2 and "danlu: " in capsys.readouterr().err
    svg.write_text("mine")
    assert danlu("graph", "nano", "--svg", str(svg)) == 2
    assert "--force" in capsys.readouterr().err and svg.read_text() == "mine"
