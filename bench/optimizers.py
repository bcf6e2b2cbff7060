"""Milliseconds of an update, each rule beside ``torch.optim.AdamW(fused=True)`` and pytorch_optimizer's same.

    python -m bench.optimizers [--only 10M|100M] [--rule lion] [--quick]

The parameters are those of a decoder, in float32, with gradients that are always there. Lion, Tiger, LAMB and
Schedule-Free AdamW also run through the compiler, as their ``compiled`` argument asks. Of a rule with several
ways the fastest counts. pytorch_optimizer has no SGD, Adam or AdamW of its own; PyTorch's fused ones, whose
kernels danlu calls, take its place. Su's rules are in danlu's Tiger alone: rates by root mean square, and the
look at each gradient before it is used, which Lion has too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.common import Step, cores, interleave, machine, ratio, save, serve, show, spread, verdict


@dataclass(frozen=True)
class Size:
    layers: int
    width: int
    vocabulary: int

    def shapes(self) -> list[tuple[int, ...]]:
        """Of the parameters: an embedding, and of each layer four matrices and two gains."""
        d = self.width
        layer: list[tuple[int, ...]] = [(3 * d, d), (d, d), (4 * d, d), (d, 4 * d), (d,), (d,)]
        return [(self.vocabulary, d), *layer * self.layers, (d,)]


SIZES = {"10M": Size(7, 320, 4096), "100M": Size(12, 768, 20_000)}

# danlu's class, whether the compiler has something to do, the rival's module and class.
RULES: dict[str, tuple[str, bool, str, str]] = {
    "sgd": ("SGD", False, "torch", "SGD"),
    "adam": ("Adam", False, "torch", "Adam"),
    "adamw": ("AdamW", False, "torch", "AdamW"),
    "lamb": ("LAMB", True, "pytorch_optimizer", "Lamb"),
    "adafactor": ("Adafactor", False, "pytorch_optimizer", "AdaFactor"),
    "lion": ("Lion", True, "pytorch_optimizer", "Lion"),
    "tiger": ("Tiger", True, "pytorch_optimizer", "Tiger"),
    "amos": ("Amos", False, "pytorch_optimizer", "Amos"),
    "muon": ("Muon", False, "pytorch_optimizer", "Muon"),
    "schedule-free": ("ScheduleFreeAdamW", True, "pytorch_optimizer", "ScheduleFreeAdamW"),
    "soap": ("SOAP", False, "pytorch_optimizer", "SOAP"),
}
NO_SLOWER_THAN_ADAMW = ("lion", "tiger")
MATRICES = ("muon",)  # rules for matrices alone


def stepper(rule: str, way: str, size: Size) -> Step:
    """A step of ``rule`` over the parameters of ``size``; ``way``: danlu, compiled, rival or fused AdamW."""
    import torch

    generator = torch.Generator().manual_seed(0)
    shapes = [s for s in size.shapes() if rule not in MATRICES or len(s) == 2]
    params = [torch.nn.Parameter(0.02 * torch.randn(s, generator=generator)) for s in shapes]
    for p in params:
        p.grad = 1e-3 * torch.randn(p.shape, generator=generator)
    optimizer = maker(rule, way)(params)
    step: Step = optimizer.step
    return step


def maker(rule: str, way: str) -> Callable[[list[Any]], Any]:
    """What makes the optimizer of parameters."""
    import torch

    ours, _, module, theirs = RULES[rule]
    if way == "adamw":
        return lambda params: torch.optim.AdamW(params, lr=1e-4, fused=True)
    if way in ("danlu", "compiled"):
        from danlu import optim

        extra = {"compiled": True} if way == "compiled" else {}
        return lambda params: getattr(optim, ours)(params, lr=1e-4, **extra)
    if module == "torch":
        momentum = {"momentum": 0.9} if rule == "sgd" else {}
        return lambda params: getattr(torch.optim, theirs)(params, lr=1e-4, fused=True, **momentum)
    import pytorch_optimizer

    if rule == "muon":
        return lambda params: pytorch_optimizer.Muon([{"params": params, "use_muon": True}], lr=1e-4)

    def make(params: list[Any]) -> Any:
        optimizer = getattr(pytorch_optimizer, theirs)(params, lr=1e-4)
        if rule == "schedule-free":
            optimizer.train()
        return optimizer

    return make


def compare(rule: str, size: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Every way of one rule beside fused AdamW, in turn."""
    ways = ["adamw", "danlu", *(["compiled"] if RULES[rule][1] else []), "rival"]
    if rule == "adamw":
        ways.remove("rival")
    commands = {way: worker(rule, way, size, arguments) for way in ways}
    timed = interleave(commands, arguments.rounds, arguments.seconds, arguments.threads)
    ours = min((way for way in ("danlu", "compiled") if way in timed), key=lambda way: median(timed[way]))
    return {
        "milliseconds": {way: spread([1e3 * t for t in times]) for way, times in timed.items()},
        "counts": ours,
        "of adamw": ratio(timed[ours], timed["adamw"]),
        "of rival": ratio(timed[ours], timed["rival"]) if "rival" in timed else None,
    }


def worker(rule: str, way: str, size: str, arguments: argparse.Namespace) -> list[str]:
    words = ["--worker", way, "--rule", rule, "--only", size, "--threads", str(arguments.threads)]
    return [sys.executable, "-m", "bench.optimizers", *words]


def report(size: str, found: dict[str, dict[str, Any]], about: dict[str, Any]) -> None:
    rows = []
    for rule, each in found.items():
        times = [
            f"{each['milliseconds'][way]['median']:.1f}" if way in each["milliseconds"] else ""
            for way in ("danlu", "compiled", "rival", "adamw")
        ]
        adamw, rival = each["of adamw"]["median"], each["of rival"]
        against = "" if rival is None else f"{rival['median']:.2f}"
        if rule in NO_SLOWER_THAN_ADAMW:
            said = verdict(adamw, 1.0, at_most=True)
        else:
            said = verdict(rival["median"], 1.0, at_most=True) if rival else ""
        rows.append([rule, *times, f"{adamw:.2f}", against, said])
    columns = ["rule", "danlu", "compiled", "rival", "fused AdamW", "÷ AdamW", "÷ rival", "bar"]
    show(f"An update of {size} parameters, milliseconds", columns, rows, about)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=SIZES)
    parser.add_argument("--rule", choices=RULES, action="append", help="may be repeated; left out: all")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="time given to each way in a round")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--quick", action="store_true", help="10M and one round, to see that it runs")
    parser.add_argument("--worker", choices=("adamw", "danlu", "compiled", "rival"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()

    if arguments.worker:
        import torch

        torch.set_num_threads(arguments.threads)
        serve(lambda: stepper(arguments.rule[0], arguments.worker, SIZES[arguments.only]), warmup=3)
        return
    sizes = [arguments.only] if arguments.only else list(SIZES)
    if arguments.quick:
        sizes, arguments.rounds, arguments.seconds = ["10M"], 1, 0.05
    about = machine(arguments.threads)
    results: dict[str, Any] = {"machine": about, "sizes": {}}
    for size in sizes:
        found = results["sizes"][size] = {}
        for rule in arguments.rule or RULES:
            found[rule] = compare(rule, size, arguments)
            if not arguments.quick:
                save("optimizers" if not arguments.only else f"optimizers_{size}", results)
        report(size, found, about)


if __name__ == "__main__":
    main()
