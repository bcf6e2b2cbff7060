"""What ``--json`` prints, verb by verb: a version, and what is in it.

The version of a verb counts up when something that was there goes, or means something else. What is added
beside it changes no version, and is none of the shape's business (``danlu.files.json.misfit``). What several
verbs print alike has a name of its own. Every object that is printed says which it is, ``schema``, of a list
each item (``danlu.cli.output.signed``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from danlu.spec.errors import SpecError, did_you_mean, either

DRAFT = "https://json-schema.org/draft/2020-12/schema"


class Schema(NamedTuple):
    """``shape``: as in ``danlu.files.json.misfit``, but for ``schema``; a tuple: one of several."""

    version: int
    shape: Any


_NUMBER = (float, None)
_ANY_NUMBER = (float, None, "NaN", "Infinity", "-Infinity")  # where a run's own files are printed
_TEXT = (str, None)
_MEASURED = {"value": _ANY_NUMBER, "unit": str, "better": str, "error": _ANY_NUMBER}
_METRIC = {"name": _TEXT, "value": _NUMBER, "unit": _TEXT, "better": str}
_MEAN = ({"value": _NUMBER, "low": _NUMBER, "high": _NUMBER}, None)
_COUNTED = {"parameters": int, "steps": int, "flops": float, "lr": _NUMBER}
_RUNG = {"level": int, "layers": int, "width": int, "tokens": int, **_COUNTED}
_ENDS = {"value": _NUMBER, "low": _NUMBER, "high": _NUMBER}
_RANGE = {"low": float, "high": float}
_PLAN = {"words": [str], "budget": str, "flops": float, "rungs": [_RUNG], "warnings": [str]}
_LEAST_MOST = {"least": float, "most": float}
_KERNEL = {"layers": [int], "mixer": str, "kernel": str, "why": str}
_ENTRY = {"id": str, "date": str, "verdict": str, "statement": str, "seeds": int}
_SHARE = {"count": int, "of": int, "low": float, "high": float}
_REFEREE = {
    "schema": "danlu.referee/1", "file": str, "study": str, "outcome": str, "baseline": str,
    "metric": {"name": str, "better": str}, "tuned": (dict, None), "cost": (dict, None), "notes": [str],
    "in_regime": (bool, None),
    "premises": [{"name": str, "arm": str, "rule": str, "holds": bool}],
}  # fmt: skip
_FINDING = {
    "idea": str, "verdict": str, "early": bool, "why": str, "gain": (_ENDS, None), "rungs": [dict],
    "delta": _NUMBER, "interval": [_NUMBER], "level": float, "kind": str, "correlation": _NUMBER,
    "pairs": int, "severity": dict, "p": float, "e": _NUMBER, "fdr": _TEXT, "runs": [dict], "changes": str,
    "analyses": [{"way": str, "verdict": str}],
    "next": ({"command": str, "cost": {"runs": int, "seconds": float}}, None),
}  # fmt: skip
_TRACE = {"value": float, "error": float, "samples": int}
_ZEROS = {"pairs": [[float]], "same": _NUMBER, "other": _NUMBER, "whole": float}
_READ = {
    "columns": {...: {"name": str, "unit": str, "factor": _NUMBER, "why": str}}, "skipped": int,
    "where": [str], "notes": [str], "folders": [str],
}  # fmt: skip
_LAW = {
    "law": str, "title": str, "formula": str, "text": str, "paper": str, "columns": [str], "target": str,
    "parameters": [{"name": str, "meaning": str, "unit": str}], "published": {...: dict},
}  # fmt: skip
_WARNED = {"code": str, "text": str}
_CHAINED = {"value": float, "mean": _ENDS, "run": _ENDS}
_LEFT = {
    "what": str, "rows": [int], "leverage": float, "standardised": _NUMBER, "shift": _NUMBER,
    "decision": {...: _NUMBER}, "parameters": {...: _NUMBER},
}  # fmt: skip
_DIVISION = {
    "how": str, "a": dict, "b": dict, "optima": [{...: float}], "refused": [str], "notes": [str],
    "at": [{"flops": float, "n": _ENDS, "d": _ENDS}],
}  # fmt: skip
_APPROACHES = {
    "approach": str, "approaches": {...: _DIVISION}, "absent": {...: str}, 
    "biases": {...: {"a": float, "n": float}}, "level": float, "warnings": [_WARNED], **_READ,
    "pairs": [{"one": str, "other": str, "exponent": float, "error": float, "expected": float, "flops": float,
               "ratio": float, "p": float, "explained": float, "disagree": bool}],
}  # fmt: skip
_COST = {
    "before": float, "after": float, "delta": float, "error": _NUMBER, "passes": int, "kl": _NUMBER,
    "flips": _NUMBER,
}  # fmt: skip

_CALIBRATION = {
    "by": str, "fits": int, "farthest": _NUMBER,
    "bands": [{"above": _NUMBER, "up_to": _NUMBER, "runs": int, "held": int, "error": _NUMBER,
               "bias": _NUMBER, "widen": _NUMBER, "scored": int}],
}  # fmt: skip
_LAWS_FIT = {
    "schema": "danlu.laws.fit/2", "law": str, "points": int, "parameters": {...: _NUMBER},
    "fixed": [str], "intervals": {...: {**_ENDS, "error": _NUMBER}},
    "coordinates": [str], "covariance": ([[_NUMBER]], None), "ranges": {...: [float]},
    "scatter": {"within": _NUMBER, "between": _NUMBER, "cluster": _TEXT, "clusters": int,
                "trend": ({"column": str, "slope": float, "at": float, "most": float}, None)},
    "loss": {"kind": str, "delta": _NUMBER}, "objective": _NUMBER, "residuals": [_NUMBER],
        "audit": ({
            "dependence": {"cluster": _TEXT, "text": str}, "findings": [_WARNED],
            "sources": ({"column": _TEXT, "explained": _NUMBER, "scale": bool, "sources": [dict]}, None),
            "group": ({"rows": [int], "others": [int], "ends": [str], "p": float, "moves": bool,
                       "without": dict, "tokens_per_parameter": [dict]}, None),
            "lack_of_fit": [{"over": str, "trend": _NUMBER, "bend": _NUMBER, "p": _NUMBER}],
        }, None),
    "allocation": dict, "hold_out": (dict, None), "warnings": [_WARNED], "draws": ([[_NUMBER]], None),
    "left_out": ({"clusters": int, "parameters": [[_NUMBER]]}, None), "calibration": (_CALIBRATION, None),
}  # fmt: skip

SCHEMAS: dict[str, Schema] = {
    "train": Schema(1, {
        "run": str, "metric": {"name": str, **_MEASURED}, "best": {"step": int, "value": _ANY_NUMBER},
        "metrics": {...: _MEASURED},
        "loss": _ANY_NUMBER, "loss_unit": str, "term": str, "steps": int,
        "unit": str, "tokens": (int, None), "flops": float,
        "parameters": int, "utilisation": _NUMBER, "mfu": (float, None),
        "active_seconds": {...: float}, "wall_seconds": float,
        "sample": _TEXT, "sent": (dict, None),
    }),
    "try": Schema(1, [{"idea": str, "metric": str, "unit": str, "better": str, "verdict": str}]),
    "dry-run": Schema(1, {  # of try, sweep and prove
        "asks": str, "arms": [{"name": str, "is": str}], "seeds": [int],
        "parts": [{"arm": str, "for": str, "runs": {"least": int, "most": int}, "steps": (int, None),
                   "flops": _NUMBER, "seconds": _NUMBER}],
        "runs": {"least": int, "most": int}, "flops": (_LEAST_MOST, None), "seconds": _LEAST_MOST,
        "workers": int, "notes": [str],
    }),
    "sweep": Schema(1, {
        "study": str, "report": str, "metric": str, "unit": str, "better": str, "fields": [str], "seeds": int,
        "trials": [{"number": int, "point": dict, "words": [str], "state": str, "value": _NUMBER}],
        "best": ({"number": int, "point": dict, "words": [str], "value": _NUMBER}, None), "border": [dict],
        "warnings": [str], "importance": dict, "isolation": dict, "study_variance": (dict, None),
        "counts": {...: int}, "spent": dict,
    }),
    "ladder": Schema(1, (
        {
            **_PLAN, "metric": str, "unit": str, "better": str, "loss": {"name": str, "unit": str},
            "study": str, "points": str, "runs": [dict], "law": dict, "allocation": (dict, None),
            "held_out": [dict], "fit": str, "audit": (dict, None), "calibration": (_CALIBRATION, None),
            "target": {**_COUNTED, "loss": _ENDS, "reach": _NUMBER, "calibration": str, "command": str},
        },
        _PLAN,
    )),
    "prove": Schema(1, (
        [{"name": str, "verdict": str, "effect": [_ANY_NUMBER], "effects": [_ANY_NUMBER], "seeds": int,
          "runs": int, "diverged": int, "failed": [str], "claim": dict}],
        [{"name": str, "statement": str, "statement_zh": _TEXT, "source": str}],
    )),
    "ledger": Schema(2, (
        [{"id": str, "reasons": [str]}],
        [{"how": str, **_ENTRY}],
        [_ENTRY],
        _ENTRY,
        {"asked": int, "verdicts": {...: int}, "stand": [str], "alone": [str], "interval_only": [str],
         "needed": float, "pairs": int,
         "accuracy": {...: _SHARE}, "success": [{"family": str, "asked": int, "worked": _SHARE}],
         "gains": [{"id": str, "family": str, "raw": _ENDS, "left": _ENDS}]},
    )),
    "runs": Schema(1, (
        [{"run": str, "state": str, "code": str, "begun": float, "metric": _METRIC, "scored_on": [str],
          "best": {"step": (int, None), "value": _NUMBER}, "steps": (int, None), "seconds": _NUMBER,
          "flops": _NUMBER, "parameters": (int, None), "loss": _NUMBER, "error": _TEXT, "measures": dict,
          "experiment": dict}],
        [{"runs": [str], "n": int, "states": {...: int}, "code": str, "scored_on": [str], "metric": _MEAN,
          "best": _MEAN, "seconds": _MEAN, "experiment": dict}],
    )),
    "compare": Schema(1, {
        "metric": str, "warnings": [str], "notes": [str], "interpolated": str,
        "sides": [{"name": str, "runs": [str], "counted": [str], "final": [_NUMBER], "best": [_NUMBER]}],
        "differs": [{"field": str, "values": [list]}],
        "meetings": [{"at": str, "x": _NUMBER, "values": [dict],
                      "differences": [{"side": str, "pairs": int, **_ENDS}]}],
    }),
    "referee": Schema(1, (
        {**_REFEREE, **_FINDING, "regime": dict, "others": [_FINDING]},
        {**_REFEREE, "verdict": ("void", None), "why": str, "next": None},
    )),
    "trust": Schema(1, [{"file": str, "old": str, "new": str, "run": str, "again": str, "runs": int}]),
    "spikes": Schema(1, {
        "run": str, "rows": int, "every": int, "losses": [[_NUMBER]],
        "spikes": [{"first": int, "onset": int, "last": int, "top": int, "loss": _NUMBER, "z": _NUMBER,
                    "usual": _NUMBER}],
        "explained": ({
            "step": int, "onset": int, "loss": _NUMBER, "z": _NUMBER, "usual": _NUMBER,
            "earlier": int, "before": int, "others": int, "reading": str, "cause": str, "why": str,
            "table": [{"batch": int, "state": int, "loss": _NUMBER, "z": _NUMBER, "spikes": bool}],
            "checks": [{"name": str, "found": (bool, None), "value": _NUMBER, "limit": _NUMBER,
                        "where": _TEXT, "step": (int, None), "says": str}],
            "changes": [{"name": str, "words": [str], "loss": _NUMBER, "z": _NUMBER, "cures": bool}],
            "next": [str], "notes": [str],
            "trace": [{"step": int, "loss": _NUMBER, "norm": _NUMBER, "surprise": _NUMBER}],
        }, None),
    }),
    "sample": Schema(1, (
        {"run": str, "step": int, "prompt": str, "text": str}, {"run": str, "step": int, "kind": str},
        {"run": str, "step": int, "kind": str, "count": int, "seed": int, "steps": int, "solver": str,
         "evaluations": int, "guidance": float, "classes": ([str], None), "out": _TEXT},
    )),
    "quantize": Schema(1, {
        "run": str, "step": int, "folder": str, "to": str, "per": (str, int), "by": str, "activations": _TEXT,
        "metric": {"name": str, "unit": _TEXT, "better": str}, **_COST,
        "parameters": int, "rounded": int, "bits": float,
        "bytes": {"before": int, "rounded": int, "file": int},
        "maps": [{"name": str, "bits": float, "snr_db": _NUMBER}],
        "sensitivity": ([{"layer": int, **_COST}], None), "notes": [str],
    }),
    "inspect": Schema(1, (
        {"sides": [{"folder": str, "step": int, "rows": int, "size": int, "objective": str, "precision": str,
                    "parameters": int, "seconds": float, "statistics": {...: {...: _NUMBER}}}],
         "definitions": {...: {"words": str, "text": str, "position_0": bool}}},
        {"sides": [{"folder": str, "measures": {...: _NUMBER}}]},
    )),
    "import": Schema(1, {"model": dict, "parameters": int, "notes": [str], "run": _TEXT}),
    "curvature": Schema(1, {
        "run": str, "step": int, "examples": int, "unit": str, "units": int, "parameters": int,
        "precision": str, "float32": {"error": float, "seconds": float, "seconds_float64": float},
        "loss": float, "gradient": float, "trace": _TRACE, "gauss_newton": (_TRACE, None),
        "parts": [{"name": str, "parameters": int, "trace": float}],
        "top": {"values": [float], "bounds": [float], "lowest": float, "steps": int},
        "edge": ({"rule": str, "lr": float, "value": float, "threshold": float, "formula": str,
                  "lr_at_edge": _NUMBER}, None),
        "density": {"nodes": [[float]], "weights": [[float]], "bulk": float, "negative": float},
        "noise": ({"squared": _NUMBER, "trace": _NUMBER, "scale": _NUMBER, "curved": _NUMBER,
                   "error": _NUMBER, "batch": int, "batches": int}, None),
        "sparsity": ({"parts": [str], "loss": _ZEROS, "logit": _ZEROS}, None),
        "sharpness": {"radius": float, "rise": float}, "seconds": float,
    }),
    "graph": Schema(1, {
        "rows": int, "device": str, "precision": str,
        "graph": {"number": int, "name": str, "kind": str, "shape": [int], "dtype": str, "parameters": int,
                  "flops": int, "kept": int, "twice": bool, "times": int, "sources": [int], "inside": [dict]},
    }),
    "plan": Schema(1, {
        "device": {"name": str, "title": str, "peak": {...: float}, "memory": float, "bandwidth": float,
                   "link": float, "machine": int, "network": _NUMBER, "reached": [float], "source": str},
        "devices": int, "precision": str, "unit": str, "parameters": int, "batch": int, "units": int,
        "flops": float, "updates": (int, None), "mfu": _NUMBER, "reached": (_RANGE, None), "asked": bool,
        "meshes": [{"mesh": {...: int}, "sharded": bool, "said": str, "rows": int, "words": str, "why": _TEXT,
                    "memory": _NUMBER, "seconds": (_RANGE, None), "per_second": (_RANGE, None),
                    "utilisation": (_RANGE, None)}],
        "chosen": ({
            "said": str, "words": str, "rows": int, "passes": int, "memory": {...: float},
            "work": {"products": float, "memory": float, "optimizer": float, "bound": str}, "bubble": float,
            "traffic": [{"kind": str, "why": str, "calls": int, "bytes": float, "devices": int,
                         "seconds": float, "waits": bool}],
            "exposed": _RANGE, "seconds": _RANGE, "per_second": _RANGE, "utilisation": _RANGE,
            "hours": (_RANGE, None), "money": (_RANGE, None),
        }, None),
        "rounds": ({"workers": int, "every": int, "sent": float, "step": float, "jitter": float,
                    "links": [{"bits_per_second": float, "utilisation": float, "low": float, "high": float,
                               "seconds": float}]}, None),
        "notes": [str],
    }),
    "profile": Schema(1, {
        "seconds": {...: float}, "bottleneck": str, "unit": str, "flops": float, "bytes": float,
        "intensity": float, "ceiling": float, "bandwidth": float, "utilisation": float, "mfu": (float, None),
        "bound": str, "precision": str, "device": str, "kernels": [_KERNEL],
        "operators": [{"operator": str, "share": float, "calls": int}],
        "parts": [{"part": str, "seconds": float, "flops": int, "bytes": int}],
        "processes": int, "communication": [{"kind": str, "calls": int, "bytes": int, "seconds": float}],
    }),
    "depth": Schema(1, {
        "update": str, "step": float,
        "arms": [{"name": str, "slope": _NUMBER, "depths": [{
            "layers": int, "change": float, "half": float, "linear": bool, "loss_change": float,
            "first_order": float, "gradient": [float], "gain": [float], "stream": [float], "cosine": [float],
        }]}],
    }),
    "show": Schema(1, (
        {"objective": dict, "model": dict, "data": dict, "optimizer": dict, "schedule": dict, "vary": list,
         "train": dict},
        {"costs": ({"unit": str, "device": str, "precision": str, "parameters": dict, "flops": dict,
                    "cache": (dict, None), "memory": dict, "sent": (dict, None), "intensity": dict,
                    "shape": (dict, None)}, None),
         "kernels": ([_KERNEL], None),
         "groups": ([{"names": str, "tensors": int, "shape": [int], "role": str, "rule": str,
                      "settings": dict}], None)},
    )),
    "diff": Schema(1, [{"field": str}]),
    "doctor": Schema(1, {
        "versions": {"danlu": str, "python": str, "torch": str}, "system": str, "cores": int,
        "memory": (int, None), "disk": int, "device": str, "gpus": [{"name": str, "memory": int}],
        "precision": str, "flops_per_second": float, "not_compiled": _TEXT,
        "extras": [{"name": str, "missing": [str]}],
        "recipes": [{"name": str, "flops": _NUMBER, "seconds": _NUMBER, "why": _TEXT}],
    }),
    "recipes": Schema(1, [{
        "name": str, "family": str, "year": (int, None), "parameters": _NUMBER, "tokens": _NUMBER,
        "layers": (int, None), "width": (int, None), "lr": _NUMBER, "optimizer": str, "summary": str,
        "source": str, "sources": {...: str}, "unknown": [str],
    }]),
    "ideas": Schema(1, [{
        "name": str, "statement": str, "statement_zh": _TEXT, "source": str, "family": str, "patch": dict,
        "expect": str, "needs": {...: str}, "on": _TEXT, "refused": _TEXT,
        "changes": ([{"field": str, "rule": _TEXT}], None),
    }]),
    "laws fit": Schema(2, ({**_LAWS_FIT, **_READ}, {
        "schema": "danlu.laws.groups/1", "law": str, "group": str, "baseline": str, "shared": [str],
        "together": (_LAWS_FIT, None), "groups": {...: _LAWS_FIT}, "warnings": [_WARNED],
        "gains": {...: [{"by": str, "at": {...: float}, "loss": _NUMBER, **_ENDS}]}, **_READ,
    })),
    "laws predict": Schema(1, {
        "law": str, "target": str, "warnings": [_WARNED], "calibration": (_CALIBRATION, None),
        "predictions": [{
            "at": {...: _NUMBER}, "value": _NUMBER, "mean": _ENDS,
            "run": _ENDS, "reach": _NUMBER, "widened": _NUMBER,
            "calibration": str,
        }],
    }),
    "laws show": Schema(1, ([_LAW], _LAW)),
    "laws compare": Schema(2, {
        "hold_out": int, "warnings": [_WARNED], **_READ,
        "points": int, "by": (str, None),
        "laws": [{"law": str, "target": str, "parameters": int, "mean_error": _NUMBER, "bias": _NUMBER,
                  "worse": (bool, None), "why": str}],
    }),
    "laws isoflop": Schema(1, _APPROACHES),
    "laws envelope": Schema(1, _APPROACHES),
    "laws chain": Schema(2, {
        "links": [{"sources": [str], "target": str, "law": str, "parameters": {...: float},
                   "intervals": {...: _ENDS}}],
        "points": int, "hold_out": ({"by": str, "points": int, "errors": {...: float}}, None),
        "predictions": [{"at": {...: float}, "loss": (_CHAINED, None), "task_loss": (_CHAINED, None),
                         "accuracy": (_CHAINED, None)}],
        "calibration": [str], "warnings": [_WARNED], **_READ,
    }),
    "laws influence": Schema(1, {
        "law": str, "points": int, "parameters": {...: float}, "decision": {...: _NUMBER}, "by": str,
        "rows": [_LEFT], "clusters": [_LEFT], "groups": [_LEFT], "warnings": [_WARNED], **_READ,
    }),
    "laws design": Schema(2, {
        "target": str, **_ENDS, "budget": float, "rank": str,
        "runs": [{"n": float, "d": float, "flops": float, "fall": float, "fall_per_flop": float,
                  "after": _ENDS}],
        "warnings": [_WARNED], **{name: (shape, None) for name, shape in _READ.items()},  # none of a fit file
    }),
    "laws plan": Schema(2, {
        "schema": "danlu.laws.plan/2", "law": str, "by": str, "parameters": {...: float},
        "given": {...: float},
        "plan": [{"key": str, "name": str, **_ENDS, "unit": str, "source": str, "group": str}],
        "train": ({"command": str, "recipe": [str], "batch": int}, None),
        "published": [{"key": str, "name": str, "parameters": float, "tokens": float,
                       "tokens_per_parameter": float, "largest": _NUMBER, "trained": _NUMBER, "counts": str,
                       "source": str}],
        "calibration": str, "warnings": [_WARNED],
    }),
}  # fmt: skip


def name(verb: str) -> str:
    """What the output of a verb calls itself: ``danlu.laws.fit/2``."""
    return f"danlu.{verb.replace(' ', '.')}/{SCHEMAS[verb].version}"


def shape(verb: str) -> Any:
    """The shape of what a verb prints, which says its name."""
    return _named(SCHEMAS[verb].shape, name(verb))


def _named(shape: Any, name: str) -> Any:
    match shape:
        case tuple():
            return tuple(_named(one, name) for one in shape)
        case list():
            return [_named(shape[0], name)]
    return {"schema": name, **shape}


def json_schema(verb: str) -> dict[str, Any]:
    """The JSON Schema of what ``danlu VERB --json`` prints. Raises ``SpecError`` for no such verb."""
    if verb not in SCHEMAS:
        hint = did_you_mean(verb, SCHEMAS) or ";"
        raise SpecError(f"--json-schema = {verb!r}{hint} allowed: {either(SCHEMAS)}")
    version = SCHEMAS[verb].version
    about = {"$schema": DRAFT, "$id": f"urn:danlu:{verb.replace(' ', '-')}:{version}"}
    return about | {"title": f"danlu {verb} --json", "version": version} | _schema(shape(verb))


def _schema(shape: Any) -> dict[str, Any]:
    match shape:
        case Mapping() if ... in shape:
            return {"type": "object", "additionalProperties": _schema(shape[...])}
        case Mapping():
            required = [name for name, one in shape.items() if not (isinstance(one, tuple) and None in one)]
            properties = {name: _schema(one) for name, one in shape.items()}
            return {"type": "object", "properties": properties, "required": required}
        case list():
            return {"type": "array", "items": _schema(*shape)}
        case tuple():
            return {"anyOf": [_schema(one) for one in shape]}
        case str():
            return {"const": shape}
    return {"type": _TYPES[shape]}


_TYPES = {
    dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number",
    None: "null",
}  # fmt: skip
