"""The streams of the pages: what each follows. Every page has one at most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from danlu.draw.xml import text
from danlu.files.errors import DanluError
from danlu.files.read import stamp
from danlu.lab.reading.run import METRICS, Run
from danlu.lab.study import RESULT
from danlu.watch import run as one
from danlu.watch import runs as many
from danlu.watch.live import Changed, Look, Points, RowsLook, RunLook, Streams
from danlu.watch.page import piece
from danlu.watch.tongue import placed, prefix_of, words_of
from danlu.watch.views import axes_of, metrics_of, place_of, run_of, study_at

LAST = "last-event-id"


def _stream(request: Request, look: Look) -> Response:
    streams: Streams = request.app.state.streams
    return streams.response(look)


def runs(request: Request) -> Response:
    """The rows of a list as the address asks for them."""
    place, asked = place_of(request), many.Asked.of(request.query_params)

    def rows() -> Mapping[str, str]:
        try:
            parts = many.listing(place, asked).parts
        except DanluError:
            return {}
        return {one.id: piece(request, "row.html", row=one) for part in parts for one in part.rows}

    def moved() -> str:
        said = words_of(request)("Other runs belong here now: show them")
        link = placed(f'<a href="{text(asked.address())}">{text(said)}</a>', prefix_of(request))
        return f'<hx-partial hx-target="#news" hx-swap="innerHTML">{link}</hx-partial>'

    return _stream(request, RowsLook(place.version, rows, _in_place, moved))


def _in_place(id: str, html: str) -> str:
    return f'<hx-partial hx-target="#r-{id}" hx-swap="outerHTML">{html}</hx-partial>'


def run(request: Request) -> Response:
    """A run: its facts, and the new points of the curves that the page shows."""
    place, found, query = place_of(request), run_of(request), request.query_params
    id = request.path_params["id"]

    def told(run: Run) -> str:
        html = piece(request, "facts.html", facts=one.facts(run))
        return f'<hx-partial hx-target="#facts" hx-swap="innerHTML">{html}</hx-partial>'

    points = Points(metrics_of(found, query), axes_of(query).x, found.counted)
    at = request.headers.get(LAST) or query.get("at", "")
    return _stream(request, RunLook(lambda: place.run(id), points, at, told, found.path))


def study(request: Request) -> Response:
    """Whether a study came further: its result, its pairs, or the metrics of their runs."""
    from danlu.lab.trial.kept import FILE as PAIRS  # with every specification
    from danlu.lab.trial.kept import kept

    place, study = place_of(request), study_at(request)

    def state() -> Any:
        files = [study.path / name for name in (RESULT, PAIRS)]
        if not (study.path / RESULT).exists():
            runs = [run for row in kept(study.path) for run in row["runs"]]
            names = {run[side] for run in runs for side in ("baseline", "variant")}
            files += [run.path / METRICS for run in place.runs() if run.path.name in names]
        return [stamp(path) for path in files]

    return _stream(request, Changed(state))


def queue(request: Request) -> Response:
    """Whether anything happened in the queue, or a run of it came further."""
    from danlu.lab.queue.journal import JOURNAL  # with every specification

    place = place_of(request)

    def state() -> Any:
        studies = place.studies_folder
        return place.version(), None if studies is None else stamp(studies / JOURNAL)

    return _stream(request, Changed(state))
