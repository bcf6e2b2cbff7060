"""The likelihood of data under a flow, by the change of variables: d ln p/dt = −∇·v along a path.

From data at ``times[0]`` to the prior at ``times[-1]``, whichever way the clock runs: ln p(x) = ln
p_prior(x_T) + ∫∇·v dt. For a denoiser over noise levels v is (x − D)/σ. Solved by the classical method of
order 4 in float64.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from danlu.flows.convert import Field
from danlu.flows.samplers import RungeKutta
from danlu.flows.shapes import rows, size, wide


class Likelihood(NamedTuple):
    """``value``: ln p of each row in nats, (batch,) float64. ``error``: its standard error, (batch,), where
    the trace is estimated by two or more probes. ``prior``: where the path ends. ``evaluations`` of the
    field."""

    value: Tensor
    error: Tensor | None
    prior: Tensor
    evaluations: int


def divergence(velocity: Field, x: Tensor, t: Tensor, probes: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """v and its divergence at ``x`` (batch, …), ``t`` (batch,): (batch, …) and (1, batch), the exact trace by
    one derivative for each dimension; or with ``probes`` (n, batch, …) of ±1 Hutchinson's n estimates εᵀJε
    (n, batch), each without bias, with variance Σ_{i<j} (J_ij + J_ji)². A row's velocity depends on that row
    alone.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        v = velocity(x, t)
    if probes is not None:
        probes = probes.to(v.dtype)
        pulled = [torch.autograd.grad(v, x, probe, retain_graph=True)[0] for probe in probes]
        return v.detach(), torch.stack([rows(a * b).sum(1) for a, b in zip(pulled, probes, strict=True)])
    trace = torch.zeros(x.shape[0], dtype=v.dtype, device=v.device)
    for i, column in enumerate(rows(v).unbind(1)):
        (row,) = torch.autograd.grad(column.sum(), x, retain_graph=True)
        trace = trace + rows(row)[:, i]
    return v.detach(), trace[None]


def log_likelihood(
    velocity: Field,
    data: Tensor,
    times: Tensor,
    log_prior: Callable[[Tensor], Tensor],
    probes: Tensor | None = None,
) -> Likelihood:
    """ln p of ``data`` (batch, …) under the flow of ``velocity`` and the density ``log_prior`` (batch, …) →
    (batch,).

    ``probes`` (n, batch, …), ±1 with equal chances and independent, estimate the trace; each is kept for the
    whole path, so that each gives an estimate of its own without bias (of what the steps solve), and their
    spread the error. Left out, the trace is exact, which costs a derivative for each dimension.
    """
    batch, d = data.shape[0], size(data)
    asked = 0

    def both(state: Tensor, t: float) -> Tensor:
        nonlocal asked
        asked += 1
        x = state[:, :d].reshape(data.shape).to(data.dtype)
        v, traces = divergence(velocity, x, x.new_full((batch,), t), probes)
        return wide(torch.cat([rows(v), traces.T], dim=1))

    n = 1 if probes is None else probes.shape[0]
    state = torch.cat([wide(rows(data)), wide(data.new_zeros(batch, n))], dim=1)
    (state,) = deque(RungeKutta().along(both, state, times.tolist()), maxlen=1)
    end = state[:, :d].reshape(data.shape)
    each = log_prior(end)[:, None] + state[:, d:]
    error = each.std(dim=1) / n**0.5 if n > 1 else None
    return Likelihood(each.mean(dim=1), error, end, asked)
