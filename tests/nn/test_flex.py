"""FlexAttention: its masks and scores are those of the other kernels; the choice of it; one graph.

PyTorch runs it on a CPU as plain operators, but refuses gradients there, since what it compiles for a CPU has
no backward pass. ``grads`` lifts the refusal: the operators have one.
"""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.attention.flex_attention as torchs
from hypothesis import given, settings
from torch._dynamo.testing import CompileCounterWithBackend

from danlu import spec
from danlu.models import Decoder, Encoder
from danlu.nn import (
    ALiBi,
    Attention,
    AttentionMask,
    Clipped,
    Kerple,
    Sandwich,
    Sinks,
    SoftmaxOne,
    T5Buckets,
    attend,
    flex,
    kernels,
)
from danlu.nn import attention as attentions
from danlu.nn.fused import META
from danlu.nn.kernels import ByDistance, choose
from danlu.nn.masks import MaskPattern, across_documents, boolean_mask
from danlu.nn.outline import outlines
from tests.nn.test_masks import spans

CPU = torch.device("cpu")
F64, BF16 = torch.float64, torch.bfloat16


@pytest.fixture(autouse=True)
def quietly():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "flex_attention called without")
        yield


@pytest.fixture
def grads(monkeypatch):
    monkeypatch.setattr(torchs, "_validate_device", lambda *_: None)
    real = torchs._apply_kernel_options
    monkeypatch.setattr(
        torchs, "_apply_kernel_options", lambda *a, **b: real(*a, **b) | {"OUTPUT_LOGSUMEXP": True}
    )


def places(batch, heads, queries, keys):
    """Indices of every row, head, query and key, that broadcast."""
    return (
        torch.arange(n).view([-1 if d == i else 1 for d in range(4)])
        for i, n in enumerate((batch, heads, queries, keys))
    )


@settings(max_examples=200, deadline=None)
@given(spans())
def test_the_mask_is_that_of_the_other_kernels(pattern):
    torch.manual_seed(0)
    got = flex.mask_mod(pattern)(*places(1, 1, pattern.queries, pattern.keys))
    assert torch.equal(got[0, 0], boolean_mask(pattern, CPU))
    if not pattern.causal:
        pattern = MaskPattern(pattern.keys, pattern.keys, False, 0, pattern.window, pattern.sparse)
    documents = (torch.rand(2, pattern.keys) < 0.3).cumsum(dim=1)
    got = flex.mask_mod(pattern, documents)(*places(2, 1, pattern.queries, pattern.keys))
    expected = boolean_mask(pattern, CPU) & ~across_documents(pattern, documents)
    assert torch.equal(got[:, 0], expected)


LEARNED = ("kerple", "kerple-power", "t5")
POSITIONS = {
    "alibi": lambda: ALiBi(3, 8),
    "sandwich": lambda: Sandwich(3, 8, size=12),
    "kerple": lambda: Kerple(3, 8),
    "kerple-power": lambda: Kerple(3, 8, form="power"),
    "t5": lambda: T5Buckets(3, 8, buckets=8, distance=20),
}


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize(("queries", "keys", "causal"), [(9, 9, True), (9, 9, False), (5, 9, True)])
def test_the_scores_are_those_of_the_other_kernels(position, queries, keys, causal):
    part, q = POSITIONS[position]().double(), torch.zeros(1, 3, queries, 8, dtype=F64)
    plain = torch.randn(2, 3, queries, keys, dtype=F64)
    offset = keys - queries
    bias = part.bias(q, keys, offset, causal)
    numbers = part.numbers(q, keys, offset, causal)
    at = list(places(2, 3, queries, keys))
    got = flex.score_mod(queries, numbers, None)(plain, *at)
    torch.testing.assert_close(got, plain + bias, rtol=1e-12, atol=1e-12)
    capped = flex.score_mod(queries, numbers, 1.5)(plain, *at)
    torch.testing.assert_close(capped, 1.5 * torch.tanh((plain + bias) / 1.5), rtol=1e-12, atol=1e-12)
    assert flex.score_mod(queries, None, None) is None


def cases():
    """Settings of ``attend`` over 130 positions, more than one tile, with the parts that have gradients."""
    documents = (torch.rand(2, 130) < 0.05).cumsum(1)
    yield "window", {"window": 9}, []
    yield "prefix", {"mask": AttentionMask(True, 140)}, []
    yield "strided", {"sparse": spec.Strided(stride=7)}, []
    yield "fixed", {"sparse": spec.Fixed(block=16, columns=3)}, []
    yield "both ways", {"mask": AttentionMask(False)}, []
    yield "documents", {"mask": AttentionMask(True, 20, documents), "window": 50}, []
    for name, make in POSITIONS.items():
        part = make().double()
        yield name, {"position": part, "mask": AttentionMask(documents=documents)}, [*part.parameters()]
    sinks = Sinks(3).double()
    torch.nn.init.normal_(sinks.sinks)
    yield "sinks", {"normaliser": sinks, "window": 20, "softcap": 0.7}, [sinks.sinks]
    yield "one", {"normaliser": SoftmaxOne(3), "softcap": 2.0}, []


def test_value_and_gradients_are_those_of_plain_operators(grads, monkeypatch):
    torch.manual_seed(0)
    for name, settled, parts in cases():
        q, k, v = (torch.randn(2, heads, 130, size, dtype=F64) for heads, size in ((3, 6), (1, 6), (1, 5)))
        dy = torch.randn(2, 3, 130, 5, dtype=F64)
        position = settled.pop("position", None)
        # What a learned number is captured by, only the compiler's front end finds.
        monkeypatch.setattr(torchs, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", name not in LEARNED)
        found = []
        for kernel in ("flex", "eager"):
            bias = position and ByDistance(
                lambda p=position, q=q: p.numbers(q, 130), lambda p=position, q=q: p.bias(q, 130), True
            )
            inputs = [t.clone().requires_grad_() for t in (q, k, v)]
            y = attend(*inputs, scale=0.4, bias=bias, kernel=kernel, **settled)
            found.append([y, *torch.autograd.grad(y, [*inputs, *parts], dy)])
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11, msg=lambda m, name=name: f"{name}: {m}")


def test_tiles_are_made_once_for_a_pattern_and_hide_what_is_hidden():
    pattern = MaskPattern(512, 512, window=100)
    made = flex.tiles(pattern, None, CPU)
    assert flex.tiles(MaskPattern(512, 512, window=100), None, CPU) is made
    assert flex.tiles(MaskPattern(512, 512, window=101), None, CPU) is not made
    blocks = boolean_mask(pattern, CPU).view(4, 128, 4, 128).any(-1).any(1)
    assert torch.equal(made.to_dense()[0, 0].bool(), blocks)
    assert flex.tiles(MaskPattern(9, 9, causal=False), None, CPU) is None
    documents = torch.zeros(1, 512, dtype=torch.int64)
    assert flex.tiles(pattern, documents, CPU) is not flex.tiles(pattern, documents, CPU)


# --- the choice --------------------------------------------------------------------------------------------

# device, dtype, length, masked, needs, flexible, learned, deterministic → kernel
CHOICES = [
    ("cuda", BF16, 1024, True, None, True, False, False, "flex"),
    ("cuda", torch.float32, 1024, True, None, True, False, False, "flex"),
    ("cuda", BF16, 1024, True, None, True, True, False, "flex"),
    ("cuda", BF16, 1024, True, None, True, True, True, "sdpa"),  # its gradient is added up in any order
    ("cuda", BF16, 1024, True, None, True, False, True, "flex"),
    ("cuda", BF16, 1024, False, "softcap", True, False, False, "flex"),
    ("cuda", BF16, 1024, False, "softcap", False, False, False, "eager"),
    ("cuda", BF16, 1024, False, None, True, False, False, "flex"),
    ("cuda", BF16, 1024, False, None, False, False, False, "sdpa"),
    ("cuda", BF16, 255, True, None, True, False, False, "sdpa"),
    ("cuda", BF16, 255, False, "softcap", True, False, False, "eager"),
    ("cuda", F64, 1024, True, None, True, False, False, "sdpa"),
    ("cpu", BF16, 1024, False, "softcap", True, False, False, "eager"),
]


@pytest.mark.parametrize("row", CHOICES)
def test_the_choice(row):
    device, dtype, length, masked, needs, flexible, learned, deterministic, kernel = row
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(deterministic)
    try:
        made = choose(device, dtype, length, masked=masked, biased=learned, needs=needs, flexible=flexible)
    finally:
        torch.use_deterministic_algorithms(before)
    assert made.kernel == kernel and made.why


def test_without_triton_there_is_no_flex(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(flex, "TRITON", False)
    assert choose("cuda", BF16, 1024, masked=True, flexible=True).kernel == "sdpa"


def test_where_it_fails_others_run(monkeypatch, grads):
    torch._dynamo.reset()  # sizes that other tests compiled it for would make these symbols
    monkeypatch.setattr(flex, "_FAILED", [])
    assert flex.try_out(CPU) is None and flex.missing() is None  # with the refusal lifted
    monkeypatch.undo()
    monkeypatch.setattr(flex, "_FAILED", [])
    assert "does not support backward on CPU" in flex.try_out(CPU)
    assert choose("cuda", BF16, 1024, masked=True, flexible=True).kernel == "sdpa"
    assert choose("cuda", BF16, 1024, needs="softcap", flexible=True).kernel == "eager"


def test_what_it_can_do():
    causal, window = MaskPattern(9, 9), MaskPattern(9, 9, window=3)
    can = kernels.flexible
    assert can(window, masked=True)
    assert not can(causal, masked=False)  # a fused kernel knows the triangle
    assert can(causal, masked=False, bias="distance") and not can(causal, masked=False, bias="pairs")
    assert can(causal, masked=False, softcap=3.0) and can(causal, masked=False, normaliser=Sinks(2))
    assert not can(causal, masked=False, normaliser=Clipped(2))
    assert not can(window, masked=True, products=lambda q, k, offset: q)
    assert not can(MaskPattern(1, 9, window=3), masked=True)


def test_a_run_that_began_without_it_goes_on_without_it():
    with kernels.kernel_choice({"open": {"128": "sdpa"}, "masked": {"128": "sdpa"}}):
        assert choose("cuda", BF16, 1024, masked=True, flexible=True).kernel == "sdpa"
    with kernels.kernel_choice(kernels.to_keep("cuda", BF16)):
        for length, kernel in ((255, "sdpa"), (256, "flex"), (4096, "flex")):
            assert choose("cuda", BF16, length, masked=True, flexible=True).kernel == kernel
        assert choose("cuda", BF16, 1024, masked=True).kernel == "sdpa"  # a bias for each pair


LAYERS = {
    "window": {"window": 9},
    "softcap": {"softcap": 5.0},
    "sinks": {"weights": "sinks"},
    "clipped": {"weights": "clipped"},
    "alibi": {"position": "alibi"},
    "t5": {"position": "t5"},
    "relative": {"position": "relative"},
    "rerope": {"position": "rerope"},
    "strided": {"sparse": {"kind": "strided", "stride": 8}},
    "plain": {},
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("documents", [False, True])
def test_a_layer_says_what_a_pass_chooses(layer, documents, monkeypatch):
    """On the meta device, which then stands for a GPU."""
    with outlines():
        part = Attention(32, heads=2, **{"position": None, **LAYERS[layer]})
        x = torch.empty(2, 300, 32)
        mask = AttentionMask(documents=torch.zeros(2, 300, dtype=torch.int64) if documents else None)
    seen, real = [], kernels.choose
    monkeypatch.setattr(kernels, "choose", lambda *a, **b: seen.append(real(*a, **b)) or seen[-1])
    standing_for = META.set("cuda")
    try:
        assert part(x, mask).shape == (2, 300, 32)
        assert seen[0].kernel == part.choice("cuda", torch.float32, 300, mask, documents).kernel
    finally:
        META.reset(standing_for)


def test_on_meta_it_keeps_no_scores():
    """What a pass keeps grows with the length, where the plain one's grows with its square."""

    def kept(kernel, length):
        saved = {}
        with outlines():
            q, k, v = (torch.empty(1, heads, length, 64, dtype=BF16).requires_grad_() for heads in (8, 2, 2))

        def pack(t):
            saved[t.untyped_storage()._cdata] = t
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            attend(q, k, v, scale=0.1, softcap=30.0, kernel=kernel)
        return sum(t.untyped_storage().nbytes() for t in saved.values())

    numbers = 8 + 2 + 2 + 8  # heads of queries, keys, values, outputs
    seed = 16  # bytes, of the kernel that stands for it
    assert kept("flex", 4096) == 4096 * (2 * 64 * numbers + 4 * 8) + seed
    assert kept("eager", 4096) > 8 * 4096**2


# --- compiled ----------------------------------------------------------------------------------------------


@pytest.fixture
def taken(monkeypatch):
    """A CPU chooses as a GPU does, and layers are told of tiles."""
    real = kernels.choose
    for module in (kernels, attentions):
        monkeypatch.setattr(
            module, "choose", lambda device, dtype, *a, **b: real("cuda", torch.float32, *a, **b)
        )
    monkeypatch.setattr(attentions, "on_gpu", lambda x: True)
    monkeypatch.setattr(flex, "FROM", 32)


def model_of(cls=Decoder, **fields):
    torch.manual_seed(0)
    return cls(11, 48, **{"layers": 2, "width": 32, "mixer": spec.Attention(heads=2), **fields}).eval()


@torch.no_grad()
def test_a_model_compiles_block_by_block_with_tiles_made_outside(taken, monkeypatch):
    made = []
    real = torchs.create_block_mask
    monkeypatch.setattr(
        torchs,
        "create_block_mask",
        lambda *a, **b: made.append(torch.compiler.is_compiling()) or real(*a, **b),
    )
    monkeypatch.setattr(flex, "_HELD", {})
    model = model_of(mixer=spec.Attention(heads=2, window=7))
    tokens = torch.arange(96).view(2, 48) % 11
    documents = (tokens == 3).cumsum(1)
    expected = model(tokens, documents=documents)
    assert made == [False]  # two layers, one pattern
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    for block in model.blocks:
        block.compile(backend=counter, fullgraph=True)
    for _ in range(2):
        torch.testing.assert_close(model(tokens, documents=documents), expected, rtol=1e-5, atol=1e-5)
    assert counter.frame_count == 1 and made == [False] * 3


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("of", ["window", "softcap", "alibi", "prefix"])
def test_a_whole_model_is_one_graph(of, taken):
    parts = {
        "window": {"mixer": spec.Attention(heads=2, window=7)},
        "softcap": {"mixer": spec.Attention(heads=2, softcap=4.0, weights=spec.Sinks())},
        "alibi": {"position": spec.ALiBi()},
        "prefix": {},
    }
    model = model_of(**parts[of])
    tokens = torch.arange(96).view(2, 48) % 11
    given = {"prefix": 5} if of == "prefix" else {}
    expected = model(tokens, **given)
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    torch.testing.assert_close(compiled(tokens, **given), expected, rtol=1e-5, atol=1e-5)
    assert counter.frame_count == 1


@torch.no_grad()
def test_an_encoder_with_padding(taken, monkeypatch):
    model = model_of(Encoder)
    tokens = torch.arange(96).view(2, 48) % 11
    mask = torch.ones(2, 48, dtype=torch.bool)
    mask[1, 40:] = False
    got = model(tokens, mask=mask)
    monkeypatch.undo()
    expected = model(tokens, mask=mask)
    torch.testing.assert_close(got[0], expected[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got[1, :40], expected[1, :40], rtol=1e-4, atol=1e-4)
