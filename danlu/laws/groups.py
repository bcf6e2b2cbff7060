"""One law over groups of points: parameters that all groups share, and each group's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.laws.answer import Answer, answer
from danlu.laws.audit.shape import LEVEL, contradicted
from danlu.laws.base import Array, Data, Law, Parameter, ascii_name
from danlu.laws.errors import LawError, Warned
from danlu.laws.fit import Fit, fit
from danlu.laws.gains import Gain, gains
from danlu.laws.held_out import HoldOut
from danlu.laws.table import COLUMNS, Points

GROUP = "group"  # the column that says of which group a point is: 1 to as many as there are
MOST = 50  # groups; more are no groups, but a column of another kind

Places = NDArray[np.int64]


def grouped(
    law: Law, labels: Sequence[str], shared: Iterable[str] = (), fixed: Mapping[str, float] | None = None
) -> tuple[Law, Places]:
    """The law with a column ``group``, and where each group's parameters stand in it, (groups, parameters).

    ``shared``: parameters that are one for all groups; what is ``fixed`` or tied to a shared one is so too.
    The others are there once for each group: ``A[c4]``, ``A[dclm]``.
    """
    leads = law.leads or tuple(range(len(law.parameters)))
    one = {leads[law.place(name)] for name in (*shared, *(fixed or {}))}
    places = np.empty((len(labels), len(leads)), np.int64)
    parameters: list[Parameter] = []
    for j, parameter in enumerate(law.parameters):
        if leads[j] in one:
            places[:, j] = len(parameters)
            parameters.append(parameter)
        else:
            places[:, j] = len(parameters) + np.arange(len(labels))
            parameters += [replace(parameter, name=f"{parameter.name}[{label}]") for label in labels]

    def parts(data: Data) -> list[tuple[Places, Places, dict[str, Array]]]:
        """Of each group that has points: its parameters' places, its points, their columns."""
        found = []
        for number, own in enumerate(places, start=1):
            at = np.flatnonzero(data[GROUP] == number)
            if len(at):
                found.append((own, at, {name: data[name][at] for name in law.columns}))
        return found

    def predict(theta: Array, data: Data) -> Array:
        out = np.empty((*theta.shape[:-1], len(data[GROUP])))
        for own, at, some in parts(data):
            out[..., at] = law.predict(theta[..., own], some)
        return out

    def gradient(theta: Array, data: Data) -> Array:
        out = np.zeros((*theta.shape, len(data[GROUP])))
        for own, at, some in parts(data):
            out[..., own[:, None], at] = law.gradient(theta[..., own], some)
        return out

    def curvature(theta: Array, data: Data, weight: Array) -> Array:
        assert law.curvature is not None
        out = np.zeros((*theta.shape, theta.shape[-1]))
        for own, at, some in parts(data):
            out[..., own[:, None], own] += law.curvature(theta[..., own], some, weight[..., at])
        return out

    def starts(data: Data, target: Array) -> Array:
        """What all points and each group alone say of what is shared, and to it each group's own fitted."""
        groups = [(own, Points({**some, law.target: target[at]})) for own, at, some in parts(data)]
        pool = Points({**{name: data[name] for name in law.columns}, law.target: target})
        together = fit(law, pool, fixed=fixed).vector
        alone = [_fitted(law, points, together, None, fixed) for _, points in groups]
        rows = np.empty((1 + len(groups), len(parameters)))
        for row, theta in zip(rows, [together, *alone], strict=True):
            held = {law.names[j]: float(theta[j]) for j in one}
            row[places] = theta
            for (own, points), single in zip(groups, alone, strict=True):
                row[own] = _fitted(law, points, theta, np.stack([single, theta]), held)
        return rows

    made = replace(
        law,
        name=f"{law.name} by group",
        columns=(*law.columns, GROUP),
        parameters=tuple(parameters),
        predict=predict,
        gradient=gradient,
        curvature=None if law.curvature is None else curvature,
        starts=starts,
        arrange=None,
        distinct={**law.distinct, GROUP: 1},
        published={},
        leads=_leads(places, leads) if law.leads else (),
    )
    return made, places


def _leads(places: Places, leads: Sequence[int]) -> tuple[int, ...]:
    found = np.zeros(places.max() + 1, np.int64)
    found[places] = places[:, list(leads)]
    return tuple(found.tolist())


def _fitted(
    law: Law, points: Points, otherwise: Array, starts: Array | None, fixed: Mapping[str, float] | None
) -> Array:
    """The best parameters; ``otherwise``, where the points cannot tell."""
    try:
        return fit(law, points, starts=starts, fixed=fixed).vector
    except LawError:
        return otherwise


@dataclass(frozen=True)
class Groups:
    """A law over groups.

    ``answers``: of each group by its label, as if it had been fitted alone; where parameters are shared they
    come from one fit to all points, ``together``. ``shared``: these parameters' names. ``gains``: of each
    group over ``baseline``. ``warnings``: groups that were left out, and that contradict what is shared.
    """

    law: Law
    column: str
    baseline: str
    answers: Mapping[str, Answer]
    shared: tuple[str, ...]
    together: Answer | None
    gains: Mapping[str, list[Gain]]
    warnings: list[Warned] = field(default_factory=list)

    def parameter_rows(self) -> list[tuple[str, ...]]:
        """A table: parameter, group, value, 95 % from, to; one row for what is shared."""
        rows: list[tuple[str, ...]] = [("", self.column, "value", "95 % from", "to", "meaning")]
        for parameter in self.law.parameters:
            shared = parameter.name in self.shared
            for label, one in list(self.answers.items())[: 1 if shared else None]:
                cells = one.cells(parameter.name)
                rows.append((parameter.name, "all" if shared else label, *cells, one.meaning(parameter)))
        return rows

    def gain_rows(self) -> list[tuple[str, ...]]:
        """A table: each group's gain over the baseline; empty where there is nothing to tell."""
        rows: list[tuple[str, ...]] = []
        for label, found in self.gains.items():
            for one in found:
                at = ", ".join(f"{name.upper()} {value:.3g}" for name, value in one.at.items())
                ends = (_times(one.factor.low), _times(one.factor.high))
                rows.append(
                    (label, COLUMNS[one.by][1], at, f"{one.loss:.4g}", _times(one.factor.value), *ends)
                )
        head = (self.column, "gain in", "at", "loss", f"times {self.baseline}", "95 % from", "to")
        return [head, *rows] if rows else []

    def json(self, draws: bool = True) -> dict[str, Any]:
        """Plain values; ``groups`` holds a fit file for each label."""
        together = None if self.together is None else self.together.json(draws)
        return {
            "schema": "danlu.laws.groups/1",
            "law": self.law.name,
            "group": self.column,
            "baseline": self.baseline,
            "shared": [ascii_name(name) for name in self.shared],
            "together": together,
            "groups": {label: one.json(draws) for label, one in self.answers.items()},
            "gains": {label: [one.json() for one in found] for label, found in self.gains.items()},
        }


def by_group(
    law: Law,
    points: Points,
    labels: Sequence[str],
    *,
    column: str = GROUP,
    shared: Iterable[str] | None = None,
    baseline: str | None = None,
    fixed: Mapping[str, float] | None = None,
    cluster: Array | None = None,
    table: Mapping[str, Sequence[Any]] | None = None,
    **options: Any,
) -> Groups:
    """Fit a law over groups of points, and say what each group gains over the baseline.

    ``labels``: (points,), the group of each. ``column``: what they are called. ``shared``: parameters that
    all groups have in common; with none (or None) each group is fitted alone. ``baseline``: a label; the
    first that is fitted where not said. ``fixed``, ``cluster`` (points,), ``table`` and ``options`` are those
    of ``answer``.
    A group that cannot be fitted alone is left out, with a warning. Raises LawError for a parameter or a
    label that there is not, where the baseline or every other group cannot be fitted, or one has too few
    points beside what is shared.
    """
    names = list(dict.fromkeys(labels))
    if len(labels) != points.size:
        raise LawError(f"there must be one label for each of {points.size} points, not {len(labels)}")
    if len(names) > MOST:
        raise LawError(f"{column} has {len(names)} different values; at most {MOST} groups are fitted")
    if baseline is not None and baseline not in names:
        raise LawError(f"no point has {column} = {baseline}; there are {', '.join(names)}")
    number = np.array([names.index(label) + 1 for label in labels])
    wanted = [law.names[law.place(name)] for name in shared or ()]
    warnings = list[Warned]()
    if not wanted:
        together, answers = None, {}
        for i, label in enumerate(names, start=1):
            at = np.flatnonzero(number == i)
            some = None if cluster is None else cluster[at]
            rows = {name: [values[j] for j in at.tolist()] for name, values in (table or {}).items()}
            try:
                answers[label] = answer(
                    law, points.take(at), fixed=fixed, cluster=some, table=rows, **options
                )
            except LawError as error:
                if label == baseline or len(names) <= 2:
                    mend = f"; --where '{column}!={label}' leaves it out"
                    raise LawError(f"group {label}: {error}{mend}") from None
                warnings.append(Warned("group-left-out", f"group {label} is left out: {error}"))
        if len(names) > 1 and len(answers) <= 1:
            raise LawError(str(warnings[0]))
    else:
        made, places = grouped(law, names, wanted, fixed)
        least = int(made.own[places[0]].sum()) - len({law.place(name) for name in wanted})
        counts = np.bincount(number)[1:]
        if (few := np.flatnonzero(counts < least)).size:
            label = names[few[0]]
            raise LawError(
                f"group {label} has {counts[few[0]]} points for {least} parameters of its own; --where "
                f"'{column}!={label}' leaves it out"
            )
        together = answer(
            made,
            points.with_columns(**{GROUP: number}),
            fixed=fixed,
            cluster=cluster,
            table=table,
            **options,
        )
        answers = {
            label: _part(together, law, i, own)
            for i, (label, own) in enumerate(zip(names, places, strict=True), 1)
        }
        shared_places = [
            j for j in range(places.shape[1]) if len(names) == 1 or (places[:, j] == places[0, j]).all()
        ]
        wanted = [law.names[j] for j in shared_places]
        given = np.isin(np.arange(places.shape[1]), shared_places)
        for i, (label, one) in enumerate(answers.items(), start=1):
            name, p = contradicted(one.fit, given, None if cluster is None else cluster[number == i])
            if p * len(names) < LEVEL:
                warnings.append(Warned("shared-contradicts", (
                    f"{label} contradicts the {name} that all share (p = {p:.1g}): gains rest on what is "
                    "shared; share fewer parameters (--shared), or none"
                )))  # fmt: skip
    baseline = next(iter(answers)) if baseline is None else baseline
    found = {
        label: gains(one, answers[baseline], together=together is not None)
        for label, one in answers.items()
        if label != baseline
    }
    return Groups(law, column, baseline, answers, tuple(wanted), together, found, warnings)


def _times(factor: float | None) -> str:
    if factor is None:
        return ""
    return f"{factor:.3g}" if 0 < factor < np.inf else "> 1e9" if factor else "< 1e-9"


def _part(together: Answer, law: Law, number: int, own: Places) -> Answer:
    """What a fit to all groups says of one: law, points, parameters; the scatter is that of all."""
    whole = together.fit
    at = np.flatnonzero(whole.points[GROUP] == number)
    points = Points({name: column for name, column in whole.points.take(at).items() if name != GROUP})
    vector, residuals, weights = whole.vector[own], whole.residuals[at], whole.weights[at]
    one = replace(
        whole, law=law, points=points, theta=law.named(vector), vector=vector, residuals=residuals,
        weights=weights, objective=float(np.sum(weights * whole.loss.value(residuals))), free=whole.free[own],
        warnings=[],
    )  # fmt: skip
    intervals = {
        name: together.intervals[whole.law.names[place]]
        for name, place in zip(law.names, own, strict=True)
        if whole.law.names[place] in together.intervals
    }
    return replace(
        together,
        fit=one,
        draws=None if together.draws is None else together.draws.only(one, own),
        intervals=intervals,
        held=_held(together.held, one, number),
        calibration=None,  # these two are of all groups, and told there
        audit=None,
        warnings=[],
    )


def _held(held: HoldOut | None, one: Fit, number: int) -> HoldOut | None:
    """The held-out points of one group."""
    if held is None or not (at := held.held[GROUP] == number).any():
        return None
    errors = held.errors[at]
    return replace(
        held,
        fit=one,
        held=held.held.take(at),
        predicted=held.predicted[at],
        errors=errors,
        mean=float(np.abs(errors).mean()),
        bias=float(errors.mean()),
    )
