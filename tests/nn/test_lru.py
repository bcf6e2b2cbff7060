"""The linear recurrent unit against its formula; its start, its cache, and what it can remember."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from danlu import spec
from danlu.nn.lru import LRU
from danlu.nn.masks import AttentionMask
from danlu.nn.registry import build

WIDTH = 12


def written_out(layer, x):
    """The paper's equations in complex numbers, one position after another."""
    modulus, phase = torch.exp(-torch.exp(layer.nu)), torch.exp(layer.theta)
    eigenvalues, gamma = torch.polar(modulus, phase), torch.exp(layer.log_gamma)
    b = torch.complex(layer.input.weight[0::2], layer.input.weight[1::2])
    # Re(Ch) = Re C·Re h − Im C·Im h: the odd columns hold −Im C.
    c = torch.complex(layer.output.weight[:, 0::2], -layer.output.weight[:, 1::2])
    h = torch.zeros(x.shape[0], layer.state, dtype=eigenvalues.dtype)
    outputs = []
    for u in x.unbind(1):
        h = eigenvalues * h + gamma * (u.to(b.dtype) @ b.T)
        y = F.gelu((h @ c.T).real + layer.skip * u)
        outputs.append(layer.out(y) * torch.sigmoid(layer.gate(y)))
    return torch.stack(outputs, dim=1)


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 3), st.integers(1, 80), st.sampled_from([None, 1, 5, 20]), st.booleans())
def test_lru_is_its_formula(batch, length, state, bias):
    torch.manual_seed(length)
    layer = LRU(WIDTH, state=state, bias=bias).double()
    x = torch.randn(batch, length, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(layer(x), written_out(layer, x), rtol=1e-10, atol=1e-11)


def test_gradients_are_those_of_the_formula():
    layer = LRU(WIDTH, state=5, bias=True).double()
    x = torch.randn(2, 70, WIDTH, dtype=torch.float64, requires_grad=True)
    inputs = [x, *layer.parameters()]
    weight = torch.randn(2, 70, WIDTH, dtype=torch.float64)
    actual = torch.autograd.grad((layer(x) * weight).sum(), inputs)
    expected = torch.autograd.grad((written_out(layer, x) * weight).sum(), inputs)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_gradcheck_of_every_parameter():
    layer = LRU(2, state=2).double()
    x = torch.randn(1, 3, 2, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in layer.named_parameters()]

    def call(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(call, (x, *layer.parameters()))


def test_eigenvalues_fill_the_ring_evenly():
    """Even in the area: |λ|² and the phase are uniform. Kolmogorov's distance of 20000 draws stays below
    1.95/√20000 with probability 0.999."""
    layer = LRU(1, state=20000, r_min=0.4, r_max=0.8, max_phase=3.0).double()
    λ = torch.view_as_complex(layer.eigenvalues(torch.float64))
    expected = torch.arange(1, 20001) / 20000
    area = (λ.abs() ** 2 - 0.4**2) / (0.8**2 - 0.4**2)
    for uniform in (area, torch.exp(layer.theta) / 3.0):
        assert (uniform.sort().values - expected).abs().max() < 1.95 / 20000**0.5
    torch.testing.assert_close(torch.exp(layer.log_gamma), torch.sqrt(1 - λ.abs() ** 2), rtol=1e-5, atol=0)


@pytest.mark.parametrize(("r_min", "r_max"), [(0.0, 1e-3), (0.0, 0.999), (0.99999, 0.999999)])
def test_thin_rings_have_finite_logarithms(r_min, r_max):
    layer = LRU(1, state=1000, r_min=r_min, r_max=r_max)
    assert all(p.isfinite().all() for p in layer.parameters())
    assert (torch.view_as_complex(layer.eigenvalues()).abs() < 1).all()


def test_white_input_keeps_the_state_at_one():
    """E|h|² = 1 at the start, long after the first position (|λ| ≤ 0.99, 0.99^1000 < 1e-4). The mean over
    8 sequences, 500 positions and 128 numbers has a standard error of about 0.015."""
    layer = LRU(128, r_min=0.9, r_max=0.99)
    with torch.no_grad():
        h = layer.states(torch.randn(8, 1000, 128))[:, 500:]
    assert abs(h.square().sum(-1).mean().item() - 1) < 0.06


def test_own_start_after_the_models_drawing():
    """The hook brings back what a model's own drawing of every linear map has overwritten."""
    layer = LRU(200, state=300)
    for linear in (layer.input, layer.output, layer.gate, layer.out):
        torch.nn.init.ones_(linear.weight)
    layer.initialise_own()
    # A standard deviation of n draws is exact to 1/√(2n); five of these.
    for weight, std in ((layer.input.weight, 400**-0.5), (layer.output.weight, 300**-0.5)):
        assert abs(weight.std().item() / std - 1) < 5 / (2 * weight.numel()) ** 0.5
    assert torch.equal(layer.gate.weight, torch.ones(200, 200))  # and leaves the others
    assert torch.equal(layer.out.weight, torch.ones(200, 200))


def test_a_zero_last_map_closes_the_branch():
    layer = LRU(WIDTH)
    torch.nn.init.zeros_(layer.out.weight)
    assert torch.equal(layer(torch.randn(2, 9, WIDTH)), torch.zeros(2, 9, WIDTH))


def test_the_past_does_not_see_the_future():
    layer = LRU(WIDTH).double()
    x = torch.randn(1, 100, WIDTH, dtype=torch.float64)
    before = layer(x)
    for t in (0, 1, 31, 32, 63, 64, 70, 99):
        changed = x.clone()
        changed[:, t:] += torch.randn(1, 100 - t, WIDTH, dtype=torch.float64)
        after = layer(changed)
        assert torch.equal(after[:, :t], before[:, :t])
        assert not torch.allclose(after[:, t], before[:, t])


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 80), min_size=1, max_size=5))
def test_cached_is_uncached(pieces):
    torch.manual_seed(0)
    layer = LRU(WIDTH, state=7).double()
    x = torch.randn(2, sum(pieces), WIDTH, dtype=torch.float64)
    cache = layer.cache(2, x.shape[1])
    assert (cache.length, cache.bytes) == (0, 0)
    parts = [layer(piece, cache=cache) for piece in x.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), layer(x), rtol=1e-11, atol=1e-11)
    assert cache.length == x.shape[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_token_by_token(dtype):
    """One position at a time is the whole at once; what is held is float32, of one size, and counted."""
    layer = LRU(WIDTH, state=7)
    x = torch.randn(2, 70, WIDTH, dtype=dtype)
    cache = layer.cache(2, 70)
    steps = torch.cat([layer(step, cache=cache) for step in x.split(1, dim=1)], dim=1)
    whole = layer(x)
    assert steps.dtype == whole.dtype == dtype
    # bfloat16 rounds to 8 bits, and a float32 difference can turn the rounding of Bx, h, y or a product.
    bound = 1e-5 if dtype == torch.float32 else 4 * 2**-8
    assert (steps - whole).abs().max() <= bound * whole.abs().max()
    assert cache.length == 70
    assert cache.bytes == 2 * layer.cache_bytes(70, dtype.itemsize) == 2 * 7 * 2 * 4
    assert cache.state.untyped_storage().nbytes() == cache.bytes  # it holds on to nothing larger


def test_half_precision_is_close_to_single():
    """The state is summed up in float32, so that the error of bfloat16 does not grow with the length: two
    of its roundings (2^−8), whether at 64 positions or at 4096."""
    layer = LRU(64, r_max=0.9999)
    with torch.no_grad():
        for length in (64, 4096):
            x = torch.randn(1, length, 64)
            exact, rounded = layer(x), layer(x.bfloat16())
            assert rounded.dtype == torch.bfloat16
            assert (rounded.float() - exact).norm() <= 2 * 2**-8 * exact.norm()


def test_refusals():
    layer, x = LRU(WIDTH), torch.randn(1, 5, WIDTH)
    for mask in (AttentionMask(causal=False), AttentionMask(prefix=3)):
        with pytest.raises(ValueError, match="cannot see later positions"):
            layer(x, mask)
    with pytest.raises(ValueError, match="from one document into the next"):
        layer(x, AttentionMask(documents=torch.tensor([[0, 0, 0, 1, 1]])))
    assert torch.equal(layer(x, AttentionMask(prefix=1)), layer(x))  # one position sees itself in any case


def test_flops_are_those_of_its_products():
    layer = LRU(WIDTH, state=20)
    with FlopCounterMode(display=False) as counter:
        layer(torch.randn(2, 40, WIDTH))
    assert layer.flops(2, 40) == counter.get_total_flops()


def test_defaults_and_build():
    layer = build(spec.LRU(), WIDTH, spec.NoPosition())
    assert isinstance(layer, LRU)
    assert (layer.state, layer.r_min, layer.r_max, layer.max_phase) == (WIDTH, 0.9, 0.999, 6.28)
    assert all(p.ndim == 1 for n, p in layer.named_parameters() if not n.endswith("weight"))
    assert layer.gate.bias is None
    assert build(spec.LRU(state=5), WIDTH, None, bias=True).out.bias is not None
    assert all(any(w is p for p in layer.parameters()) for w in layer.value_path())


def test_two_layers_learn_to_recall():
    """The token seen 30 positions before, among four: guessing is right one time in four. After 120 updates
    of 16 sequences it is right 98 times in a hundred on fresh ones."""
    torch.manual_seed(0)
    delay, tokens, width = 30, 4, 32
    layers = torch.nn.ModuleList(LRU(width, state=64) for _ in range(2))
    embedding, readout = torch.nn.Embedding(tokens, width), torch.nn.Linear(width, tokens)
    parameters = [*layers.parameters(), *embedding.parameters(), *readout.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=3e-3)

    def logits(sequence):
        x = embedding(sequence)
        for layer in layers:
            x = x + layer(F.rms_norm(x, (width,)))
        return readout(F.rms_norm(x, (width,)))[:, delay:]

    for _ in range(120):
        sequence = torch.randint(tokens, (16, 64))
        loss = F.cross_entropy(logits(sequence).flatten(0, 1), sequence[:, :-delay].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        sequence = torch.randint(tokens, (64, 64))
        right = logits(sequence).argmax(-1) == sequence[:, :-delay]
    assert right.float().mean() >= 0.98


def test_the_recurrence_has_float32_under_fsdp2(one_process):
    """Activations are bfloat16; ν, θ and ln γ stay float32, as without FSDP2, and so do their gradients."""
    from torch.distributed.device_mesh import init_device_mesh

    from danlu.models import Decoder
    from danlu.train.parallel import shard

    def gradients(sharded):
        torch.manual_seed(0)
        model = Decoder(11, 64, layers=2, width=16, mixer=spec.LRU(), position=spec.NoPosition())
        model.compute = torch.bfloat16
        if sharded:
            shard(model, init_device_mesh("cpu", (1,)), "bfloat16")
        seen = []
        mixer = model.blocks[0].mixer
        mixer.gate.register_forward_hook(lambda m, i, o: seen.append((mixer.nu.dtype, i[0].dtype)))
        tokens = torch.randint(11, (2, 64), generator=torch.Generator().manual_seed(1))
        logits = model(tokens)[:, :-1].flatten(0, 1)
        torch.nn.functional.cross_entropy(logits, tokens[:, 1:].flatten()).backward()
        assert seen == [(torch.float32, torch.bfloat16)]
        named = {n: p.grad for n, p in model.named_parameters() if "mixer" in n}
        return {n: g.full_tensor() if sharded else g for n, g in named.items()}

    alone = gradients(False)
    for name, gradient in gradients(True).items():
        assert torch.equal(gradient, alone[name]), name
