import subprocess
import sys

import torch

from danlu.nn.outline import outlines

OUTLINE = """
import sys
from danlu.spec import resolve
from danlu.train.assemble import assemble, outline

experiment = resolve("nano data.corpus=synthetic:markov-4".split())
_, model, *_ = outline(experiment)
assert all(weight.device.type == "meta" for weight in model.parameters())
sys.exit("torch._dynamo" in sys.modules)
"""


def test_an_outline_does_not_wait_for_the_compiler() -> None:
    assert subprocess.run([sys.executable, "-c", OUTLINE], check=False).returncode == 0


def test_an_outline_has_the_shapes_and_types_of_the_module_and_no_numbers() -> None:
    with outlines():
        module = torch.nn.Sequential(torch.nn.Embedding(7, 5), torch.nn.Linear(5, 3, dtype=torch.float64))
        drawn = torch.nn.init.normal_(torch.empty(2, 3), std=0.5).normal_()
    assert drawn.device.type == "meta" and drawn.shape == (2, 3)
    real = torch.nn.Sequential(torch.nn.Embedding(7, 5), torch.nn.Linear(5, 3, dtype=torch.float64))
    for name, weight in real.state_dict().items():
        outline = module.state_dict()[name]
        assert (outline.shape, outline.dtype, outline.device.type) == (weight.shape, weight.dtype, "meta")
