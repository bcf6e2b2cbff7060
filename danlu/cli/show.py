"""Verbs that only read: ``show``, ``diff``, ``ideas``. None loads torch, but ``show`` where it
is asked for costs, kernels or groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from danlu.cli.output import print_json, print_table, print_yaml, say, short

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="EXPERIMENT",
        help="A recipe, YAML file or run's folder (tiny if left out), then +ideas and field=values.",
        show_default=False,
    ),
]
Shrink = Annotated[
    str | None,
    typer.Option(
        "--shrink",
        metavar="PARAMETERS",
        help="The recipe's shape and rules at a size that trains here: 500k, 2M.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Side = Annotated[str, typer.Argument(help="An experiment, in quotes if it has several words.")]


def show(
    words: Words = None,
    shrink: Shrink = None,
    costs: Annotated[bool, typer.Option("--costs", help="Print what it costs instead.")] = False,
    kernels: Annotated[bool, typer.Option("--kernels", help="Print what runs its layers instead.")] = False,
    groups: Annotated[
        bool, typer.Option("--groups", help="Print which parameter is updated how instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show an experiment whole, as YAML that can be run again; what it costs, or how it learns."""
    import shlex

    from danlu.spec.book import to_yaml
    from danlu.spec.shrink import resolve
    from danlu.spec.words import DEFAULT

    words = words or [DEFAULT]
    experiment = resolve(words, shrink)
    if costs or kernels or groups:
        _show_parts(experiment, costs, kernels, groups, as_json)
    elif as_json:
        print_json(experiment.model_dump(mode="json"))
    else:
        said = " ".join(shlex.join([*words, *(["--shrink", shrink] if shrink else [])]).split())
        print_yaml(f"# danlu show {said}\n{to_yaml(experiment, words[0])}")


def _show_parts(experiment: Any, costs: bool, kernels: bool, groups: bool, as_json: bool) -> None:
    from danlu.cli.costs import tell_costs, tell_kernels
    from danlu.cli.groups import tell_groups
    from danlu.train import costs as of_costs
    from danlu.train import groups as of_groups
    from danlu.train import kernels as of_kernels

    parts: list[tuple[bool, str, Callable[[Any], Any], Callable[[Any], None]]] = [
        (costs, "costs", of_costs.costs, tell_costs),
        (kernels, "kernels", of_kernels.report, tell_kernels),
        (groups, "groups", of_groups.report, tell_groups),
    ]
    found = [(name, of(experiment), tell) for asked, name, of, tell in parts if asked]
    if as_json:
        print_json({name: said for name, said, _ in found})
        return
    for i, (_, said, tell) in enumerate(found):
        if i:
            say()
        tell(said)


def diff(a: Side, b: Side, as_json: AsJson = False) -> None:
    """Show where two experiments differ: danlu diff tiny "tiny +swiglu"."""
    from danlu.spec import book, difference, resolve
    from danlu.spec.replay import MISSING

    one, two = resolve(a), resolve(b)
    if as_json:
        found = []
        for field, left, right in difference(one, two):
            sides = {"a": left, "b": right}
            found.append({"field": field} | {k: v for k, v in sides.items() if v is not MISSING})
        print_json(found)
    elif one == two:
        say("no difference")
    else:
        rows = [*book.published_of(a, b), *book.telling(one, two)]
        print_table([("", a, b), *((field, short(left), short(right)) for field, left, right in rows)])


def ideas(as_json: AsJson = False) -> None:
    """List the ideas: small changes to try on any experiment, as in danlu show tiny +swiglu."""
    from dataclasses import asdict

    from danlu.spec import catalog

    found = catalog.ideas()
    if as_json:
        print_json([asdict(idea) for idea in found])
        return
    width = max((len(idea.name) for idea in found), default=0)
    for family in dict.fromkeys(idea.family for idea in found):
        say(family)
        members = [idea for idea in found if idea.family == family]
        print_table([(f"+{idea.name}".ljust(width + 1), idea.statement) for idea in members], indent="  ")
