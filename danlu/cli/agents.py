"""The verb ``agents``."""

from __future__ import annotations

from danlu.cli.output import say


def agents() -> None:
    """Print a short guide to danlu for agents.

    It is in the form of a skill. Example: danlu agents > .claude/skills/danlu/SKILL.md
    """
    from importlib import resources

    guide = resources.files("danlu") / "catalog" / "SKILL.md"
    say(guide.read_text(encoding="utf-8").rstrip("\n"))
