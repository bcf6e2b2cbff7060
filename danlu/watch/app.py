"""Which address shows what. What is asked for is read off the files at that moment, in a thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from danlu.files.errors import DanluError
from danlu.watch.guard import LOOPBACK, Guard, Keys
from danlu.watch.live import Streams
from danlu.watch.page import HERE, html
from danlu.watch.place import Place
from danlu.watch.tongue import Tongue

LATER = 3.0  # seconds
ROUTES = (  # address, module and function, method
    ("/", "views.runs", "GET"),
    ("/run/{id}", "views.run", "GET"),
    ("/run/{id}/curve.svg", "views.curve_svg", "GET"),
    ("/run/{id}/curve.json", "views.curve_json", "GET"),
    ("/run/{id}/inside.svg", "views.inside_svg", "GET"),
    ("/run/{id}/made/{number:int}", "views.made", "GET"),
    ("/compare", "views.compare", "GET"),
    ("/compare.svg", "views.compare_svg", "GET"),
    ("/compare.json", "views.compare_json", "GET"),
    ("/studies", "asked.studies", "GET"),
    ("/studies/{id}", "asked.study", "GET"),
    ("/studies/{id}/difference.svg", "asked.difference_svg", "GET"),
    ("/studies/{id}/forest.svg", "asked.forest_svg", "GET"),
    ("/studies/{id}/gain.svg", "asked.gain_svg", "GET"),
    ("/studies/{id}/parallel.svg", "asked.parallel_svg", "GET"),
    ("/studies/{id}/importance.svg", "asked.importance_svg", "GET"),
    ("/studies/{id}/report", "asked.report", "GET"),
    ("/queue", "views.queue", "GET"),
    ("/queue/control", "views.control", "POST"),
    ("/ledger", "asked.ledger", "GET"),
    ("/ledger/{id}", "asked.entry", "GET"),
    ("/book", "asked.book", "GET"),
    ("/book/{name}", "asked.claim", "GET"),
    ("/book/{name}/effects.svg", "asked.effects_svg", "GET"),
    ("/laws", "asked.laws", "GET"),
    ("/laws/{id}", "asked.law", "GET"),
    ("/events/runs", "events.runs", "GET"),
    ("/events/run/{id}", "events.run", "GET"),
    ("/events/studies/{id}", "events.study", "GET"),
    ("/events/queue", "events.queue", "GET"),
)


def view(name: str) -> Callable[[Request], Response]:
    """The function of that name, imported when it is first called: some need every specification of danlu,
    and the list of runs is there before those are."""

    def called(request: Request) -> Response:
        return loaded(name)(request)

    return called


@cache
def loaded(name: str) -> Callable[[Request], Response]:
    module, _, function = name.partition(".")
    found: Callable[[Request], Response] = getattr(import_module(f"danlu.watch.{module}"), function)
    return found


def warm(app: Starlette) -> None:
    """What the first pages would wait for: the runs with their fields; and later, when the list of runs is
    shown, what all views import."""
    for run in app.state.place.runs():
        _ = run.yardstick
    time.sleep(LATER)
    for _, name, _ in ROUTES:
        loaded(name)


def make(
    folder: Path, *, keys: Keys, port: int, names: Iterable[str] = LOOPBACK, language: str | None = None
) -> Starlette:
    """The application over ``folder``, called by these names at this port; in ``language``, or (None) in that
    of each browser."""
    app = Starlette(
        routes=[
            *(Route(path, view(name), methods=[method]) for path, name, method in ROUTES),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[Middleware(Guard, keys=keys, port=port, names=tuple(names)), Middleware(Tongue)],
        exception_handlers={DanluError: _wrong, HTTPException: _http},
    )
    app.state.keys, app.state.place, app.state.streams = keys, Place(folder), Streams()
    app.state.language = language
    return app


def _wrong(request: Request, error: Exception) -> Response:
    """What a person can mend, in its own words."""
    return html(request, "wrong.html", status=400, sentences=str(error).splitlines(), absent="")


def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    absent = "There is nothing at this address; it may have been moved or removed." if status == 404 else ""
    sentences = [] if absent else [str(error)]
    return html(request, "wrong.html", status=status, sentences=sentences, absent=absent)
