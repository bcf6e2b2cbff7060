"""The patch transformer: cuts an image as it says, does not mind the order of patches without positions, and
without a mixer is an MLP."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from danlu import spec
from danlu.models import Patches, build

SHAPE = (3, 6, 4)


def network(**settings: Any) -> Patches:
    torch.manual_seed(0)
    found: Patches = build(
        spec.Patches(width=8, layers=2, mixer=spec.Attention(heads=2), **settings), SHAPE, 5
    )
    return found.double().eval() if not found.training else found


def test_patches_are_cut_row_by_row() -> None:
    images = torch.arange(2 * 3 * 6 * 4).reshape(2, 3, 6, 4)
    cut = network().cut(images)
    assert cut.shape == (2, 6, 12)
    for place, (row, column) in enumerate((r, c) for r in (0, 2, 4) for c in (0, 2)):
        assert torch.equal(cut[:, place], images[:, :, row : row + 2, column : column + 2].reshape(2, 12))


def test_without_positions_the_order_of_patches_does_not_matter() -> None:
    images = torch.randn(2, *SHAPE)
    turned = images.roll(2, dims=2)  # whole patches
    for position, same in ((spec.NoPosition(), True), (spec.Learned(), False)):
        model = network(position=position, init=spec.Init(embedding=1.0)).eval()
        assert torch.allclose(model(images), model(turned), atol=1e-5) is same


def test_without_a_mixer_it_is_an_mlp() -> None:
    """x = E p; x += W₂ gelu(W₁ norm(x)) in each layer; readout of norm(x)."""
    torch.manual_seed(0)
    described = spec.Patches(
        width=8, layers=2, patch=2, mixer=spec.NoMixer(), position=spec.NoPosition(), init=spec.Init()
    )
    model: Patches = build(described, (1, 2, 2), 3).double()
    model.compute = torch.float64
    images = torch.randn(4, 1, 2, 2, dtype=torch.float64)
    x = images.reshape(4, 4) @ model.embedding.weight.T
    for block in model.blocks:
        x = x + block.feed_forward(block.feed_forward_norm(x))
    torch.testing.assert_close(model(images), model.norm(x) @ model.readout.weight.T)
    assert not any("mixer" in name for name, _ in model.named_parameters())


@pytest.mark.parametrize("mixer", [spec.Attention(heads=2), spec.NoMixer()])
def test_flops_are_pytorchs(mixer: spec.Mixer) -> None:
    torch.manual_seed(0)
    position = spec.Learned() if mixer.kind == "attention" else spec.NoPosition()
    model: Patches = build(spec.Patches(width=8, layers=2, mixer=mixer, position=position), SHAPE, 5)
    with FlopCounterMode(display=False) as counter:
        model(torch.randn(3, *SHAPE))
    assert model.flops(3) == counter.get_total_flops()
