"""Attention by FlexAttention: masks and scores as functions of places, which PyTorch's compiler writes into
one kernel (Dong et al. 2024, arXiv:2412.05496).

No number is kept for each pair of positions, and tiles of pairs that are hidden are left out. The functions
are those that every other kernel's mask and scores are made of.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

from danlu.nn.fused import filled, first
from danlu.nn.kept import lasting
from danlu.nn.masks import MaskPattern, sees
from danlu.nn.stacked import each

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

FROM = 256  # positions, two tiles: below that a mask is small, and few tiles are hidden whole
TYPES = (torch.bfloat16, torch.float16, torch.float32)
MULTIPLE = 16  # of the sizes of heads: what a tile's product asks
GRAPHS = 64  # of one function that may stand beside each other, one for each pattern and shape; and tiles
TRITON = find_spec("triton") is not None  # asked here: the compiler cannot trace the question
_FAILED: list[str] = []  # a list and no ContextVar: the compiler can guard it
Index = torch.Tensor  # int32 or int64, of no dimensions or broadcast
_HELD: dict[tuple[MaskPattern, torch.device], Any] = {}


def missing() -> str | None:
    """What keeps FlexAttention from running on the GPU that is here; None: nothing is known to, or there is
    no GPU."""
    if torch.cuda.is_available() and not TRITON:
        return "triton is not installed"
    return _FAILED[-1] if _FAILED else None


def try_out(device: torch.device) -> str | None:
    """Run it once on ``device``, forward and backward; why that fails, which ``missing`` says from then on,
    so that others run in its place. Takes some seconds the first time."""
    q = torch.randn(1, 1, FROM, MULTIPLE, device=device, dtype=torch.bfloat16, requires_grad=True)
    try:
        flex(q, q, q, 1.0, MaskPattern(FROM, FROM, window=2), softcap=1.0).sum().backward()
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        _FAILED.append(lines[0][:200])
        return _FAILED[-1]
    return None


def mask_mod(
    pattern: MaskPattern, documents: torch.Tensor | None = None
) -> Callable[[Index, Index, Index, Index], torch.Tensor]:
    """Whether a query sees a key, of (row of the batch, head, query, key): bool. ``documents``: (batch,
    keys), as ``AttentionMask``'s."""
    offset = pattern.offset

    def mod(b: Index, h: Index, i: Index, j: Index) -> torch.Tensor:
        seen = sees(pattern, i + offset, j)
        return seen if documents is None else seen & (documents[b, i + offset] == documents[b, j])

    return mod


def score_mod(
    queries: int, numbers: torch.Tensor | None, softcap: float | None, rows: int = 0
) -> Callable[[torch.Tensor, Index, Index, Index, Index], torch.Tensor] | None:
    """The score of a pair, of scale · q·k and (row of the batch, head, query, key); None: it stays.

    ``numbers``: (heads, queries + keys − 1), what is added by the distance of query and key, in the order of
    ``danlu.nn.positions.biases.distances``; then soft-capped. Of members (``danlu.nn.stacked``) ``numbers``
    is (K, heads, …), for a batch of so many ``rows``.
    """
    if numbers is None and softcap is None:
        return None

    def mod(score: torch.Tensor, b: Index, h: Index, i: Index, j: Index) -> torch.Tensor:
        if numbers is not None:
            at = (h, queries - 1 - i + j)
            score = score + numbers[at if numbers.ndim == 2 else (b // (rows // len(numbers)), *at)]
        return score if softcap is None else softcap * torch.tanh(score / softcap)

    return mod


def tiles(pattern: MaskPattern, documents: torch.Tensor | None, device: torch.device) -> BlockMask | None:
    """Which tiles of 128 × 128 pairs are hidden, seen whole, or in part; None where all is seen. Without
    documents they are made once for a pattern, whose lengths are part of it. While they are made there is a
    byte for each pair (and row of ``documents``)."""
    if pattern.full and documents is None:
        return None
    from torch.nn.attention.flex_attention import create_block_mask

    key = pattern, device
    if documents is None and not torch.compiler.is_compiling() and key in _HELD:
        held: BlockMask = _HELD[key]
        return held
    batch = None if documents is None else len(documents)
    with lasting():
        made = create_block_mask(
            mask_mod(pattern, documents), batch, None, pattern.queries, pattern.keys, device=device
        )
    if documents is None and not torch.compiler.is_compiling():
        while len(_HELD) >= GRAPHS:
            del _HELD[next(iter(_HELD))]
        _HELD[key] = made
    return made


def flex(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float,
    pattern: MaskPattern,
    documents: torch.Tensor | None = None,
    numbers: torch.Tensor | None = None,
    softcap: float | None = None,
    sink: torch.Tensor | None = None,
    given: BlockMask | None = None,
) -> torch.Tensor:
    """Attention, arguments as those of ``danlu.nn.attend``; ``numbers`` as ``score_mod``'s; ``sink``:
    (heads), of ``danlu.nn.weights``; ``given``: what ``tiles`` made before. On a CPU, which has no backward
    pass of it, q, k and v must ask for no gradient."""
    size, repeat = v.shape[-1], q.shape[1] // k.shape[1]
    q, k, v = (filled(t, MULTIPLE) for t in (q, k, v))
    if q.is_meta:  # as this one it keeps queries, keys, values, its output and a number a query
        return first(torch.ops.aten._scaled_dot_product_efficient_attention(q, k, v, None, True)[0], size)
    if given is None:
        given = tiles(pattern, documents, q.device)
    mod = score_mod(pattern.queries, numbers, softcap, len(q))
    settings: dict[str, Any] = {
        "score_mod": mod,
        "block_mask": given,
        "scale": scale,
        "enable_gqa": repeat > 1,
    }
    run = _compiled() if q.is_cuda and not torch.compiler.is_compiling() else _plainly()
    if sink is None:
        return first(run(q, k, v, **settings), size)
    from torch.nn.attention import flex_attention as module

    asked: dict[str, Any] = (
        {"return_aux": module.AuxRequest(lse=True)} if hasattr(module, "AuxRequest") else {"return_lse": True}
    )
    y, also = run(q, k, v, **settings, **asked)
    total = getattr(also, "lse", also)
    return first(y, size) * each(torch.sub, sink[..., None], 2, total).sigmoid()[..., None].to(y.dtype)


def _plainly() -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    return flex_attention


@functools.cache
def _compiled() -> Callable[..., Any]:
    """It must be compiled to be one kernel; shapes are those of the experiment."""
    import torch._dynamo

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, GRAPHS)
    compiled: Callable[..., Any] = torch.compile(_plainly(), dynamic=False)
    return compiled
