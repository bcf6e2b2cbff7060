"""What an experiment left open, and a run settled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from danlu.spec.mesh import Mesh
from danlu.train.machine import PRECISIONS


@dataclass(frozen=True)
class Choices:
    """What the experiment left open, settled once: a resumed run takes the same."""

    device: str
    precision: str
    compile: bool
    attention: dict[str, dict[str, str]]  # the kernel by mask and length (danlu.nn.kernels.to_keep)
    ceiling_flops: float

    @classmethod
    def shape(cls) -> dict[str, Any]:
        """What must be in their record (``danlu.files.json.misfit``)."""
        kinds = {"device": str, "precision": tuple(PRECISIONS), "compile": bool}
        kernels = {"open": ({...: str}, None), "masked": ({...: str}, None)}
        return {**kinds, "attention": (kernels, str), "ceiling_flops": float}

    def on(self, mesh: Mesh) -> Choices:
        """What holds of them on ``mesh``, on which not everything is compiled."""
        return replace(self, compile=self.compile and mesh.compiles)

    @classmethod
    def read(cls, saved: dict[str, Any]) -> Choices:
        """What ``environment.json`` holds."""
        found = {name: saved[name] for name in cls.shape()}
        if isinstance(found["attention"], str):  # before danlu 0.4 its name alone, of which nothing follows
            found["attention"] = {}
        return cls(**found)
