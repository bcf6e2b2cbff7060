"""The decoder: its causality, documents, readout, precision, recomputation and state."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call, grad

from danlu import spec
from danlu.nn import kernels, plain, rms_norm
from danlu.nn.derivatives import pure
from danlu.objectives import loss_sum
from danlu.optim import by_role
from tests.models.small import CONTEXT, EVERY, VOCABULARY, small, tokens

every_mixer = pytest.mark.parametrize("settings", EVERY.values(), ids=EVERY)
KERNELS = {"window": EVERY["window"], "rotary": EVERY["rotary"], "kerple-power": EVERY["kerple-power"]}


def assert_no_future(model, rows):
    text = tokens(rows)
    before = model(text)
    for t in (0, 1, CONTEXT // 2, CONTEXT - 1):
        changed = text.clone()
        changed[:, t:] = (changed[:, t:] + torch.randint(1, VOCABULARY, (rows, CONTEXT - t))) % VOCABULARY
        after = model(changed)
        torch.testing.assert_close(after[:, :t], before[:, :t], rtol=1e-12, atol=1e-12)
        assert not torch.allclose(after[:, t], before[:, t])


@every_mixer
def test_the_past_does_not_see_the_future(settings):
    """Changing token t leaves the logits before it, and changes its own."""
    assert_no_future(small(**settings), 2)


@pytest.mark.parametrize("settings", KERNELS.values(), ids=KERNELS)
@pytest.mark.parametrize("kernel", ["plain", "sdpa", "eager"])
def test_no_kernel_sees_the_future(monkeypatch, kernel, settings):
    monkeypatch.setattr(kernels, "choose", lambda *_, **__: kernels.Choice(kernel, "asked for"))
    monkeypatch.setattr(plain, "BLOCK", 5)
    assert_no_future(small(**settings), 1)


def test_a_prefix_sees_itself_and_what_follows_sees_the_past():
    model = small()
    text = tokens()
    before = model(text, prefix=5)
    for t in range(CONTEXT):
        changed = text.clone()
        changed[:, t] = (changed[:, t] + 1) % VOCABULARY
        same = (model(changed, prefix=5) == before).all(-1).all(0)
        assert same.tolist() == [i < t and not (i < 5 and t < 5) for i in range(CONTEXT)]
    assert torch.equal(model(text, prefix=1), model(text))


PLACED = ("learned", "sinusoidal", "fixed", "qk-after", "unmixed-learned")  # of absolute places
JOINED = ("vq", "lru", "lru-attention")  # what carries documents over, and is refused with them


@pytest.mark.parametrize("name", [name for name in EVERY if name not in PLACED + JOINED])
def test_documents_are_as_if_alone(name):
    """Where positions are relative, a packed document gives the logits that it gives by itself."""
    model = small(**EVERY[name])
    lengths = [3, 1, 6, 2]
    text = tokens(1)
    ids = torch.repeat_interleave(torch.arange(4), torch.tensor(lengths))[None]
    packed = model(text, documents=ids).split(lengths, dim=1)
    for logits, document in zip(packed, text.split(lengths, dim=1), strict=True):
        torch.testing.assert_close(logits, model(document), rtol=1e-5, atol=1e-5)  # angles are float32


ENDS = {
    "plain": {},
    "untied": {"tied": False, "readout_bias": True, "norm": spec.LayerNorm(bias=True)},
    "scales": {"embedding_scale": 4.0, "logit_scale": 0.3, "softcap": 5.0},
    "narrow": {"embedding_width": 5, "embedding_norm": True, "embedding_scale": 0.5},
    "narrow-untied": {"embedding_width": 5, "tied": False, "position": spec.Learned(), "placement": "post"},
}


@pytest.mark.parametrize("settings", ENDS.values(), ids=ENDS)
def test_written_out(settings):
    """Embedding, blocks, norm, readout, by hand from the model's own weights."""
    model = small(**settings)
    if model.readout.bias is not None:
        torch.nn.init.normal_(model.readout.bias)
    text = tokens()
    x = model.embedding.weight[text] * settings.get("embedding_scale", 1)
    if model.embedding_projection is not None:
        x = x @ model.embedding_projection.weight.T
    if model.position is not None:
        x = x + model.position.weight[:CONTEXT]
    if settings.get("embedding_norm"):
        x = rms_norm(x)
    for block in model.blocks:
        x = block(x)
    if settings.get("placement") != "post":
        x = model.norm(x)
    if model.readout_projection is not None:
        x = x @ model.readout_projection.weight.T
    weight = model.embedding.weight if settings.get("tied", True) else model.readout.weight
    logits = x @ weight.T + (0 if model.readout.bias is None else model.readout.bias)
    logits = logits * settings.get("logit_scale", 1)
    if cap := settings.get("softcap"):
        logits = cap * torch.tanh(logits / cap)
        assert logits.abs().max() < cap
    torch.testing.assert_close(model(text), logits)


def test_logits_are_float32_whatever_computes():
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        model = small(double=False)
        model.compute = dtype
        assert model(tokens()).dtype == torch.float32
        assert all(p.dtype == torch.float32 for p in model.parameters())


def test_tied_readout_is_the_embedding():
    tied, untied = small(), small(tied=False)
    assert tied.readout.weight is tied.embedding.weight
    assert untied.readout.weight.data_ptr() != untied.embedding.weight.data_ptr()
    sizes = [sum(p.numel() for p in m.parameters()) for m in (tied, untied)]
    assert sizes[1] - sizes[0] == VOCABULARY * 16
    loss_sum(tied, tokens(), tokens()).backward()
    with torch.no_grad():
        tied.embedding.weight.add_(1)
    assert torch.equal(tied.readout.weight, tied.embedding.weight)


def test_a_tied_gradient_is_the_sum_of_both_uses():
    tied, untied = small(), small(tied=False)
    weights = tied.state_dict()
    untied.load_state_dict(weights)
    text, targets = tokens(), tokens()
    for model in (tied, untied):
        loss_sum(model, text, targets).backward()
    both = untied.embedding.weight.grad + untied.readout.weight.grad
    torch.testing.assert_close(tied.embedding.weight.grad, both)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_recomputation_gives_the_same_bits(dropout):
    text, targets = tokens(), tokens()
    gradients = []
    for recompute in (False, True):
        model = small(dropout=dropout, double=False)
        model.recompute = recompute
        torch.manual_seed(5)
        loss = loss_sum(model, text, targets)
        loss.backward()
        gradients.append([loss.detach(), *(p.grad for p in model.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_recomputation_keeps_fewer_activations():
    kept = []
    for recompute in (False, True):
        model = small(layers=4)
        model.recompute = recompute
        sizes: dict[int, int] = {}

        def keep(t, sizes=sizes):
            sizes[t.data_ptr()] = t.numel()
            return t

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            model(tokens()).sum()
        kept.append(sum(sizes.values()))
    assert kept[1] < kept[0] / 2


def test_dropout_acts_in_training_alone():
    model, without = small(dropout=0.4), small()
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


def test_dropout_acts_on_the_embedding_and_on_every_branch():
    """Each time it silences a share of 0.4 of the numbers (within five standard errors), and raises the
    others by 1/0.6."""
    model = small(dropout=0.4, width=64)
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


@every_mixer
def test_bfloat16_is_close_to_float32(settings):
    """A forward pass rounds some ten times a layer, to 2⁻⁹ of each number on average and at random:
    over four layers √40·2⁻⁹ ≈ 1.2 % of the logits' size; twice that is allowed."""
    model = small(double=False, **{**settings, "layers": 4, "width": 64})
    text = tokens(4)
    exact = model(text)
    model.compute = torch.bfloat16
    assert (model(text) - exact).norm() <= 0.025 * exact.norm()


def test_bfloat16_gradients_point_the_same_way():
    text, targets = tokens(8), tokens(8)
    gradients = []
    for dtype in (torch.float32, torch.bfloat16):
        model = small(layers=2, width=64, mixer=spec.Attention(heads=4), double=False)
        model.compute = dtype
        loss_sum(model, text, targets).backward()
        gradients.append([p.grad for p in model.parameters()])
    for exact, rounded in zip(*gradients, strict=True):
        assert rounded.dtype == torch.float32
        assert F.cosine_similarity(exact.flatten(), rounded.flatten(), dim=0) > 0.99


@every_mixer
def test_state_makes_a_round_trip(settings):
    one, other = small(seed=1, **settings), small(seed=2, **settings)
    text = tokens()
    expected = one(text)
    assert not torch.allclose(other(text), expected)
    state = {name: value.clone() for name, value in one.state_dict().items()}
    other.load_state_dict(state)
    assert torch.equal(other(text), expected)
    assert set(state) >= {name for name, _ in one.named_parameters()}


@every_mixer
def test_every_parameter_learns(settings):
    model = small(**settings)
    loss_sum(model, tokens(8), tokens(8)).backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0, name


@every_mixer
def test_torch_func_differentiates_it_twice_and_again(settings):
    """Masks and tables are kept from call to call; of what a transform wraps, none is left to the next."""
    model, text = small(**settings).eval(), tokens()
    names, weights = zip(*((name, p.detach()) for name, p in model.named_parameters()), strict=True)

    def loss(share, *moved):
        given = {name: p + share * p.sin() for name, p in zip(names, moved, strict=True)}
        return functional_call(model, given, (text,)).square().mean()

    def curvature():
        return grad(lambda share: grad(loss)(share, *weights))(torch.zeros((), dtype=torch.float64))

    found = curvature()
    assert torch.equal(curvature(), found)
    share = torch.zeros((), dtype=torch.float64, requires_grad=True)
    with pure():
        (slope,) = torch.autograd.grad(loss(share, *weights), share, create_graph=True)
        torch.testing.assert_close(torch.autograd.grad(slope, share)[0], found)


@every_mixer
def test_roles_cover_every_parameter_once(settings):
    model = small(**settings)
    roles = by_role(model)
    found = [p for named in roles.values() for p in named.values()]
    assert len(found) == len(set(found)) == len(list(model.parameters()))
    assert set(found) == set(model.parameters())
    assert all(p.ndim == 2 for p in roles["kernel"].values())
    assert all(p.ndim == 1 for role in ("gain", "bias") for p in roles.get(role, {}).values())
    assert "embedding.weight" in roles["embedding"]


@pytest.mark.parametrize("tied", [False, True])
def test_a_tied_readout_counts_as_the_embedding(tied):
    assert ("readout" in by_role(small(tied=tied))) == (not tied)


def test_uniform_readout_costs_the_logarithm_of_the_vocabulary():
    model = small(tied=False, init=spec.Init(readout=0.0), double=False)
    text = tokens(5)
    assert (model(text) == 0).all()
    assert loss_sum(model, text, text).item() / text.numel() == pytest.approx(math.log(VOCABULARY), rel=1e-6)


@pytest.mark.slow
def test_compiled_block_agrees():
    """torch.compile of one block, as a run does it: values and gradients."""
    model = small(layers=1, width=32, mixer=spec.Attention(heads=2, kv_heads=1, window=7), double=False)
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
