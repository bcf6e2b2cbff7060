"""Orthogonal matrices that spread a few large numbers over all."""

from __future__ import annotations

import torch
from torch import Tensor


def hadamard(n: int) -> Tensor:
    """A matrix (n, n) of ±1 with HHᵀ = nI, float64: Sylvester's doubling of 1, or of one that Paley's
    construction makes (1933): from the squares modulo a prime, n − 1 ≡ 3 (mod 4) or n/2 − 1 ≡ 1 (mod 4).

    So n may be 2^k·m for m = 1, 12, 20, 28, 36, … Raises ValueError where none is known here.
    """
    found = _hadamard(n)
    if found is None:
        raise ValueError(
            f"n = {n}: no Hadamard matrix by Sylvester's and Paley's constructions; use random_orthogonal"
        )
    return found


def _hadamard(n: int) -> Tensor | None:
    if n == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    two = torch.tensor([[1, 1], [1, -1]], dtype=torch.float64)
    if n == 2:
        return two
    if n < 1 or n % 4:
        return None
    half = _hadamard(n // 2)
    if half is not None:
        return torch.kron(two, half)
    if _is_prime(n - 1) and (n - 1) % 4 == 3:
        skew = _bordered(n - 1, -1.0)
        return skew + torch.eye(n, dtype=torch.float64)
    if _is_prime(n // 2 - 1) and (n // 2 - 1) % 4 == 1:
        signs = torch.tensor([[1, -1], [-1, -1]], dtype=torch.float64)
        return torch.kron(_bordered(n // 2 - 1, 1.0), two) + torch.kron(
            torch.eye(n // 2, dtype=torch.float64), signs
        )
    return None


def _bordered(q: int, below: float) -> Tensor:
    """Paley's conference matrix (q + 1, q + 1): Jacobsthal's matrix, χ(i − j) modulo q, bordered by ones
    above and ``below`` at the left, with zeros on the diagonal."""
    i = torch.arange(q)
    character = torch.full((q,), -1.0, dtype=torch.float64)
    character[(i * i) % q] = 1.0
    character[0] = 0.0
    matrix = torch.zeros(q + 1, q + 1, dtype=torch.float64)
    matrix[0, 1:], matrix[1:, 0] = 1.0, below
    matrix[1:, 1:] = character[(i[:, None] - i) % q]
    return matrix


def _is_prime(n: int) -> bool:
    return n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))


def random_hadamard(n: int, generator: torch.Generator | None = None) -> Tensor:
    """A Hadamard matrix divided by √n, its columns times random signs: orthogonal, (n, n) float64 (QuaRot,
    Ashkboos et al. 2024). A vector with one large number becomes one whose numbers are all of that size/√n.
    Raises ValueError as ``hadamard``."""
    signs = torch.randint(2, (n,), generator=generator).double() * 2 - 1
    return hadamard(n) * signs / n**0.5


def random_orthogonal(n: int, generator: torch.Generator | None = None) -> Tensor:
    """An orthogonal matrix (n, n), float64, drawn uniformly: Q of a normal matrix's QR, its columns times the
    signs of R's diagonal (Mezzadri 2007). For any n."""
    q, r = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=generator))
    return q * r.diagonal().sign()
