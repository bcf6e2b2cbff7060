"""A decoder with int8 products beside float32 and bfloat16: writing a token, and reading a prompt.

    python -m bench.quantized [--quick]

Weights have a scale for each output, activations one for each token (``int8``). Run it when nothing else
runs. ``--quick`` only shows that it runs, and writes nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch

from bench.common import machine, save, show, spread
from danlu import spec
from danlu.models import build
from danlu.quantization import RTN, linear_maps, named, quantize_blocks
from danlu.quantization.rounded import multiply_integers, rounded

VOCABULARY, CONTEXT, KEPT = 512, 512, 256  # tokens in the cache when one is written
WIDTHS = {"tiny": (4, 128), "small": (6, 384), "wide": (4, 1024)}


def made(layers: int, width: int, kind: str) -> Any:
    torch.manual_seed(0)
    network = spec.Decoder(layers=layers, width=width, mixer=spec.Attention(heads=width // 32))
    model = build(network, VOCABULARY, CONTEXT).eval()
    if kind == "bfloat16":
        model.to(torch.bfloat16)
        model.compute = torch.bfloat16
    if kind == "int8":
        weights = quantize_blocks(model, named("int8"), RTN())
        for block in model.blocks:
            for linear in linear_maps(block).values():
                rounded(linear, None, named("int8", "token"))
        multiply_integers(model, weights, least=0)
    return model


def seconds(do: Callable[[], Any], count: int) -> list[float]:
    found = []
    for _ in range(count + 2):
        begin = time.perf_counter()
        do()
        found.append(time.perf_counter() - begin)
    return found[2:]


def writing(model: Any) -> Callable[[], Any]:
    """One token after ``KEPT``."""
    text = torch.randint(VOCABULARY, (1, CONTEXT))
    caches = model.caches(1, CONTEXT)
    model(text[:, :KEPT], caches=caches)

    def one() -> None:
        if caches[0].length == CONTEXT:
            caches[:] = model.caches(1, CONTEXT)
            model(text[:, :KEPT], caches=caches)
        model(text[:, :1], caches=caches)

    return one


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few tokens, nothing written")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    about, count = machine(1), 2 if quick else 100
    results: dict[str, Any] = {"machine": about}
    rows = []
    for name, (layers, width) in WIDTHS.items():
        for kind in ("float32", "bfloat16", "int8"):
            model = made(layers, width, kind)
            text = torch.randint(VOCABULARY, (1, KEPT))
            written = spread(seconds(writing(model), count))
            read = spread(seconds(lambda: model(text), max(2, count // 10)))  # noqa: B023 - called at once
            results[f"{name} {kind}"] = {"writing": written, "reading": read}
            rows.append((f"{name} ({layers} × {width}), {kind}", f"{1e3 * written['median']:.2f}",
                         f"{1e3 * read['median']:.1f}"))  # fmt: skip
    show("Int8 products", ("", "a token, ms", f"{KEPT} tokens, ms"), rows, about)
    if not quick:
        save("quantized", results)


if __name__ == "__main__":
    main()
