"""How ``danlu show --groups`` prints who gets what."""

from __future__ import annotations

from typing import Any

from danlu.cli.costs import ranges
from danlu.cli.output import print_table, say, spoken

ALWAYS = ("lr", "weight_decay")


def print_groups(found: list[dict[str, Any]]) -> None:
    """The rows of ``danlu.train.groups.report``, a table, and below it the rules' other settings."""
    table = [("parameters", "", "shape", "role", "rule", "peak rate", "decay")]
    others: dict[str, dict[str, set[str]]] = {}
    for row in found:
        layers = "" if row["layers"] is None else f" {ranges(row['layers'])}"
        count = f"{row['tensors']} ×" if row["tensors"] > 1 else ""
        shape = "×".join(str(size) for size in row["shape"]) or "1"
        settings = row["settings"]
        rate, decay = (f"{settings[key]:.4g}" if settings.get(key) is not None else "" for key in ALWAYS)
        table.append((row["names"] + layers, count, shape, row["role"], row["rule"], rate, decay))
        of_rule = others.setdefault(row["rule"], {})
        for name, value in settings.items():
            if name not in ALWAYS:
                of_rule.setdefault(name, set()).add(_plain(value))
    print_table([*spoken(table[:1]), *table[1:]])
    say()
    for rule, settings in others.items():
        said = ", ".join(f"{name} {' or '.join(sorted(values))}" for name, values in settings.items())
        say(f"{rule}: {said}")


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(_plain(each) for each in value)})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
