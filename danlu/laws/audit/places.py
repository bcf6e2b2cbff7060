"""What columns and values alone say: a loss in another unit, diverged runs, repeated data, experts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.laws.base import Array, Law
from danlu.laws.errors import Warned
from danlu.laws.files.names import met
from danlu.laws.fit import Fit
from danlu.laws.table import SHARES, Points, rank_correlation

LOWEST, HIGHEST = 0.05, 20.0  # nats per token that a loss is looked for between
RISES = 0.5  # rank correlation of loss with compute from which on it is no loss
ABSURD = 1.0  # of ln loss: one row alone so far above the law has diverged
ABOVE = 0.15  # of ln loss: rows as far above the law, and as many as DIVERGED of them, have diverged
DIVERGED = 0.02
MOST = 0.8  # share of such rows that a bound on the loss must leave out
TOLD = 8  # rows that a sentence names
UNSHARED = 0.02  # by which shares of domains may miss one, as they are rounded
ALIKE = 3  # runs at one place, at the median, that make a sweep of something else
MET = 0.001, 0.95  # of parameters, the shares that a token may meet where it does not meet all
EXPERTS = re.compile(r"(?:^|[\W_])(?:experts?|moe|topk)(?:$|[\W_])|^nume$", re.IGNORECASE)
SEEDS = re.compile(r"(?:^|[\W_])seed$", re.IGNORECASE)


def places(fit: Fit, table: Mapping[str, Sequence[Any]]) -> list[Warned]:
    """What looks wrong with the columns of a fit; ``table``: the file's other columns, a value each row."""
    law, points = fit.law, fit.points
    if law.target in ("lr", "b"):  # of the best runs as well
        return swept(fit, table)
    if law.target != "loss":
        return []
    return [
        *unit_of(points),
        *overflown(points),
        *diverged(fit),
        *swept(fit, table),
        *repeated(law, points),
        *experts(law, points, table),
        *shares(law, points),
    ]


def unit_of(points: Points) -> list[Warned]:
    """Losses that cannot well be nats per token, or that rise with compute."""
    loss, whole, said = points["loss"], points.with_compute(), list[Warned]()
    middle = float(np.median(loss))
    if not LOWEST <= middle <= HIGHEST:
        mend = (
            "perplexity is --unit loss=perplexity" if middle > HIGHEST else "look at the unit of the column"
        )
        said.append(Warned("loss-unit", (
            f"half of the losses are {'above' if middle > HIGHEST else 'below'} {middle:.3g}: is that nats "
            f"per token? {mend}"
        )))  # fmt: skip
    over = next((name for name in ("c", "n", "d") if name in whole), None)
    if over is not None and points.size > 5:
        rank = rank_correlation(whole[over], loss)
        if rank > RISES:
            said.append(Warned("rising-loss", (
                f"the loss rises with {over} (rank correlation {rank:.2f}): is it an accuracy or another "
                "score? a law of tasks is danlu laws chain"
            )))  # fmt: skip
    return said


def overflown(points: Points) -> list[Warned]:
    """Numbers that stand at the largest integer of a machine: they are cut off."""
    said = list[Warned]()
    for name in ("n", "d", "c"):
        if name not in points:
            continue
        for bits in (31, 32, 63, 64):
            cut = np.abs(points[name] - (2.0**bits - 1)) <= (0.5 if bits < 50 else 2048)
            if cut.sum() > 1 or (cut.any() and cut[np.argmax(points[name])] and bits % 2):
                said.append(Warned("overflow", (
                    f"{name} is 2^{bits} − 1 in {cut.sum()} of {points.size} rows: the largest integer of "
                    "what wrote the file, not the number itself; mend the file, or leave these rows out"
                )))  # fmt: skip
    return said


def diverged(fit: Fit) -> list[Warned]:
    """Many rows far above the law."""
    points, above = fit.points, -fit.residuals
    if fit.law.space != "log":
        return []
    scale = 1.4826 * float(np.median(np.abs(above)))
    off = above > max(ABOVE, 5 * scale)
    said = list[Warned]()
    if off.sum() < max(3, DIVERGED * points.size):
        off = above > max(ABSURD, 10 * scale)
    below = (above < -max(ABOVE, 5 * scale)).sum()
    if off.any() and below < max(1, off.sum() / 4):
        low, high = (_above(float(above[off].min())), _above(float(above[off].max())))
        rows = ", ".join(str(row + 1) for row in np.flatnonzero(off)[:TOLD])
        rows += ", …" if off.sum() > TOLD else ""
        s = "s" if off.sum() > 1 else ""
        said.append(Warned("diverged", (
            f"{off.sum()} of {points.size} rows look diverged (data row{s} {rows}): "
            f"{low if low == high else f'{low} to {high}'} above the law; {_without(points['loss'], off)}"
        )))  # fmt: skip
    return said


def _without(loss: Array, off: NDArray[np.bool_]) -> str:
    """How rows that are ``off`` are left out: by a bound on the loss where one tells nearly all of them from
    the others."""
    highest, worst = float(loss[~off].max()), float(loss[off].min())
    if highest < worst:
        between = (f"{min(1.001 * highest, (highest + worst) / 2):.{digits}g}" for digits in range(3, 18))
        cut = next(text for text in between if highest < float(text) <= worst)
        return f"--where 'loss<{cut}' leaves {'them' if off.sum() > 1 else 'it'} out"
    bound = float(f"{np.quantile(loss[~off], 0.99):.3g}")
    if (loss[off] >= bound).mean() > MOST:
        return f"--where 'loss<{bound:g}' leaves most of them out"
    return "others have losses as high, so that no bound leaves them out: look at these runs"


def swept(fit: Fit, table: Mapping[str, Sequence[Any]]) -> list[Warned]:
    """Runs of several rates and batches at one place, of all that the law knows; what a column of seeds tells
    apart are repeats."""
    points = fit.points
    if fit.law.space != "log" or not {"n", "d"} <= points.keys():
        return []
    columns = dict.fromkeys(("n", "d", *fit.law.columns))
    place = np.unique(np.stack([points[name] for name in columns]), axis=1, return_inverse=True)[1].ravel()
    count = np.bincount(place)
    seeds = next((values for name, values in table.items() if SEEDS.search(name)), None)
    if seeds is not None and len({*zip(place.tolist(), map(str, seeds), strict=True)}) == points.size:
        return []
    if np.median(count) < ALIKE or len(count) < 2:
        return []
    return [Warned("sweep", (
        f"{points.size} rows stand at {len(count)} places (N, D), {np.median(count):.0f} each, as in a sweep "
        "of rates, batches or other settings: a law of the best runs wants the lowest loss of each place, "
        "not all; keep one row a place (--hull keeps the best for their compute alone)"
    ))]  # fmt: skip


def _above(log: float) -> str:
    """How far above the law, of a residual of ln loss."""
    return f"{np.expm1(log):.0%}" if log < 2 else f"{np.exp(log):.3g} times"


def repeated(law: Law, points: Points) -> list[Warned]:
    """More tokens than unique ones, under a law that knows no repetition."""
    if "u" not in points or "d" not in points or "u" in law.columns:
        return []
    more = points["d"] > 1.05 * points["u"]
    if not more.any():
        return []
    most = float((points["d"] / points["u"]).max())
    return [Warned("repeated-data", (
        f"{more.sum()} of {points.size} rows repeat their data, up to {most:.3g} times: {law.name} takes "
        "every token for a new one; --law data-constrained does not"
    ))]  # fmt: skip


def experts(law: Law, points: Points, table: Mapping[str, Sequence[Any]]) -> list[Warned]:
    """Sizes that count parameters which a token never meets."""
    if "n" not in points or {"e", "g"} & {*law.columns}:
        return []
    for name, values in table.items():
        if not met(name) or (active := _numbers(values)) is None:
            continue
        share = float(np.median(active / points["n"]))
        if (active <= points["n"] * 1.001).all() and MET[0] < share < MET[1]:
            return [Warned("active-parameters", (
                f"the size counts all parameters, but a token meets {share:.0%} of them (column {name}): C "
                f"is 6 times active parameters times D; --n '{name}' takes these, and the laws of experts "
                "are --law moe-experts and moe-granularity"
            ))]  # fmt: skip
    if ("e" in points and np.ptp(points["e"]) > 0) or any(
        EXPERTS.search(name) and len({str(value) for value in values}) > 1 for name, values in table.items()
    ):
        return [Warned("experts", (
            f"models differ in their experts, which {law.name} does not know: --where keeps models of one "
            "kind, --law moe-experts or moe-granularity takes all"
        ))]  # fmt: skip
    return []


def shares(law: Law, points: Points) -> list[Warned]:
    """Shares of domains that do not sum to one."""
    if not {*law.columns} <= {*SHARES}:
        return []
    total = np.sum([points[name] for name in law.columns], axis=0)
    if (np.abs(total - 1) <= UNSHARED).all():
        return []
    return [Warned("shares", (
        f"the shares of a row sum to {total.min():.3g} to {total.max():.3g}, not to 1: a domain is left out, "
        "or they are per cent"
    ))]  # fmt: skip


def _numbers(values: Sequence[Any]) -> Array | None:
    try:
        found = np.array([float(value) for value in values])
    except (TypeError, ValueError):
        return None
    return found if np.isfinite(found).all() and (found > 0).all() else None
