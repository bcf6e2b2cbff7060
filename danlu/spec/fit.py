"""Specification of the fit of a signal by a network of coordinates; carried out by ``danlu.objectives``."""

from __future__ import annotations

from typing import ClassVar, Literal

from danlu.spec.base import Spec
from danlu.spec.metrics import Metric

PSNR = Metric("psnr", "dB", "higher", "peak signal-to-noise ratio of the points that training does not see")
SEEN_PSNR = Metric("seen_psnr", "dB", "higher", "the same of the points that it sees")
UNSEEN_LOSS = Metric("held_out_loss", "", "lower", "mean squared error of a number, held out, as in training")


class Fit(Spec):
    """A network is a signal: it gives the value at each coordinate. An update sees ``train.batch`` of the
    signal's seen points; a batch of as many as there are holds each of them once.

    ``supervise``: what the network is told, the ``values``, or their ``gradients`` alone, or their
    ``laplacians`` alone (Sitzmann et al. 2020, section 4.1). Gradients know the values up to a constant;
    Laplacians up to a harmonic function, so that there the error of Laplacians decides.
    """

    models: ClassVar[tuple[str, ...]] = ("siren", "coordinate-mlp", "lipschitz-mlp")
    data: ClassVar[tuple[str, ...]] = ("photograph", "picture", "chirp", "signed-distance")
    may_differ: ClassVar[tuple[str, ...]] = ()
    kind: Literal["fit"] = "fit"
    supervise: Literal["values", "gradients", "laplacians"] = "values"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The first one decides, by what is known of the values."""
        by_values = PSNR, SEEN_PSNR
        return (UNSEEN_LOSS, *by_values) if self.supervise == "laplacians" else (*by_values, UNSEEN_LOSS)
