"""Verbs that only read: ``show``, ``diff``, ``recipes``, ``ideas``. None loads torch, but ``show`` where it
is asked for costs or kernels."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from danlu.cli.output import print_json, print_table, print_yaml

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="EXPERIMENT",
        help="A recipe, YAML file or run's folder (tiny if left out), then +ideas and field=values.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Side = Annotated[str, typer.Argument(help="An experiment, in quotes if it has several words.")]


def show(
    words: Words = None,
    costs: Annotated[bool, typer.Option("--costs", help="Print what it costs instead.")] = False,
    kernels: Annotated[bool, typer.Option("--kernels", help="Print what runs its layers instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show an experiment whole, as YAML that can be run again; or what it costs."""
    import shlex

    from danlu.spec import resolve, to_yaml
    from danlu.spec.words import DEFAULT

    experiment = resolve(words or [])
    if costs or kernels:
        _show_costs(experiment, costs, kernels, as_json)
    elif as_json:
        print_json(experiment.model_dump(mode="json"))
    else:
        said = " ".join(shlex.join(words or [DEFAULT]).split())
        print_yaml(f"# danlu show {said}\n{to_yaml(experiment)}")


def _show_costs(experiment: Any, costs: bool, kernels: bool, as_json: bool) -> None:
    from danlu.cli.costs import tell_costs, tell_kernels
    from danlu.train import costs as of
    from danlu.train.kernels import report

    found: dict[str, Any] = {}
    if costs:
        found["costs"] = of.costs(experiment)
    if kernels:
        found["kernels"] = report(experiment)
    if as_json:
        print_json(found)
        return
    if costs:
        tell_costs(found["costs"])
    if costs and kernels:
        print()
    if kernels:
        tell_kernels(found["kernels"])


def diff(a: Side, b: Side, as_json: AsJson = False) -> None:
    """Show where two experiments differ: danlu diff tiny "tiny +swiglu"."""
    from danlu.spec import difference, resolve
    from danlu.spec.replay import MISSING
    from danlu.spec.text import brief

    rows = difference(resolve(a), resolve(b))
    if as_json:
        found = []
        for field, left, right in rows:
            sides = {"a": left, "b": right}
            found.append({"field": field} | {k: v for k, v in sides.items() if v is not MISSING})
        print_json(found)
    elif not rows:
        print("no difference")
    else:

        def shown(value: Any) -> str:
            return MISSING if value is MISSING else value if isinstance(value, str) else brief(value)

        print_table([("", a, b), *((field, shown(left), shown(right)) for field, left, right in rows)])


def recipes(as_json: AsJson = False) -> None:
    """List the recipes: experiments by name."""
    from dataclasses import asdict

    from danlu.spec import catalog

    found = catalog.recipes()
    if as_json:
        print_json([asdict(recipe) for recipe in found])
    else:
        print_table([(recipe.name, recipe.summary) for recipe in found])


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
        print(family)
        members = [idea for idea in found if idea.family == family]
        print_table([(f"+{idea.name}".ljust(width + 1), idea.statement) for idea in members], indent="  ")
