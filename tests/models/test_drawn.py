"""What all networks that are no transformers keep to: FLOPs are PyTorch's, weights have places, precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from danlu.spec import Init, encodings, fields, pairs
from danlu.spec import coordinate_networks as networks
from danlu.spec.bottlenecks import Gaussian
from tests.models.others import build

IMAGES = (2, 8, 12)
# A specification, what the network is built for, and what it is given, for a batch of 3.
CASES: dict[str, tuple[Any, tuple[Any, ...], Any]] = {
    "point-mlp": (fields.PointMLP(width=16), ((2,), 5), lambda: (torch.randn(3, 2), torch.rand(3))),
    "point-mlp-of-images": (
        fields.PointMLP(width=16, layers=1, activation="relu"),
        ((1, 4, 4),),
        lambda: (torch.randn(3, 1, 4, 4), torch.rand(())),
    ),
    "unet": (
        fields.UNet(width=8, groups=4),
        (IMAGES, 5),
        lambda: (torch.randn(3, *IMAGES), torch.rand(3), torch.tensor([0, 4, -1])),
    ),
    "unet-of-one-scale": (
        fields.UNet(width=8, scales=(1,), blocks=2, init=Init(branch="depth")),
        (IMAGES,),
        lambda: (torch.randn(3, *IMAGES), torch.rand(3)),
    ),
    "field-patches": (
        fields.FieldPatches(width=16, layers=2),
        (IMAGES, 5),
        lambda: (torch.randn(3, *IMAGES), torch.rand(3), torch.tensor([0, 4, -1])),
    ),
    "siren": (networks.Siren(width=16), (2, 3), lambda: (torch.rand(3, 2),)),
    "fourier": (networks.CoordinateMLP(width=16), (2, 3), lambda: (torch.rand(3, 2),)),
    "octaves": (
        networks.CoordinateMLP(width=16, layers=1, encoding=encodings.Octaves(), activation="gelu"),
        (2, 3),
        lambda: (torch.rand(3, 2),),
    ),
    "raw": (networks.CoordinateMLP(width=16, encoding=encodings.Raw()), (2, 3), lambda: (torch.rand(3, 2),)),
    "lipschitz": (networks.LipschitzMLP(width=16), (2, 3), lambda: (torch.rand(3, 2),)),
    "vector-pair": (pairs.VectorPair(width=16), ((5,),), lambda: (torch.randn(3, 5),)),
    "linear-pair": (pairs.VectorPair(layers=0), ((5, 2), Gaussian(size=2)), lambda: (torch.randn(3, 5, 2),)),
    "image-pair": (pairs.ImagePair(width=8), (IMAGES, Gaussian(), 1.0), lambda: (torch.randn(3, *IMAGES),)),
    "image-pair-grid": (
        pairs.ImagePair(width=8, flat=False, scales=(1, 2, 3), blocks=2),
        (IMAGES, Gaussian(size=4)),
        lambda: (torch.randn(3, *IMAGES),),
    ),
}
each = pytest.mark.parametrize("name", CASES)


def made(name: str, seed: int = 0, **changes: Any) -> tuple[Any, tuple[torch.Tensor, ...]]:
    described, around, given = CASES[name]
    torch.manual_seed(seed)
    model = build(described.model_copy(update=changes), *around)
    torch.manual_seed(1)
    return model, given()


def answer(model: Any, given: Any) -> torch.Tensor:
    """What the model makes of its inputs; of a pair what it decodes."""
    made = model(*given)
    return made if isinstance(made, torch.Tensor) else made.decoded


@each
def test_flops_are_pytorchs(name: str) -> None:
    model, given = made(name)
    with FlopCounterMode(display=False) as counter:
        model(*given)
    assert model.flops(3) == counter.get_total_flops()


@each
def test_a_row_depends_on_itself_alone(name: str) -> None:
    model, given = made(name)
    alone = [g if g.ndim == 0 else g[1:2] for g in given]
    torch.testing.assert_close(answer(model, given)[1:2], answer(model, alone), atol=1e-5, rtol=1e-5)


@each
def test_outputs_are_float32_and_differ_little_in_bfloat16(name: str) -> None:
    """16 roundings of 2⁻⁸ or so, where the network does not magnify them (sines of phases of 14 do)."""
    model, given = made(name)
    exact = answer(model, given)
    model.compute = torch.bfloat16
    rough = answer(model, given)
    assert exact.dtype == rough.dtype == torch.float32
    if name not in ("siren",):
        assert (rough - exact).abs().max() <= 16 * 2**-8 * exact.abs().max()


@each
def test_weights_follow_from_the_seed_and_their_place(name: str) -> None:
    """Drawn again, all at once or block by block, they are what they were; no parameter has two names."""
    model, _ = made(name)
    first = {name: value.clone() for name, value in model.state_dict().items()}
    assert len(first) == len({value.data_ptr() for value in model.state_dict().values()})
    blocks = list(model.blocks)
    inside = {module for block in blocks for module in block.modules()}
    for unit in [*([*b.modules()] for b in blocks), [m for m in model.modules() if m not in inside]]:
        with torch.no_grad():
            for module in unit:
                if not isinstance(module, torch.nn.GroupNorm):  # which is not drawn
                    for parameter in module.parameters(recurse=False):
                        parameter.fill_(7.0)
        torch.manual_seed(99)
        model.redraw(unit)
    assert all(torch.equal(first[key], value) for key, value in model.state_dict().items())
    other, _ = made(name, seed=1)
    assert any(not torch.equal(first[key], value) for key, value in other.state_dict().items())


def test_networks_of_one_seed_share_what_they_have_in_common() -> None:
    few, _ = made("point-mlp", layers=2)
    many, _ = made("point-mlp", layers=3)
    common = few.state_dict().keys()
    assert common < many.state_dict().keys()
    assert all(torch.equal(few.state_dict()[key], many.state_dict()[key]) for key in common)


@pytest.mark.parametrize("name", ["unet", "image-pair", "point-mlp"])
def test_initialisation_does_as_it_is_told(name: str) -> None:
    model, _ = made(name, init=Init(std=0.5, readout=0.0, branch="zero"))
    ends = [end for block in model.blocks for end in block.branch_ends()]
    assert ends and all(end.weight.abs().max() == 0 for end in ends)
    assert model.readout.weight.abs().max() == 0
    assert model.embedding.weight.std().item() == pytest.approx(0.5, rel=0.25)


@pytest.mark.parametrize("name", ["point-mlp", "unet", "field-patches", "siren", "lipschitz", "image-pair"])
def test_every_parameter_learns(name: str) -> None:
    """A gradient reaches each, once a step has been taken away from zeros."""
    model, given = made(name)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    answer(model, given).square().sum().backward()
    lost = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert lost == []
