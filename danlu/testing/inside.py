"""A part in a small model: what weights begin as, what a state holds."""

from __future__ import annotations

import torch

from danlu import spec
from danlu.models import Model, build
from danlu.spec.families import Family
from danlu.testing.place import BATCH, LENGTH, SMALL
from danlu.testing.report import Report, Wrong

VOCABULARY = 32


def in_a_model(family: Family, experiment: spec.Experiment, report: Report) -> None:
    """Add what holds of a network that has the part."""
    network = experiment.network

    def others() -> str:
        here, there = _model(network).state_dict(), _model(spec.validate(SMALL).network).state_dict()
        shared = [
            n for n, t in here.items() if n in there and there[n].shape == t.shape and family.name not in n
        ]
        if moved := [name for name in shared if not torch.equal(here[name], there[name])]:
            raise Wrong(f"{moved[0]} is another than without the part")
        return f"{len(shared)} tensors"

    def own() -> str:
        among_others = network.model_copy(update={"embedding_norm": True, "placement": "double"})
        here, there = _model(network).state_dict(), _model(among_others).state_dict()
        if moved := [n for n, t in here.items() if n in there and not torch.equal(t, there[n])]:
            raise Wrong(f"{moved[0]} depends on other parts")
        return "from a stream of its own"

    def state() -> str:
        model, again = _model(network), _model(network, seed=5)
        tokens = torch.arange(BATCH * LENGTH).view(BATCH, LENGTH) % VOCABULARY
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            model(tokens).square().mean().backward()
            optimizer.step()
        again.load_state_dict(model.state_dict())
        with torch.no_grad():
            if not torch.equal(model.eval()(tokens), again.eval()(tokens)):
                raise Wrong("it knows what is not in its state")
        return "weights and buffers are all that it knows"

    report.add("initial weights of others", others)
    report.add("initial weights", own)
    report.add("state", state)


def _model(network: spec.Network, seed: int = 4) -> Model:
    torch.manual_seed(seed)
    model: Model = build(network, VOCABULARY, LENGTH)
    return model
