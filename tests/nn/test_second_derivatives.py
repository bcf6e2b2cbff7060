"""Double backward through every part of ``danlu.nn``: equal to finite differences of the first derivative in
float64, alone and inside a residual network."""

from __future__ import annotations

import pytest
import torch
import torch.nn as nn
from torch.func import functional_call, hessian, jvp, vmap
from torch.func import grad as func_grad
from torch.nn.attention import SDPBackend, sdpa_kernel

from danlu import spec
from danlu.nn import (
    AttentionMask,
    Block,
    CrossAttention,
    FiLM,
    Rotary,
    attend,
    build,
    conditions,
    coordinates,
    kernels,
    plain,
    rms_norm,
    rotate,
    safe,
    scan,
    squared_relu,
)  # fmt: skip
from danlu.nn.codebook import Codebook
from danlu.nn.qk_norm import HeadNorm
from danlu.nn.registry import _CLASSES
from danlu.spec import encodings
from tests.nn.test_registry import members

WIDTH, LENGTH = 8, 7
DOCUMENTS = torch.tensor([[0, 0, 0, 1, 1, 1, 1], [0, 1, 1, 1, 1, 2, 2]])
KERNELS = ("plain", "eager")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(plain, "BLOCK", 4)  # two blocks, one of which is not full


@pytest.fixture(params=KERNELS)
def kernel(request, monkeypatch):
    """All attention by one kernel, whatever is the fastest here."""
    choose = kernels.choose

    def forced(*args, **kwargs):
        choice = choose(*args, **kwargs)
        return choice if kwargs.get("needs") else choice._replace(kernel=request.param)

    monkeypatch.setattr(kernels, "choose", forced)
    return request.param


def real(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def check(f, *inputs, fast_mode=False):
    """First and second derivatives of f by all inputs against finite differences."""
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(f, inputs, fast_mode=fast_mode)
    assert torch.autograd.gradgradcheck(f, inputs, fast_mode=fast_mode)


def check_module(module, *inputs, **more):
    """The same by inputs and parameters, along random directions."""
    names = [name for name, _ in moved(module).named_parameters()]

    def f(*tensors):
        given, parameters = tensors[: len(inputs)], tensors[len(inputs) :]
        return functional_call(module, dict(zip(names, parameters, strict=True)), given, more)

    check(f, *inputs, *module.parameters(), fast_mode=True)


def moved(module):
    """In float64, with no parameter left at zero."""
    module = module.double()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return module


FUNCTIONS = {
    "rms_norm": (rms_norm, (3, 5)),
    "squared_relu": (squared_relu, (3, 5)),
    "rotate": (lambda x: rotate(x, *Rotary(6).table(3, 7, x)), (2, 4, 6)),
    "safe.divide": (safe.divide, (3, 4), (3, 4)),
    "safe.sqrt": (lambda x: safe.sqrt(x.square() + 0.1), (3, 4)),
    "safe.log": (lambda x: safe.log(x.square() + 0.1), (3, 4)),
    "safe.norm": (safe.norm, (3, 4)),
    "scan": (scan, (3, 2), (2, 5, 3, 2), (2, 3, 2)),
    "scan in chunks": (lambda a, b: scan(0.7 * a.tanh(), b), (1, 2), (1, 70, 1, 2)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    f, *shapes = FUNCTIONS[name]
    check(f, *(real(*shape) for shape in shapes))


@pytest.mark.parametrize("part", members(spec.Norm), ids=lambda p: p.__name__)
@pytest.mark.parametrize("around_one", [False, True])
def test_norms(part, around_one):
    if around_one and "around_one" not in part.model_fields:
        return
    settings = {"around_one": True} if around_one else {}
    check_module(build(part(**settings), WIDTH), real(2, 3, WIDTH))


def test_modulated_norm():
    check_module(FiLM(WIDTH, condition=3), real(2, 3, WIDTH), real(2, 3))


@pytest.mark.parametrize("part", members(spec.Residual), ids=lambda p: p.__name__)
def test_residuals(part):
    check_module(build(part(), WIDTH), real(3, WIDTH), real(3, WIDTH))


FEED_FORWARDS = [
    part(activation=activation, hidden=6)
    for part in members(spec.FeedForward)
    for activation in part.model_fields["activation"].annotation.__args__
]


@pytest.mark.parametrize("part", FEED_FORWARDS, ids=lambda p: f"{p.kind}-{p.activation}")
def test_feed_forwards(part):
    check_module(build(part, WIDTH, bias=True), real(4, WIDTH))


ATTENTION = {
    "plain": {},
    "grouped": {"kv_heads": 1},
    "window": {"window": 3},
    "strided": {"sparse": spec.Strided(stride=2)},
    "fixed": {"sparse": spec.Fixed(block=3, columns=1)},
    "softcap": {"softcap": 2.0},
    "log-n": {"log_n": 2},
    "heads gate": {"gate": spec.HeadGate(hidden=2)},
    "elements gate": {"gate": spec.ElementGate()},
    **{f"weights {p.__name__}": {"weights": p()} for p in members(spec.Weights)},
    **{
        f"{norm} over {over}": {"qk_norm": spec.QKNorm(norm=norm, over=over, gain=norm != "l2")}
        for norm in ("rms", "layer", "l2")
        for over in ("head", "width")
    },
}


@pytest.mark.parametrize("name", ATTENTION)
def test_attention(name, kernel):
    mixer = build(spec.Attention(heads=2, **ATTENTION[name]), WIDTH, spec.Rotary())
    check_module(mixer, real(2, LENGTH, WIDTH))


@pytest.mark.parametrize("part", members(spec.Position), ids=lambda p: p.__name__)
def test_positions_in_attention(part, kernel):
    settings = {"window": 3} if part is spec.ReRotary else {}
    check_module(build(spec.Attention(heads=2), WIDTH, part(**settings)), real(2, LENGTH, WIDTH))


def test_powers_of_the_distance(kernel):
    """Of the distance zero too, on the diagonal."""
    check_module(build(spec.Attention(heads=2), WIDTH, spec.Kerple(form="power")), real(2, LENGTH, WIDTH))


def test_a_key_of_zeros():
    """Length one has no direction there; its derivatives are finite, and a second one is 0."""
    norm = HeadNorm(2, 4, norm="l2")
    k = real(1, 2, 3, 4)
    k[0, 0, 1] = 0
    k.requires_grad_()
    (first,) = torch.autograd.grad(norm(k).sin().sum(), k, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), k)
    assert torch.isfinite(first).all()
    assert torch.isfinite(second).all()
    assert torch.equal(second[0, 0, 1], torch.zeros(4).double())
    torch.testing.assert_close(norm(k), torch.nn.functional.normalize(k, dim=-1, eps=1e-6))


@pytest.mark.parametrize(
    "mask", [AttentionMask(False), AttentionMask(True, 3), AttentionMask(True, 0, DOCUMENTS)]
)
def test_what_is_visible(mask, kernel):
    check_module(build(spec.Attention(heads=2), WIDTH, spec.Kerple()), real(2, LENGTH, WIDTH), mask=mask)


def test_attention_to_a_memory(kernel):
    cross = moved(CrossAttention(WIDTH, heads=2))

    def f(x, memory):
        return cross.attend_to(x, *cross.keys_and_values(memory))

    check(f, real(2, 3, WIDTH), real(2, 5, WIDTH), fast_mode=True)


def test_latent_attention(kernel):
    part = spec.LatentAttention(heads=2, latent=6, query_latent=5, rotary_size=2)
    check_module(build(part, WIDTH, spec.Rotary()), real(2, LENGTH, WIDTH))


def test_linear_recurrent_unit():
    check_module(build(spec.LRU(state=4), WIDTH), real(2, LENGTH, WIDTH))


@pytest.fixture
def frozen_rounding(monkeypatch):
    """Code words as the straight-through estimator takes them: the vector plus a rounding error that does not
    depend on it. (Its true derivative is zero nearly everywhere.)"""
    errors = {}

    def forward(self, x):
        z = self.nearest(x)
        error = errors.setdefault(self, (self.look_up(z).to(x.dtype) - x).detach())
        return z, x + error

    real_forward = Codebook.forward
    monkeypatch.setattr(Codebook, "forward", forward)
    return real_forward


def loss(model, parameters, x):
    y = functional_call(model, parameters, (x,))
    return (y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view_as(y)).sin().sum()


def gradients(model, parameters, x, create_graph=False):
    tensors = [x, *parameters.values()]
    return torch.autograd.grad(
        loss(model, parameters, x), tensors, create_graph=create_graph, materialize_grads=True
    )


def test_straight_through(frozen_rounding, monkeypatch):
    """Second derivatives through the codebook: those of a network whose rounding errors are constants."""
    mixer = moved(build(spec.VQAttention(heads=2, codes=4, block=3), WIDTH)).eval()
    x = real(2, LENGTH, WIDTH)
    mixer(x)  # the errors of this very input
    expected = hessian_product(mixer, x)
    monkeypatch.setattr(Codebook, "forward", frozen_rounding)
    for got, wanted in zip(hessian_product(mixer, x, exact=True), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)


def hessian_product(model, x, exact=False):
    """The Hessian of ``loss`` by input and parameters times a fixed direction, by finite differences of the
    gradient, or ``exact`` by double backward."""
    parameters = {name: p.detach().requires_grad_() for name, p in model.named_parameters()}
    x = x.detach().requires_grad_()
    draw = torch.Generator().manual_seed(3)
    direction = [torch.randn(t.shape, generator=draw, dtype=t.dtype) for t in (x, *parameters.values())]
    if exact:
        first = gradients(model, parameters, x, create_graph=True)
        along = sum((g * d).sum() for g, d in zip(first, direction, strict=True))
        return torch.autograd.grad(along, [x, *parameters.values()], materialize_grads=True)
    step, sides = 1e-5, []
    for sign in (1, -1):
        dx, *rest = (sign * step * d for d in direction)
        there = {name: p + d for (name, p), d in zip(parameters.items(), rest, strict=True)}
        sides.append(gradients(model, there, x + dx))
    return [(a - b) / (2 * step) for a, b in zip(*sides, strict=True)]


NETWORKS = {
    **{f"{p.__name__}": {"norm": p()} for p in members(spec.Norm) if p is not spec.GroupNorm},
    "GroupNorm": {"norm": spec.GroupNorm(groups=2)},  # of two numbers each, groups are steps, and not smooth
    **{
        f"{p.__name__} position": {"position": p()}
        for p in members(spec.Position)
        if p.acts_on != "embedding"
    },
    **{f"{p.__name__} residual": {"residual": p()} for p in members(spec.Residual)},
    **{
        placement: {"placement": placement}
        for placement in ("post", "double", "output", "parallel", "parallel-two")
    },
    "relu2": {"feed_forward": spec.MLP(activation="relu2")},
    "glu": {"feed_forward": spec.GLU()},
    "latent": {"mixer": spec.LatentAttention(heads=2, latent=6, rotary_size=2)},
    "lru": {"mixer": spec.LRU()},
    "qk-norm": {"mixer": spec.Attention(heads=2, qk_norm=spec.QKNorm(when="after"))},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_in_a_residual_network(name, kernel):
    """A mistake in what is kept for the backward pass shows here, where each part's input depends on the
    parts before it."""
    parts = {
        "mixer": spec.Attention(heads=2),
        "feed_forward": spec.MLP(),
        "norm": spec.RMSNorm(),
        "position": spec.Rotary(),
    }
    network = moved(nn.Sequential(*(Block(WIDTH, **(parts | NETWORKS[name])) for _ in range(2))))
    x = real(2, LENGTH, WIDTH)
    for got, wanted in zip(hessian_product(network, x, exact=True), hessian_product(network, x), strict=True):
        error = (got - wanted).norm() / (wanted.norm() + 1e-3)
        assert error < 1e-6, (name, error)


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_the_fused_kernel_says_what_to_use(kv_heads):
    """PyTorch has no second derivative of it; by ``math`` it has."""
    q, k, v = (real(1, heads, LENGTH, 4).requires_grad_() for heads in (2, kv_heads, kv_heads))

    def second():
        y = attend(q * 2, k, v, scale=0.5, kernel="sdpa")
        (first,) = torch.autograd.grad(y.sin().sum(), q, create_graph=True)
        return torch.autograd.grad(first.square().sum(), (q, k, v))

    with pytest.raises(RuntimeError, match=r"no second derivative; run the forward .*SDPBackend\.MATH"):
        second()
    with sdpa_kernel(SDPBackend.MATH):
        fallback = second()
    choose_plain = attend(q * 2, k, v, scale=0.5, kernel="plain")
    (first,) = torch.autograd.grad(choose_plain.sin().sum(), q, create_graph=True)
    for a, b in zip(torch.autograd.grad(first.square().sum(), (q, k, v)), fallback, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_first_derivatives_through_the_fused_kernel_may_keep_a_graph():
    q = real(1, 2, LENGTH, 4).requires_grad_()
    y = attend(q, q, q, scale=0.5, kernel="sdpa")
    (first,) = torch.autograd.grad(y.sum(), q, create_graph=True)
    (again,) = torch.autograd.grad(attend(q, q, q, scale=0.5, kernel="sdpa").sum(), q)
    assert torch.equal(first, again)


NETWORK = {
    "mixer": spec.Attention(heads=2),
    "feed_forward": spec.MLP(activation="relu2"),
    "norm": spec.RMSNorm(),
    "position": spec.Rotary(),
}


def test_transforms(kernel):
    """``torch.func``: gradients by sample and by member of an ensemble, and Hessian products as a derivative
    of the gradient, equal what autograd gives one by one."""
    blocks = [moved(Block(WIDTH, **NETWORK)) for _ in range(3)]
    members = [dict(block.named_parameters()) for block in blocks]
    stacked = {name: torch.stack([m[name].detach() for m in members]) for name in members[0]}
    x = real(3, 2, LENGTH, WIDTH)
    batched = vmap(func_grad(lambda p, x: loss(blocks[0], p, x)))(stacked, x)
    for i, block in enumerate(blocks):
        alone = gradients(block, members[i], x[i].requires_grad_())[1:]
        for (name, got), wanted in zip(batched.items(), alone, strict=True):
            torch.testing.assert_close(got[i], wanted, rtol=1e-9, atol=1e-11, msg=name)

    parameters = {name: p.detach() for name, p in members[0].items()}
    direction = {name: torch.ones_like(p) for name, p in parameters.items()}
    of_gradient = func_grad(lambda p: loss(blocks[0], p, x[0].detach()))
    product = jvp(of_gradient, (parameters,), (direction,))[1]
    first = gradients(blocks[0], members[0], x[0].requires_grad_(), create_graph=True)[1:]
    expected = torch.autograd.grad(sum(g.sum() for g in first), [*members[0].values()])
    for got, wanted in zip(product.values(), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-10)


MIXERS = {
    "lru": spec.LRU(state=4),
    "vq": spec.VQAttention(heads=2, codes=4, block=3),
    "latent": spec.LatentAttention(heads=2, latent=6, rotary_size=2),
    "attention": spec.Attention(heads=2, window=3, weights=spec.Sinks(), gate=spec.ElementGate()),
}


@pytest.mark.parametrize(
    "encoding",
    [
        coordinates.Raw(2),
        coordinates.FourierFeatures(2, features=3, scale=0.5),
        coordinates.Octaves(2, octaves=2),
    ],
)
def test_encodings_of_coordinates(encoding):
    check_module(encoding, real(5, 2))


def test_time():
    check_module(conditions.TimeEmbedding(6, frequencies=3, fastest=4.0), real(5))


def test_every_part_is_here():
    """A part that joins danlu.nn must join a test of this file, by its family or by name."""
    families = (spec.Norm, spec.Residual, spec.FeedForward, spec.Position, spec.Weights)
    walked = {part for family in families for part in members(family)}
    walked |= {type(part) for part in (*MIXERS.values(), *(a.get("gate") for a in ATTENTION.values()))}
    walked |= {spec.FiLM, spec.Block}
    walked |= {encodings.Raw, encodings.FourierFeatures, encodings.Octaves, encodings.TimeEmbedding}
    without = {*members(spec.Scaling), spec.NoMixer}  # of constant angles; nothing
    # A bottleneck draws or rounds: what its gradient should be is asked in tests/nn/bottlenecks.
    assert {
        part
        for part, cls in _CLASSES.items()
        if cls.__module__.startswith("danlu.nn.") and "bottlenecks" not in cls.__module__
    } <= walked | without


@pytest.mark.parametrize("name", MIXERS)
def test_hessian_products_of_transforms(name):
    """Forward over reverse, ``jvp`` of ``grad``, equals double backward."""
    mixer, x = moved(build(MIXERS[name], WIDTH)).eval(), real(2, LENGTH, WIDTH)
    parameters = {n: p.detach() for n, p in mixer.named_parameters()}
    draw = torch.Generator().manual_seed(3)
    of_x, *rest = [torch.randn(t.shape, generator=draw, dtype=t.dtype) for t in (x, *parameters.values())]
    directions = dict(zip(parameters, rest, strict=True)), of_x
    of_gradient = func_grad(lambda p, x: loss(mixer, p, x), argnums=(0, 1))
    by_parameters, by_x = jvp(of_gradient, (parameters, x), directions)[1]
    expected = hessian_product(mixer, x, exact=True)
    for got, wanted in zip((by_x, *by_parameters.values()), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-9)


def test_a_whole_hessian():
    x = real(4)
    got = hessian(lambda x: rms_norm(x).pow(3).sum())(x)
    expected = torch.autograd.functional.hessian(lambda x: rms_norm(x).pow(3).sum(), x)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
