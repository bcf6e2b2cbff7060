"""Rotary positions: a rotation by position × frequency, and what follows from it; partial and scaled."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from danlu import spec
from danlu.nn.positions import Rotary, rotate
from danlu.nn.registry import build

POSITIONS, SIZE = 9, 12


def exact(x, start=0, base=10000.0):
    """The definition (Su et al. 2021, eq. 34) on complex numbers x_i + i·x_{i+d/2}, in float64."""
    half = x.shape[-1] // 2
    positions = torch.arange(start, start + x.shape[-2], dtype=torch.float64)[:, None]
    frequencies = base ** (-2 * torch.arange(half, dtype=torch.float64) / x.shape[-1])
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.exp(1j * positions * frequencies)
    return torch.cat((turned.real, turned.imag), dim=-1)


def table(positions=POSITIONS, size=SIZE):
    angles = torch.randn(positions, size // 2, dtype=torch.float64)
    return angles.cos(), angles.sin()


def test_rotate_gradcheck():
    cos, sin = table()
    x = torch.randn(2, POSITIONS, SIZE, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: rotate(x, cos, sin), (x,))
    assert gradgradcheck(lambda x: rotate(x, cos, sin), (x,))


def test_rotate_takes_strided_input():
    cos, sin = table()
    x = torch.randn(2, POSITIONS, 3, SIZE, dtype=torch.float64).transpose(1, 2).requires_grad_()
    assert gradcheck(lambda x: rotate(x, cos, sin), (x,))
    torch.testing.assert_close(rotate(x, cos, sin), rotate(x.contiguous(), cos, sin), rtol=0, atol=0)


def test_rotate_keeps_the_norm_of_every_pair():
    cos, sin = table()
    x = torch.randn(4, POSITIONS, SIZE, dtype=torch.float64)
    y = rotate(x, cos, sin)
    pairs = [t.unflatten(-1, (2, -1)).norm(dim=-2) for t in (x, y)]
    torch.testing.assert_close(*pairs, rtol=1e-13, atol=1e-13)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 8).map(lambda n: 2 * n),
    st.integers(1, 20),
    st.integers(0, 3000),
    st.sampled_from([100.0, 10000.0, 500000.0]),
    st.sampled_from(["half", "interleaved"]),
)
def test_rotary_is_the_definition(size, positions, start, base, layout):
    """Angles are float32, so a position p is off by at most p·2⁻²⁴ radians for each rounding (three)."""
    x = torch.randn(2, 3, positions, size, dtype=torch.float64)
    y = Rotary(size, base=base, layout=layout)(x, start)
    if layout == "interleaved":
        x, y = (torch.cat((t[..., 0::2], t[..., 1::2]), dim=-1) for t in (x, y))
    bound = 4 * (start + positions) * 2.0**-24 * x.abs().max() * 2 + 1e-6
    assert (y - exact(x, start, base)).abs().max() <= bound


def test_interleaved_is_half_under_the_permutation():
    """Dimension 2i of one layout is i of the other, 2i + 1 is i + d/2."""
    half, interleaved = Rotary(SIZE), Rotary(SIZE, layout="interleaved")
    order = torch.arange(SIZE).unflatten(0, (2, -1)).T.flatten()  # 0, d/2, 1, d/2 + 1, …
    x = torch.randn(2, 3, POSITIONS, SIZE)
    assert torch.equal(interleaved(x[..., order], 5), half(x, 5)[..., order])


@pytest.mark.parametrize("layout", ["half", "interleaved"])
def test_products_depend_on_relative_positions_alone(layout):
    rotary = Rotary(SIZE, layout=layout)
    q, k = torch.randn(2, 1, 1, 1, SIZE, dtype=torch.float64)
    q, k = (t.expand(1, 1, 40, SIZE) for t in (q, k))  # the same vector at every position
    products = (rotary(q) @ rotary(k).transpose(-1, -2))[0, 0]
    shifted = (rotary(q, 1000) @ rotary(k, 1000).transpose(-1, -2))[0, 0]
    bound = 4 * 2.0**-24 * q.norm() * k.norm()  # for each unit of position, see above
    for lag in range(-39, 40):
        diagonal = products.diagonal(lag)
        assert (diagonal - diagonal[0]).abs().max() <= bound * 80
    assert (products - shifted).abs().max() <= bound * 2 * 1040
    assert (products.diagonal(3)[0] - products.diagonal(4)[0]).abs() > 1e-3  # but they do depend on them


def test_start_is_an_offset():
    """Position by position, in any order, gives what all positions at once give."""
    rotary = Rotary(SIZE)
    x = torch.randn(2, 3, POSITIONS, SIZE)
    whole = rotary(x)
    assert torch.equal(whole[:, :, :1], x[:, :, :1])  # position 0 stays
    for i in reversed(range(POSITIONS)):
        assert torch.equal(rotary(x[:, :, i : i + 1], i), whole[:, :, i : i + 1])


def test_types_are_kept():
    rotary = Rotary(SIZE)
    for dtype in (torch.float32, torch.bfloat16, torch.float64, torch.float32):
        x = torch.randn(1, 1, POSITIONS, SIZE, dtype=dtype)
        assert rotary(x).dtype == dtype


def test_inference_mode_does_not_spoil_later_training():
    rotary = Rotary(SIZE)
    with torch.inference_mode():
        before = rotary(torch.ones(1, 1, POSITIONS, SIZE))
    x = torch.ones(1, 1, POSITIONS, SIZE, requires_grad=True)
    y = rotary(x)
    y.sum().backward()
    assert torch.equal(y, before)


def test_an_odd_size_is_refused():
    with pytest.raises(ValueError, match="even"):
        Rotary(5)


@pytest.mark.parametrize("layout", ["half", "interleaved"])
@pytest.mark.parametrize(
    ("size", "fraction", "turned"), [(12, 0.5, 6), (16, 0.25, 4), (10, 0.5, 4), (7, 0.9, 6)]
)
def test_a_fraction_turns_as_a_head_of_its_own(size, fraction, turned, layout):
    """⌊size · fraction⌋, rounded down to even: they turn as a head of that size, the rest stays."""
    x = torch.randn(2, 3, POSITIONS, size)
    y = Rotary(size, fraction=fraction, layout=layout)(x, 5)
    assert torch.equal(y[..., turned:], x[..., turned:])
    assert torch.equal(y[..., :turned], Rotary(turned, layout=layout)(x[..., :turned].contiguous(), 5))


@pytest.mark.parametrize("layout", ["half", "interleaved"])
@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_rotary_gradcheck(layout, fraction):
    rotary = Rotary(8, layout=layout, fraction=fraction)
    x = torch.randn(1, 2, 4, 8, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: rotary(x, 3), (x,))


def test_a_fraction_without_a_pair_is_refused():
    with pytest.raises(ValueError, match="no pair"):
        Rotary(6, fraction=0.2)


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_bfloat16_is_close(fraction):
    """cos, sin, both products and the sum are rounded, each by at most 2⁻⁹ of a number up to √2 |pair|."""
    rotary = Rotary(SIZE, fraction=fraction)
    x = torch.randn(2, 3, 50, SIZE).bfloat16()
    error = (rotary(x).float() - rotary(x.float())).abs().max()
    assert 0 < error <= 4 * 2.0**-9 * math.sqrt(2) * x.float().abs().max()


def reference(kind, parameters, *, size=64, base=10000.0, fraction=1.0):
    """Frequencies and factor of transformers' function of that name."""
    utils = pytest.importorskip("transformers.modeling_rope_utils")
    config = pytest.importorskip("transformers").LlamaConfig(
        hidden_size=4 * size,
        num_attention_heads=4,
        head_dim=size,
        max_position_embeddings=512,
        rope_parameters={
            "rope_type": kind, "rope_theta": base, "partial_rotary_factor": fraction, **parameters
        },
    )  # fmt: skip
    # NTK with a fixed factor k is the dynamic form at the length at which (f·L/L₀ − (f − 1)) is k.
    more = {"seq_len": int(512 * parameters["factor"])} if kind == "dynamic" else {}
    if kind == "dynamic":
        config.rope_parameters["factor"] = 1.0
    return utils.ROPE_INIT_FUNCTIONS[kind](config, **more)


def yarn(factor=4.0, original=128, fast=32.0, slow=1.0, attention=None, whole=True):
    ours = spec.YaRN(factor=factor, original=original, fast=fast, slow=slow, attention=attention, whole=whole)
    theirs = {
        "factor": factor, "original_max_position_embeddings": original, "beta_fast": fast,
        "beta_slow": slow, "attention_factor": attention, "truncate": whole,
    }  # fmt: skip
    return ours, "yarn", theirs


def llama3(factor=8.0, original=8192, slow=1.0, fast=4.0):
    theirs = {
        "factor": factor, "original_max_position_embeddings": original, "low_freq_factor": slow,
        "high_freq_factor": fast,
    }  # fmt: skip
    return spec.Llama3(factor=factor, original=original, slow=slow, fast=fast), "llama3", theirs


SCALINGS = [
    (spec.Interpolation(factor=3.0), "linear", {"factor": 3.0}),
    (spec.NTK(factor=4.0), "dynamic", {"factor": 4.0}),
    (spec.NTK(factor=8.0), "dynamic", {"factor": 8.0}),
    yarn(),
    yarn(original=4096, factor=16.0),
    yarn(original=4096, factor=0.5),
    yarn(original=2048, whole=False, attention=1.5),
    yarn(original=100000, fast=100.0, slow=3.0),
    llama3(),
    llama3(factor=32.0, original=512, slow=2.0, fast=8.0),
]


@pytest.mark.parametrize("base", [10000.0, 500000.0])
@pytest.mark.parametrize(("size", "fraction"), [(64, 1.0), (128, 0.5)])
@pytest.mark.parametrize(("scaling", "kind", "parameters"), SCALINGS, ids=lambda s: getattr(s, "kind", ""))
def test_scalings_are_those_of_transformers(scaling, kind, parameters, size, fraction, base):
    theirs, factor = reference(kind, parameters, size=size, base=base, fraction=fraction)
    rotary = build(spec.Rotary(base=base, fraction=fraction, scaling=scaling), size)
    torch.testing.assert_close(rotary.angles(torch.ones(1))[0], theirs, rtol=1e-6, atol=0)
    cos, sin = rotary.table(7, 8, torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(cos**2 + sin**2, torch.full_like(cos, factor**2), rtol=1e-6, atol=0)


def test_plain_frequencies_are_those_of_transformers_to_the_bit():
    rotary_embedding = pytest.importorskip("transformers.models.llama.modeling_llama").LlamaRotaryEmbedding
    config = pytest.importorskip("transformers").LlamaConfig(hidden_size=128, num_attention_heads=2)
    theirs = rotary_embedding(config).inv_freq
    assert torch.equal(Rotary(64).angles(torch.ones(1))[0], theirs)


def test_ntk_divides_the_slowest_pair_by_the_factor():
    """base · k^(d/(d−2)) is chosen for that: (d − 2)/d · d/(d − 2) = 1; the fastest pair stays."""
    plain, stretched = (Rotary(16, scaling=s).angles(torch.ones(1))[0] for s in (None, spec.NTK(factor=4.0)))
    torch.testing.assert_close(
        stretched[[0, -1]], plain[[0, -1]] / torch.tensor([1.0, 4.0]), rtol=1e-6, atol=0
    )


def test_ntk_with_one_pair_changes_nothing():
    positions = torch.arange(5)
    assert torch.equal(Rotary(2, scaling=spec.NTK()).angles(positions), Rotary(2).angles(positions))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 32).map(lambda n: 2 * n),
    st.sampled_from([100.0, 10000.0, 1000000.0]),
    st.integers(1, 2**20),
    st.floats(1.0, 64.0),
    st.booleans(),
)
def test_yarn_lies_between_kept_and_divided(size, base, original, factor, whole):
    """Whatever the context was, each pair is between the two and no slower pair is divided less."""
    plain = Rotary(size, base=base).angles(torch.ones(1))[0]
    scaling = spec.YaRN(factor=factor, original=original, whole=whole)
    ratio = plain / Rotary(size, base=base, scaling=scaling).angles(torch.ones(1))[0]
    assert (ratio >= 1 - 1e-6).all()
    assert (ratio <= factor * (1 + 1e-6)).all()
    assert (ratio.diff() >= -1e-6 * factor).all()


def test_the_attention_factor_is_squared_in_the_products():
    x = torch.randn(1, 1, 6, SIZE, dtype=torch.float64)
    sharp, plain = (Rotary(SIZE, scaling=spec.YaRN(attention=a))(x) for a in (1.25, 1.0))
    products = [t @ t.transpose(-1, -2) for t in (sharp, plain)]
    torch.testing.assert_close(products[0], 1.25**2 * products[1], rtol=1e-6, atol=1e-6)


def test_impossible_scalings_are_refused():
    with pytest.raises(ValueError, match=r"slow = 4.0 is not below fast = 4.0"):
        spec.Llama3(slow=4.0)
    with pytest.raises(ValueError, match=r"slow = 50.0 is not below fast = 32.0"):
        spec.YaRN(slow=50.0)
    with pytest.raises(ValueError, match="more than 1"):
        spec.Rotary(base=1.0, scaling=spec.YaRN())


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_compiled_is_eager(fraction):
    """The graph is whole, and the other form of the rotation gives the same."""
    rotary = Rotary(SIZE, fraction=fraction)
    x = torch.randn(2, 3, POSITIONS, SIZE)
    compiled = torch.compile(rotary, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, 2), rotary(x, 2), rtol=0, atol=1e-6)
