"""What a plan predicts beside published speeds, and which part of the roofline those runs reached.

    python -m bench.plan

For each published run (``bench/speeds.yaml``): the share of the published rates at which the plan has exactly
its speed; then the speeds that the plan gives for the shares that runs of *other* models reached on the same
device, so that no run predicts itself. Beside it the simulation of rounds on slow links and the one that
Streaming DiLoCo published. Arithmetic alone: it takes a minute, and the result depends on no machine.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from bench.common import ROOT, save
from danlu.files.yaml import read_mapping
from danlu.planning import Demand, Layout, Rounds, simulate, step
from danlu.spec import Experiment, validate
from danlu.spec.devices import Device, device
from danlu.train.demand import demand_of

# Gbit/s at which 50, 80, 90, 95 and 99 % of the time is computing: Douillard et al. 2025 (arXiv:2501.18512),
# table 5, 1 B parameters, 24 layers in fragments of 3, 0.1 s a step; two workers and H = 100.
CU = (0.5, 0.8, 0.9, 0.95, 0.99)
PUBLISHED_ROUNDS = {
    "Streaming DiLoCo": ({"bits": 16}, (1.4, 5.2, 9.1, 16.0, 28.1)),
    "Streaming DiLoCo, 1 inner step overlapped, FP4": ({"bits": 4, "delay": 1}, (0.4, 0.9, 1.7, 2.0, 3.0)),
}


def experiment(model: dict[str, Any], context: int, batch: int, recompute: bool) -> Experiment:
    """A published model as danlu writes it."""
    mpt = model["mpt"]
    network: dict[str, Any] = {
        "kind": "decoder", "layers": model["layers"], "width": model["width"], "bias": False, "tied": mpt,
        "mixer": {"heads": model["heads"], "kv_heads": None if mpt else 8},
        "norm": {"kind": "layer" if mpt else "rms"},
        "position": {"kind": "learned" if mpt else "rotary"},
        "feed_forward": {"kind": "mlp"} if mpt else {"kind": "glu", "hidden": 14336},
    }  # fmt: skip
    ids = 50368 if mpt else 128256
    return validate({
        "model": network,
        "data": {"kind": "text", "corpus": "python-stdlib", "tokenizer": f"bpe:{ids}", "vocabulary": ids,
                 "context": context},
        "optimizer": {"kind": "adamw"},
        "train": {"steps": 1, "batch": batch, "recompute": recompute, "parallel": "fsdp"},
    })  # fmt: skip


def reaching(of: Device, low: float, high: float) -> Device:
    """The device with these shares."""
    return of.model_copy(update={"reached": (low, high)})


def share_of(demand: Demand, layout: Layout, of: Device, speed: float) -> float:
    """The share of the published rates at which the plan has ``speed`` (tokens/s of all devices)."""
    low, high = 0.01, 3.0
    for _ in range(60):
        middle = (low * high) ** 0.5
        found = step(demand, layout, reaching(of, middle, middle)).per_second[0]
        low, high = (middle, high) if found < speed else (low, middle)
    return low


def measured() -> list[dict[str, Any]]:
    """A row for each published run."""
    said = read_mapping(ROOT / "bench" / "speeds.yaml", "bench/speeds.yaml")
    rows, demands = [], dict[Any, Demand]()
    for source in said["sources"]:
        of = device(source["device"])
        for run in source["runs"]:
            gpus, tensor = run["gpus"], run.get("tensor", 1)
            batch = run["rows"] * run["passes"] * gpus // tensor
            key = (run["model"], run["context"], run["recompute"])
            if key not in demands:
                print("counting", *key, file=sys.stderr)
                model = said["models"][run["model"]]
                demands[key] = demand_of(experiment(model, run["context"], batch, run["recompute"]), of)
            demand = replace(demands[key], batch=batch, parts=None)  # they keep whole logits
            layout = Layout(
                shard=gpus // tensor, tensor=tensor, sharded=True, split=True, held=False, rows=run["rows"]
            )
            made = step(demand, layout, of)
            share = share_of(demand, layout, of, run["speed"] * gpus)
            rows.append({
                "source": source["name"], "device": of.name, **run, "share": round(share, 3),
                "utilisation": round(
                    run["speed"] * gpus / demand.units * demand.flops / gpus / of.rate("bfloat16"), 3),
                "memory": round(made.memory.total / 1e9, 1), "products": made.work.products,
                "bytes": made.work.memory, "optimizer": made.work.optimizer,
                "_": (demand, layout, of),
            })  # fmt: skip
    return rows


def predicted(rows: list[dict[str, Any]]) -> None:
    """For each run the speeds by the shares of runs of the same device, but of other models."""
    for row in rows:
        others = [one["share"] for one in rows
                  if one["device"] == row["device"] and one["model"] != row["model"]]  # fmt: skip
        demand, layout, of = row["_"]
        fast, slow = step(demand, layout, reaching(of, min(others), max(others))).per_second
        row["predicted"] = [round(slow / row["gpus"]), round(fast / row["gpus"])]
        row["held"] = slow <= row["speed"] * row["gpus"] <= fast


def rounds() -> list[dict[str, Any]]:
    """Bandwidths by simulation, without scatter, beside the published ones."""
    found = []
    for name, (how, published) in PUBLISHED_ROUNDS.items():
        one = Rounds(workers=2, parameters=1e9, step=0.1, every=100, fragments=8, backward=2 / 3, jitter=0,
                     uneven=0, slowed=0, **how)  # fmt: skip
        for cu, theirs in zip(CU, published, strict=True):
            low, high = 1e6, 1e12
            for _ in range(60):
                middle = (low * high) ** 0.5
                low, high = (
                    (middle, high) if simulate(one, middle, count=1).utilisation < cu else (low, middle)
                )
            found.append(
                {"method": name, "utilisation": cu, "published": theirs, "simulated": round(low * 8e-9, 2)}
            )
    return found


def main() -> None:
    rows = measured()
    predicted(rows)
    for row in rows:
        row.pop("_")
        print(f"{row['device']:8} {row['model']:9} {row['context']:6} ×{row['gpus']:<4} {row['speed']:8} in "
              f"{row['predicted']}  share {row['share']:.2f} MFU {row['utilisation']:.2f} "
              f"{row['memory']} GB {'' if row['held'] else 'MISSED'}")  # fmt: skip
    shares = {}
    for name in dict.fromkeys(row["device"] for row in rows):
        of = sorted(row["share"] for row in rows if row["device"] == name)
        shares[name] = {"runs": len(of), "low": of[0], "median": of[len(of) // 2], "high": of[-1]}
    held = sum(row["held"] for row in rows)
    simulated = rounds()
    print(shares, f"{held} of {len(rows)} held", *simulated, sep="\n")
    save("plan", {"runs": rows, "shares": shares, "held": held, "of": len(rows), "rounds": simulated})


if __name__ == "__main__":
    main()
