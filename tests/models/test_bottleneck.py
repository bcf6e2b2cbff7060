"""A bottleneck in a network: nothing goes around it, nothing else changes, and what passed is told."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from pydantic import ValidationError

from danlu import spec
from danlu.models import build, costs, generate
from danlu.nn.auxiliary import auxiliary, tell_rows
from danlu.nn.bottlenecks import Narrow, Noise, Usage, information, keyed
from danlu.optim.roles import named
from danlu.spec.bottlenecks import FSQ, LFQ, VQ, Binary, Gaussian, Gumbel, Plain
from tests.models.small import CONTEXT, VOCABULARY, small, tokens

ALL = [
    Plain(size=4), Gaussian(size=4), Gumbel(groups=2, codes=5), Binary(size=4), VQ(size=4, codes=6),
    FSQ(levels=(5, 4)), LFQ(size=4),
]  # fmt: skip
each = pytest.mark.parametrize("bottleneck", ALL, ids=lambda part: part.kind)
KINDS = [spec.Decoder, spec.Encoder, spec.EncoderDecoder, spec.Patches]


def inputs(model):
    if hasattr(model, "patch"):
        return (torch.randn(3, 1, 4, 6),), {}
    more = {"encoder_tokens": tokens(3)} if hasattr(model, "encoder") else {}
    return (tokens(3),), more


def made(kind, **settings):
    torch.manual_seed(0)
    around = ((1, 4, 6), 5) if kind is spec.Patches else (VOCABULARY, CONTEXT)
    return build(kind(**{"layers": 3, "width": 16, **settings}), *around)


@pytest.mark.parametrize("kind", KINDS)
@each
def test_everything_else_starts_as_without_it(kind, bottleneck) -> None:
    """Names and initial weights."""
    plain = made(kind).state_dict()
    changed = made(kind, bottleneck=bottleneck).state_dict()
    assert all(torch.equal(plain[name], changed[name]) for name in plain)
    assert all("narrow." in name for name in changed.keys() - plain.keys())


@pytest.mark.parametrize("kind", KINDS)
@each
def test_it_trains_and_all_passes_through_it(kind, bottleneck) -> None:
    """What the network says is the same where what comes out of the bottleneck is."""
    model = made(kind, bottleneck=bottleneck)
    given, more = inputs(model)
    out = model(*given, **more)
    penalty = auxiliary(model)
    (out.square().sum() + penalty).backward()
    (narrow,) = [module for module in model.modules() if isinstance(module, Narrow)]
    assert narrow.down.weight.grad.isfinite().all() and narrow.up.weight.grad.abs().sum() > 0
    with torch.no_grad():
        narrow.up.weight.zero_()
        model.eval()
        other, again = inputs(model)
        if kind is spec.EncoderDecoder:  # its decoder reads its own tokens too
            again["encoder_tokens"] = again["encoder_tokens"].roll(1, 0)
            other = given
        torch.testing.assert_close(model(*given, **more), model(*other, **again))


def test_it_stands_after_the_layers_that_are_named() -> None:
    """Layers before it change nothing that comes out; those after it do."""
    for after, said in ((1, 1), (2, 2), (3, 3), (None, 2)):
        model = made(spec.Decoder, bottleneck=Plain(size=4), bottleneck_after=after).eval()
        with torch.no_grad():
            model.narrow.up.weight.zero_()
            model.narrow.up.bias.normal_()
            given = tokens(2)
            before = model(given)
            for i in range(len(model.blocks)):
                changed = copy.deepcopy(model)
                torch.nn.init.constant_(changed.blocks[i].feed_forward.out.weight, 3.0)
                assert torch.equal(changed(given), before) == (i < said)


@each
def test_noise_is_of_a_rows_key(bottleneck) -> None:
    """The same keys, the same numbers, in whatever company; nothing is drawn from torch's generator."""
    model = made(spec.Decoder, bottleneck=bottleneck)
    given, keys = tokens(4), torch.tensor([9, -3, 2**60, 7])

    def run(rows: slice, keys: torch.Tensor) -> torch.Tensor:
        tell_rows(model, "row_keys", lambda: keys[rows])
        return model(given[rows])

    state = torch.random.get_rng_state()
    whole = run(slice(0, 4), keys)
    assert torch.equal(state, torch.random.get_rng_state())
    torch.testing.assert_close(run(slice(1, 3), keys), whole[1:3])
    drawn = isinstance(bottleneck, Gaussian | Gumbel | Binary)
    assert torch.equal(run(slice(0, 4), keys + 1), whole) != drawn


@each
def test_what_passed_is_told(bottleneck) -> None:
    """Over two batches, of which the second is filled with a row that counts for nothing."""
    model = made(spec.Encoder, bottleneck=bottleneck).eval()
    model.narrow.forget()
    given, seen = tokens(5), []
    model.narrow.between.register_forward_hook(lambda module, given, out: seen.append((given[0], out)))
    with torch.no_grad():
        for rows, weights in ((given[:3], [1, 1, 1]), (torch.cat([given[3:], given[:1]]), [1, 1, 0])):
            tell_rows(model, "row_weights", lambda: torch.tensor(weights, dtype=torch.float32))  # noqa: B023
            model(rows)
    told = model.narrow.told(lambda sums: sums)
    outs = [seen[0][1], seen[1][1]]
    if model.narrow.between.groups:
        usage = Usage(model.narrow.between.codes, model.narrow.between.groups)
        usage.add(outs[0].codes)
        usage.add(outs[1].codes[:2])
        assert told["code_perplexity"] == pytest.approx(float(usage.entropy.mean().exp()))
        assert told["used_codes"] == float(usage.used.double().mean())
    if outs[0].kl is not None:
        kl = torch.cat([outs[0].kl, outs[1].kl[:2]]).sum(-1)
        assert told["bottleneck_nats"] == pytest.approx(float(kl.mean()), rel=1e-5)
    if isinstance(bottleneck, Gaussian):
        mean = torch.cat([outs[0].value, outs[1].value[:2]]).flatten(0, 1)
        assert told["active_units"] == int((mean.double().var(0, correction=0) > 0.01).sum())
    model.narrow.forget()
    assert math.isnan(model.narrow.told(lambda sums: sums).get("bottleneck_nats", math.nan))


def test_information_is_of_the_vectors_that_were_kept_whoever_saw_them() -> None:
    """One set in one pass, in two of which one is filled up, and by two processes: the same, and what
    ``information`` says of the same vectors and draws; never above ln n."""
    given = tokens(5)
    model = made(spec.Encoder, bottleneck=Gaussian(size=4)).eval()
    found: list[torch.Tensor] = []
    model.narrow.down.register_forward_hook(lambda module, given, out: found.append(out))

    def told(passes, others=None):
        model.narrow.forget()
        with torch.no_grad():
            for places, fill in passes:
                rows = [*places, *fill]
                weights = torch.tensor([1.0] * len(places) + [0.0] * len(fill))
                tell_rows(model, "row_weights", lambda: weights)  # noqa: B023
                tell_rows(model, "row_places", lambda: torch.tensor(rows))  # noqa: B023
                model(given[rows])
        kept = model.narrow.kept.clone()
        over_all = (
            (lambda sums: sums) if others is None else lambda s: s + others if s.shape == kept.shape else s
        )
        return model.narrow.told(over_all), kept

    whole, _ = told([(range(5), [])])
    mean, log_variance = found[0].flatten(0, 1).double().chunk(2, -1)
    noise = keyed(Noise("normal", 4), torch.arange(len(mean)), 1)[:, 0]
    wanted = information(mean, log_variance, mean + (0.5 * log_variance).exp() * noise)
    assert len(mean) == 5 * CONTEXT <= 16 * 5
    assert whole["information"] == pytest.approx(wanted.information, rel=1e-9)
    assert whole["information_cap"] == pytest.approx(math.log(len(mean)))
    assert whole["information"] > 0
    assert whole["information"] <= whole["information_cap"]
    again, _ = told([(range(3), []), (range(3, 5), [0])])
    assert again == pytest.approx(whole, rel=1e-5)
    _, first = told([(range(0, 5, 2), [])])
    both, _ = told([(range(1, 5, 2), [])], first)
    for name in ("information", "information_cap"):
        assert both[name] == pytest.approx(whole[name], rel=1e-5)
    unplaced = made(spec.Encoder, bottleneck=Gaussian(size=4)).eval()
    with torch.no_grad():
        unplaced(given)
    assert "information" not in unplaced.narrow.told(lambda sums: sums)


def test_it_writes_as_it_reads() -> None:
    """With caches, token by token, what is written is what whole passes give."""
    model = small(bottleneck=VQ(size=4, codes=6)).eval()
    begin = tokens(1, 3)
    written = generate(model, begin, count=6, context=CONTEXT, temperature=0.0)
    whole = begin[0].tolist()
    for token in written:
        logits = model(torch.tensor([whole]))[0, -1]
        assert int(logits.argmax()) == int(token)
        whole.append(int(token))


@pytest.mark.parametrize("kind", KINDS)
def test_its_flops_and_parameters_are_its_own(kind) -> None:
    lengths = {spec.EncoderDecoder: (CONTEXT, 2 * CONTEXT), spec.Patches: ()}.get(kind, (CONTEXT,))
    plain, changed = made(kind), made(kind, bottleneck=VQ(size=4, codes=6))
    positions = {spec.EncoderDecoder: 2 * CONTEXT, spec.Patches: 6}.get(kind, CONTEXT)
    own = 2 * positions * (16 * 4 + 6 * 4 + 4 * 16)
    assert changed.flops(1, *lengths) - plain.flops(1, *lengths) == own
    by_part = costs.flops(changed, *lengths)
    assert by_part["bottleneck"] == own and sum(by_part.values()) == changed.flops(1, *lengths)
    count, gain = 16 * 4 + 4 + 4 * 16 + 16, 16
    parts = costs.parameters(changed)
    assert parts["bottleneck"] == count
    assert sum(parts.values()) == sum(costs.parameters(plain).values()) + count + gain


@pytest.mark.parametrize("kind", [spec.Decoder, spec.Patches])
@pytest.mark.parametrize("tied", [True, False])
def test_its_maps_are_no_ends_of_the_network(kind, tied: bool) -> None:
    if kind is spec.Patches and tied:
        pytest.skip("an embedding of pixels reads no classes")
    plain, changed = (
        {p.name: p.role for p in named(made(kind, tied=tied, **more))}
        for more in ({}, {"bottleneck": Gaussian(size=4)})
    )
    assert plain.items() <= changed.items()
    assert changed["narrow.down.weight"] == changed["narrow.up.weight"] == "kernel"


def test_what_cannot_be_is_refused_in_a_sentence() -> None:
    for settings, sentence in [
        ({"bottleneck_after": 1}, "places a bottleneck, and there is none"),
        ({"bottleneck": Plain(), "bottleneck_after": 5}, "allowed: 1 to 4"),
        ({"bottleneck": Plain(), "base_width": 64}, "has no rule for the maps"),
    ]:
        with pytest.raises(ValidationError, match=sentence):
            spec.Decoder(**settings)
    assert spec.EncoderDecoder(encoder_layers=2, bottleneck=Plain()).narrow_after == 1
