"""Networks of one graph as one: each member is what it is alone, whatever its neighbours are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn as nn

from danlu import optim, spec
from danlu.models import build
from danlu.models.decoder import Decoder
from danlu.nn import Linear, RMSNorm
from danlu.nn import build as build_part
from danlu.nn.stacked import not_stackable, stack
from danlu.optim.base import Rule
from danlu.optim.stacked import StackedRules
from danlu.spec.base import Spec

SMALL: dict[str, Any] = {"layers": 2, "width": 16, "mixer": {"kind": "attention", "heads": 2}}
VOCABULARY, CONTEXT = 11, 6


def attention(**settings: Any) -> dict[str, Any]:
    return {"mixer": {"kind": "attention", "heads": 2, **settings}}


POSITIONS = ["none", "learned", "sinusoidal", "alibi", "sandwich", "kerple", "t5", "relative", "rerope"]
POST = {"placement": "post", "init": {"branch": "same"}}
NETWORKS: dict[str, dict[str, Any]] = {
    "rms": {"norm": {"kind": "rms", "gain": True}},
    "around one": {"norm": {"kind": "rms", "around_one": True}},
    "layer": {"norm": {"kind": "layer", "bias": True}, "bias": True, "readout_bias": True},
    "group": {"norm": {"kind": "group", "groups": 2}},
    "no norm": {"norm": "none"},
    "tied": {"tied": True, "embedding_scale": 2.0, "logit_scale": 0.5, "softcap": 5.0},
    "untied, embedding norm": {"tied": False, "embedding_norm": True},
    "narrow embedding": {"embedding_width": 8},
    "μP": {"base_width": 8},
    "queries in groups": attention(kv_heads=1),
    "window": attention(window=3),
    "strided": attention(sparse={"kind": "strided", "stride": 2}),
    "softcap": attention(softcap=3.0),
    "log n": attention(log_n=3),
    "biases": attention(biases="inputs"),
    "qk-norm": attention(qk_norm={"gain": True, "per_head": True}),
    "qk-norm around one": attention(qk_norm={"gain": True, "around_one": True}),
    "qk-norm over the width": attention(qk_norm={"gain": True, "over": "width"}),
    "key norm": attention(qk_norm={"norm": "l2", "of": "keys", "when": "after"}),
    "latent": {"mixer": {"kind": "latent", "heads": 2, "latent": 4, "query_latent": 4, "rotary_size": 4}},
    "no mixer": {"mixer": "none", "position": "learned"},
    **{f"weights {kind}": attention(weights=kind) for kind in ("softmax1", "sinks", "clipped", "relu")},
    "gate of heads": attention(gate={"kind": "heads"}),
    "gate of hidden": attention(gate={"kind": "heads", "hidden": 3}),
    "gate of elements": attention(gate={"kind": "elements"}),
    **{
        f"position {kind}": {"position": kind}
        for kind in POSITIONS
    },
    "kerple, power": {"position": {"kind": "kerple", "form": "power"}},
    "t5, each layer": {"position": {"kind": "t5", "shared": False}},
    **{
        f"rotary {kind}": {"position": {"kind": "rotary", "scaling": kind}}
        for kind in ("linear", "ntk", "yarn", "llama3")
    },
    **{f"activation {name}": {"feed_forward": {"activation": name}} for name in ("relu", "relu2", "silu")},
    "glu": {"feed_forward": {"kind": "glu", "biases": True}},
    **{f"placement {name}": {"placement": name} for name in ("double", "output", "parallel", "parallel-two")},
    **{f"residual {name}": {"residual": name} for name in ("none", "sqrt2", "depth-scaled", "layer-scale")},
    "residual rezero": {"residual": "rezero", "init": {"branch": "same"}},
    "residual deepnorm": {"residual": "deepnorm", **POST},
    "residual admin": {"residual": "admin", **POST},
    "pattern": {"pattern": [{"window": 2}, {"window": "full", "position": "none"}]},
}  # fmt: skip


def made(
    settings: dict[str, Any], seed: int, vocabulary: int = VOCABULARY, context: int = CONTEXT
) -> Decoder:
    """A decoder of that seed whose weights, zeros and ones too, are moved away from where they start."""
    torch.manual_seed(seed)
    model = build(spec.Decoder.model_validate({**SMALL, **settings}), vocabulary, context).double()
    model.compute = torch.float64
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p), alpha=0.1)
    return model


def passed(model: Any, ids: torch.Tensor, cotangent: torch.Tensor) -> dict[str, torch.Tensor]:
    """Logits, and the gradients of their sum weighted by ``cotangent``, by name."""
    model.zero_grad()
    logits = model(ids)
    (logits * cotangent).sum().backward()
    return {"logits": logits.detach()} | {
        n: p.grad for n, p in model.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_a_member_is_what_it_is_alone(name: str) -> None:
    models = [made(NETWORKS[name], seed) for seed in (1, 2, 3)]
    ids = torch.randint(VOCABULARY, (6, CONTEXT))
    cotangent = torch.randn(6, CONTEXT, VOCABULARY, dtype=torch.float64)
    alone = [passed(m, *of) for m, *of in zip(models, ids.split(2), cotangent.split(2), strict=True)]
    together = passed(stack(models), ids, cotangent)
    assert together.keys() == alone[0].keys()
    assert torch.allclose(together.pop("logits"), torch.cat([a.pop("logits") for a in alone]), 1e-12, 1e-12)
    for weight, grad in together.items():
        for k, one in enumerate(alone):
            assert torch.allclose(grad[k], one[weight], rtol=1e-11, atol=1e-12), weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - {"gate of hidden"}))
def test_on_a_cpu_it_is_so_to_the_bit(name: str, dtype: torch.dtype) -> None:
    """Logits and gradients, at sizes as small networks have them."""
    vocabulary, context = 65, 32
    models = [made({"width": 32, **NETWORKS[name]}, seed, vocabulary, context).float() for seed in (1, 2, 3)]
    for model in models:
        model.compute = dtype
    ids = torch.randint(vocabulary, (12, context))
    cotangent = torch.randn(12, context, vocabulary)
    alone = [passed(m, *of) for m, *of in zip(models, ids.split(4), cotangent.split(4), strict=True)]
    together = passed(stack(models), ids, cotangent)
    assert torch.equal(together.pop("logits"), torch.cat([a.pop("logits") for a in alone]))
    for weight, grad in together.items():
        for k, one in enumerate(alone):
            assert torch.equal(grad[k], one[weight]), weight


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_member_trains_as_it_does_alone(name: str) -> None:
    """Fifty updates by the rules of all as one, in float64, each member at a rate of its own. At large rates
    what rounding leaves would grow with every update."""
    alone, members = ([made(NETWORKS[name], seed) for seed in (1, 2)] for _ in range(2))
    together = stack(members)
    weights = dict(together.named_parameters())
    rules = [[rules_of(model, 1e-3 * (k + 1)) for k, model in enumerate(of)] for of in (alone, members)]
    stacked = StackedRules(rules[1], weights)
    assert stacked.groups and not any(stacked.alone)
    for _ in range(50):
        ids, targets = torch.randint(VOCABULARY, (2, 4, CONTEXT)).unbind()

        def loss(model: Any, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return nn.functional.cross_entropy(model(ids).flatten(0, 1), targets.flatten(), reduction="sum")

        for k, model in enumerate(alone):
            rows = slice(2 * k, 2 * k + 2)
            model.zero_grad()
            loss(model, ids[rows], targets[rows]).backward()
            for rule in rules[0][k]:
                rule.step()
        together.zero_grad()
        loss(together, ids, targets).backward()
        stacked.step({n: p.grad for n, p in weights.items() if p.grad is not None}, [True, True])
    for k, model in enumerate(alone):
        for weight, p in model.named_parameters():
            torch.testing.assert_close(weights[weight][k], p, rtol=1e-12, atol=1e-12, msg=weight)


def rules_of(model: Any, lr: float) -> list[Rule]:
    """AdamW's; what rounding leaves of a gradient that is zero, such as that of keys' biases, stays small
    beside ``eps``."""
    rules = optim.build(spec.AdamW(lr=lr, eps=1e-3), model)
    for rule in rules:
        rule.state_dtype = torch.float64
    return rules


def test_order_and_neighbours_change_nothing() -> None:
    """Members permuted, or among others: bit for bit on one kernel, here to 1e-14."""
    ids = torch.randint(VOCABULARY, (2, CONTEXT))
    found = {}
    for order in ([1, 2, 3], [3, 1, 2], [1, 4], [2, 5, 1, 3]):
        logits = stack([made({}, seed) for seed in order])(ids.repeat(len(order), 1)).detach()
        found[tuple(order)] = dict(zip(order, logits.unflatten(0, (len(order), -1)), strict=True))
    for of in found.values():
        assert torch.allclose(of[1], found[1, 2, 3][1], rtol=1e-14, atol=1e-14)


def test_weights_are_views_of_the_stack() -> None:
    models = [made({"tied": True}, seed) for seed in (1, 2)]
    before = [p.clone() for p in models[1].parameters()]
    together = stack(models)
    assert together.members == 2 and together.readout.weight is together.embedding.weight
    assert all(torch.equal(p, b) for p, b in zip(models[1].parameters(), before, strict=True))
    with torch.no_grad():
        for p in models[1].parameters():
            p.zero_()
    assert all(not p[1].any() and p[0].any() for p in together.parameters())


def test_what_has_no_batched_form_is_named() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))

    said = {
        "1 (Own) holds weights": nn.Sequential(nn.ReLU(), Own()),
        "0 (BatchNorm) holds weights": nn.Sequential(build_part(spec.BatchNorm(), 4)),
        "0 (Dropout) draws random numbers": nn.Sequential(nn.Dropout(0.1)),
    }
    for sentence, model in said.items():
        assert (not_stackable(model) or "").startswith(sentence)
        with pytest.raises(ValueError, match="one by one"):
            stack([model, model])
    assert not_stackable(nn.Sequential(nn.Dropout(0.0), Linear(2, 2), RMSNorm(2))) is None
    with pytest.raises(ValueError, match="one graph"):
        stack([Linear(2, 2), Linear(2, 3)])


@pytest.mark.parametrize(
    "part",
    [
        spec.RMSNorm(), spec.LayerNorm(), spec.GroupNorm(), spec.InstanceNorm(), spec.BatchNorm(),
        spec.BatchRenorm(), spec.NoNorm(), spec.Plain(), spec.NoResidual(), spec.Halved(), spec.DepthScaled(),
        spec.ReZero(), spec.LayerScale(), spec.DeepNorm(), spec.Admin(),
    ],
    ids=lambda part: part.kind,
)  # fmt: skip
def test_specification_and_part_say_the_same(part: Spec) -> None:
    assert part.stackable == (not_stackable(build_part(part, 16)) is None)


@pytest.mark.parametrize("mixer", [spec.Attention(), spec.LatentAttention(), spec.VQAttention(), spec.LRU()])
def test_specification_and_mixer_say_the_same(mixer: Any) -> None:
    assert mixer.stackable == (not_stackable(build_part(mixer, 16, None, bias=False)) is None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_members_by_flex_attention() -> None:
    """Biases by distance and sinks of each row's own member, as one after another."""
    from danlu.nn.flex import flex
    from danlu.nn.masks import MaskPattern

    q, k, v = torch.randn(3, 4, 2, 32, 16).unbind()
    numbers, sink, pattern = torch.randn(2, 2, 63), torch.randn(2, 2), MaskPattern(32, 32, True)
    together = flex(q, k, v, 0.25, pattern, numbers=numbers, softcap=2.0, sink=sink)
    for member, rows in enumerate((slice(0, 2), slice(2, 4))):
        own = flex(
            q[rows], k[rows], v[rows], 0.25, pattern, numbers=numbers[member], softcap=2.0, sink=sink[member]
        )
        assert torch.allclose(together[rows], own, rtol=1e-6, atol=1e-6)
