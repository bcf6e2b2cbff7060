"""The decoder: its causality, documents, readout, precision, recomputation and state."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from danlu import spec
from danlu.nn import kernels, rms_norm
from danlu.optim import by_role
from danlu.tasks import loss_sum

VOCABULARY, CONTEXT = 13, 12
CONFIGURATIONS = {
    "plain": {},
    "learned": {"position": spec.Learned(), "norm": spec.LayerNorm(bias=True), "bias": True, "tied": False},
    "none": {"position": spec.NoPosition(), "embedding_norm": True, "softcap": 5.0},
    "gqa-window": {"mixer": spec.Attention(heads=4, kv_heads=2, window=5), "feed_forward": spec.GLU()},
    "qk-before": {"mixer": spec.Attention(heads=2, qk_norm=spec.QKNorm(when="before", gain=True))},
    "qk-after": {"mixer": spec.Attention(heads=2, window=3, qk_norm=spec.QKNorm(when="after"))},
}
every_configuration = pytest.mark.parametrize("settings", CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())


def tokens(batch=2, length=CONTEXT):
    return torch.randint(VOCABULARY, (batch, length))


@every_configuration
@pytest.mark.parametrize("kernel", ["plain", "sdpa"])
def test_the_past_does_not_see_the_future(make, monkeypatch, kernel, settings):
    """Changing token t leaves the logits before it bit for bit, and changes its own."""
    monkeypatch.setattr(kernels, "choose", lambda *_, **__: kernels.Choice(kernel, "asked for"))
    monkeypatch.setattr(kernels, "BLOCK", 5)
    model = make(**settings)
    text = tokens()
    before = model(text)
    for t in range(CONTEXT):
        changed = text.clone()
        changed[:, t:] = (changed[:, t:] + torch.randint(1, VOCABULARY, (2, CONTEXT - t))) % VOCABULARY
        after = model(changed)
        assert torch.equal(after[:, :t], before[:, :t])
        assert not torch.allclose(after[:, t], before[:, t])


@pytest.mark.parametrize("name", [name for name in CONFIGURATIONS if name != "learned"])
def test_documents_are_as_if_alone(make, name):
    """Where positions are relative, a packed document gives the logits that it gives by itself."""
    model = make(**CONFIGURATIONS[name])
    lengths = [3, 1, 6, 2]
    text = tokens(1)
    ids = torch.repeat_interleave(torch.arange(4), torch.tensor(lengths))[None]
    packed = model(text, documents=ids).split(lengths, dim=1)
    for logits, document in zip(packed, text.split(lengths, dim=1), strict=True):
        torch.testing.assert_close(logits, model(document), rtol=1e-5, atol=1e-5)  # angles are float32


@every_configuration
def test_written_out(make, settings):
    """Embedding, blocks, norm, readout, by hand from the model's own parts."""
    model = make(**settings)
    text = tokens()
    x = model.embedding.weight[text]
    if model.position is not None:
        x = x + model.position.weight[:CONTEXT]
    if settings.get("embedding_norm"):
        x = rms_norm(x)
    for block in model.blocks:
        x = x + block.mixer(block.mixer_norm(x))
        x = x + block.feed_forward(block.feed_forward_norm(x))
    logits = model.norm(x) @ model.readout.weight.T
    if cap := settings.get("softcap"):
        logits = cap * torch.tanh(logits / cap)
        assert logits.abs().max() < cap
    torch.testing.assert_close(model(text), logits)


def test_logits_are_float32_whatever_computes(make):
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        model = make(double=False)
        model.compute = dtype
        assert model(tokens()).dtype == torch.float32
        assert all(p.dtype == torch.float32 for p in model.parameters())


def test_tied_readout_is_the_embedding(make):
    tied, untied = make(), make(tied=False)
    assert tied.readout.weight is tied.embedding.weight
    assert untied.readout.weight.data_ptr() != untied.embedding.weight.data_ptr()
    sizes = [sum(p.numel() for p in m.parameters()) for m in (tied, untied)]
    assert sizes[1] - sizes[0] == VOCABULARY * 16
    loss_sum(tied, tokens(), tokens()).backward()
    with torch.no_grad():
        tied.embedding.weight.add_(1)
    assert torch.equal(tied.readout.weight, tied.embedding.weight)


def test_a_tied_gradient_is_the_sum_of_both_uses(make):
    tied, untied = make(), make(tied=False)
    weights = tied.state_dict()
    untied.load_state_dict(weights)
    text, targets = tokens(), tokens()
    for model in (tied, untied):
        loss_sum(model, text, targets).backward()
    both = untied.embedding.weight.grad + untied.readout.weight.grad
    torch.testing.assert_close(tied.embedding.weight.grad, both)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_recomputation_gives_the_same_bits(make, dropout):
    text, targets = tokens(), tokens()
    gradients = []
    for recompute in (False, True):
        model = make(dropout=dropout, double=False)
        model.recompute = recompute
        torch.manual_seed(5)
        loss = loss_sum(model, text, targets)
        loss.backward()
        gradients.append([loss.detach(), *(p.grad for p in model.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_recomputation_keeps_fewer_activations(make):
    kept = []
    for recompute in (False, True):
        model = make(layers=4)
        model.recompute = recompute
        sizes: dict[int, int] = {}

        def keep(t, sizes=sizes):
            sizes[t.data_ptr()] = t.numel()
            return t

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            model(tokens()).sum()
        kept.append(sum(sizes.values()))
    assert kept[1] < kept[0] / 2


def test_dropout_acts_in_training_alone(make):
    model, without = make(dropout=0.4), make()
    text = tokens()
    model.eval()
    assert torch.equal(model(text), without(text))
    model.train()
    first = model(text)
    assert not torch.allclose(first, without(text))
    assert not torch.allclose(first, model(text))
    torch.manual_seed(9)
    first = model(text)
    torch.manual_seed(9)
    assert torch.equal(model(text), first)


def test_dropout_acts_on_the_embedding_and_on_every_branch(make):
    """Each time it silences a share of 0.4 of the numbers (within five standard errors), and raises the
    others by 1/0.6."""
    model = make(dropout=0.4, width=64)
    seen = []
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.register_forward_hook(lambda _, given, result: seen.append((given[0], result)))
    model(tokens(8))
    assert len(seen) == 1 + 2 * len(model.blocks)
    assert not torch.equal(seen[0][0], seen[1][0])
    for given, result in seen:
        silent = result == 0
        share = silent.double().mean().item()
        assert abs(share - 0.4) <= 5 * math.sqrt(0.4 * 0.6 / silent.numel())
        torch.testing.assert_close(result[~silent], given[~silent] / 0.6)


@pytest.mark.parametrize("qk_norm", [None, spec.QKNorm()])
def test_bfloat16_is_close_to_float32(make, qk_norm):
    """A forward pass rounds some ten times a layer, to 2⁻⁹ of each number on average and at random:
    over four layers √40·2⁻⁹ ≈ 1.2 % of the logits' size; twice that is allowed."""
    model = make(layers=4, width=64, mixer=spec.Attention(qk_norm=qk_norm), double=False)
    text = tokens(4)
    exact = model(text)
    model.compute = torch.bfloat16
    assert (model(text) - exact).norm() <= 0.025 * exact.norm()


def test_bfloat16_gradients_point_the_same_way(make):
    text, targets = tokens(8), tokens(8)
    gradients = []
    for dtype in (torch.float32, torch.bfloat16):
        model = make(layers=2, width=64, mixer=spec.Attention(heads=4), double=False)
        model.compute = dtype
        loss_sum(model, text, targets).backward()
        gradients.append([p.grad for p in model.parameters()])
    for exact, rounded in zip(*gradients, strict=True):
        assert rounded.dtype == torch.float32
        assert F.cosine_similarity(exact.flatten(), rounded.flatten(), dim=0) > 0.99


@every_configuration
def test_state_makes_a_round_trip(make, settings):
    one, other = make(seed=1, **settings), make(seed=2, **settings)
    text = tokens()
    expected = one(text)
    assert not torch.allclose(other(text), expected)
    state = {name: value.clone() for name, value in one.state_dict().items()}
    other.load_state_dict(state)
    assert torch.equal(other(text), expected)
    assert set(state) - {"readout.weight"} == {n for n, _ in one.named_parameters()} - {"readout.weight"}


@every_configuration
def test_every_parameter_learns(make, settings):
    model = make(**settings)
    loss_sum(model, tokens(8), tokens(8)).backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0, name


@every_configuration
def test_roles_cover_every_parameter_once(make, settings):
    model = make(**settings)
    roles = by_role(model)
    found = [p for named in roles.values() for p in named.values()]
    assert len(found) == len(set(found)) == len(list(model.parameters()))
    assert set(found) == set(model.parameters())
    assert all(p.ndim == 2 for p in roles["kernel"].values())
    assert all(p.ndim == 1 for role in ("gain", "bias") for p in roles.get(role, {}).values())
    assert ("readout" in roles) == (not settings.get("tied", True))
    expected = {"embedding.weight"} | (
        {"position.weight"} if "position" in model._modules and model.position else set()
    )
    assert set(roles["embedding"]) == expected


def test_uniform_readout_costs_the_logarithm_of_the_vocabulary(make):
    model = make(tied=False, init=spec.Init(readout=0.0), double=False)
    text = tokens(5)
    assert (model(text) == 0).all()
    assert loss_sum(model, text, text).item() / text.numel() == pytest.approx(math.log(VOCABULARY), rel=1e-6)


@pytest.mark.slow
def test_compiled_block_agrees(make):
    """torch.compile of one block, as a run does it: values and gradients."""
    model = make(layers=1, width=32, mixer=spec.Attention(heads=2, kv_heads=1, window=7), double=False)
    block = model.blocks[0]
    x = torch.randn(2, CONTEXT, 32)
    results = []
    for function in (block, torch.compile(block, fullgraph=True)):
        at = x.clone().requires_grad_()
        block.zero_grad()
        y = function(at)
        y.square().sum().backward()
        results.append([y.detach(), at.grad, *(p.grad for p in block.parameters())])
    for eager, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-4)
