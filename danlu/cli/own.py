"""``--with mine.py``: the option of every verb that reads an experiment."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

With = Annotated[
    list[Path] | None,
    typer.Option("--with", metavar="FILE", help="A Python file with your own parts; may be repeated."),
]


def with_parts(verb: Callable[..., Any]) -> Callable[..., Any]:
    """``verb`` with the option ``--with``, whose files are loaded before anything is read."""

    @functools.wraps(verb)
    def run(*, own: list[Path] | None = None, **given: Any) -> Any:
        if own:
            from danlu.parts import load

            for path in own:
                load(path)
        return verb(**given)

    option = inspect.Parameter("own", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=With)
    signature = inspect.signature(verb, eval_str=True)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in run.__signature__.parameters.values()}  # type: ignore[attr-defined]
    return run
