"""Masks against their definitions, pair by pair; how many keys are seen, and how far two layers see."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu import spec
from danlu.nn import plain
from danlu.nn.masks import MaskPattern, across_documents, additive_mask, boolean_mask, visible_keys

CPU = torch.device("cpu")
PATTERNS = st.one_of(
    st.none(),
    st.builds(spec.Strided, stride=st.integers(1, 9)),
    st.integers(1, 9).flatmap(
        lambda b: st.builds(spec.Fixed, block=st.just(b), columns=st.integers(1, b))
    ),
)  # fmt: skip


def sees(pattern, i, j):
    """Whether position i sees position j, from the definitions of the mask's parts."""
    in_time = not pattern.causal or j <= i or (i < pattern.prefix and j < pattern.prefix)
    near = pattern.window is None or abs(i - j) < pattern.window
    if isinstance(pattern.sparse, spec.Strided):
        chosen = abs(i - j) < pattern.sparse.stride or abs(i - j) % pattern.sparse.stride == 0
    elif isinstance(pattern.sparse, spec.Fixed):
        block = pattern.sparse.block
        chosen = i // block == j // block or j % block >= block - pattern.sparse.columns
    else:
        chosen = True
    return in_time and near and chosen


@st.composite
def spans(draw):
    queries = draw(st.integers(1, 20))
    sparse = draw(PATTERNS)
    return MaskPattern(
        queries,
        queries + draw(st.sampled_from([0, 0, 1, 7])),
        draw(st.booleans()),
        draw(st.integers(0, 25)),
        draw(st.none() | st.integers(1, 25)) if sparse is None else None,
        sparse,
    )


@settings(max_examples=300, deadline=None)
@given(spans(), st.integers(1, 24))
def test_masks_are_their_definitions(pattern, block):
    expected = torch.tensor(
        [[sees(pattern, i, j) for j in range(pattern.keys)] for i in range(pattern.offset, pattern.keys)]
    )
    mask = boolean_mask(pattern, CPU)
    assert torch.equal(mask, expected)
    assert torch.equal(visible_keys(pattern, None, CPU), expected.sum(-1))
    assert not pattern.full or expected.all()
    if pattern.plainly_causal:
        assert torch.equal(expected, torch.ones_like(expected).tril())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "BLOCK", block)
        covered = torch.zeros_like(expected)
        for start, stop, low, high in plain.blocks(pattern):
            covered[start:stop, low:high] = True
            hidden = additive_mask(pattern, start, stop, torch.float32, CPU)
            assert torch.equal(hidden == 0, expected[start:stop, low:high])
            assert torch.equal(hidden == float("-inf"), ~expected[start:stop, low:high])
    assert not (expected & ~covered).any()  # whatever is outside the blocks is invisible


@settings(max_examples=100, deadline=None)
@given(spans(), st.integers(0, 2**31))
def test_documents_are_apart(pattern, seed):
    torch.manual_seed(seed)
    documents = (torch.rand(2, pattern.keys) < 0.3).cumsum(dim=1)
    offset = pattern.offset if pattern.causal else 0
    if not pattern.causal:
        pattern = MaskPattern(pattern.keys, pattern.keys, False, 0, pattern.window, pattern.sparse)
    expected = torch.tensor(
        [[[row[i] != row[j] for j in range(pattern.keys)] for i in range(offset, pattern.keys)] for row in
         documents.tolist()]
    )  # fmt: skip
    assert torch.equal(across_documents(pattern, documents), expected)
    assert torch.equal(
        visible_keys(pattern, documents, CPU), (boolean_mask(pattern, CPU) & ~expected).sum(-1)
    )


def test_a_window_as_long_as_the_text_is_causal():
    assert torch.equal(boolean_mask(MaskPattern(9, 9, window=9), CPU), boolean_mask(MaskPattern(9, 9), CPU))
    assert not torch.equal(
        boolean_mask(MaskPattern(9, 9, window=8), CPU), boolean_mask(MaskPattern(9, 9), CPU)
    )


@pytest.mark.parametrize("root", [2, 3, 5, 8])
@pytest.mark.parametrize("kind", ["strided", "fixed"])
def test_two_sparse_layers_see_all_that_one_full_layer_sees(kind, root):
    """Child et al. 2019, section 4.2: a path of two steps leads to every earlier position (fixed: over the
    last column of its block)."""
    sparse = spec.Strided(stride=root) if kind == "strided" else spec.Fixed(block=root, columns=1)
    one = boolean_mask(MaskPattern(root * root, root * root, sparse=sparse), CPU).long()
    assert torch.equal(one @ one > 0, boolean_mask(MaskPattern(root * root, root * root), CPU))


def pairs(n, sparse):
    return int(boolean_mask(MaskPattern(n, n, sparse=sparse), CPU).sum())


@pytest.mark.parametrize("root", [2, 5, 16, 31])
def test_strided_pairs_are_counted(root):
    """With a stride of r = √n, position i sees itself and min(i, r − 1) before it, n·r − r(r − 1)/2 in all,
    and ⌊i/r⌋ multiples of r, r·(0 + … + r − 1) in all."""
    n, triangle = root * root, root * (root - 1) // 2
    assert pairs(n, spec.Strided(stride=root)) == (n * root - triangle) + root * triangle


@pytest.mark.parametrize("kind", ["strided", "fixed"])
def test_pairs_grow_as_the_power_of_three_halves(kind):
    """From n to 4n with a stride of √n: by 8, less lower powers of √n; with full attention by 16."""
    few, many = (
        pairs(r * r, spec.Strided(stride=r) if kind == "strided" else spec.Fixed(block=r, columns=1))
        for r in (16, 32)
    )
    assert 7.6 < many / few < 8.4


def test_masks_made_in_inference_mode_serve_training():
    pattern = MaskPattern(6, 6, window=3, prefix=2)
    with torch.inference_mode():
        mask, added = boolean_mask(pattern, CPU), additive_mask(pattern, 0, 6, torch.float32, CPU)
    assert not mask.is_inference()
    assert not added.is_inference()
    assert boolean_mask(pattern, CPU) is mask  # made once


def test_masks_made_in_a_transform_serve_another():
    """What torch.func wraps is dead after the transform: kept, it would end the next one."""
    pattern = MaskPattern(5, 5, window=2, prefix=1)
    scores = torch.arange(25.0, dtype=torch.float64).reshape(5, 5)

    def loss(x):
        return (x + additive_mask(pattern, 0, 5, x.dtype, CPU)).softmax(-1)[:, 0].sum()

    curvature = torch.func.hessian(loss)(scores)
    x = scores.clone().requires_grad_()
    (plainly,) = torch.autograd.grad(loss(x), x)
    torch.testing.assert_close(torch.func.grad(loss)(scores), plainly)
    assert torch.equal(torch.func.hessian(loss)(scores), curvature)
