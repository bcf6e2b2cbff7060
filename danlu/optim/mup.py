"""Maximal-update parametrisation (μP): how settings of an optimizer change with the width of the model.

A model whose specification has a ``base_width`` b and the width n keeps, with m = n/b, the settings that are
best at width b. Its forward pass and its initial weights (``danlu.models``) see to one half of that: entries
of hidden kernels ∝ 1/√n, embeddings and readout as at width b, the stream divided by m before the readout,
scores of growing heads ∝ 1/size. The other half is here: each setting of a parameter's group is multiplied
by a power of m (``POWERS``) that depends on how its rule's steps scale.

Source: Yang et al. 2022 (arXiv:2203.03466), table 8, and for rules that it does not list the spectral
condition of Yang, Simon & Bernstein 2023 (arXiv:2310.17813): an update ΔW of a hidden matrix must have a
spectral norm that does not depend on the width. An update of low rank with entries of size a has the norm
a·n, so a ∝ 1/n; one whose singular values are all s has the norm s, so s ∝ 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from danlu.optim.roles import Named
from danlu.spec.errors import SpecError, either
from danlu.spec.optim import Role

# How the update of a rule depends on its settings, the gradient and the parameter: a key of ``POWERS``.
Scaling = Literal[
    "steps", "steps-l2", "gradients", "relative", "relative-apart", "relative-alone", "spectral", "rms"
]

_EVERY_VECTOR: tuple[Role, ...] = ("embedding", "readout", "gain", "bias")

POWERS: Mapping[Scaling, Mapping[Role, Mapping[str, float]]] = {
    # Entries of the size of the rate, whatever the gradient's (Adam and its kin, signs): a = lr. A decay that
    # is multiplied by the rate keeps lr·λ.
    "steps": {"kernel": {"lr": -1, "weight_decay": 1}},
    # The same with a decay inside the gradient (L2): the gradient of a hidden matrix, as what it learns, has
    # entries ∝ 1/n, so λ need not change. (The package mup multiplies it by m.)
    "steps-l2": {"kernel": {"lr": -1}},
    # The gradient times the rate (SGD). Gradients of vectors, embeddings and readouts have entries ∝ 1/n,
    # their updates must not; those of hidden matrices are right as they are.
    "gradients": {role: {"lr": 1, "weight_decay": -1} for role in _EVERY_VECTOR},
    # Entries of the size of the rate times the root mean square of the parameter (or of ``floor``), which for
    # hidden matrices is ∝ 1/√n (LAMB, Tiger; Everett et al. 2024, arXiv:2407.05872, find the same power for
    # Adafactor). The decay is multiplied by both.
    "relative": {"kernel": {"lr": -0.5, "floor": -0.5, "weight_decay": 1}},
    # The same where the decay is multiplied by the rate alone.
    "relative-apart": {"kernel": {"lr": -0.5, "floor": -0.5, "weight_decay": 0.5}},
    # The same where the decay follows from the rate (Amos).
    "relative-alone": {"kernel": {"lr": -0.5}},
    # All singular values of the size of the rate, times √max(1, rows/columns) (Muon).
    "spectral": {},
    # The same times 0.2·√max(rows, columns) ∝ √n (Muon with the size of Adam's updates).
    "rms": {"kernel": {"lr": -0.5, "weight_decay": 0.5}},
}


def scaled(
    settings: Mapping[str, Any], scaling: Scaling | None, p: Named, multiplier: float
) -> dict[str, Any]:
    """The ``settings`` of the group of ``p``, good at the base's width, as they are good at ``multiplier``
    times that width; settings that ``POWERS`` does not name stay. Raises ``SpecError`` where the rule does
    not say its ``scaling`` and the width is not the base's."""
    if multiplier == 1 or p.alone:
        return dict(settings)
    if scaling is None:
        raise SpecError(
            "model.base_width is set, but the optimizer's class does not say how its steps scale with the "
            f"width; set its class attribute `scaling` to {either(POWERS)}"
        )
    powers = POWERS[scaling].get(p.role, {})
    return {
        key: value * multiplier ** powers[key] if key in powers and value is not None else value
        for key, value in settings.items()
    }
