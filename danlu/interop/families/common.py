"""What several families share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from danlu.interop.normal import Normal

# A layer norm with gain and bias, as nn.LayerNorm has them.
LAYER_NORM = {"norm.kind": "layer", "norm.gain": True, "norm.bias": True}


def qkv(n: Normal) -> Sequence[int]:
    """Rows of queries, keys and values, where these are apart."""
    mixer = n["mixer"]
    keys = mixer["kv_heads"] * mixer["head_size"]
    return mixer["heads"] * mixer["head_size"], keys, keys


def by_group(n: Normal) -> Tensor:
    """The order of one matrix that has for each group of heads its queries, its key, its value (Falcon);
    where each head is a group, [q, k, v] for each head (GPT-NeoX, BLOOM)."""
    mixer = n["mixer"]
    heads, groups, size = mixer["heads"], mixer["kv_heads"], mixer["head_size"]
    rows = torch.arange((heads + 2 * groups) * size).view(groups, heads // groups + 2, size)
    return torch.cat([rows[:, :-2].reshape(-1), rows[:, -2].reshape(-1), rows[:, -1].reshape(-1)])
