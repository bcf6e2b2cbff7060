"""SmolLM2 out of its GGUF: danlu's logits beside those of transformers' own reader; docs/real-model.md.

    python -m bench.real_model SmolLM2-135M-Instruct.Q4_1.gguf RUN

needs the extras real and hf, and accelerate. ``RUN``: what ``danlu import`` wrote of the file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from danlu.interop.opened import opened

TEXT = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text()
ROWS, LENGTH = 4, 64


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("run", type=Path)
    words = parser.parse_args()
    from transformers import AutoModelForCausalLM

    where = {"pretrained_model_name_or_path": str(words.file.parent), "gguf_file": words.file.name}
    theirs = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32).eval()
    ours = opened(words.run)
    ids = torch.from_numpy(ours.tokenizer.encode(TEXT))
    x = ids[: ROWS * LENGTH].view(ROWS, LENGTH)
    with torch.no_grad():
        wanted, found = theirs(input_ids=x).logits, ours.model(x)
    said = {
        "tokens": len(ids),
        "compared": list(wanted.shape),
        "largest logit": float(wanted.abs().max()),
        "largest difference": float((wanted - found).abs().max()),
        "same argmax": float((wanted.argmax(-1) == found.argmax(-1)).float().mean()),
    }
    print(json.dumps(said, indent=2))


if __name__ == "__main__":
    main()
