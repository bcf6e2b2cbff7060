"""Colours that the colour-blind can tell apart, for light and dark surroundings."""

from __future__ import annotations

# Okabe and Ito (2008) without black and yellow; on dark, the same hues lighter. Orange and sky blue are
# darker than theirs, whose contrast on white is below the 3:1 that WCAG 2.2 (1.4.11) asks of graphics.
LIGHT = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b87800", "#2f8fc4")
DARK = ("#4ba3e3", "#ff8a3d", "#2ec99b", "#e6a5c9", "#f2c14e", "#a5d8f7")
DASHES = ("", "7 3", "2 3")  # told apart by these when the colours are used up
MUTED = -1  # grey: what is in the background

VIRIDIS = ("#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725")


def _rules(colours: tuple[str, ...], ink: str, paper: str, grid: str, muted: str) -> str:
    named = "".join(f".danlu .c{i}{{color:{colour}}}" for i, colour in enumerate(colours))
    return (
        f".danlu{{color:{ink};background:{paper}}}.danlu .grid{{stroke:{grid}}}.danlu .muted{{color:{muted}}}"
        f"{named}"
    )


STYLE = (
    f"<style>{_rules(LIGHT, '#222', '#fff', '#e5e5e5', '#777')}"
    f"@media (prefers-color-scheme:dark){{{_rules(DARK, '#ddd', '#181818', '#383838', '#999')}}}</style>"
)


def name(colour: int) -> str:
    """The class of a colour."""
    return "muted" if colour == MUTED else f"c{colour % len(LIGHT)}"


def dash(colour: int) -> str:
    """The attribute that tells a line from the one of the same colour before it; mostly none."""
    pattern = DASHES[colour // len(LIGHT) % len(DASHES)] if colour >= 0 else ""
    return f' stroke-dasharray="{pattern}"' if pattern else ""


def viridis(share: float) -> str:
    """The colour of a share from 0 (dark blue) to 1 (yellow), between the named ones linearly."""
    place = min(max(share, 0.0), 1.0) * (len(VIRIDIS) - 1)
    left = min(int(place), len(VIRIDIS) - 2)
    pairs = zip(*(bytes.fromhex(VIRIDIS[k][1:]) for k in (left, left + 1)), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * (place - left)):02x}" for a, b in pairs)
