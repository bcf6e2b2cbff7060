"""Conditions: times, classes, and the layers that take them in and at first do nothing."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

from danlu.nn.conditions import AdaptiveNorm, Condition, Modulate, TimeEmbedding, sinusoids
from danlu.nn.convolutions import Conv2d, ConvBlock, ImageNorm
from danlu.spec import encodings
from tests.nn.compare import randomised


def test_sinusoids_are_those_of_ddpm() -> None:
    """Ho et al.: sin and cos of t · 10000^{−i/(half − 1)}, here with the fastest last."""
    t, half = torch.tensor([0.0, 3.0, 500.0]), 16
    frequencies = 10_000.0 ** (-torch.arange(half) / (half - 1))
    theirs = t[:, None] * frequencies.flip(0)
    ours = sinusoids(t, half, 1e-4, 1.0)
    torch.testing.assert_close(ours, torch.cat([theirs.sin(), theirs.cos()], -1), atol=2e-4, rtol=0)


def test_a_noise_level_is_a_quarter_of_its_logarithm() -> None:
    torch.manual_seed(1)
    level = TimeEmbedding(8, of="noise-level")
    time = TimeEmbedding(8)
    time.load_state_dict(level.state_dict())
    sigma = torch.tensor([0.002, 1.0, 80.0])
    torch.testing.assert_close(level(sigma), time(sigma.log() / 4))


def test_frequencies_out_of_order_are_refused() -> None:
    with pytest.raises(ValidationError, match="slowest = 3 is above fastest = 2"):
        encodings.TimeEmbedding(slowest=3.0, fastest=2.0)


class TestCondition:
    made = staticmethod(lambda classes: Condition(8, encodings.TimeEmbedding(), classes))

    def test_is_the_sum_of_its_embeddings(self) -> None:
        told = self.made(3)
        t, classes = torch.tensor([0.1, 0.5]), torch.tensor([2, 0])
        expected = F.silu(told.time(t) + told.table.weight[classes])
        torch.testing.assert_close(told(2, t, classes), expected)

    def test_one_time_serves_all_rows(self) -> None:
        told = self.made(0)
        torch.testing.assert_close(told(3, torch.tensor(0.4)), told(3, torch.full((3,), 0.4)))

    def test_rows_without_a_class_are_alike_and_unlike_any_class(self) -> None:
        told, t = self.made(3), torch.tensor(0.4)
        none = told(2, t)
        torch.testing.assert_close(told(2, t, torch.tensor([-1, 1]))[0], none[0])
        assert torch.equal(none[0], none[1])
        assert all(not torch.allclose(row, none[0]) for row in told(3, t, torch.arange(3)))

    def test_classes_where_there_are_none_are_refused(self) -> None:
        with pytest.raises(ValueError, match="built for data without classes"):
            self.made(0)(1, torch.tensor(0.0), torch.tensor([0]))


@pytest.mark.parametrize(("axis", "shape"), [(-1, (4, 6)), (-1, (4, 5, 6)), (1, (4, 6, 3, 2))])
def test_modulation_is_its_formula_and_at_first_the_identity(axis: int, shape: tuple[int, ...]) -> None:
    layer = Modulate(6, 5, axis=axis)
    x, condition = torch.randn(shape), torch.randn(4, 5)
    assert torch.equal(layer(x, condition), x)
    randomised(layer)
    rows = x.movedim(axis, -1)
    for row, told, out in zip(rows, condition, layer(x, condition).movedim(axis, -1), strict=True):
        a, b = layer.generator(told).chunk(2)
        torch.testing.assert_close(out, (1 + a) * row + b)


def test_adaptive_norm_is_at_first_layer_norm_with_a_shut_gate() -> None:
    layer, x, condition = AdaptiveNorm(6, 5), torch.randn(4, 3, 6), torch.randn(4, 5)
    normed, gate = layer(x, condition)
    torch.testing.assert_close(normed, F.layer_norm(x, (6,), eps=1e-6))
    assert torch.equal(x + gate * normed, x)
    randomised(layer)
    normed, gate = layer(x, condition)
    for row, told, out, open_ in zip(x, condition, normed, gate, strict=True):
        a, b, g = layer.generator(told).chunk(3)
        torch.testing.assert_close(out, (1 + a) * F.layer_norm(row, (6,), eps=1e-6) + b)
        torch.testing.assert_close(open_[0], g)


def test_both_learn_from_the_first_step_on() -> None:
    """What is 0 at the start must have a gradient."""
    x, condition = torch.randn(4, 6), torch.randn(4, 5)
    layer, norm = Modulate(6, 5), AdaptiveNorm(6, 5)
    layer(x, condition).square().sum().backward()
    normed, gate = norm(x, condition)
    (x + gate * normed).square().sum().backward()
    assert layer.generator.weight.grad.abs().min() > 0
    assert norm.generator.weight.grad[12:].abs().min() > 0  # the gate's: it opens first


class TestConvolutions:
    def test_norm_and_map_are_pytorchs_in_either_precision(self) -> None:
        conv, norm = Conv2d(4, 6, stride=2), ImageNorm(2, 4)
        x = torch.randn(2, 4, 7, 8)
        torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight, conv.bias, 2, 1))
        torch.testing.assert_close(norm(x), F.group_norm(x, 2, norm.weight, norm.bias))
        assert conv(x.bfloat16()).dtype == norm(x.bfloat16()).dtype == torch.bfloat16

    @pytest.mark.parametrize("outputs", [4, 8])
    def test_block(self, outputs: int) -> None:
        """The skip alone where the last map is 0; FLOPs are PyTorch's; at first it minds no condition."""
        block = ConvBlock(4, outputs, groups=2, condition=5)
        x, condition = torch.randn(2, 4, 6, 5), torch.randn(2, 5)
        with FlopCounterMode(display=False) as counter:
            out = block(x, condition)
        assert block.flops(2, 6, 5) == counter.get_total_flops()
        torch.testing.assert_close(out, block(x))  # modulation is still the identity
        randomised(block)
        assert not torch.allclose(block(x, condition), block(x))
        torch.nn.init.zeros_(block.second.weight), torch.nn.init.zeros_(block.second.bias)
        torch.testing.assert_close(block(x, condition), x if outputs == 4 else block.skip(x))
