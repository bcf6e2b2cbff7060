"""What must be in the files of a run, for whoever reads one that may have been edited or cut off
(``danlu.files.json.misfit``). Anything may stand beside it, and what older versions left out may be missing.
"""

from __future__ import annotations

from typing import Any

_NUMBER = (float, None)
_METRIC = {"value": _NUMBER, "unit": (str, None), "better": (str, None), "error": _NUMBER}

REGIME: dict[str, Any] = {
    "tokens_per_parameter": _NUMBER, "updates": int, "bits_below_chance": _NUMBER, "warmup": float,
    "whole_schedule": bool,
}  # fmt: skip
SUMMARY: dict[str, Any] = {
    "steps": int, "tokens": (int, None), "unit": (str, None), "parameters": int,
    "flops": _NUMBER, "loss": _NUMBER,
    "active_seconds": {...: float}, "metric": {"name": str, **_METRIC},
    "best": {"step": int, "value": _NUMBER}, "metrics": ({...: _METRIC}, None), "stopped": (str, None),
    "regime": (REGIME, None),
}  # fmt: skip
ROW: dict[str, Any] = {
    "step": int, "tokens": (int, None), "seconds": _NUMBER, "flops": _NUMBER, "loss": _NUMBER,
}  # fmt: skip
ENVIRONMENT: dict[str, Any] = {
    "data": ({"splits": ({...: dict}, None)}, None), "choices": (dict, None),
    "versions": ({...: (str, None)}, None), "unit": (str, None),
    "metric": ({"name": str, "unit": (str, None), "better": (str, None)}, None),
}  # fmt: skip
MEASURES: dict[Any, Any] = {...: _NUMBER}
FAILED: dict[str, Any] = {"error": str, "kind": str, "tries": (int, None)}

# What a checkpoint's ``state.json`` holds, and of its state what danlu itself reads.
_POSITION = {
    **dict.fromkeys(("step", "tokens", "units", "evaluated", "saved", "best_step"), (int, None)),
    **dict.fromkeys(("seconds", "loss", "metric", "best"), _NUMBER), "since": ([float, float], None),
    "ended": (bool, None),
}  # fmt: skip
CHECKPOINT: dict[str, Any] = {
    "layout": ("whole", "sharded"), "files": {...: {"size": int, "sha256": str}},
    "aliases": ({...: {...: str}}, {...: str}), "tensors": ({...: [str, [int]]}, None),
    "state": {
        "position": (_POSITION, None), "scale": ({"scale": float, "good": int}, None),
        "clock": ({...: float}, None), "average": (int, None), "quantize": (bool, None),
    },
}  # fmt: skip
