"""Verbs that only read: ``show``, ``diff``, ``ideas``. None loads torch, but ``show`` where it
is asked for costs, kernels or groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from danlu.cli import completion
from danlu.cli.output import print_json, print_table, print_yaml, say, short, speak

if TYPE_CHECKING:
    from danlu.spec.catalog import Idea

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="EXPERIMENT",
        help="A recipe, YAML file or run's folder (default: tiny), then +ideas and field=values.",
        show_default=False,
        autocompletion=completion.words,
    ),
]
Shrink = Annotated[
    str | None,
    typer.Option(
        "--shrink",
        metavar="PARAMETERS",
        help="Make the recipe small: its shape and rules at 500k or 2M parameters.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Side = Annotated[
    str,
    typer.Argument(help="An experiment; in quotes if it has several words.", autocompletion=completion.words),
]


def show(
    words: Words = None,
    shrink: Shrink = None,
    costs: Annotated[
        bool, typer.Option("--costs", help="Print parameters, FLOPs, memory and caches instead.")
    ] = False,
    kernels: Annotated[
        bool, typer.Option("--kernels", help="Print the kernel of each layer instead.")
    ] = False,
    groups: Annotated[
        bool, typer.Option("--groups", help="Print the update rule of each parameter instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print an experiment as YAML, or what it costs.

    Examples: danlu show tiny +swiglu; danlu show gpt2-124m --costs
    """
    import shlex

    from danlu.spec.book import to_yaml
    from danlu.spec.shrink import laid
    from danlu.spec.words import DEFAULT

    words = words or [DEFAULT]
    experiment, became = laid(words, shrink)
    if costs or kernels or groups:
        _show_parts(experiment, costs, kernels, groups, as_json)
    elif as_json:
        print_json("show", experiment.model_dump(mode="json"))
    else:
        said = " ".join(shlex.join([*words, *(["--shrink", shrink] if shrink else [])]).split())
        head = [f"danlu show {said}", *(f"{word}: {one}" for word, ones in became.items() for one in ones)]
        print_yaml("".join(f"# {line}\n" for line in head) + to_yaml(experiment, words[0]))


def _show_parts(experiment: Any, costs: bool, kernels: bool, groups: bool, as_json: bool) -> None:
    from danlu.cli.costs import print_costs, print_kernels
    from danlu.cli.groups import print_groups
    from danlu.train import costs as of_costs
    from danlu.train import groups as of_groups
    from danlu.train import kernels as of_kernels

    parts: list[tuple[bool, str, Callable[[Any], Any], Callable[[Any], None]]] = [
        (costs, "costs", of_costs.costs, print_costs),
        (kernels, "kernels", of_kernels.report, print_kernels),
        (groups, "groups", of_groups.report, print_groups),
    ]
    found = [(name, of(experiment), tell) for asked, name, of, tell in parts if asked]
    if as_json:
        print_json("show", {name: said for name, said, _ in found})
        return
    for i, (_, said, tell) in enumerate(found):
        if i:
            say()
        tell(said)


def diff(a: Side, b: Side, as_json: AsJson = False) -> None:
    """Show the differences between two experiments.

    Example: danlu diff tiny "tiny +swiglu"
    """
    from danlu.spec import book, difference, resolve
    from danlu.spec.replay import MISSING

    one, two = resolve(a), resolve(b)
    if as_json:
        found = []
        for field, left, right in difference(one, two):
            sides = {"a": left, "b": right}
            found.append({"field": field} | {k: v for k, v in sides.items() if v is not MISSING})
        print_json("diff", found)
    elif one == two:
        speak("no difference")
    else:
        rows = [*book.published_of(a, b), *book.telling(one, two)]
        print_table([("", a, b), *((field, short(left), short(right)) for field, left, right in rows)])


def ideas(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IDEA]...",
            help="Ideas to show in full: names or YAML files. Default: list all.",
            autocompletion=completion.ideas,
        ),
    ] = None,
    on: Annotated[
        str | None, typer.Option(metavar="WORDS", help="Show what they change in this experiment.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the ideas: small changes to try on an experiment.

    Examples: danlu ideas; danlu ideas mla lion; danlu ideas mla --on gpt2-124m
    """
    from danlu.draw.language import language
    from danlu.spec import catalog
    from danlu.spec.translated import statement

    if names or on is not None:
        _ideas_whole(names or list(catalog.names("ideas")), on, as_json)
        return
    found = catalog.ideas()
    if as_json:
        print_json("ideas", [_said(idea) for idea in found])
        return
    width = max((len(idea.name) for idea in found), default=0)
    lang = language()
    for family in dict.fromkeys(idea.family for idea in found):
        speak(family)
        members = [idea for idea in found if idea.family == family]
        rows = [
            (f"+{idea.name}".ljust(width + 1), statement("ideas", idea.name, idea.statement, lang))
            for idea in members
        ]
        print_table(rows, indent="  ")


def _said(idea: Idea) -> dict[str, Any]:
    """Its fields, and its statement in Chinese."""
    from dataclasses import asdict

    from danlu.spec.translated import chinese

    return {**asdict(idea), "statement_zh": chinese("ideas", idea.name, idea.statement)}


def _ideas_whole(names: list[str], on: str | None, as_json: bool) -> None:
    """Each idea whole; its patch as it is written, or what it changes ``on`` an experiment."""
    from danlu.draw.language import language
    from danlu.files.yaml import dump
    from danlu.spec import SpecError, catalog, resolve
    from danlu.spec.book import changes
    from danlu.spec.translated import statement

    if on is not None:
        resolve(on)  # a mistake in it is told before anything is shown
    found = []
    for name in names:
        idea = catalog.idea(name.removeprefix("+"))
        said: dict[str, Any] = {**_said(idea), "on": on}
        if on is not None:
            try:
                said["changes"] = [one._asdict() for one in changes(on, name.removeprefix("+"))]
            except SpecError as error:
                said["refused"] = str(error)
        found.append(said)
    if as_json:
        print_json("ideas", found)
        return
    lang = language()
    for i, said in enumerate(found):
        claimed = statement("ideas", said["name"], said["statement"], lang)
        say("\n" * (i > 0) + f"+{said['name']}  {claimed}")
        if said["source"]:
            speak(f"  source: {said['source']}")
        if said["expect"]:
            speak(f"  expect: {statement('expect', said['name'], said['expect'], lang)}")
        for rule, reason in said["needs"].items():
            speak(f"  needs {rule}: {reason}")
        if on is None:
            say("".join(f"  {line}\n" for line in dump({"patch": said["patch"]}).splitlines()).rstrip())
        elif "refused" in said:
            speak(f"  on {on} it does not apply: {said['refused']}")
        else:
            speak(f"  on {on}:")
            rows = [
                (
                    one["field"],
                    f"{short(one['before'])} → {short(one['after'])}",
                    one["rule"] and f"= {one['rule']}",
                )
                for one in said["changes"]
            ]
            print_table(rows, indent="    ")
