"""The codebook against its definitions: nearest by distance, averages written as loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.nn.codebook import LEAST, Codebook


def vectors(*shape, dtype=torch.float32):
    return torch.randn(shape, dtype=dtype)


@given(heads=st.integers(1, 3), codes=st.integers(1, 9), size=st.integers(1, 6), length=st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_the_nearest_code_word(heads, codes, size, length):
    book = Codebook(heads, codes, size).double()
    x = vectors(2, heads, length, size, dtype=torch.float64)
    z, words = book.eval()(x)
    distances = torch.cdist(x, book.codes)
    assert torch.equal(z, distances.argmin(dim=-1))
    torch.testing.assert_close((x - words).norm(dim=-1), distances.amin(dim=-1))
    for head in range(heads):
        assert torch.equal(words[:, head], book.codes[head][z[:, head]])


def test_code_words_start_at_the_scale_of_the_keys():
    book = Codebook(2, 5, 16, scale=0.5)
    rms = book.codes.square().mean(dim=-1).sqrt()
    torch.testing.assert_close(rms, torch.full((2, 5), 0.5), rtol=1e-4, atol=0)
    assert torch.equal(book.sums, book.codes)
    assert torch.equal(book.counts, torch.ones(2, 5))
    torch.manual_seed(3)
    first = Codebook(2, 5, 16).codes
    torch.manual_seed(3)
    assert torch.equal(first, Codebook(2, 5, 16).codes)


def test_the_gradient_passes_straight_through():
    book = Codebook(2, 4, 3)
    x, weight = vectors(2, 2, 5, 3).requires_grad_(), vectors(2, 2, 5, 3)
    z, words = book(x)
    assert torch.equal(words, book.look_up(z))
    (words * weight).sum().backward()
    assert torch.equal(x.grad, weight)
    assert not list(book.parameters())


def test_moving_averages_by_their_definition():
    """All forward passes of an update count together, as one batch would."""
    book = Codebook(2, 4, 3, decay=0.9)
    counts, sums = book.counts.double(), book.sums.double()
    for _ in range(3):
        new_counts, new_sums = torch.zeros(2, 4).double(), torch.zeros(2, 4, 3).double()
        for _ in range(2):
            x = vectors(2, 2, 7, 3)
            z, _ = book(x)
            for b, h, t in torch.cartesian_prod(*map(torch.arange, z.shape)).tolist():
                new_counts[h, z[b, h, t]] += 1
                new_sums[h, z[b, h, t]] += x[b, h, t].double()
        book.after_update()
        counts, sums = 0.9 * counts + 0.1 * new_counts, 0.9 * sums + 0.1 * new_sums
        torch.testing.assert_close(book.counts.double(), counts, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(book.sums.double(), sums, rtol=1e-5, atol=1e-6)
        expected = sums / counts.clamp(min=LEAST)[..., None]
        torch.testing.assert_close(book.codes.double(), expected, rtol=1e-5, atol=1e-6)


def test_nothing_gathered_nothing_moved():
    book = Codebook(1, 4, 3)
    book(vectors(1, 1, 5, 3))
    book.after_update()
    before = {name: t.clone() for name, t in book.state_dict().items()}
    assert set(before) == {"codes", "counts", "sums"}
    book.after_update()
    book.eval()(vectors(1, 1, 5, 3))
    book.train().after_update()
    for name, t in book.state_dict().items():
        assert torch.equal(t, before[name]), name


def test_an_unused_code_word_stays_until_its_count_is_below_the_floor():
    book = Codebook(1, 2, 2, decay=0.5)
    book.codes.copy_(torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]]))
    book.sums.copy_(book.codes)
    for update in range(1, 12):
        book(torch.tensor([[[[1.0, 0.0]]]]))
        book.after_update()
        count = 0.5**update
        torch.testing.assert_close(book.counts[0, 1], torch.tensor(count))
        torch.testing.assert_close(book.codes[0, 1], torch.tensor([-min(1.0, count / LEAST), 0.0]))


def test_code_words_find_the_centres_of_clusters():
    """Each moves to the mean of its cluster; what remains is the noise of a mean over about
    64/3 · 1/(1 − γ) = 213 vectors of deviation 0.05: 0.05/√213 = 0.0034, of which ten are allowed."""
    centres = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    book = Codebook(1, 3, 2, decay=0.9)
    book.codes.copy_(centres + 0.5)
    for _ in range(150):
        x = centres[torch.randint(3, (64,))] + 0.05 * vectors(64, 2)
        book(x.view(1, 1, 64, 2))
        book.after_update()
    assert (book.codes[0] - centres).abs().max() < 0.034


@pytest.mark.parametrize(("used", "expected"), [(1, 1.0), (4, 4.0), (8, 8.0)])
def test_perplexity_counts_the_code_words_in_use(used, expected):
    book = Codebook(2, 8, 8)
    book.codes.copy_(torch.eye(8).expand(2, 8, 8))
    assert float(book.perplexity) == 0
    book(torch.eye(8)[:used].repeat(3, 1).expand(1, 2, -1, -1))
    assert float(book.perplexity) == pytest.approx(expected, rel=1e-5)
    assert book.perplexity.dtype == torch.float32
    assert not book.perplexity.requires_grad


def test_several_processes_move_together(monkeypatch):
    """Two processes that saw the same: as one that saw it twice."""
    alone, together = Codebook(2, 4, 3), Codebook(2, 4, 3)
    together.load_state_dict(alone.state_dict())
    x = vectors(1, 2, 9, 3)
    for _ in range(2):
        alone(x)
    together(x)
    alone.after_update()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda t, group: t.mul_(2))
    together.after_update()
    for name, t in alone.state_dict().items():
        torch.testing.assert_close(together.state_dict()[name], t)
