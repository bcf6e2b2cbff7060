"""What solves for the weights of a model of maximum entropy: GIS, IIS and L-BFGS, a pass over the data each.

The model says which constraints E_p f = Ẽf it must meet (``danlu.maxent.Problem``). The gradient of its loss
over the whole training set is E_p f − Ẽf. GIS and L-BFGS need no more; IIS asks the constraints for E_p f
apart by levels of Σf, which is a pass of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn as nn
from torch import Tensor

from danlu import spec
from danlu.nn.registry import builds
from danlu.optim.base import Rule
from danlu.spec.errors import SpecError

if TYPE_CHECKING:
    from danlu.maxent import Problem

Array = np.ndarray[Any, np.dtype[np.float64]]


class Solver(Rule):
    """A rule for one table of weights, float64, in the order of ``problem.features.names``.

    Args: ``lr``, the share of a step that is taken.
    """

    problem: Problem

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        *,
        state_dtype: torch.dtype | None = None,
        compiled: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr}, state_dtype=state_dtype, compiled=compiled)

    def attach(self, model: nn.Module) -> None:
        """Raises ``SpecError`` for a model without constraints, and for constraints that this rule cannot
        solve."""
        from danlu.maxent import MaxentError, Problem

        problem = getattr(model, "problem", None)
        if not isinstance(problem, Problem):
            raise SpecError(
                f"{type(self).__name__} solves for constraints, and {type(model).__name__} has none; "
                "use it with model.kind = maxent"
            )
        self.problem = problem
        try:
            self.begin()
        except MaxentError as error:
            raise SpecError(f"{type(self).__name__}: {error}") from None

    def begin(self) -> None:
        """What needs to be known of ``problem``, once."""

    def update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        for p in params:
            assert p.grad is not None
            weights, gradient = (t.detach().cpu().numpy().ravel() for t in (p, p.grad))
            p.copy_(torch.from_numpy(self.next(p, weights, gradient, group["lr"])).view(p.shape))

    def next(self, p: Tensor, weights: Array, gradient: Array, lr: float) -> Array:
        """The next weights, (names,), of the weights and the gradient there."""
        raise NotImplementedError


class Scaling(Solver):
    """What GIS and IIS share: each weight goes where its own bound of the likelihood is highest."""

    most: int | None = None  # levels of Σf that are told apart

    def begin(self) -> None:
        from danlu.maxent import levels_of

        self.levels = levels_of(self.problem, self.most)


@builds(spec.GIS)
class GIS(Scaling):
    """Generalised iterative scaling (Darroch & Ratcliff 1972): λ_i ← λ_i + (η/C) ln(Ẽf_i / E_p f_i), with C
    the largest Σf. Weights of features that are never seen stay. No state."""

    most = 1

    def next(self, p: Tensor, weights: Array, gradient: Array, lr: float) -> Array:
        free = self.problem.free
        wanted, after = self.problem.targets[free], weights.copy()
        with np.errstate(divide="ignore"):
            after[free] += lr / self.levels.values[0] * np.log(wanted / (wanted + gradient[free]))
        return after


@builds(spec.IIS)
class IIS(Scaling):
    """Improved iterative scaling (Della Pietra, Della Pietra & Lafferty 1997, section 4): λ_i ← λ_i + ηδ_i,
    where Σ_xy p̃(x) p(y|x) f_i e^{δ_i Σf} = Ẽf_i. No state."""

    def next(self, p: Tensor, weights: Array, gradient: Array, lr: float) -> Array:
        from danlu.maxent import change

        return np.asarray(weights + lr * change(self.problem, self.levels, self.problem.look(weights)))


@builds(spec.LBFGS)
class LBFGS(Solver):
    """L-BFGS (Liu & Nocedal 1989) with a search along lines by slopes (``danlu.maxent.lbfgs``). The weights
    after an update are the point that the next one looks at. η is the step that each search begins with.
    State: the search, some 43 times the weights."""

    def new_state(self, p: Tensor) -> dict[str, Tensor]:
        from danlu.maxent.lbfgs import Search, scale_of

        weights = p.detach().cpu().numpy().ravel()
        scale = np.ones_like(weights)
        scale[self.problem.free] = scale_of(self.problem, self.problem.look(weights).p)
        arrays = vars(Search.of(len(weights))) | {"scale": scale}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def next(self, p: Tensor, weights: Array, gradient: Array, lr: float) -> Array:
        from danlu.maxent.lbfgs import Search

        kept = {name: t.cpu().numpy() for name, t in self.state[p].items()}
        scale = kept.pop("scale")
        search = Search(**kept)
        after = search.tell(weights * scale, gradient / scale, lr)
        self.state[p] = {
            **{name: torch.from_numpy(array) for name, array in vars(search).items()},
            "scale": self.state[p]["scale"],
        }
        return np.asarray((search.base if after is None else after) / scale)
