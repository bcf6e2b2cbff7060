"""The computation graph of an experiment's network, without running or allocating it."""

from __future__ import annotations

from typing import Any

from danlu import spec
from danlu.models.graph import as_json, graph
from danlu.nn.fused import META
from danlu.train.assemble import outline, outlined
from danlu.train.costs import example_of
from danlu.train.teacher import sketch


def of_experiment(experiment: spec.Experiment) -> dict[str, Any]:
    """``graph``, the tree of the modules in a training pass (``danlu.models.graph.Node``), ``rows`` of the
    pass, ``device`` and ``precision`` that a run would have here. Logits are whole, also where a run makes
    them in parts (``danlu.objectives.chunks``)."""
    objective, model, device, precision = outline(experiment, outlined(experiment))
    sketch(experiment, objective)
    rows = experiment.train.rows
    standing_for = META.set(device)
    try:
        root = graph(model, lambda: objective.loss(model, example_of(objective, rows)))
    finally:
        META.reset(standing_for)
    return {"rows": rows, "device": device, "precision": precision, "graph": as_json(root)}
