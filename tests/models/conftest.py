"""Small decoders, on one thread: other processes may share the cores."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from danlu import spec
from danlu.models import Decoder, build

VOCABULARY, CONTEXT = 13, 12


@pytest.fixture(autouse=True)
def one_thread(fixed_randomness: None) -> None:
    torch.set_num_threads(1)


@pytest.fixture
def make() -> Callable[..., Decoder]:
    """A decoder of two narrow layers in float64, whose logits are far from equal."""

    def decoder(*, seed: int = 0, double: bool = True, **settings: object) -> Decoder:
        torch.manual_seed(seed)
        settings = {"init": spec.Init(embedding=1.0, branch="same"), **settings}
        whole = spec.Decoder.model_validate({"layers": 2, "width": 16, **settings})
        model = build(whole, VOCABULARY, CONTEXT)
        if double:
            model.double()
            model.compute = torch.float64
        return model

    return decoder
