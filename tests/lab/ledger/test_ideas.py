"""What an idea sets, and its family."""

from __future__ import annotations

import json

import pytest

from danlu.lab.ledger.ideas import SEVERAL, about, family, of_field
from danlu.lab.trial.arms import read_sides
from danlu.spec import catalog
from danlu.spec.overrides import leaves


@pytest.mark.parametrize(
    ("idea", "sets", "of"),
    [
        ("gqa", {"model.mixer.kv_heads"}, "attention"),
        ("optimizer.lr=0.01", {"optimizer.lr"}, "optimizer"),
        ("swiglu+gqa", {"model.feed_forward.kind", "model.mixer.kv_heads"}, SEVERAL),
        ("model.width=64", {"model.width"}, "shape"),
        ("model.feed_forward.hidden=99 +swiglu", {"model.feed_forward.kind"}, "feed-forward"),
        ("train.average=ema", {"train.average"}, "averages"),
    ],
)
def test_what_an_idea_sets_and_its_family(idea: str, sets: set[str], of: str) -> None:
    baseline, variants = read_sides("tiny", [idea])
    ((named, variant),) = variants.items()
    said = about(named.words, baseline, variant)
    assert sets <= said["sets"].keys() and said["family"] == of
    assert json.loads(json.dumps(said["sets"])) == said["sets"]


def test_fields_tell_the_family_that_the_catalog_gives() -> None:
    """Where an idea sets fields of one family, it is the catalog's; nine tenths of the ideas do."""
    ideas = catalog.ideas()
    by_fields = {idea.name: family(["x=1"], leaves(idea.patch)) for idea in ideas}
    differ = [idea for idea in ideas if by_fields[idea.name] not in (idea.family, SEVERAL)]
    assert all("model.pattern" in leaves(idea.patch) for idea in differ)  # layers that differ in anything
    agree = sum(by_fields[idea.name] == idea.family for idea in ideas)
    assert agree >= 0.85 * len(ideas)


def test_fields_of_no_family() -> None:
    assert of_field("model.mixer.heads") == of_field("model.mixer") == "attention"
    assert of_field("model.mixers") == "shape" and of_field("lr") == "other"
    assert family(["--width 512"], {"--width": 512}) == "other"
    assert family(["gone.yaml"], {"model.norm.eps": 1e-6}) == "norm"
