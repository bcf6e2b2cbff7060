"""What is compiled is compiled once for training and once for evaluation, and computes the same."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch._dynamo.testing import CompileCounterWithBackend

from danlu import spec
from danlu.models import Decoder
from danlu.nn import Attention, ReRotary, Rotary, kept, kernels, prepare
from danlu.nn.masks import MaskPattern, additive_mask, boolean_mask

CONTEXT = 24
TOKENS = torch.arange(2 * CONTEXT).view(2, CONTEXT) % 11
KINDS = {
    "rotary": {},
    "rerope": {"position": spec.ReRotary(window=5)},
    "latent": {"mixer": spec.LatentAttention(heads=2)},
    "alibi": {"position": spec.ALiBi()},
    "lru": {"mixer": spec.LRU(), "position": spec.NoPosition()},
    "window": {"mixer": spec.Attention(window=6)},
}


def network(**fields):
    torch.manual_seed(0)
    return Decoder(11, CONTEXT, **({"layers": 3, "width": 16} | fields))


def step(model):
    F.cross_entropy(model(TOKENS).flatten(0, 1), TOKENS.flatten()).backward()
    gradients = [p.grad for p in model.parameters()]
    model.zero_grad()
    return gradients


@pytest.mark.parametrize("kind", KINDS)
def test_one_graph_for_training_and_one_for_evaluation(kind):
    """Of all layers together, with an eager pass of another length and sampling between; no cache is looked
    into by the compiler (which would warn)."""
    torch._dynamo.reset()
    model, eager = network(**KINDS[kind]), network(**KINDS[kind])
    counter = CompileCounterWithBackend("aot_eager")
    for block in model.blocks:
        block.compile(backend=counter, fullgraph=True)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for got, expected in zip(step(model), step(eager), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)
    assert not [w for w in said if "lru_cache" in str(w.message)]
    assert counter.frame_count == 1
    step(model)
    with torch.compiler.set_stance("force_eager"), torch.no_grad():
        model(TOKENS[:, :7])
        caches = model.caches(2, CONTEXT)
        for i in range(3):
            model(TOKENS[:, i : i + 1], caches=caches)
    step(model)
    assert counter.frame_count == 1
    model.eval()
    for _ in range(2):
        with torch.no_grad():
            torch.testing.assert_close(model(TOKENS), eager(TOKENS), rtol=1e-4, atol=1e-5)
    model.train()
    step(model)
    assert counter.frame_count == 2


def test_layers_that_differ_have_a_graph_each():
    torch._dynamo.reset()
    pattern = ({"window": 4}, {"window": 8}, {"window": "full", "position": "none"})
    model = network(layers=6, pattern=pattern)
    counter = CompileCounterWithBackend("aot_eager")
    for block in model.blocks:
        block.compile(backend=counter)
    for _ in range(3):
        step(model)
    assert counter.frame_count == 3


@pytest.mark.parametrize("length", [5, 300])
def test_plain_attention_compiles_whole(length):
    """In blocks too, where the eager gradient is written into slices."""
    torch._dynamo.reset()
    q, k, v = (torch.randn(1, 2, length, 4, requires_grad=True) for _ in range(3))

    def gradients(attend):
        y = attend(q, k, v, scale=0.5, kernel="plain")
        return y.detach(), *torch.autograd.grad(y.square().sum(), (q, k, v))

    compiled = torch.compile(kernels.attend, backend="aot_eager", fullgraph=True)
    for got, expected in zip(gradients(compiled), gradients(kernels.attend), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("part", [Rotary(8), Rotary(8, fraction=0.5, layout="interleaved")])
def test_prepared_tables_are_those_made_at_each_call(part):
    x = torch.randn(1, 2, 6, 8)
    before = [part(x, start) for start in (0, 3, 20)]
    prepare(torch.nn.ModuleList([part]), 12, torch.float32, torch.device("cpu"))
    for got, expected in zip((part(x, start) for start in (0, 3, 20)), before, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(part(x.double()), part(x.double(), 0))  # of another type: made


def test_a_model_prepares_its_positions():
    model = network(position=spec.ReRotary(window=5))
    model(TOKENS)
    for module in model.modules():
        if isinstance(module, ReRotary):
            assert len(module.rotary._prepared[0]) == CONTEXT
            assert len(module.furthest._prepared[0]) == 6
    attention = Attention(16, heads=2, position="rotary")
    attention(torch.randn(1, 3, 16))
    assert attention.position._prepared is None


def test_masks_are_kept_while_there_is_room(monkeypatch):
    device = torch.device("cpu")
    assert boolean_mask(MaskPattern(5, 5), device) is boolean_mask(MaskPattern(5, 5), device)
    monkeypatch.setattr(kept, "ROOM", 3 * 100 * 100)
    masks = [boolean_mask(MaskPattern(100, 100, window=w), device) for w in (1, 2, 3)]
    assert all(
        boolean_mask(MaskPattern(100, 100, window=w), device) is m
        for w, m in zip((1, 2, 3), masks, strict=True)
    )
    boolean_mask(MaskPattern(100, 100, window=4), device)
    assert boolean_mask(MaskPattern(100, 100, window=3), device) is masks[2]
    assert boolean_mask(MaskPattern(100, 100, window=1), device) is not masks[0]
    large = MaskPattern(400, 400)
    assert torch.equal(
        boolean_mask(large, device), torch.ones(400, 400).tril().bool()
    )  # none has room for it


def test_masks_made_in_inference_mode_serve_a_backward_pass():
    with torch.inference_mode():
        mask = additive_mask(MaskPattern(3, 9, window=2), 0, 3, torch.float64, torch.device("cpu"))
    assert not mask.is_inference()
