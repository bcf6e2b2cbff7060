"""Which rules have rates like Adam's, so that what is known of Adam's holds for theirs."""

from __future__ import annotations

from danlu.spec.errors import SpecError
from danlu.spec.families import own_of
from danlu.spec.optim import LAMB, SGD, Adafactor, Amos, Muon, Rule, Tiger

OTHERS = (SGD, LAMB, Adafactor, Tiger, Amos, Muon)  # whose rates are relative or of their own kind


def like_adam(rule: Rule, why: str) -> bool:
    """Whether the rates of ``rule`` are like Adam's: steps of about the rate, whatever the size of weights
    and gradients. ``why`` one asks. Raises ``SpecError`` for an own rule whose class does not say it."""
    own = own_of(type(rule))
    if own is None:
        return not isinstance(rule, OTHERS)
    said = getattr(own.makes, "like_adam", None)
    if not isinstance(said, bool):
        raise SpecError(
            f"{why}, and whether the rates of {own} are like Adam's is not known: write like_adam = True, or "
            "False, into its class"
        )
    return said
