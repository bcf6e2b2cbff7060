"""The base classes of update rules: state, steps, and rules that work element by element."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn as nn
from torch import Tensor
from torch.optim import Optimizer

from danlu import spec
from danlu.optim.mup import Scaling
from danlu.optim.pieces import pieces
from danlu.optim.roles import Named
from danlu.spec.errors import DanluError, SpecError


class Choice(NamedTuple):
    """What updates a parameter: the class, the settings of its group there (keyword arguments of the class),
    and how they scale with the width (``danlu.optim.mup``)."""

    rule: type[Rule]
    scaling: Scaling | None
    settings: dict[str, Any]


class Rule(Optimizer):
    """An update rule: an ordinary ``torch.optim.Optimizer`` and the base class of all rules, also of yours::

        class HeavyBall(danlu.optim.Rule):
            def __init__(self, params, lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 0.0):
                super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

            def new_state(self, p):
                return {"velocity": self.zeros(p)}

            def update(self, group, params):
                for p in params:
                    velocity, weight = local(self.state[p]["velocity"]), local(p)
                    velocity.mul_(group["momentum"]).add_(local(p.grad), alpha=group["lr"])
                    weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(velocity)

    What a rule must have:

    * ``__init__(params, lr=…, …)``. Every argument after ``params`` is a setting: it has a default, it is put
      into the ``defaults`` of a parameter group, and a specification has a field of its name. ``lr`` must be
      among them, the peak rate. A rule with decoupled decay calls it ``weight_decay``; gains and biases then
      get 0. ``beta1`` and ``beta2`` of a specification are passed as ``betas`` where ``__init__`` has that.
    * ``update(group, params)``: change ``params``, which have gradients and state, in place; gradients are
      not recorded. Read settings from ``group`` at every call, since schedules change them.
    * ``new_state(p)``, if it remembers anything: tensors of the parameter's shape made by ``zeros`` (sharded
      like it), smaller ones, and ``step``, a count on the CPU. ``state`` keeps them by parameter, and they
      are all that a checkpoint needs.

    What it may have: ``choose``, where settings differ by role or some parameters get another rule;
    ``scaling``, how its settings depend on the width (without it, models with a ``base_width`` are refused);
    ``averaged``, where the weights to evaluate are not those that are trained.

    Sharded parameters (FSDP2): ``local(t)`` is this process's part of a tensor, which is all that a rule by
    element needs; sums over a whole tensor: ``danlu.optim.alike``.

    ``state_dtype``: of the tensors of the parameter's shape; left out, the parameter's.
    ``compiled``: let ``torch.compile`` make one kernel of an elementwise rule that PyTorch has none for; that
    takes some ten seconds at first and then reads and writes every number once.

    PyTorch imports its compiler (about two seconds) the first time that an optimizer takes parameters or
    clears gradients, only to keep the compiler away from these methods; here they are called as they are,
    so that a run that compiles nothing starts in half the time.
    """

    scaling: ClassVar[Scaling | None] = None
    moments: ClassVar[tuple[str, ...]] = ()  # of the state: of the parameter's shape
    stackable: ClassVar[bool] = False  # whether it has ``advance``; a subclass says so anew

    @classmethod
    def choose(cls, s: spec.Rule, p: Named) -> Choice:
        """What updates the parameter ``p`` where ``s`` specifies this rule: the rule itself, with every field
        of ``s`` that is an argument of ``__init__``.

        ``weight_decay`` need not be among the settings: gains and biases get 0, other parameters that of
        ``s`` (see ``danlu.optim.build.assign``), unless it is set here.
        """
        known = inspect.signature(cls).parameters
        given = s.settings()
        if "betas" in known and "betas" not in given:
            given["betas"] = (given["beta1"], given["beta2"])
        settings = {name: value for name, value in given.items() if name in known}
        settings.pop("weight_decay", None)
        return Choice(cls, cls.scaling, settings)

    def __init__(
        self,
        params: Iterable[Any],
        defaults: dict[str, Any],
        *,
        state_dtype: torch.dtype | None = None,
        compiled: bool = False,
    ) -> None:
        self.state_dtype, self.compiled = state_dtype, compiled
        super().__init__(params, defaults)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "state_dtype": self.state_dtype, "compiled": self.compiled}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with settings of their own; see ``torch.optim.Optimizer.add_param_group``. Raises
        ``DanluError`` for complex ones, and for views with gaps between their numbers in memory, which the
        fused kernels would not see."""
        plain = getattr(Optimizer.add_param_group, "__wrapped__", Optimizer.add_param_group)
        plain(self, param_group)
        group = self.param_groups[-1]
        for p in group["params"]:
            if p.is_complex():
                raise DanluError(
                    f"{type(self).__name__} updates real numbers, and {_name(group, p)} is {p.dtype}; make a "
                    "parameter of torch.view_as_real(…) and use torch.view_as_complex of it"
                )
            if not _dense(local(p)):
                raise DanluError(
                    f"{_name(group, p)} has gaps between its numbers in memory (strides {p.stride()}); "
                    "close them: p.data = p.data.contiguous()"
                )

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or set them to zero."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if set_to_none:
                    p.grad = None
                else:
                    p.grad.detach_().zero_()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As PyTorch's, which turns every state into the parameter's dtype; here it keeps its own."""
        plain = getattr(Optimizer.load_state_dict, "__wrapped__", Optimizer.load_state_dict)
        plain(self, state_dict)
        given = dict(enumerate(p for group in self.param_groups for p in group["params"]))
        order = [i for group in state_dict["param_groups"] for i in group["params"]]
        for place, saved in enumerate(order):
            state = self.state[given[place]]
            for key, value in state_dict["state"].get(saved, {}).items():
                if state[key].dtype != value.dtype:
                    state[key] = value.to(state[key].device, copy=True)
                state[key] = laid_out(state[key], given[place])

    def attach(self, model: nn.Module) -> None:
        """Called once, by ``danlu.optim.build``, with the model whose parameters these are: for a rule that
        must know more of it than gradients."""

    def new_state(self, p: Tensor) -> dict[str, Tensor]:
        """The state of a parameter that was never updated; each rule says its own."""
        return {}

    def ready(self, group: dict[str, Any]) -> list[Tensor]:
        """The parameters of ``group`` that a step updates: those that have a gradient, and any number."""
        return [p for p in group["params"] if has_gradient(group, p)]

    def update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        """Update the parameters of ``group`` that are ready; each has its state."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Update every parameter that has a gradient; the closure's loss, if one is given. Raises
        ``DanluError`` for a sparse gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = self.ready(group)
            self.give_state(params)
            if params:
                self.update(group, params)
        return loss

    def coefficients(self, settings: dict[str, Any]) -> list[float | Tensor]:
        """All numbers of the settings that a batched or compiled form takes. ``settings`` of members have
        ``step``, the number of the update at hand from 1."""
        raise NotImplementedError

    @classmethod
    def advance(
        cls, settings: dict[str, Any], c: list[Tensor], rows: list[tuple[Tensor, ...]]
    ) -> list[tuple[Tensor, ...]]:
        """A step of members at once (``danlu.optim.stacked``), nothing in place: from rows of a parameter,
        its gradient and its ``moments``, all (K, …), to the new parameter and moments. ``c``: the
        ``coefficients``, (K,) each; ``settings``: a group's, of which only what is the same in all counts."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Give every parameter its state now, so that a checkpoint can be read into it."""
        for group in self.param_groups:
            self.give_state(p for p in group["params"] if p.numel())

    def put_state(self, p: Tensor, state: dict[str, Tensor]) -> None:
        """Give a parameter the state that was read from a checkpoint, on the devices where it belongs."""
        like = self.new_state(p)
        for k, t in state.items():
            if k in like and t.shape != like[k].shape:
                raise SpecError(
                    f"the saved optimizer has a {k} of shape {tuple(t.shape)} where {tuple(like[k].shape)} "
                    "is needed; use the experiment that saved it"
                )
        self.state[p] = {
            k: laid_out(t.to(like[k].device if k in like else p.device), p) for k, t in state.items()
        }

    def give_state(self, params: Iterable[Tensor]) -> None:
        """Give state to those parameters that have none."""
        for p in params:
            if not self.state[p]:
                self.state[p] = self.new_state(p)

    def zeros(self, p: Tensor) -> Tensor:
        """Zeros of the parameter's shape and sharding, in the dtype of the state."""
        return torch.zeros_like(p, dtype=self.state_dtype)

    def count(self, params: Iterable[Tensor]) -> dict[int, list[Tensor]]:
        """Add one to the step of each parameter; returns the parameters by their number of steps."""
        found: dict[int, list[Tensor]] = {}
        for p in params:
            found.setdefault(int(self.state[p]["step"].add_(1)), []).append(p)
        return found

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within it the parameters are those to evaluate and to save, and the state has what is needed to go
        on. For most rules that is what they are anyway."""
        yield


class Elementwise(Rule):
    """A rule whose update of a number depends on that number, its gradient and its ``moments`` alone."""

    one_pass: ClassVar[bool] = False  # the formula is one kernel, which reads and writes everything once

    def new_state(self, p: Tensor) -> dict[str, Tensor]:
        return {name: self.zeros(p) for name in self.moments}

    def formula(
        self, settings: dict[str, Any], params: list[Tensor], grads: list[Tensor], *moments: list[Tensor]
    ) -> None:
        """Update ``params`` and ``moments`` in place, all of one dtype: float32 or float64."""
        raise NotImplementedError

    def update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        self.sweep(group, params)

    @staticmethod
    def plain(c: list[Tensor], p: Tensor, g: Tensor, *moments: Tensor) -> tuple[Tensor, ...]:
        """The same formula for one tensor and nothing in place, for the compiler and for members: from the
        ``coefficients`` ``c`` to the new parameter and moments."""
        raise NotImplementedError

    @classmethod
    def advance(
        cls, settings: dict[str, Any], c: list[Tensor], rows: list[tuple[Tensor, ...]]
    ) -> list[tuple[Tensor, ...]]:
        return [cls.plain([v.view(-1, *[1] * (row[0].ndim - 1)) for v in c], *row) for row in rows]

    def run_compiled(self, settings: dict[str, Any], columns: list[list[Tensor]]) -> None:
        """Run the compiled formula: one kernel for all settings and lengths."""
        wide = precise(columns[0][0])
        given = [torch.as_tensor(c, dtype=wide) for c in self.coefficients(settings)]
        even = all(c.ndim == 0 for c in given)
        for row in zip(*columns, strict=True):
            flat = even and all(t.is_contiguous() for t in row)
            _compiled()(self.plain, given, [t.view(-1) for t in row] if flat else list(row))

    def sweep(self, settings: dict[str, Any], params: list[Tensor]) -> None:
        """Apply the formula to the parameters, piece by piece."""
        columns = self.columns(params)
        if self.compiled and not self.one_pass:
            self.run_compiled(settings, columns)
            return
        alike = len({t.dtype for column in columns for t in column}) == 1
        for piece in [columns] if self.one_pass and alike else pieces(columns):
            calculate(self.formula, settings, piece)

    def columns(self, params: list[Tensor]) -> list[list[Tensor]]:
        """What the formula takes, of this process's shards: parameters, gradients, moments."""
        grads = [laid_out(p.grad, p) for p in params if p.grad is not None]
        moments = [[self.state[p][name] for p in params] for name in self.moments]
        return [[local(t) for t in column] for column in (params, grads, *moments)]


def has_gradient(group: dict[str, Any], p: Tensor) -> bool:
    """Whether a parameter of ``group`` has a gradient to update it by. Raises ``DanluError`` where that is
    sparse."""
    if p.grad is None or not p.numel():
        return False
    if p.grad.layout is not torch.strided:
        raise DanluError(
            f"the gradient of {_name(group, p)} is sparse ({p.grad.layout}), and danlu's rules take dense "
            "ones; make its nn.Embedding without sparse=True (for rows that no token touches Lion and Tiger "
            "have lazy_rows)"
        )
    return True


def _name(group: dict[str, Any], p: Tensor) -> str:
    """How a parameter is called in an error."""
    place = next(i for i, other in enumerate(group["params"]) if other is p)
    named = group["names"][place] if "names" in group else f"parameter {place} of its group"
    return f"{named} ({'×'.join(map(str, p.shape))})"


def local(t: Tensor) -> Tensor:
    """This process's part of a sharded tensor; any other tensor itself."""
    part: Tensor = t.to_local() if hasattr(t, "to_local") else t
    return part.detach()


@functools.cache
def _compiled() -> Callable[..., None]:
    def apply(plain: Callable[..., tuple[Tensor, ...]], c: list[Tensor], row: list[Tensor]) -> None:
        new = plain(c, *(t.to(precise(row[0])) for t in row))
        for old, value in zip((row[0], *row[2:]), new, strict=True):
            old.copy_(value)

    compiled: Callable[..., None] = torch.compile(apply, dynamic=True)
    return compiled


def laid_out(t: Tensor, p: Tensor) -> Tensor:
    """A gradient or a state with its numbers in memory in the order of the parameter's, as fused kernels take
    for granted; what has another shape, itself."""
    if t.stride() == p.stride() or t.shape != p.shape:
        return t
    return torch.empty_like(p, dtype=t.dtype).copy_(t)


def _dense(t: Tensor) -> bool:
    """Whether its numbers fill a stretch of memory, in whatever order."""
    expected = 1
    for stride, size in sorted((s, n) for s, n in zip(t.stride(), t.shape, strict=True) if n != 1):
        if stride != expected:
            return t.numel() == 0
        expected *= size
    return True


def precise(t: Tensor) -> torch.dtype:
    """The dtype to calculate in: the tensor's own, but float32 at least."""
    return torch.promote_types(t.dtype, torch.float32)


def calculate(formula: Callable[..., None], settings: dict[str, Any], columns: list[list[Tensor]]) -> None:
    """Call the formula with everything in one dtype, at least float32, and put back what it changed."""
    dtypes = {t.dtype for column in columns for t in column}
    if dtypes <= {torch.float32} or dtypes <= {torch.float64}:
        formula(settings, *columns)
        return
    wide = torch.float64 if torch.float64 in dtypes else torch.float32
    work = [[t.to(wide) for t in column] for column in columns]
    formula(settings, *work)
    for number, (column, computed) in enumerate(zip(columns, work, strict=True)):
        if number != 1:  # gradients are only read
            torch._foreach_copy_(column, computed)


def descend(params: list[Tensor], updates: list[Tensor], lr: float, weight_decay: float = 0.0) -> None:
    """θ ← θ − η(u + λθ), by PyTorch's fused kernel, which reads and writes once."""
    if torch.compiler.is_compiling() or params[0].device.type not in ("cpu", "cuda"):
        torch._foreach_mul_(params, 1 - lr * weight_decay)
        torch._foreach_add_(params, updates, alpha=-lr)
        return
    torch._fused_sgd_(
        params, updates, [], weight_decay=weight_decay, momentum=0.0, lr=lr, dampening=0.0,
        nesterov=False, maximize=False, is_first_step=False,
    )  # fmt: skip
