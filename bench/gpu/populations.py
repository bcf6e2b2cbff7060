"""Many small networks at once: a plain one of the bench's own, stacked, since danlu has no populations yet.

Everything of a step (forward, backward, AdamW with a rate for each member) acts on tensors with the members
first; on a GPU the same step is also replayed as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch.func import grad_and_value, vmap

from bench.gpu.place import Place, Row

VOCABULARY, WIDTH, LAYERS, HEADS, ROWS, CONTEXT = 257, 64, 3, 4, 8, 64
SHAPES = {
    "qkv": (WIDTH, 3 * WIDTH),
    "out": (WIDTH, WIDTH),
    "up": (WIDTH, 4 * WIDTH),
    "down": (4 * WIDTH, WIDTH),
}
Params = dict[str, torch.Tensor]


def network(p: Params, tokens: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """A decoder of the shape of nano, of operators that ``vmap`` turns into batched ones: (rows, positions) →
    logits. ``hidden``: −∞ above the diagonal, 0 elsewhere."""
    x = F.embedding(tokens, p["embedding"])
    for layer in range(LAYERS):
        heads = (normed(x) @ p[f"{layer}.qkv"]).unflatten(-1, (3 * HEADS, -1)).transpose(1, 2)
        q, k, v = heads.chunk(3, dim=1)
        weights = (q @ k.transpose(-1, -2) * (WIDTH // HEADS) ** -0.5 + hidden).softmax(-1)
        x = x + (weights @ v).transpose(1, 2).flatten(2) @ p[f"{layer}.out"]
        x = x + F.gelu(normed(x) @ p[f"{layer}.up"]) @ p[f"{layer}.down"]
    return normed(x) @ p["readout"]


def normed(x: torch.Tensor) -> torch.Tensor:
    return x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt()


class Population:
    """``count`` networks with rates of their own, and a step of all of them."""

    def __init__(self, at: Place, count: int) -> None:
        torch.manual_seed(0)
        shapes = {"embedding": (VOCABULARY, WIDTH), "readout": (WIDTH, VOCABULARY)}
        shapes |= {f"{layer}.{name}": shape for layer in range(LAYERS) for name, shape in SHAPES.items()}
        self.params: Params = {
            name: torch.randn(count, *shape, device=at.device) * shape[0] ** -0.5
            for name, shape in shapes.items()
        }
        self.moments = [{name: torch.zeros_like(p) for name, p in self.params.items()} for _ in range(2)]
        self.rates = torch.logspace(-4, -2, count, device=at.device)
        self.x, self.y = torch.randint(VOCABULARY, (2, count, ROWS, CONTEXT), device=at.device)
        self.hidden = torch.full((CONTEXT, CONTEXT), float("-inf"), device=at.device).triu(1)
        self.taken = torch.zeros((), device=at.device)  # steps
        self.tokens = self.x.numel()

    def loss(self, params: Params, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Of one member, computed in bfloat16 on a GPU."""
        if x.is_cuda:
            params = {name: p.bfloat16() for name, p in params.items()}
        logits = network(params, x, self.hidden.to(params["readout"].dtype)).float()
        return F.cross_entropy(logits.flatten(0, 1), y.flatten())

    def gradients(self) -> Params:
        """Of all members."""
        found: Params = vmap(grad_and_value(self.loss))(self.params, self.x, self.y)[0]
        return found

    def __call__(self) -> None:
        """A step of AdamW, everything on the device and in place, as a graph asks."""
        grads = self.gradients()
        self.taken += 1
        first, second = self.moments
        for name, p in self.params.items():
            g, m, v = grads[name], first[name], second[name]
            m.lerp_(g, 0.1)
            v.lerp_(g.square(), 0.05)
            size = (v / (1 - 0.95**self.taken)).sqrt_().add_(1e-8)
            rate = (self.rates / (1 - 0.9**self.taken)).view(-1, *[1] * (p.ndim - 1))
            p.sub_(rate * m / size)


def rows(at: Place) -> Iterator[Row]:
    yield alone(at)
    for count in at.size((1, 8, 64, 256), (1, 3)):
        population = Population(at, count)
        row: Row = {"what": f"{count} plain networks of the bench"}
        ms = at.milliseconds(population, repeats=5)
        row |= {"eager ms": ms, "eager tok/s": round(population.tokens / ms * 1e3)}
        if at.cuda:
            try:
                ms = at.milliseconds(graph(population).replay, repeats=10)
                row |= {"graph ms": ms, "graph tok/s": round(population.tokens / ms * 1e3)}
            except RuntimeError as error:
                row["wrong"] = f"no graph: {str(error).splitlines()[0]}"
        yield row
        del population


def alone(at: Place) -> Row:
    """Is a member's gradient what it would be alone?"""
    population = Population(at, 3)
    together = population.gradients()
    off = 0.0
    for k in range(3):
        params = {name: p[k].clone().requires_grad_() for name, p in population.params.items()}
        loss = population.loss(params, population.x[k], population.y[k])
        own = torch.autograd.grad(loss, list(params.values()))
        for name, g in zip(params, own, strict=True):
            off = max(off, float((together[name][k] - g).norm() / g.norm()))
    row: Row = {"what": "a member beside itself alone", "gradient off by": off}
    return row if off <= (2e-2 if at.cuda else 1e-4) else row | {"wrong": "members disturb one another"}


def graph(work: Callable[[], None]) -> torch.cuda.CUDAGraph:
    """``work`` as a graph; it has run on the stream of the capture before."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    made = torch.cuda.CUDAGraph()
    with torch.cuda.graph(made, stream=stream):
        work()
    return made
