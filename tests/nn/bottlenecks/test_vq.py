"""The codebook against its definition, its restarts, and its optimum on a normal variable."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.distributions import Normal

from danlu.nn import after_update
from danlu.nn.bottlenecks import VQ
from tests.conftest import LIMIT


def uniform(rows, seed):
    return torch.rand(rows, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def same(a, b):
    """Whether all that is kept is equal, bit for bit."""
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_nearest_word():
    made, z = VQ(size=3, codes=9).double().eval(), torch.randn(50, 3, dtype=torch.float64)
    out = made(z)
    distances = torch.cdist(z, made.words)
    assert torch.equal(out.codes[:, 0], distances.argmin(-1))
    torch.testing.assert_close(out.penalty, 0.25 * distances.amin(-1).square().mean())


def test_the_commitment_draws_vectors_and_not_words():
    made, z = VQ(size=3, codes=5, commitment=0.7, restart=0.0), torch.randn(8, 3).requires_grad_()
    out = made(z)
    (grad,) = torch.autograd.grad(out.penalty, z)
    torch.testing.assert_close(grad, 0.7 * 2 * (z.detach() - out.value.detach()) / 8)
    assert not list(made.parameters())


@pytest.mark.parametrize(("estimator", "factor"), [("straight-through", 1.0), ("rotation", None)])
def test_the_estimator_is_the_one_named(estimator, factor):
    made = VQ(size=3, codes=5, estimator=estimator, restart=0.0).eval()
    z = torch.randn(8, 3, requires_grad=True)
    out, upstream = made(z), torch.randn(8, 3)
    (grad,) = torch.autograd.grad((out.value * upstream).sum(), z)
    scale = factor or out.value.detach().norm(dim=-1) / z.detach().norm(dim=-1)
    torch.testing.assert_close(grad.norm(dim=-1), scale * upstream.norm(dim=-1))
    assert torch.equal(grad, upstream) == (estimator == "straight-through")


def test_averages_are_their_formula():
    """As loops in float64, over updates of two passes each."""
    decay, eps, codes = 0.8, 1e-3, 4
    made = VQ(size=2, codes=codes, decay=decay, smoothing=eps, restart=0.0)
    counts, sums = made.counts.double(), made.sums.double()
    for update in range(5):
        n, m = torch.zeros(codes).double(), torch.zeros(codes, 2).double()
        for i in range(2):
            z = torch.randn(7, 2, generator=torch.Generator().manual_seed(10 * update + i))
            for code, vector in zip(made(z).codes[:, 0].tolist(), z.double(), strict=True):
                n[code] += 1
                m[code] += vector
        after_update(made)
        counts, sums = decay * counts + (1 - decay) * n, decay * sums + (1 - decay) * m
        smoothed = (counts + eps) / (counts.sum() + codes * eps) * counts.sum()
        torch.testing.assert_close(made.counts.double(), counts, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(made.sums.double(), sums, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(made.words.double(), sums / smoothed[:, None], rtol=1e-5, atol=1e-6)


def test_nothing_gathered_nothing_moved():
    made, other = VQ(size=2, codes=4), VQ(size=2, codes=4)
    other.load_state_dict(made.state_dict())
    after_update(made)
    made.eval()(torch.randn(5, 2))
    after_update(made.train())
    assert same(made, other)
    made(torch.randn(5, 2), uniform(5, 0))
    after_update(made)
    assert not same(made, other)


def lonely(decay=0.5):
    """One code that all vectors choose, and three that none does."""
    made = VQ(size=2, codes=4, decay=decay, restart=0.05)
    made.words.copy_(torch.tensor([[0.0, 0.0], [90.0, 0.0], [0.0, 90.0], [90.0, 90.0]]))
    made.sums.copy_(made.words)
    return made


def test_dead_codes_begin_again_at_vectors_of_the_batch():
    """Those with the smallest numbers, in their order; N and m are set too. N of a dead code is ½ and then ¼,
    the mean (½ + 20 + 3/2)/4 = 5.5 and then 7.75: below 0.05 of it at the second update."""
    made = lonely()
    run(made, 1)
    assert torch.equal(made.counts[1:], torch.full((3,), 0.5))
    counts, sums = made.counts.clone(), made.sums.clone()
    z, noise = torch.randn(40, 2), uniform(40, 7)
    made(z, noise)
    after_update(made)
    chosen = z[noise[:, 0].argsort()[:3]]
    mean = (0.5 * counts.sum() + 0.5 * 40) / 4
    assert 0.05 * mean > 0.25
    torch.testing.assert_close(made.counts[1:], mean.expand(3))
    assert torch.equal(made.words[1:], chosen)
    torch.testing.assert_close(made.sums[1:], mean * chosen)
    torch.testing.assert_close(made.sums[0], 0.5 * sums[0] + 0.5 * z.sum(0), rtol=1e-5, atol=1e-5)


def test_without_restarts_they_stay_dead():
    made = lonely()
    made.restart, made.noise = 0.0, None
    for _ in range(8):
        made(torch.randn(40, 2))
        after_update(made)
    assert torch.equal(made(torch.randn(40, 2)).codes.unique(), torch.tensor([0]))


def test_fewer_vectors_than_dead_codes():
    """Each vector is taken once; the codes that are left over wait."""
    made = lonely(decay=0.01)
    z = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    made(z, torch.tensor([[0.9], [0.1]]))
    after_update(made)
    assert torch.equal(made.words[1:3], z.flip(0))
    assert made.counts[3] < 0.05 * made.counts.mean()
    torch.testing.assert_close(made.counts[3], torch.tensor(0.01))


def run(made, updates, parts=(40,), first=0):
    """Updates by batches of 40 vectors, each in passes of these sizes."""
    for update in range(first, first + updates):
        z = torch.randn(40, 2, generator=torch.Generator().manual_seed(update))
        noise = uniform(40, 1000 + update)
        start = 0
        for rows in parts:
            made(z[start : start + rows], noise[start : start + rows])
            start += rows
        after_update(made)


def test_restarts_do_not_depend_on_how_a_batch_is_divided():
    """Equal choices: the averages differ by rounding alone, though codes began again on the way."""
    whole, divided = lonely(), lonely()
    before = whole.words.clone()
    for update in range(12):
        run(whole, 1, (40,), update)
        run(divided, 1, (10, 1, 9, 20), update)
        torch.testing.assert_close(whole.words, divided.words, rtol=1e-4, atol=1e-4)
    assert (whole.words - before).norm(dim=-1).min() > 0.01


def test_it_goes_on_bit_for_bit():
    """A checkpoint after any update holds all: a new module that reads it continues as the old one."""
    for stop in (1, 3, 7):
        straight, broken = lonely(), lonely()
        run(straight, 10)
        run(broken, stop)
        torch.manual_seed(stop)
        resumed = VQ(size=2, codes=4, decay=0.5, restart=0.05)
        resumed.load_state_dict(broken.state_dict())
        run(resumed, 10 - stop, first=stop)
        assert same(straight, resumed)


PROCESS = """
import sys, torch, torch.distributed as dist
from safetensors.torch import load_file, save_file
from danlu.nn.bottlenecks import VQ
rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
given = load_file(f"{folder}/given.safetensors")
made = VQ(size=2, codes=4, decay=0.5, restart=0.05)
made.load_state_dict({name: given[name] for name in made.state_dict()})
for z, noise in zip(given["z"], given["noise"]):
    for part in range(2):  # two passes in each process
        rows = slice(20 * rank + 10 * part, 20 * rank + 10 * part + 10)
        made(z[rows], noise[rows])
    made.after_update()
save_file(made.state_dict(), f"{folder}/{rank}.safetensors")
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_move_together(tmp_path):
    """With halves of each batch: as one with the whole, and both alike, bit for bit; restarts on the way."""
    alone = lonely()
    batches = torch.randn(6, 40, 2), torch.stack([uniform(40, update) for update in range(6)])
    given = {name: t.clone() for name, t in alone.state_dict().items()}
    save_file(given | dict(zip(("z", "noise"), batches, strict=True)), tmp_path / "given.safetensors")
    running = [subprocess.Popen([sys.executable, "-c", PROCESS, str(i), str(tmp_path)]) for i in range(2)]
    assert [process.wait(timeout=LIMIT) for process in running] == [0, 0]
    for z, noise in zip(*batches, strict=True):
        alone(z, noise)
        after_update(alone)
    assert (alone.words - given["words"])[1:].norm(dim=-1).min() > 1  # all began again
    left, right = (load_file(tmp_path / f"{i}.safetensors") for i in range(2))
    for name, kept in alone.state_dict().items():
        assert torch.equal(left[name], right[name])
        torch.testing.assert_close(left[name], kept, rtol=1e-4, atol=1e-4)


# Of the optimal scalar quantiser of N(0, 1) (Max 1960, table I): codes → squared error, perplexity; and how
# many updates lead there.
LLOYD_MAX = {
    2: (0.36338, 2.0),
    4: (0.11748, 3.761),
    8: (0.03455, 7.085),
    16: (0.00950, 13.60),
    32: (0.00250, 26.53),
}
UPDATES = {2: 200, 4: 400, 8: 800, 16: 2000, 32: 6000}


def distortion(words):
    """E (x − nearest word)² of x ~ N(0, 1), in closed form, and the probability of each word's cell."""
    words = words.double().sort().values
    normal = Normal(torch.zeros(()).double(), torch.ones(()).double())
    edges = torch.cat((torch.tensor([-torch.inf]), (words[1:] + words[:-1]) / 2, torch.tensor([torch.inf])))
    density = normal.log_prob(edges).exp()
    inner = edges.nan_to_num(posinf=0, neginf=0) * density
    mass = normal.cdf(edges).diff()
    # over a cell: ∫x²φ = mass − [xφ], ∫xφ = −[φ]
    second, first = mass - inner.diff(), -density.diff()
    return float((second - 2 * words * first + words.square() * mass).sum()), mass


def trained(codes, rows=1024):
    """On one draw from each of 1,024 equal parts of the normal, new ones at every update; from random words,
    with restarts."""
    torch.manual_seed(codes)
    made, draw = VQ(size=1, codes=codes, decay=0.9), torch.Generator().manual_seed(codes)
    for update in range(UPDATES[codes]):
        within = torch.rand(rows, dtype=torch.float64, generator=draw)
        z = torch.special.ndtri((torch.arange(rows) + within) / rows)[:, None].float()
        made(z, uniform(rows, update))
        after_update(made)
    return made


@pytest.mark.parametrize("codes", [2, 4, 8, 16, pytest.param(32, marks=pytest.mark.slow)])
def test_scalars_reach_the_quantiser_of_lloyd_and_max(codes):
    """Within 1 %, never below, and above Shannon's 2^(−2·bits)."""
    least, perplexity = LLOYD_MAX[codes]
    error, mass = distortion(trained(codes).words[:, 0])
    assert least - 1e-5 < error < 1.01 * least
    assert float(torch.special.entr(mass).sum().exp()) == pytest.approx(perplexity, rel=0.01)
    assert error > codes**-2


def test_no_words_are_below_it():
    for seed in range(200):
        draw = torch.Generator().manual_seed(seed)
        words = torch.randn(4, generator=draw) * (0.2 + 0.01 * seed)
        assert distortion(words)[0] > LLOYD_MAX[4][0] - 1e-5
    z = torch.randn(200_000, dtype=torch.float64)
    near = (z[:, None] - words.double()).abs().amin(-1).square()
    assert abs(distortion(words)[0] - float(near.mean())) < 4 * float(near.std()) / math.sqrt(len(z))
