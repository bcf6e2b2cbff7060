"""How ``danlu show --costs`` and ``--kernels`` print what they found."""

from __future__ import annotations

from typing import Any

from danlu.cli.output import print_table, speak, spoken

ORDER = (
    "embedding",
    "positions",
    "mixer",
    "pairs",
    "cross-attention",
    "feed-forward",
    "norms and gains",
    "readout",
    "other",
)


def human(number: float, unit: str = "") -> str:
    """Three digits and a power of a thousand: 1.24 G, 36.9 kB, 512 B."""
    size, prefixes = float(number), ["", "k", "M", "G", "T", "P", "E", "Z"]
    while size >= 999.5 and len(prefixes) > 1:
        size, prefixes = size / 1000, prefixes[1:]
    exact = size == number == int(number)  # whole and below a thousand
    digits = f"{size:.0f}" if exact or size >= 100 else f"{size:#.3g}"
    return f"{digits} {prefixes[0]}{unit}".rstrip()


def print_costs(found: dict[str, Any]) -> None:
    """The costs of an experiment (``danlu.train.costs.costs``), a table a subject."""
    parameters, flops, ids = found["parameters"], found["flops"], found["vocabulary"]
    unit = found["unit"]
    rows_of = f"{found['rows']} × {found['context']}" if ids else f"{found['rows']}"
    known = f", vocabulary {ids['ids']:,} ({ids['known']})" if ids else ""
    speak(f"on {found['device']} in {found['precision']}, passes of {rows_of} {unit}s{known}\n")
    forward, parts = flops["forward"], parameters["parts"]
    whole = sum(forward.values())
    rows = [("", "parameters", "", f"FLOPs, {unit}", "")]
    for name in ORDER:
        if name not in parts and name not in forward:
            continue
        n, f = parts.get(name), forward.get(name)
        label = {"pairs": "  pairs of positions", "other": "other parts"}.get(name, name)
        rows.append(
            (
                label,
                human(n) if n else "",
                f"{n / parameters['total']:.1%}" if n else "",
                human(f) if f else "",
                f"{f / whole:.1%}" if f else "",
            )
        )
    rows.append(("all, forward", human(parameters["total"]), "", human(whole), ""))
    n = parameters["without_embeddings"]
    rows.append(("without embeddings; training", human(n), "", human(flops["training"]), ""))
    head, *others = spoken(rows)
    print_table([head, *((name, *(cell.rjust(13) for cell in cells)) for name, *cells in others)])
    if flops["over_6n"] is not None:
        speak(f"training costs {flops['over_6n']:.2f} × 6N FLOPs for each {unit}, N without embeddings")
    if sent := found["sent"]:
        speak(
            f"each of {sent['workers']} workers sends {sent['bytes_per_unit']:.3g} bytes for each {unit}; "
            f"summing gradients at every update, {sent['data_parallel']:.3g}"
        )
    _print_memory(found)
    if found["shape"]:
        _print_shape(found["shape"])


def _print_memory(found: dict[str, Any]) -> None:
    memory, cache, intensity = found["memory"], found["cache"], found["intensity"]
    again = ", blocks recomputed" if memory["recompute"] else ""
    speak("\nmemory of a training pass, without the optimizer's")
    held = [
        ("weights, gradients", f"{human(memory['weights'], 'B')} each"),
        (f"activations kept{again}", human(memory["activations"], "B")),
        (f"copies of weights in {found['precision']}", human(memory["copies"], "B")),
    ]
    print_table(spoken(held), indent="  ")
    rows = [("training", f"{intensity['training']:.0f}")]
    if cache is not None:
        speak("\ncache of one sequence in decoding")
        table = [("", "a further token", "at the context's end", "share of multi-head attention's")]
        for name, held in cache["bytes"].items():
            share = f"{held / cache['full'][name]:.1%}" if cache["full"][name] else ""
            table.append((name, human(cache["per_token"][name], "B"), human(held, "B"), share))
        print_table(spoken(table), indent="  ")
        for batch, value in intensity["decoding"].items():
            rows.append((f"decoding, batch {batch}", f"{value:.2f}" if value < 10 else f"{value:.0f}"))
    speak("\narithmetic intensity, FLOPs a byte")
    print_table(spoken(rows), indent="  ")


def _print_shape(shape: dict[str, Any]) -> None:
    speak(f"\nshape among {shape['known']} known models")
    table = [("", "here", "known", "median", "below", "above")]
    for name, ratio in shape["ratios"].items():
        low, middle, high = (_plain(ratio[key]) for key in ("lowest", "median", "highest"))
        counts = [str(ratio["below"]), str(ratio["above"])]
        table.append((name, _plain(ratio["value"]), f"{low} … {high}", middle, *counts))
    print_table(spoken(table), indent="  ")
    for one in shape["nearest"]:
        gated = " gated" if one["gated"] else ""
        speak(
            f"  near {one['name']} ({one['year']}, {human(one['parameters'])}): {one['layers']} layers of "
            f"{one['width']}, {one['heads']} heads of {one['head_size']}, inner width {one['hidden']}{gated}"
        )
    for warning in shape["warnings"]:
        speak(f"  mind: {warning}")


def _plain(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def print_kernels(found: list[dict[str, Any]]) -> None:
    """What runs each layer (``danlu.train.kernels.report``)."""
    sides = len({row["of"] for row in found}) > 1
    for row in found:
        of = f"{row['of']} " if sides else ""
        layers = "layer" if len(row["layers"]) == 1 else "layers"
        speak(f"{of}{layers} {ranges(row['layers'])}: {row['mixer']} by {row['kernel']}")
        speak(f"  {row['why']}")
        measured = row["measured"]
        if measured is not None:
            times = [f"{name} {measured[name]:.3g} ms" for name in ("sdpa", "plain") if measured[name]]
            if measured["eager"]:
                times.append(f"eager {measured['eager']:.3g} ms")
            speak(f"  at {measured['length']} positions: {', '.join(times)}")


def ranges(numbers: list[int]) -> str:
    """0–3, 7: runs of numbers that follow one another."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in runs)
