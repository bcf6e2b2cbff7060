"""Vectors added to the embedding: rows of a table, learned or of sines and cosines."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu import spec
from danlu.nn.positions import Learned, Sinusoidal
from danlu.nn.registry import build


def test_learned_positions_are_rows_of_the_table():
    learned = Learned(4, 6)
    assert torch.equal(learned.at(2, 3), learned(torch.tensor([2, 3, 4])))
    learned.at(2, 4)
    with pytest.raises(ValueError, match="position 6 is beyond the 6"):
        learned.at(2, 5)


def test_the_length_takes_precedence_over_the_context():
    learned = build(spec.Learned(length=20), 4, 6)
    assert tuple(learned.weight.shape) == (20, 4)
    assert tuple(learned.at(0, 20).shape) == (20, 4)


def test_offset_rows_stand_before_the_first_position():
    """As in OPT, whose embedding of position t is row t + 2."""
    learned = Learned(4, 6, offset=2)
    assert learned.num_embeddings == 8
    assert torch.equal(learned.at(0, 6), learned.weight[2:])
    learned.at(1, 3).sum().backward()
    assert learned.weight.grad.sum(1).tolist() == [0, 0, 0, 4, 4, 4, 0, 0]
    with pytest.raises(ValueError, match="position 6 is beyond the 6"):
        learned.at(6, 1)


def test_offset_is_that_of_opt():
    module = pytest.importorskip("transformers.models.opt.modeling_opt")
    theirs = module.OPTLearnedPositionalEmbedding(6, 4)
    ours = Learned(4, 6, offset=theirs.offset)
    ours.load_state_dict(theirs.state_dict())
    assert torch.equal(ours.at(0, 5), theirs(torch.ones(1, 5, dtype=torch.long))[0])
    assert torch.equal(ours.at(3, 2), theirs(torch.ones(1, 5, dtype=torch.long), 3)[0])


def exact(position, width, base, layout, scale):
    """The definition, number by number, in float64."""
    row = [0.0] * width
    for i in range((width + 1) // 2):
        angle = position / base ** (2 * i / width)
        sine, cosine = (2 * i, 2 * i + 1) if layout == "interleaved" else (i, (width + 1) // 2 + i)
        row[sine] = scale * math.sin(angle)
        if cosine < width:
            row[cosine] = scale * math.cos(angle)
    return row


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 17),
    st.integers(1, 12),
    st.integers(0, 300),
    st.integers(1, 12),
    st.sampled_from([100.0, 10000.0]),
    st.sampled_from(["half", "interleaved"]),
    st.sampled_from([1.0, 0.25]),
)
def test_sinusoidal_is_the_definition(width, context, start, count, base, layout, scale):
    """Within the context or beyond it. Angles are float32: off by 3·2⁻²⁴ of themselves, sines by 2⁻²³."""
    got = Sinusoidal(width, context, base=base, layout=layout, scale=scale).at(start, count)
    expected = torch.tensor([exact(start + i, width, base, layout, scale) for i in range(count)])
    bound = scale * (4 * 2.0**-24 * (start + count) + 2.0**-22)
    assert got.dtype == torch.float32
    assert tuple(got.shape) == (count, width)
    assert (got - expected).abs().max() <= bound


def test_products_of_sinusoids_depend_on_the_distance_alone():
    """p_i · p_j = Σ cos((i − j) ω), the property they were chosen for."""
    p = Sinusoidal(16, 40).at(0, 40).double()
    products = p @ p.T
    for lag in range(40):
        diagonal = products.diagonal(lag)
        assert (diagonal - diagonal[0]).abs().max() <= 8 * 4 * 2.0**-24 * 40 * 2


def test_sinusoids_have_no_parameters_and_leave_no_trace_in_a_checkpoint():
    module = Sinusoidal(8, 5)
    module.at(0, 50)
    assert not list(module.parameters())
    assert not module.state_dict()


def test_sinusoids_extended_in_inference_mode_serve_training():
    module = Sinusoidal(8, 5)
    with torch.inference_mode():
        module.at(0, 50)
    x = torch.ones(50, 8, requires_grad=True)
    (x * module.at(0, 50)).sum().backward()
    assert torch.equal(x.grad, Sinusoidal(8, 50).at(0, 50))
