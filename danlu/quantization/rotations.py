"""Turning the residual stream of a decoder, and the values of its heads, without changing its function
(QuaRot, Ashkboos et al. 2024; SliceGPT, Ashkboos et al. 2024, for layer norm).

With x the stream and Q orthogonal, x′ = xQ: whatever writes x is multiplied by Q, whatever reads it by Qᵀ.
RMSNorm without gain commutes with Q; its gain is folded into the linear maps that read it. Layer norm is
RMSNorm of a centred stream, and becomes that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn as nn
from torch import Tensor

from danlu.models import Decoder
from danlu.nn import Attention, Block, LatentAttention, LayerNorm, LayerScale, Linear, RMSNorm
from danlu.nn.contracts import FeedForward, Mixer
from danlu.nn.gates import ElementGate
from danlu.nn.positions import Learned
from danlu.nn.residuals import DeepNorm, Halved, Plain, ReZero


def untie(model: Decoder) -> None:
    """Give a tied readout a weight of its own, equal to the embedding's."""
    model.readout.weight = nn.Parameter(model.readout.weight.detach().clone())


@torch.no_grad()
def rotate(model: Decoder, q: Tensor) -> None:
    """Turn the stream of ``model`` by the orthogonal ``q`` (width, width), in place: the same function, to
    rounding. Gains of norms that linear maps alone read become 1, biases of such norms 0; layer norms become
    ``RMSNorm`` without gain; gains of LayerScale go into the last maps of their branches.

    Raises ValueError, before anything is changed, for another model than a decoder, a tied embedding, and for
    what is bound to single channels of the stream: gains of norms whose output is the stream (post, output
    and double placement, embedding norm), fixed tables of positions, norms of groups, gates by slices of the
    stream, linear recurrent units, own parts; and for layer norms after maps that read the embedding itself.
    """
    plan = _plan(model)
    size = plan.width
    if q.shape != (size, size) or (q.double() @ q.double().T - torch.eye(size)).abs().max() > 1e-6:
        raise ValueError(f"q of shape {tuple(q.shape)} is not an orthogonal matrix ({size}, {size})")
    q = q.to(model.readout.weight.device, torch.float64)
    # What is written is centred first where norms are layer norms: the mean is what they take off.
    write = q.T - q.T.mean(dim=1, keepdim=True) if plan.centred else q.T
    for norm, readers in plan.reads:
        _fold_gain(norm, readers)
    for reader in plan.readers:
        _set(reader.weight, reader.weight.double() @ q)
    for scale, out in plan.scales:
        gain = scale.gain.double()
        _set(out.weight, gain[:, None] * out.weight.double())
        if out.bias is not None:
            _set(out.bias, gain * out.bias.double())
    for scale, _ in plan.scales:
        scale.gain.fill_(1)
    for writer in plan.writers:
        _set(writer.weight, write @ writer.weight.double())
        if writer.bias is not None:
            _set(writer.bias, write @ writer.bias.double())
    for table in plan.tables:
        _set(table, table.double() @ write.T)
    for owner, name in plan.layer_norms:
        old = getattr(owner, name)
        setattr(owner, name, RMSNorm(size, eps=old.eps, gain=False))


@torch.no_grad()
def rotate_values(model: Decoder, h: Tensor) -> None:
    """Turn the values of every head by the orthogonal ``h`` (value size, value size), and back in the output
    map: W_v ← hW_v, W_o ← W_ohᵀ, in place. Raises ValueError, before anything is changed, for mixers other
    than attention and latent attention, gates on single channels, and heads of another size."""
    found = [block.mixer for block in model.blocks if block.mixes]
    for mixer in found:
        if not isinstance(mixer, Attention | LatentAttention):
            raise ValueError(
                f"{type(mixer).__name__} has no values that could be turned; rotate the stream alone"
            )
        if isinstance(getattr(mixer, "gate", None), nn.Module) and isinstance(mixer.gate, ElementGate):
            raise ValueError(
                "gate = elements multiplies single channels of the values; rotate the stream alone"
            )
        size = mixer.size if isinstance(mixer, Attention) else mixer.value_size
        if h.shape != (size, size):
            raise ValueError(
                f"h of shape {tuple(h.shape)} for values of {size} numbers; allowed: ({size}, {size})"
            )
    h = h.double()
    for mixer in found:
        size = h.shape[0]
        values = mixer.value_path()[:-1]  # views: of one matrix, or one of each head
        for view in values:
            _set(view, (h @ view.double().unflatten(0, (-1, size))).flatten(0, 1))
        if isinstance(mixer, Attention) and mixer.qkv.bias is not None:
            bias = mixer.qkv.bias[-mixer.kv_heads * size :]
            _set(bias, (bias.double().unflatten(0, (-1, size)) @ h.T).flatten())
        out = mixer.out.weight
        _set(out, (out.double().unflatten(1, (-1, size)) @ h.T).flatten(1))


@dataclass
class _Plan:
    """What is to be done, once it is known that all of it can be."""

    width: int
    reads: list[tuple[nn.Module, list[Linear]]] = field(default_factory=list)  # norms and their readers
    readers: list[Linear] = field(default_factory=list)
    writers: list[Linear] = field(default_factory=list)
    tables: list[Tensor] = field(default_factory=list)  # whose rows are written
    scales: list[tuple[LayerScale, Linear]] = field(default_factory=list)
    norms: list[tuple[nn.Module, str]] = field(default_factory=list)  # their owners and names

    @property
    def layer_norms(self) -> list[tuple[nn.Module, str]]:
        return [(owner, name) for owner, name in self.norms if isinstance(getattr(owner, name), LayerNorm)]

    @property
    def centred(self) -> bool:
        return bool(self.layer_norms)

    def norm(self, owner: nn.Module, name: str, readers: list[Linear] | None) -> None:
        """A norm whose output ``readers`` alone read, or that is the stream itself (None)."""
        norm = getattr(owner, name)
        if type(norm) not in (RMSNorm, LayerNorm):
            raise ValueError(
                f"{name} = {type(norm).__name__} does not commute with a turn; allowed: rms, layer"
            )
        if readers is not None:
            self.reads.append((norm, readers))
        elif norm.gain is not None or norm.bias is not None:
            raise ValueError(
                f"{name} has a gain on single channels of the stream and no linear map to take it; set its "
                "gain (and bias) to false, or use placement = pre"
            )
        self.norms.append((owner, name))

    def block(self, block: Block) -> None:
        names = ("mixer", "feed_forward") if block.mixes else ("feed_forward",)
        found: list[Linear] = []
        for name in names:
            part: Mixer | FeedForward = getattr(block, name)
            readers = part.readers()
            if readers is None or part.out is None:
                raise ValueError(
                    f"{name} = {type(part).__name__} does not read the stream through linear maps alone (a "
                    "gate by slices of it, a skip, an own part); use another part, or do not turn the stream"
                )
            found += readers
            self.writers.append(part.out)
            self.readers += readers
            if block.placement in ("pre", "double", "parallel-two"):
                self.norm(block, f"{name}_norm", readers)
            elif block.placement != "parallel":
                self.norm(block, f"{name}_norm", None)
            if block.placement == "double":
                self.norm(block, f"{name}_out_norm", None)
            self.residual(block, "mixer" if block.parallel else name, part.out)
        if block.placement == "parallel":
            self.norm(block, "mixer_norm", found)

    def residual(self, block: Block, name: str, out: Linear) -> None:
        residual = getattr(block, f"{name}_residual")
        if isinstance(residual, LayerScale):
            if block.placement in ("double", "output"):
                raise ValueError(
                    f"residual = layer-scale after a norm (placement = {block.placement}) has no linear map "
                    "to take it; use placement = pre"
                )
            self.scales.append((residual, out))
        elif type(residual) not in (Plain, Halved, ReZero, DeepNorm):
            raise ValueError(
                f"residual = {type(residual).__name__} may act on single channels of the stream; allowed: "
                "plain, sqrt2, rezero, deepnorm, layer-scale"
            )


def _plan(model: Decoder) -> _Plan:
    if not isinstance(model, Decoder):
        raise ValueError(f"the model is a {type(model).__name__}; allowed: a Decoder")
    if model.readout.weight is model.embedding.weight:
        raise ValueError(
            "tied = true: the readout takes the last norm's gain and the embedding does not; call "
            "untie(model) first"
        )
    plan = _Plan(model.blocks[0].width)
    if model.embedding_projection is not None:
        plan.writers.append(model.embedding_projection)
    else:
        plan.tables.append(model.embedding.weight)
    if isinstance(model.position, Learned):
        plan.tables.append(model.position.weight)
    elif hasattr(model.position, "at"):
        raise ValueError(
            f"position = {type(model.position).__name__} adds a fixed table to the stream, which cannot be "
            "turned; use learned positions, or those of heads or scores"
        )
    if not isinstance(model.embedding_norm, nn.Identity):
        plan.norm(model, "embedding_norm", None)
    for block in model.blocks:
        plan.block(block)
    if model.narrow is not None:
        plan.norm(model.narrow, "norm", [model.narrow.down])
        plan.readers.append(model.narrow.down)
        plan.writers.append(model.narrow.up)
    last = model.readout if model.readout_projection is None else model.readout_projection
    plan.readers.append(last)
    if not isinstance(model.norm, nn.Identity):
        plan.norm(model, "norm", [last])
    if len({type(getattr(owner, name)) for owner, name in plan.norms}) > 1:
        raise ValueError(
            "norms of two kinds, rms and layer: the stream would have to be centred for one alone"
        )
    unlike = model.blocks[0].placement in ("post", "output") and isinstance(model.embedding_norm, nn.Identity)
    if plan.centred and unlike:
        raise ValueError(
            f"placement = {model.blocks[0].placement} with norm = layer: the first layer reads the mean of "
            "the embedding, which layer norm takes off only later; use rms, or embedding_norm = true"
        )
    if plan.centred and model.narrow is not None and model.blocks[0].placement in ("post", "output"):
        raise ValueError(
            f"placement = {model.blocks[0].placement} with norm = layer: the layer after the bottleneck "
            "reads the mean of what comes out of it; use rms, or placement = pre"
        )
    return plan


def _fold_gain(norm: nn.Module, readers: list[Linear]) -> None:
    """Into the weights that read the norm; afterwards its gain is 1 and its bias 0."""
    assert isinstance(norm, RMSNorm | LayerNorm)
    a, b = norm.affine(torch.float64)
    for reader in readers:
        if b is not None:
            shift = reader.weight.double() @ b
            bias = shift if reader.bias is None else reader.bias.double() + shift
            reader.bias = nn.Parameter(bias.to(reader.weight.dtype))
        if a is not None:
            _set(reader.weight, reader.weight.double() * a)
    if norm.gain is not None:
        norm.gain.fill_(0 if norm.around_one else 1)
    if norm.bias is not None:
        norm.bias.zero_()


def _set(tensor: Tensor, value: Tensor) -> None:
    tensor.copy_(value)  # to its own type
