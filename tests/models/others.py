"""``build`` for the networks that are no transformers: modules register theirs when imported."""

from __future__ import annotations

from danlu.models import build, coordinate_networks, field_patches, pairs, point_mlp, unet

REGISTERED = coordinate_networks, field_patches, pairs, point_mlp, unet

__all__ = ["build"]
