"""SmolLM2 out of its GGUF beside transformers' own reader: logits, and sinks and kurtosis by its attentions.

    python -m bench.real_model SmolLM2-135M-Instruct.Q4_1.gguf RUN [TEXT]

needs the extras real and hf, and accelerate. ``RUN``: what ``danlu import`` wrote of the file. ``TEXT``: a
file, of which 16 rows of 64 tokens are read, without a token before them. Results: docs/real-model.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.common import machine, save
from danlu.interop.opened import opened

DOCUMENT = Path(__file__).parents[1] / "docs" / "architecture.md"
ROWS, LENGTH = 16, 64


def kurtosis(x: Tensor) -> float:
    """Raw kurtosis of all numbers."""
    centred = x.double() - x.double().mean()
    return float((centred**4).mean() / (centred**2).mean() ** 2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("text", type=Path, nargs="?", default=DOCUMENT)
    words = parser.parse_args()
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_pretrained(
        words.file.parent, gguf_file=words.file.name, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    ours = opened(words.run)
    ids = torch.from_numpy(ours.tokenizer.encode(words.text.read_text()))
    x = ids[: ROWS * LENGTH].view(ROWS, LENGTH)
    with torch.no_grad():
        wanted = theirs(input_ids=x, output_attentions=True, output_hidden_states=True)
        found = ours.model(x)
    first = torch.stack([layer[..., 0] for layer in wanted.attentions])  # [layer, row, head, query]
    streams: list[Tensor] = list(wanted.hidden_states[1:-1])  # the last one is after the norm
    said: dict[str, Any] = {
        "rows": list(x.shape),
        "largest logit": float(wanted.logits.abs().max()),
        "largest difference": float((wanted.logits - found).abs().max()),
        "same argmax": float((wanted.logits.argmax(-1) == found.argmax(-1)).float().mean()),
        "sink rate": float((first.mean(-1) > 0.3).float().mean()),
        "attention to first": float(first.mean()),
        "attention to first, later half": float(first[..., LENGTH // 2 :].mean()),
        "raw kurtosis by layer": [round(kurtosis(s), 1) for s in streams],
        "without position 0": [round(kurtosis(s[:, 1:]), 1) for s in streams],
        "largest at position 0": max(float(s[:, 0].abs().max()) for s in streams),
        "largest elsewhere": max(float(s[:, 1:].abs().max()) for s in streams),
    }
    print(json.dumps(said, indent=2))
    save("real_model", {"machine": machine(), "file": words.file.name, "text": words.text.name, **said})


if __name__ == "__main__":
    main()
