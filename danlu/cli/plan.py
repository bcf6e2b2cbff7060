"""The verb ``plan``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from danlu.cli.costs import human
from danlu.cli.output import inform, print_json, print_table, say, speak, spoken
from danlu.cli.show import AsJson, Words
from danlu.files.numbers import duration

SHOWN = 6  # meshes that fit, and reasons of others
TITLES = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "the optimizer's state",
    "gathered": "gathered weights",
    "copies": "copies of weights",
    "activations": "activations",
    "logits": "gradient of the logits",
    "allowance": "allowance (assumed)",
    "total": "all",
}


def plan(
    words: Words = None,
    device: Annotated[
        str,
        typer.Option(
            "--device", metavar="NAME", help="h100, a100-40, rtx-4090, …, a YAML file, or here: measured."
        ),
    ] = "h100",
    devices: Annotated[int, typer.Option("--devices", min=1, max=100_000, help="Number of devices.")] = 8,
    price: Annotated[
        float | None, typer.Option("--price", min=0, help="Price of one device for an hour.")
    ] = None,
    mfu: Annotated[
        float | None,
        typer.Option(
            "--mfu", min=0.001, max=1, help="Measured MFU of one device, in place of published ones."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Estimate what an experiment takes on many devices.

    That is memory, time, traffic and money. The fastest meshes come first; the first is told in full, or the
    one that the experiment asks for. To plan size and data by a scaling law: danlu laws plan.

    Examples: danlu plan llama-7b --devices 64; danlu plan gpt2-124m --device rtx-4090 --devices 2
    """
    from danlu.spec import resolve
    from danlu.spec.devices import HERE
    from danlu.spec.devices import device as known
    from danlu.train.here import here
    from danlu.train.mesh_plan import mesh_plan

    experiment = resolve(words or [])
    of = here() if device == HERE else known(device)
    found = mesh_plan(experiment, of, devices, price=price, mfu=mfu)
    if as_json:
        print_json("plan", found)
        return
    for note in found["notes"]:
        inform(f"note: {note}")
    _tell(found)


def _tell(found: dict[str, Any]) -> None:
    device, unit = found["device"], f"{found['unit']}s"
    rows_of = (
        f"{found['batch']:,} × {found['units']:,} {unit}" if found["units"] > 1 else f"{found['batch']:,}"
    )
    speak(
        f"{human(found['parameters'])} parameters, updates of {rows_of}, {human(found['flops'], 'FLOP')}, on "
        f"{found['devices']} × {device['title'] or device['name']}, {found['precision']}"
    )
    if found["mfu"] is not None:
        speak(f"An estimate, by a measured MFU of {found['mfu']:.3g} on one device and published links.")
    elif device["source"] == "measured here":
        low, high = (found["reached"][end] for end in ("low", "high"))
        speak(f"An estimate: of rates measured here, {low:.0%} to {high:.0%} is assumed to be reached.")
    else:
        low, high = (found["reached"][end] for end in ("low", "high"))
        speak(f"An estimate: of published rates, published runs of others reached {low:.0%} to {high:.0%}.")
    fits = [one for one in found["meshes"] if one["why"] is None]
    others = [one for one in found["meshes"] if one["why"] is not None]
    if fits:
        say()
        head = ("", "rows a pass", "memory", "an update", f"{unit}/s", "MFU")
        print_table(spoken([head, *map(_row, fits[:SHOWN])], names=(0,)))
        if len(fits) > SHOWN:
            speak(f"and {len(fits) - SHOWN} more that are slower: --json")
    if others:
        meshes = "1 mesh is" if len(others) == 1 else f"{len(others)} meshes are"
        speak(f"\n{meshes} impossible or too large, such as")
        reasons = {one["why"]: one["said"] for one in reversed(others)}  # each once, by its first mesh
        rows = [(said, why) for why, said in list(reasons.items())[::-1][:SHOWN]]
        print_table(spoken(rows), indent="  ")
    if found["chosen"] is not None:
        _tell_chosen(found["chosen"], device["memory"], unit)
    if found["rounds"] is not None:
        _tell_rounds(found["rounds"])


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    return (
        one["said"],
        str(one["rows"]),
        human(one["memory"], "B"),
        _seconds(one["seconds"]),
        _ends(one["per_second"]),
        _percent(one["utilisation"]),
    )


def _ends(pair: dict[str, float], unit: str = "") -> str:
    low, high = (human(float(f"{pair[end]:.3g}"), unit) for end in ("low", "high"))
    return low if low == high else f"{low} to {high}"


def _seconds(pair: dict[str, float]) -> str:
    if pair["high"] == 0:
        return "nothing"
    if pair["high"] < 1:
        return _ends({end: 1e3 * value for end, value in pair.items()}) + " ms"
    return _ends(pair) + " s"


def _percent(pair: dict[str, float]) -> str:
    low, high = (f"{100 * pair[end]:.0f}" for end in ("low", "high"))
    return f"{low} %" if low == high else f"{low} to {high} %"


def _tell_chosen(one: dict[str, Any], room: float, unit: str) -> None:
    passes = f"{one['passes']} passes" if one["passes"] > 1 else "one pass"
    speak(f"\n{one['said']}: {one['words']} ({passes} an update)")
    speak(f"\nmemory of the fullest device, of {human(room, 'B')}")
    rows = [(title, human(one["memory"][name], "B")) for name, title in TITLES.items() if one["memory"][name]]
    print_table(spoken(rows), indent="  ")
    work = one["work"]
    speak(f"\nwork of an update on one device at these rates; it is bound by {work['bound']}")
    kinds = (
        ("products", "products"),
        ("memory", "numbers that memory moves"),
        ("optimizer", "the optimizer"),
    )
    print_table(spoken([(title, _seconds(_same(work[name]))) for name, title in kinds]), indent="  ")
    if one["bubble"]:
        speak(f"  stages of the pipeline wait {one['bubble']:.0%} of that beside it")
    if one["traffic"]:
        speak("\nwhat a device sends in an update")
        head = ("", "calls", "bytes", "devices", "by itself", "")
        sent = [
            (f"{row['kind']}, {row['why']}", str(row["calls"]), human(row["bytes"], "B"), str(row["devices"]),
             _seconds(_same(row["seconds"])), "all wait" if row["waits"] else "beside work")
            for row in one["traffic"]
        ]  # fmt: skip
        print_table(spoken([head, *sent]), indent="  ")
        speak(f"  of which shows: {_seconds(one['exposed'])}")
    if one["hours"] is not None:
        money = "" if one["money"] is None else f", {_ends(one['money'])} in money"
        low, high = (max(0.1, 3600 * one["hours"][end]) for end in ("low", "high"))
        takes = " to ".join(dict.fromkeys((duration(low), duration(high))))
        speak(f"\nthe run, evaluations and checkpoints left out: {takes}{money}")


def _same(value: float) -> dict[str, float]:
    return {"low": value, "high": value}


def _tell_rounds(found: dict[str, Any]) -> None:
    speak(
        f"\n{found['workers']} such workers that talk every {found['every']} updates and send "
        f"{human(found['sent'], 'B')} each time: a simulation; links scatter by {found['jitter']:.0%}"
    )
    rows = [("link, bits/s", "computing", "90 % of rounds", "a round")]
    for one in found["links"]:
        rows.append(
            (
                human(one["bits_per_second"]),
                f"{one['utilisation']:.1%}",
                f"{one['low']:.1%} to {one['high']:.1%}",
                _seconds(_same(one["seconds"])),
            )
        )
    print_table(spoken(rows), indent="  ")
