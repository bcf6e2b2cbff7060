"""Costs told from shapes are those of real passes, caches and counters."""

from __future__ import annotations

import pytest
import torch
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from danlu import spec
from danlu.models import build, costs
from danlu.nn import kernels
from danlu.objectives import loss_sum

VOCABULARY, CONTEXT, BATCH = 29, 24, 2
MIXERS = {
    "attention": spec.Attention(heads=4),
    "grouped": spec.Attention(heads=4, kv_heads=2, head_size=6, window=7, qk_norm=spec.QKNorm(gain=True)),
    "softmax1": spec.Attention(heads=2, weights=spec.SoftmaxOne(), softcap=5.0, gate=spec.HeadGate()),
    "latent": spec.LatentAttention(heads=2, latent=8, rotary_size=4),
    "latent-queries": spec.LatentAttention(heads=2, latent=8, rotary_size=4, query_latent=6, value_size=5),
    "vq": spec.VQAttention(heads=2, codes=5, block=4, value_size=6),
    "lru": spec.LRU(state=9),
}
POSITION = {"vq": spec.NoPosition(), "lru": spec.NoPosition()}
MODELS = {
    **{
        name: spec.Decoder(layers=2, width=16, mixer=mixer, position=POSITION.get(name, spec.Rotary()))
        for name, mixer in MIXERS.items()
    },
    "gpt-2": spec.Decoder(
        layers=3, width=16, bias=True, position=spec.Learned(), norm=spec.LayerNorm(bias=True), dropout=0.1
    ),
    "untied": spec.Decoder(
        layers=2, width=16, tied=False, embedding_width=8, readout_bias=True, embedding_norm=True
    ),
    "scores": spec.Decoder(
        layers=2, width=16, position=spec.T5Buckets(shared=True), residual=spec.LayerScale(),
        placement="double",
    ),
    "pattern": spec.Decoder(
        layers=3, width=16, feed_forward=spec.GLU(),
        pattern=(spec.Layer(window=5), spec.Layer(window="full", position=spec.NoPosition())),
    ),
    "encoder": spec.Encoder(
        layers=2, width=16, segments=2, transform="gelu", norm=spec.BatchNorm(), position=spec.Sinusoidal()
    ),
    "both": spec.EncoderDecoder(layers=2, encoder_layers=1, width=16, position=spec.ALiBi()),
}  # fmt: skip
LENGTHS = {"both": (CONTEXT, 17)}


def make(config, device="cpu"):
    torch.manual_seed(0)
    with torch.device(device):
        return build(config, VOCABULARY, CONTEXT)


def run(model, lengths):
    device = next(model.parameters()).device
    tokens, *rest = (torch.zeros(BATCH, n, dtype=torch.int64, device=device) for n in lengths)
    return loss_sum(model if not rest else lambda t: model(t, encoder_tokens=rest[0]), tokens, tokens)


each = pytest.mark.parametrize("name", MODELS)


@each
def test_parameters_are_all_there_are_each_in_its_part(name):
    model = make(MODELS[name], "meta")
    parts = costs.parameters(model)
    assert sum(parts.values()) == sum(p.numel() for p in model.parameters())
    assert "other" not in parts


def test_the_parts_of_gpt_2():
    """By hand: 12 layers of 768; the readout is the embedding."""
    config = spec.Decoder(
        layers=12, width=768, mixer=spec.Attention(heads=12), bias=True, position=spec.Learned(),
        norm=spec.LayerNorm(bias=True),
    )  # fmt: skip
    with torch.device("meta"):
        parts = costs.parameters(build(config, 50257, 1024))
    assert parts == {
        "embedding": 50257 * 768,
        "positions": 1024 * 768,
        "mixer": 12 * (4 * 768 * 768 + 4 * 768),
        "feed-forward": 12 * (8 * 768 * 768 + 5 * 768),
        "norms and gains": 25 * 2 * 768,
    }
    assert sum(parts.values()) == 124_439_808  # of the published weights
    assert costs.without_embeddings(parts) == 85_056_000


def test_a_part_within_a_part_belongs_to_the_inner_one():
    settings = spec.Attention(heads=4, qk_norm=spec.QKNorm(gain=True), gate=spec.ElementGate())
    config = spec.Decoder(layers=2, width=16, mixer=settings, position=spec.Kerple())
    parts = costs.parameters(make(config))
    assert parts["positions"] == 2 * 2 * 4
    assert parts["norms and gains"] == 5 * 16 + 2 * 2 * 4
    assert parts["mixer"] == 2 * (4 * 16 * 16 + 16 * 16)


@each
@pytest.mark.parametrize("length", [8, CONTEXT])
def test_flops_by_part_are_the_whole(name, length):
    model = make(MODELS[name], "meta")
    lengths = (length, *LENGTHS.get(name, ())[1:])
    parts = costs.flops(model, *lengths)
    assert sum(parts.values()) == model.flops(1, *lengths)
    assert min(parts.values()) > 0


def test_pairs_are_what_attention_says():
    model = make(MODELS["grouped"], "meta")
    assert costs.flops(model, CONTEXT)["pairs"] == 2 * 4 * 4 * 6 * CONTEXT**2
    assert "pairs" not in costs.flops(make(MODELS["lru"], "meta"), CONTEXT)


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_a_pass_keeps_is_told_without_running_it(name, dtype):
    model, outline = make(MODELS[name]), make(MODELS[name], "meta")
    model.compute = outline.compute = dtype
    lengths = LENGTHS.get(name, (CONTEXT,))
    told, real = (
        costs.kept(outline, lambda: run(outline, lengths)),
        costs.kept(model, lambda: run(model, lengths)),
    )
    if name == "gpt-2" and dtype == torch.bfloat16:
        # PyTorch's layer norm keeps mean and deviation of each row in float32, but on a CPU in bfloat16.
        norms = 2 * CONTEXT * BATCH * (4 - 2)
        real = real._replace(
            activations=real.activations + 7 * norms,
            recomputed_activations=real.recomputed_activations + 3 * norms,
            outside=real.outside + norms,
            blocks=tuple(block + 2 * norms for block in real.blocks),
        )
    assert told == real
    assert told.activations > 0
    assert (told.copies > 0) == (dtype == torch.bfloat16)


@pytest.mark.parametrize("chosen", ["plain", "sdpa", "eager"])
@pytest.mark.parametrize("name", ["attention", "grouped", "latent", "latent-queries", "pattern", "both"])
def test_every_kernel_has_an_outline(monkeypatch, name, chosen):
    monkeypatch.setattr(kernels, "choose", lambda *_, **__: kernels.Choice(chosen, "asked for"))
    model, outline = make(MODELS[name]), make(MODELS[name], "meta")
    lengths = LENGTHS.get(name, (CONTEXT,))
    told = costs.kept(outline, lambda: run(outline, lengths))
    assert told == costs.kept(model, lambda: run(model, lengths))


def test_what_one_layer_keeps_by_hand():
    """A linear map keeps its input and nothing else of its own; tensors that share memory count once."""
    model = make(spec.Decoder(layers=1, width=16, norm=spec.RMSNorm(gain=False)))
    rows, bytes_ = BATCH * CONTEXT, 4
    kept = costs.kept(
        model, lambda: model.blocks[0].feed_forward(model.norm(torch.randn(rows, 16)).requires_grad_())
    )
    # the input of the first map; before and after the activation (GELU keeps what it is given)
    assert kept.activations == (16 + 64 + 64) * rows * bytes_


@each
def test_recomputing_keeps_less_and_what_autograd_then_keeps(name, monkeypatch):
    model, lengths = make(MODELS[name]), LENGTHS.get(name, (CONTEXT,))
    whole = costs.kept(model, lambda: run(model, lengths))
    assert whole.recomputed_activations < whole.activations
    if name in ("vq", "encoder"):
        return  # refused with recompute: they count as they run
    seen, sizes = [], {}
    held = {p.untyped_storage()._cdata for p in (*model.parameters(), *model.buffers())}

    def spy(block, x, *more, **settings):
        seen.append((block, x, more))
        return checkpoint(block, x, *more, **settings)

    def pack(t):
        if t.untyped_storage()._cdata not in held:
            sizes[t.untyped_storage()._cdata] = t
        return t

    monkeypatch.setattr("danlu.models.stack.checkpoint", spy)
    model.recompute = True
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        run(model, lengths)
        # what autograd keeps outside of blocks, their inputs, and, run again, the greatest of them
        for _, x, more in seen:
            for t in (x, *more):
                if isinstance(t, torch.Tensor):
                    sizes[t.untyped_storage()._cdata] = t
    outside = dict(sizes)
    totals = []
    for block, x, more in seen:
        sizes.clear()
        sizes.update(outside)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            kept_alive = block(x, *more)
        totals.append(sum(t.untyped_storage().nbytes() for t in sizes.values()))
        del kept_alive
    assert whole.recomputed_activations + whole.recomputed_copies == max(totals)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "encoder"])
@pytest.mark.parametrize("length", [1, 9, CONTEXT])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_caches_hold_the_bytes_that_are_told(name, length, dtype):
    model = make(MODELS[name]).eval()
    model.compute = dtype
    caches, tokens = model.caches(BATCH, length), torch.zeros(BATCH, length, dtype=torch.int64)
    memory, more = 0, {}
    if name == "both":
        memory, more = 17, {"memory": model.encode(torch.zeros(BATCH, 17, dtype=torch.int64))}
    with torch.no_grad():
        model(tokens, caches=caches, **more)
    held = sum(cache.bytes for cache in caches)
    assert held == BATCH * model.cache_bytes(length, dtype.itemsize, memory)


def test_full_attention_is_its_own_measure():
    for name in ("attention", "both"):
        model = make(MODELS[name], "meta")
        memory = 17 if name == "both" else 0
        assert costs.full_cache_bytes(model, 9, 2, memory) == model.cache_bytes(9, 2, memory)
    grouped = make(MODELS["grouped"], "meta")
    assert costs.full_cache_bytes(grouped, 9, 2) == 2 * 2 * 4 * 6 * 9 * 2
    assert grouped.cache_bytes(9, 2) == 2 * 2 * 2 * 6 * 7 * 2  # two key heads, a window of seven


@pytest.mark.parametrize("name", [name for name in MODELS if name != "encoder"])
@pytest.mark.parametrize("chosen", ["plain", "eager"])
def test_a_decoded_token_costs_what_pytorch_counts(monkeypatch, name, chosen):
    if name != "softmax1":
        monkeypatch.setattr(kernels, "choose", lambda *_, **__: kernels.Choice(chosen, "asked for"))
    model = make(MODELS[name], "meta").eval()
    memory, more = 0, {}
    for length in (1, 2, 9, CONTEXT):
        caches = model.caches(1, length)
        tokens = torch.zeros(1, length, dtype=torch.int64, device="meta")
        with torch.no_grad():
            if name == "both":
                memory, more = 17, {"memory": model.encode(tokens.new_zeros(1, 17))}
                for cache, block in zip(caches, model.decoder.blocks, strict=True):
                    cache.memory = block.cross.keys_and_values(more["memory"])
            if length > 1:
                model(tokens[:, 1:], caches=caches, **more)
            with FlopCounterMode(display=False) as counter:
                model(tokens[:, :1], caches=caches, **more)
        assert counter.get_total_flops() == costs.decoding_flops(model, length, memory), length


def test_decoding_latent_attention_is_absorbed():
    """By hand, a layer and token: maps, queries into the latent and values out of it, scores, values."""
    model = make(MODELS["latent"], "meta").eval()
    width, heads, size, latent, turned, length = 16, 2, 8, 8, 4, 9
    maps = width * heads * (size + turned) + width * (latent + turned) + heads * size * width
    absorbed = heads * latent * (size + size)
    scores = heads * length * (latent + turned + latent)
    layers = 2 * (maps + absorbed + scores + 2 * 4 * width * width)
    assert costs.decoding_flops(model, length) == 2 * (layers + width * VOCABULARY)
