"""The curvature of a run's loss at one of its checkpoints, measured: what ``danlu curvature`` shows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from danlu import curvature
from danlu.nn import pure
from danlu.train.curvature.loss import Curved
from danlu.train.curvature.stability import edge
from danlu.train.errors import RunError

PRECISIONS = ("auto", "float64", "float32")
EXACT = 1e-3  # relative error of a product in float32 up to which ``auto`` takes it
TOP = 5  # eigenvalues
NOISY = 8  # batches whose gradients tell the noise
RADIUS = 0.05  # of the step upwards: Foret et al. 2021, section 3.1
SMALL = 0.01  # of the largest eigenvalue: what is nearer to zero is in the bulk
MOST = 200  # random vectors for a trace

Tell = Callable[[str], None]


def untold(what: str) -> None:
    """For curvatures that nobody waits for."""


def measure(
    path: Path,
    step: int | None = None,
    *,
    batches: int = 1,
    precision: str = "auto",
    error: float = 0.1,
    sparse: bool = False,
    tell: Tell = untold,
) -> dict[str, Any]:
    """The curvature of the run in ``path`` at the checkpoint of ``step`` (None: the latest), on ``batches``
    batches of training: see docs/curvature.md for what each number is.

    ``precision``: ``auto`` measures a product in both and takes float32 where that is within ``EXACT`` of
    float64. ``error``: relative standard error of the traces; ``sparse``: also count second derivatives that
    are zero; ``tell`` is told what is done. Raises ``RunError`` for what is no run, for a field out of range,
    and where the objective's loss has no second derivative.
    """
    if precision not in PRECISIONS:
        raise RunError(f"precision = {precision!r}; allowed: {', '.join(PRECISIONS)}")
    if batches < 1:
        raise RunError(f"batches = {batches}; allowed: 1 or more")
    if not 0 < error < math.inf:
        raise RunError(f"error = {error}; allowed: any number above 0")
    start = time.perf_counter()
    loss = Curved(path, step, batches=batches)
    if not loss.parameters:
        raise RunError(f"{path} learns no parameter, and has no curvature")
    tell(f"{loss.rows} examples, {len(loss.like):,} parameters")
    compared = compare(loss)
    chosen = precision
    if precision == "auto":
        chosen = "float32" if compared["error"] <= EXACT else "float64"
    loss.to(chosen)
    found = {
        "run": str(path),
        "step": loss.step,
        "examples": loss.rows,
        "unit": loss.objective.unit,
        "units": loss.rows * loss.objective.size,
        "parameters": len(loss.like),
        "precision": chosen,
        "float32": compared,
        "loss": loss.hessian.value(),
    }
    slope = loss.hessian.gradient()
    found["gradient"] = float(slope.norm())
    tell("trace")
    trace = curvature.hutchinson(loss.hessian, loss.like, error=error, most=MOST, generator=_draw(0))
    found["trace"] = _trace(trace)
    found["parts"] = [
        {"name": name, "parameters": len(places), "trace": float(trace.diagonal[places].sum())}
        for name, places in loss.groups().items()
    ]
    tell("eigenvalues")
    top = curvature.top(loss.hessian, loss.like, TOP, tolerance=1e-2, most=80, generator=_draw(1))
    found["top"] = {**top._asdict(), "values": list(top.values), "bounds": list(top.bounds)}
    tell("edge of stability")
    at_edge = edge(loss)
    found["edge"] = None if at_edge is None else at_edge._asdict() | {"lr_at_edge": at_edge.lr_at_edge}
    tell("density")
    spectrum = curvature.density(loss.hessian, loss.like, probes=2, steps=40, generator=_draw(2))
    small = SMALL * abs(top.values[0])
    found["density"] = {
        "nodes": [x.tolist() for x in spectrum.nodes],
        "weights": [w.tolist() for w in spectrum.weights],
        "bulk": spectrum.share_below(small) - spectrum.share_below(-small),
        "negative": spectrum.share_below(-small),
    }
    tell("Gauss-Newton")
    found["gauss_newton"] = _gauss_newton(loss, error)
    tell("noise")
    found["noise"] = _noise(loss)
    if sparse:
        tell("sparsity")
        found["sparsity"] = sparsity(loss)
    found["sharpness"] = {"radius": RADIUS, "rise": curvature.ascent(loss.hessian, RADIUS)}
    found["seconds"] = time.perf_counter() - start
    return found


def compare(loss: Curved) -> dict[str, float]:
    """A product with a random vector in float64 and in float32: relative ``error`` of the second,
    ``seconds`` of each (graphs kept)."""
    products: dict[str, Tensor] = {}
    seconds: dict[str, float] = {}
    for precision in ("float32", "float64"):
        loss.to(precision)
        v = curvature.signs(loss.like, _draw(4))
        try:
            loss.hessian(v)
        except RuntimeError as error:
            if "derivative" not in str(error) and "differentiable" not in str(error):
                raise
            raise RunError(
                f"{loss.path}: its loss has no second derivative ({str(error).splitlines()[0]}); a part of "
                "your own must be made of operators that have one"
            ) from None
        start = time.perf_counter()
        products[precision] = loss.hessian(v).double()
        seconds[precision] = time.perf_counter() - start
    wanted = products["float64"]
    size = float(wanted.norm())
    off = float((products["float32"] - wanted).norm())
    return {"error": off / size if size else 0.0 if off == 0 else math.inf, "seconds": seconds["float32"],
            "seconds_float64": seconds["float64"]}  # fmt: skip


def _trace(trace: curvature.Trace) -> dict[str, Any]:
    return {"value": trace.value, "error": trace.error, "samples": len(trace.samples)}


def _gauss_newton(loss: Curved, error: float) -> dict[str, Any] | None:
    try:
        trace = curvature.hutchinson(loss.gauss_newton, loss.like, error=error, most=MOST, generator=_draw(0))
    except RunError:  # the loss is no function of one output
        return None
    return _trace(trace)


def _noise(loss: Curved) -> dict[str, Any] | None:
    """Of the gradient, in examples; None where the loss is no mean over examples."""
    if loss.objective.group is not None:
        return None
    batch = loss.experiment.train.batch
    noise = curvature.noise_of(loss.gradients(NOISY), batch, loss.hessian)
    found = {name: value if math.isfinite(value) else None for name, value in noise._asdict().items()}
    return found | {"batch": batch, "batches": NOISY}


def sparsity(loss: Curved, columns: int = 4) -> dict[str, Any]:
    """Shares of second derivatives that are exactly zero, by pairs of parts: of the loss, and of one number
    of the network's output for the first example."""
    groups = loss.groups()
    found: dict[str, Any] = {"parts": list(groups)}
    of = {"loss": loss.hessian, "logit": curvature.Hessian(loss.parameters, [_output(loss)])}
    for name, product in of.items():
        one = curvature.sparsity(
            product, list(groups.values()), like=loss.like, columns=columns, generator=_draw(5)
        )
        found[name] = one._asdict()
    return found


def _output(loss: Curved) -> curvature.Term:
    """One number of the network's output for the first example."""
    term = loss.watched(loss.term(0, 1))

    def output() -> Tensor:
        with pure():
            z = term().outputs.flatten()
        return z[int(torch.randint(len(z), (), generator=_draw(6)))]

    return output


def _draw(stream: int) -> torch.Generator:
    return torch.Generator().manual_seed(stream)
