"""The pages, a function each: the words of an address in, a page out."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from danlu.files.errors import DanluError
from danlu.lab.reading.run import Run
from danlu.watch import run as one
from danlu.watch import runs as many
from danlu.watch.page import address, drawing, html, thinned
from danlu.watch.place import Place, id_of

CHARTS = 6  # of a page
SUGGESTED = 200  # runs


def place_of(request: Request) -> Place:
    """The folder that is watched."""
    found: Place = request.app.state.place
    return found


def run_of(request: Request) -> Run:
    """The run of the address. Raises 404."""
    found = place_of(request).run(request.path_params["id"])
    if found is None:
        raise HTTPException(404)
    return found


def runs(request: Request) -> Response:
    """The list of runs."""
    place, asked = place_of(request), many.Asked.of(request.query_params)
    wrong: list[str] = []
    try:
        listing = many.listing(place, asked)
    except DanluError as error:
        wrong, listing = str(error).splitlines(), many.Listing([], 0, 1)
    return html(request, "runs.html", status=400 if wrong else 200, asked=asked, listing=listing, wrong=wrong)


def run(request: Request) -> Response:
    """One run."""
    place, run = place_of(request), run_of(request)
    query = request.query_params
    names, axes = one.names(run), _axes(query)
    metrics = [name for name in query.getlist("metric") if name in names][:CHARTS]
    metrics = metrics or [name for name in ("loss", run.metric_name) if name in names]
    against = place.run(query.get("against", "")) or _by_name(place, query.get("against", ""))
    inside = one.statistics(run)
    statistic = query.get("inside", "")
    return html(
        request,
        "run.html",
        id=id_of(run.path),
        name=place.shown(run.path),
        facts=one.facts(run),
        state=run.state,
        names=names,
        metrics=metrics,
        axes=axes,
        every_axis=one.AXES,
        charts=[_chart(run, metric, axes) for metric in metrics],
        too_large=not one.drawable(run),
        inside=inside,
        statistic=statistic if statistic in inside else "",
        against=None if against is None else place.shown(against.path),
        asked_against=query.get("against", ""),
        differences=[] if against is None else one.differences(run, against),
        fields=one.fields(run),
        sample=one.sample(run),
        others=[place.shown(other.path) for other in place.runs()[:SUGGESTED] if other.path != run.path],
    )


def _axes(query: Any) -> one.Axes:
    x = query.get("x", "steps")
    return one.Axes(x if x in one.AXES else "steps", query.get("scale") == "linear")


def _by_name(place: Place, name: str) -> Run | None:
    return next((run for run in place.runs() if name and place.shown(run.path) == name), None)


def _chart(run: Run, metric: str, axes: one.Axes) -> dict[str, Any]:
    """A drawing's address and the numbers beside it."""
    query = {"metric": metric, "x": axes.x, "scale": "linear" if axes.linear else ""}
    found = one.curve(run, metric, axes.x)
    base = f"/run/{id_of(run.path)}/curve"
    return {
        "title": metric,
        "svg": address(f"{base}.svg", query),
        "data": address(f"{base}.json", query),
        "head": (axes.x, metric),
        "rows": [(f"{x:.6g}", f"{y:.6g}") for x, y in thinned(found)],
        "of": len(found),
    }


def curve_svg(request: Request) -> Response:
    """A metric of a run over an axis, as an image."""
    query = request.query_params
    return drawing(one.chart([("", run_of(request))], query.get("metric", "loss"), _axes(query)))


def inside_svg(request: Request) -> Response:
    """A statistic of its layers over steps, as an image."""
    return drawing(one.inside(run_of(request), request.query_params.get("statistic", "")))
