"""A forward and backward pass as a CUDA graph: its kernels are started by one call.

Of networks that are small for a GPU, starting kernels one by one takes longer than their work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

Tensors = Mapping[str, torch.Tensor]
WARM = 3  # passes before the capture: what is made once (masks, tables, workspaces) must not be part of it


class Captured:
    """``run(example)``, which fills the gradients of ``weights`` and returns what is to be kept, for examples
    of one shape. What a call returns, and the gradients, are overwritten by the next.

    Raises ``RuntimeError`` where ``run`` does what a graph cannot hold, such as waiting for the device.
    """

    def __init__(
        self, run: Callable[[Tensors], torch.Tensor], example: Tensors, weights: Mapping[str, torch.Tensor]
    ) -> None:
        self.example = {name: tensor.clone() for name, tensor in example.items()}
        self.weights = weights
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM):
                self._forget()
                run(self.example)
        torch.cuda.current_stream().wait_stream(stream)
        self._forget()  # so that they are made anew, in the graph's own memory
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=stream):
            self.kept = run(self.example)
        self.grads = {name: p.grad for name, p in weights.items()}
        self._forget()

    def __call__(self, example: Tensors) -> torch.Tensor:
        for name, tensor in example.items():
            self.example[name].copy_(tensor, non_blocking=True)
        self.graph.replay()
        for name, p in self.weights.items():
            p.grad = self.grads[name]
        return self.kept

    def _forget(self) -> None:
        for p in self.weights.values():
            p.grad = None
