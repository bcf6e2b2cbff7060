"""One interface: every kind of bottleneck is built from its specification and keeps to the contract."""

from __future__ import annotations

import doctest
import inspect
from typing import get_args

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch.utils.flop_counter import FlopCounterMode

from danlu.data import Counter
from danlu.nn import build
from danlu.nn.bottlenecks import FSQ, VQ, Bottleneck, Gaussian, Gumbel, Noise, keyed
from danlu.spec import bottlenecks as spec
from tests.conftest import ROOT

KINDS = get_args(get_args(spec.Bottleneck)[0])
SMALL = [
    spec.Plain(size=3), spec.Gaussian(size=3), spec.Gaussian(size=3, free_nats=1.0),
    spec.Gumbel(groups=2, codes=5, beta=0.5),
    spec.Gumbel(groups=1, codes=3, estimator="soft"), spec.Binary(size=4, estimator="straight-through"),
    spec.VQ(size=3, codes=7), spec.VQ(size=3, codes=7, restart=0.0, estimator="rotation"),
    spec.FSQ(levels=(5, 4)), spec.LFQ(size=4, group=3), spec.LFQ(size=4, diversity=0.0),
]  # fmt: skip

# Those whose value is that of their codes: a relaxed vector's is not.
UNCODED = spec.Plain | spec.Gaussian
CODED = [p for p in SMALL if not isinstance(p, UNCODED) and getattr(p, "estimator", "") != "soft"]


def of_kind(part):
    return "-".join(str(value) for value in dict(part).values())


def given(part, rows=6, seed=1, dtype=torch.float32):
    """The bottleneck of a specification, vectors for it, and noise."""
    torch.manual_seed(seed)
    made = build(part)
    z = torch.randn(rows, made.takes).to(dtype)
    return made, z, made.draw(z, torch.Generator().manual_seed(seed))


def test_every_kind_is_here():
    assert {type(part) for part in SMALL} == set(KINDS)


@pytest.mark.parametrize("part", KINDS, ids=lambda p: p.__name__)
def test_fields_and_defaults_are_those_of_the_class(part):
    built = build(part())
    parameters = inspect.signature(type(built)).parameters
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters.values())
    assert {n: p.default for n, p in parameters.items()} == part().settings()
    assert TypeAdapter(spec.Bottleneck).validate_python(part().kind) == part()


@pytest.mark.parametrize("part", SMALL, ids=of_kind)
def test_what_comes_out(part):
    made, z, noise = given(part)
    before = torch.random.get_rng_state()
    out = made(z.view(2, 3, -1), None if noise is None else noise.view(2, 3, -1))
    assert torch.equal(before, torch.random.get_rng_state())  # nothing is drawn inside
    assert isinstance(made, Bottleneck)
    assert out.value.shape == (2, 3, made.gives)
    assert out.penalty.shape == ()
    assert (noise is None) == (made.noise is None)
    if made.groups:
        assert out.codes.dtype == torch.int64
        assert out.codes.shape == (2, 3, made.groups)
        assert 0 <= out.codes.min() <= out.codes.max() < made.codes
    else:
        assert out.codes is None
    if out.kl is not None:
        assert out.kl.shape[:2] == (2, 3)
        assert (out.kl > -1e-6).all()


@pytest.mark.parametrize("part", SMALL, ids=of_kind)
def test_one_vector_and_half_precision(part):
    made, z, noise = given(part, dtype=torch.bfloat16)
    out = made(z[0], None if noise is None else noise[0])
    assert (out.value.shape, out.value.dtype) == ((made.gives,), torch.bfloat16)
    assert out.penalty.dtype == torch.float32


@pytest.mark.parametrize("part", SMALL, ids=of_kind)
def test_the_gradient_arrives(part):
    made, z, noise = given(part)
    out = made(z.requires_grad_(), noise)
    weights = torch.randn(out.value.shape)
    (grad,) = torch.autograd.grad((out.value * weights).sum() + out.penalty, z)
    assert grad.isfinite().all()
    assert (grad.abs().sum(-1) > 0).all()


@pytest.mark.parametrize("part", CODED, ids=of_kind)
def test_codes_stand_for_the_value(part):
    made, z, noise = given(part)
    out = made(z, noise)
    assert torch.equal(made.look_up(out.codes), out.value)


@pytest.mark.parametrize("part", SMALL, ids=of_kind)
def test_additive_says_whether_parts_of_a_batch_add_up(part):
    made, z, noise = given(part, rows=8)
    whole = made(z, noise).penalty
    halves = [made(z[i : i + 4], None if noise is None else noise[i : i + 4]).penalty for i in (0, 4)]
    gap = float(abs(whole - sum(halves) / 2))
    assert gap < 1e-6 if made.additive else gap > 1e-4


@pytest.mark.parametrize("part", SMALL, ids=of_kind)
def test_flops_are_those_that_are_counted(part):
    made, z, _ = given(part)
    with FlopCounterMode(display=False) as counter:
        made.eval()(z)
    assert counter.get_total_flops() == made.flops(len(z))


@pytest.mark.parametrize("part", SMALL, ids=of_kind)
def test_other_shapes_are_refused(part):
    made, z, noise = given(part)
    with pytest.raises(ValueError, match=f"{made.name}: z has {made.takes + 1} numbers a vector"):
        made(torch.zeros(2, made.takes + 1))
    wrong = torch.zeros(5, 99) if noise is None else noise[:5]
    with pytest.raises(ValueError, match="noise"):
        made.eval()(z, wrong)


def test_restarts_need_noise_in_training():
    with pytest.raises(ValueError, match=r"restart = 0\.5 needs noise in training"):
        VQ(size=2, codes=3, restart=0.5)(torch.zeros(1, 2))
    VQ(size=2, codes=3, restart=0.5).eval()(torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("gaussian", {"size": 0}), ("gumbel", {"codes": 1}), ("vq", {"decay": 1.5}), ("fsq", {"levels": [2]}),
        ("fsq", {"levels": []}), ("fsq", {"levels": [2**21] * 3}), ("lfq", {"size": 63}),
        ("binary", {"temperature": 0.0}), ("gumbel", {"estimator": "reinforce"}), ("rvq", {}),
    ],
)  # fmt: skip
def test_what_no_bottleneck_can_be(kind, fields):
    with pytest.raises(ValidationError):
        TypeAdapter(spec.Bottleneck).validate_python({"kind": kind, **fields})


def test_constructors_refuse_the_same():
    with pytest.raises(ValueError, match="size"):
        Gaussian(size=-1)
    with pytest.raises(ValueError, match=r"levels.*at least 3"):
        FSQ(levels=[8, 2])


@pytest.mark.parametrize("part", SMALL, ids=of_kind)
def test_one_graph(part):
    """Nothing in it breaks a graph, and what is compiled is what is written."""
    torch._dynamo.reset()
    made, z, noise = given(part)
    expected = made(z, noise)
    out = torch.compile(made, backend="eager", fullgraph=True)(z, noise)
    assert torch.equal(out.value, expected.value)
    torch.testing.assert_close(out.penalty, expected.penalty)


def test_the_page_is_as_it_runs():
    text = (ROOT / "docs" / "bottlenecks.md").read_text(encoding="utf-8")
    page = doctest.DocTestParser().get_doctest(text, {}, "bottlenecks.md", None, 0)
    torch.manual_seed(0)
    done = doctest.DocTestRunner().run(page)
    assert (done.failed, done.attempted > 15) == (0, True)


def test_noise_by_keys_is_splitmix():
    """The published first outputs of SplitMix64 from the state 1234567, of which 53 bits are kept."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    made = keyed(Noise("uniform", 2), torch.tensor([1234567, 3]), 2)
    assert made.shape == (2, 2, 2)
    assert [int(u * 2**53) for u in made[0].flatten().tolist()] == [word >> 11 for word in published]
    assert keyed(None, torch.tensor([1]), 2) is None


def test_noise_by_keys_is_normal():
    """To four standard errors: mean, variance, fourth moment, and what neighbours have in common."""
    keys = torch.from_numpy(Counter(0, 0).words(0, 1000, 1)[:, 0].astype("int64"))
    z = keyed(Noise("normal", 10), keys, 10).flatten()
    for moment, expected, variance in ((z, 0, 1), (z**2, 1, 2), (z**4, 3, 96), (z[1:] * z[:-1], 0, 1)):
        assert abs(float(moment.mean()) - expected) < 4 * (variance / len(z)) ** 0.5


def test_noise_is_what_the_counter_draws():
    """By place: two halves of the rows are the whole, and so are the codes of both."""
    made = Gumbel(groups=2, codes=3)
    z = torch.randn(8, 6)

    def codes(start, stop):
        noise = getattr(Counter(1, 2), made.noise.law)(start, stop, made.noise.size)
        return made(z[start:stop], torch.from_numpy(noise)).codes

    assert torch.equal(codes(0, 8), torch.cat((codes(0, 3), codes(3, 8))))
