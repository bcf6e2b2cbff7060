"""How a layer's time grows with the length of the text: Transformer-VQ and LRU beside plain attention.

    python -m bench.lengths [--quick]

A forward pass over one text in float32, without gradients. Transformer-VQ and plain attention have one head
of the same size and the same maps around it; plain attention is PyTorch's fused kernel, which skips what is
to come. The exponent is the slope of log time over log length, fitted by least squares to each round; 1 is
linear and 2 quadratic. ``--quick`` only shows that it runs: short texts, nothing written.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from statistics import linear_regression
from typing import Any

from bench.common import Step, cores, interleave, machine, ratio, save, serve, show, spread, verdict

WIDTH, HEAD, BLOCK, CODES = 512, 128, 128, 128
LENGTHS = (2048, 4096, 8192, 16384, 32768)
QUICK = (128, 256, 512)
RIVALS = {"vq": "Transformer-VQ", "lru": "LRU", "sdpa": "plain attention"}
EXPONENT, FASTER = 1.15, 4.0  # of vq and lru; plain attention over vq at the greatest length


def build(rival: str, length: int) -> Step:
    """A forward pass of the layer over one text of ``length`` positions."""
    import torch
    import torch.nn.functional as F

    from danlu.nn.linear import Linear
    from danlu.nn.lru import LRU
    from danlu.nn.vq_attention import VQAttention

    x = torch.randn(1, length, WIDTH)
    layer: Callable[[torch.Tensor], torch.Tensor]
    if rival == "sdpa":
        qkv, out = Linear(WIDTH, 3 * HEAD, bias=False), Linear(HEAD, WIDTH, bias=False)

        def plain(x: torch.Tensor) -> torch.Tensor:
            q, k, v = qkv(x)[:, None].split(HEAD, dim=-1)
            return out(F.scaled_dot_product_attention(q, k, v, is_causal=True)[:, 0])

        layer = plain

    elif rival == "vq":
        layer = VQAttention(WIDTH, codes=CODES, key_size=HEAD, value_size=HEAD, block=BLOCK).eval()
    else:
        layer = LRU(WIDTH).eval()

    def step() -> None:
        with torch.inference_mode():
            layer(x)

    return step


def measure(lengths: tuple[int, ...], rounds: int, seconds: float, threads: int) -> dict[str, Any]:
    """Seconds of every rival at every length, exponents, and how many times as fast vq is at the end."""
    times: dict[str, dict[int, list[float]]] = {rival: {} for rival in RIVALS}
    for length in lengths:
        common = [sys.executable, "-m", "bench.lengths", "--threads", str(threads), "--length", str(length)]
        commands = {rival: [*common, "--worker", rival] for rival in RIVALS}
        for rival, values in interleave(commands, rounds, seconds, threads).items():
            times[rival][length] = values
    at = [math.log(length) for length in lengths]
    exponents = {
        rival: spread(
            [
                linear_regression(at, [math.log(values[number]) for values in by_length.values()]).slope
                for number in range(rounds)
            ]
        )
        for rival, by_length in times.items()
    }
    for rival in ("vq", "lru"):
        exponents[rival]["bar"] = EXPONENT
    last = lengths[-1]
    return {
        "shape": {"width": WIDTH, "head": HEAD, "block": BLOCK, "codes": CODES, "batch": 1},
        "seconds": {r: {str(n): spread(values) for n, values in times[r].items()} for r in RIVALS},
        "exponents": exponents,
        "sdpa_over_vq": {str(n): ratio(times["sdpa"][n], times["vq"][n]) for n in lengths},
        "bar": {"length": last, "sdpa_over_vq": FASTER},
    }


def report(results: dict[str, Any], lengths: tuple[int, ...]) -> None:
    rows = []
    for rival, name in RIVALS.items():
        exponent = results["exponents"][rival]
        bar = verdict(exponent["median"], exponent["bar"], at_most=True) if "bar" in exponent else ""
        seconds = [f"{results['seconds'][rival][str(n)]['median']:.4f}" for n in lengths]
        rows.append((name, *seconds, f"{exponent['median']:.2f}", bar))
    ratios = [results["sdpa_over_vq"][str(n)]["median"] for n in lengths]
    row = ("plain attention over Transformer-VQ", *(f"{r:.2f}×" for r in ratios), "")
    rows.append((*row, verdict(ratios[-1], FASTER)))
    columns = ("", *(str(n) for n in lengths), "exponent", "bar")
    title = f"Seconds of a forward pass by length (width {WIDTH}, one head of {HEAD})"
    show(title, columns, rows, results["machine"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each turn, at least three passes")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--quick", action="store_true", help="short texts, to see that it runs")
    parser.add_argument("--worker", choices=RIVALS, help=argparse.SUPPRESS)
    parser.add_argument("--length", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()

    if arguments.worker:
        import torch

        torch.set_num_threads(arguments.threads)
        torch.manual_seed(0)
        serve(lambda: build(arguments.worker, arguments.length))
        return
    lengths = QUICK if arguments.quick else LENGTHS
    rounds, seconds = (2, 0.1) if arguments.quick else (arguments.rounds, arguments.seconds)
    about = machine(arguments.threads)
    results = {"machine": about} | measure(lengths, rounds, seconds, arguments.threads)
    report(results, lengths)
    if not arguments.quick:
        save("lengths", results)


if __name__ == "__main__":
    main()
