"""The pages, a function each: the words of an address in, a page out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response

from danlu.draw.scatter import Scatter
from danlu.files.errors import DanluError
from danlu.lab.reading.curves import thinned
from danlu.lab.reading.groups import differing, shown
from danlu.lab.reading.run import METRICS, Run
from danlu.lab.reading.table import said
from danlu.watch import run as one
from danlu.watch import runs as many
from danlu.watch.guard import STILL, form_of
from danlu.watch.live import mark_of
from danlu.watch.page import SHOWN, address, drawing, html
from danlu.watch.place import Place, StudyFolder, id_of
from danlu.watch.tongue import prefix_of, words_of

CHARTS = 6  # of a page
SUGGESTED = 200  # runs
COMPARED = 12


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


def study_at(request: Request) -> StudyFolder:
    """The study of the address. Raises 404."""
    found = place_of(request).study(request.path_params["id"])
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
    return html(
        request,
        "runs.html",
        status=400 if wrong else 200,
        asked=asked,
        listing=listing,
        wrong=wrong,
        events=asked.address().replace("/", "/events/runs", 1),
    )


def run(request: Request) -> Response:
    """One run."""
    from danlu.watch import planned, studies  # with every specification

    place, run = place_of(request), run_of(request)
    query = request.query_params
    mark = mark_of(
        run.path / METRICS
    )  # before the curves are read: a row told twice is seen, one lost is not
    measured = one.measured(run)
    names, axes = one.names(run, measured), axes_of(query)
    metrics = metrics_of(run, query, names)
    against = place.run(query.get("against", "")) or _by_name(place, query.get("against", ""))
    inside = one.statistics(measured)
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
        events=None
        if run.state == "finished"
        else address(
            f"/events/run/{id_of(run.path)}",
            [*(("metric", metric) for metric in metrics), ("x", axes.x), ("at", mark)],
        ),
        too_large=not one.drawable(run),
        inside=inside,
        statistic=statistic if statistic in inside else "",
        against=None if against is None else place.shown(against.path),
        asked_against=query.get("against", ""),
        differences=[] if against is None else one.differences(run, against),
        fields=one.fields(run),
        sample=one.sample(run),
        made=one.made(place, run),
        belongs=[
            *((f"/studies/{study.id}", study.name) for study in studies.of_run(place, run)),
            *((f"/laws/{law.id}", law.name) for law in planned.of_run(place, run)),
        ],
        others=[place.shown(other.path) for other in place.runs()[:SUGGESTED] if other.path != run.path],
    )


def metrics_of(run: Run, query: QueryParams, names: Sequence[str] | None = None) -> list[str]:
    """The metrics that a page draws: those asked for, else the loss and the held-out one."""
    known = one.names(run, one.measured(run)) if names is None else names
    asked = [name for name in query.getlist("metric") if name in known][:CHARTS]
    return asked or [name for name in ("loss", run.metric_name or "") if name in known]


def axes_of(query: QueryParams) -> one.Axes:
    """The axes that an address asks for."""
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
        "head": (one.AXES[axes.x], metric),
        "rows": [(f"{x:.6g}", f"{y:.6g}") for x, y in thinned(found, SHOWN)],
        "of": len(found),
    }


def curve_svg(request: Request) -> Response:
    """A metric of a run over an axis, as an image."""
    query = request.query_params
    return drawing(request, one.chart([("", run_of(request))], query.get("metric", "loss"), axes_of(query)))


def curve_json(request: Request) -> Response:
    """The same as numbers."""
    run, query = run_of(request), request.query_params
    metric = query.get("metric", "loss")
    return JSONResponse(_said(request, one.series([(metric, run)], metric, axes_of(query))))


def _said(request: Request, data: dict[str, Any]) -> dict[str, Any]:
    """The numbers of a chart, with its names in the language of the page."""
    words = words_of(request)
    series = [{**one, "label": words(one["label"])} for one in data["series"]]
    return {**data, "x": words(data["x"]), "y": words(data["y"]), "series": series}


def inside_svg(request: Request) -> Response:
    """A statistic of its layers over steps, as an image."""
    return drawing(request, one.inside(run_of(request), request.query_params.get("statistic", "")))


def made(request: Request) -> Response:
    """A picture or a point cloud that lies in the run's folder, by its place in the list."""
    place, run = place_of(request), run_of(request)
    found, number = one.made(place, run), request.path_params["number"]
    if number >= len(found) or not place.holds(path := run.path / found[number]):
        raise HTTPException(404)
    if path.suffix in one.PICTURES:
        kind = one.PICTURES[path.suffix]
        return FileResponse(path, media_type=kind, headers={"content-security-policy": STILL})
    clouds = [(0, one.cloud(path))]
    return drawing(request, Scatter(caption=found[number]).panel(found[number], clouds))


# ---------------------------------------------------------------- several runs


def _chosen(request: Request) -> list[Run]:
    found = [place_of(request).run(id) for id in request.query_params.getlist("run")[:COMPARED]]
    return [run for run in found if run is not None]


def compare(request: Request) -> Response:
    """Curves of several runs in one drawing, and what they differ in."""
    place, runs, query = place_of(request), _chosen(request), request.query_params
    axes = axes_of(query)
    names = list(dict.fromkeys(name for run in runs for name in one.names(run, one.measured(run))))
    metric = query.get("metric", "")
    first = next((run.metric_name for run in runs if run.metric_name in names), "loss")
    metric = metric if metric in names else str(first)
    ids = [id_of(run.path) for run in runs]
    asked = [*(("run", id) for id in ids), ("metric", metric), ("x", axes.x)]
    asked += [("scale", "linear")] if axes.linear else []
    fields = differing(runs)
    return html(
        request,
        "compare.html",
        ids=ids,
        runs=[(id, place.shown(run.path)) for id, run in zip(ids, runs, strict=True)],
        names=names,
        metric=metric,
        axes=axes,
        every_axis=one.AXES,
        svg=address("/compare.svg", asked),
        data=address("/compare.json", asked),
        rows=[
            ("", *(place.shown(run.path) for run in runs)),
            ("state", *(run.state for run in runs)),
            (first, *("" if run.metric is None else f"{run.metric:.4f}" for run in runs)),
            ("steps", *(f"{run.steps or 0:,}" for run in runs)),
            *((name, *(said(shown(run, name)) for run in runs)) for name in fields),
        ],
    )


def compare_svg(request: Request) -> Response:
    """The curves as an image."""
    runs, place = _chosen(request), place_of(request)
    if not runs:
        raise HTTPException(404)
    query = request.query_params
    named = [(place.shown(run.path), run) for run in runs]
    return drawing(request, one.chart(named, query.get("metric", "loss"), axes_of(query)))


def compare_json(request: Request) -> Response:
    """The same as numbers."""
    runs, place, query = _chosen(request), place_of(request), request.query_params
    if not runs:
        raise HTTPException(404)
    named = [(place.shown(run.path), run) for run in runs]
    return JSONResponse(_said(request, one.series(named, query.get("metric", "loss"), axes_of(query))))


# ---------------------------------------------------------------- the queue


def queue(request: Request) -> Response:
    """What is under way, and the buttons of the control file."""
    from danlu.watch import queue as queued  # with every specification

    return html(request, "queue.html", state=queued.state(place_of(request)))


def control(request: Request) -> Response:
    """Write down a wish, and go back to the page."""
    from danlu.watch import queue as queued

    form = form_of(request.scope)
    queued.ask(place_of(request), form.get("job", ""), form.get("want", ""))
    return RedirectResponse(f"{prefix_of(request)}/queue", status_code=303)
