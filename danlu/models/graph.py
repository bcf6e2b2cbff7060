"""The computation graph of a network by its modules: what runs after what, and what it costs.

A pass is watched from outside: hooks say which module runs, a dispatch mode counts FLOPs, autograd's graph
says which module's output reaches which module's input. It works on the meta device.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, cast

import torch
import torch.nn as nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from danlu.nn import FeedForward, Mixer

# Operators whose derivative PyTorch cannot differentiate again.
ONCE = ("flash_attention", "efficient_attention", "cudnn_attention", "_cdist_forward")
PERIOD = 4  # modules that repeat together, at most
_FUSED = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_FUSED_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


@dataclass
class Node:
    """A module as it ran: ``name``, its path in the network; ``kind``, its class; ``shape`` and ``dtype`` of
    its output; ``parameters``, of its own and inside, but those that a node before it has (tied
    weights, a module that runs again); ``flops`` of its forward pass and ``kept``, bytes that
    it keeps for its backward pass, all of one of ``times`` equal ones in a row; ``twice``: whether second
    derivatives exist. ``sources``: numbers of the drawn nodes whose outputs it reads, −1: the network's
    input. ``inside``: what it is drawn as instead, where it is drawn open."""

    number: int
    name: str
    kind: str
    shape: list[int]
    dtype: str
    parameters: int
    flops: int
    kept: int
    twice: bool
    times: int = 1
    sources: list[int] = field(default_factory=list)
    inside: list[Node] = field(default_factory=list)
    settings: tuple[Any, ...] = ()

    def drawn(self) -> Iterator[Node]:
        """The nodes that are drawn closed, in the order in which they run."""
        if not self.inside:
            yield self
        for node in self.inside:
            yield from node.drawn()


def graph(model: nn.Module, forward: Callable[[], Any]) -> Node:
    """The graph of what ``forward``, a pass through ``model`` with gradients, runs. What holds blocks
    (``model.blocks``) is drawn open, and so are blocks of mixers and feed-forward layers; all else is closed,
    and equal neighbours are one node. A parameter that is used outside of the module that holds it, as
    learned positions are, is a node of its own, so that the closed nodes have all parameters that the pass
    uses, each once. Dropout, and what returns its input, is left out. Raises ValueError where the pass does
    not call the network."""
    watch = _Watch(model)
    with watch.watching():
        forward()
    if watch.root is None:
        raise ValueError("the pass did not call the network")
    watch.find_sources()
    root = watch.root
    _roll(root)
    return root


def as_json(root: Node) -> dict[str, Any]:
    """The tree as JSON takes it."""
    said = {one.name: getattr(root, one.name) for one in fields(root) if one.name != "settings"}
    return said | {"inside": [as_json(node) for node in root.inside]}


class _Watch(TorchDispatchMode):
    """What happens in a pass, module by module."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        blocks = set(cast(Iterable[nn.Module], getattr(model, "blocks", ())))
        self.open = {
            m
            for m in model.modules()
            if m is model
            or (m not in blocks and blocks & set(m.modules()))
            or (m in blocks and any(isinstance(part, Mixer | FeedForward) for part in m.modules()))
        }
        self.names = {module: name for name, module in model.named_modules()}
        self.parameters = {storage_of(p): (name, p) for name, p in model.named_parameters()}
        self.held = {*self.parameters, *map(storage_of, model.buffers())}
        self.counted: set[int] = set()  # parameters that a drawn node has
        self.loose: dict[int, int] = {}  # parameters that are nodes of their own: their numbers
        self.read: dict[int, set[int]] = {}  # of drawn nodes: which of these are used inside
        self.saved: dict[int, torch.Tensor] = {}  # held, so that no storage is freed and its key taken again
        self.root: Node | None = None
        self.stack: list[Node] = []
        self.inputs: dict[int, list[Any]] = {}  # of drawn nodes: the autograd nodes of what they read
        self.made: dict[Any, int] = {}  # autograd node → the drawn node that made it
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.stack:
            for t in tree_leaves((args, kwargs)):
                if isinstance(t, torch.Tensor) and storage_of(t) in self.parameters:
                    self._use(storage_of(t))
            self.stack[-1].flops += flops_of(func, args, kwargs or {}, result)
            if any(name in func.name() for name in ONCE):
                self.stack[-1].twice = False
        return result

    @contextmanager
    def watching(self) -> Iterator[None]:
        with ExitStack() as stack:
            for module in self.model.modules():
                stack.callback(module.register_forward_pre_hook(self._enter, with_kwargs=True).remove)
                stack.callback(module.register_forward_hook(self._leave).remove)
            stack.enter_context(torch.autograd.graph.saved_tensors_hooks(self._pack, lambda t: t))
            stack.enter_context(self)
            yield

    def _shut(self) -> bool:
        """Whether what runs is inside of a node that is drawn closed."""
        return bool(self.stack) and self.stack[-1].number >= 0

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        number = -1
        if not self._shut() and module not in self.open:
            number, self.count = self.count, self.count + 1
            given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
            self.inputs[number] = [t.grad_fn for t in given]
        new = {storage_of(p): p.numel() for p in module.parameters() if storage_of(p) not in self.counted}
        if number >= 0:
            self.counted |= new.keys()
        name, kind = self.names[module], type(module).__name__.strip("_")
        node = Node(number, name, kind, [], "", sum(new.values()), 0, 0, True)
        node.settings = _settings(module)
        self.stack.append(node)

    def _use(self, key: int) -> None:
        """Make a parameter that no drawn node has a node, before what uses it."""
        if key in self.counted and key not in self.loose:
            return
        reader = next((node for node in self.stack if node.number >= 0), None)
        if key not in self.loose:
            name, p = self.parameters[key]
            number, self.count = self.count, self.count + 1
            if reader is not None:  # which has begun: it takes the later number
                self.inputs[number] = self.inputs.pop(reader.number)
                self.read[number] = self.read.pop(reader.number, set())
                number, reader.number = reader.number, number
            kind, dtype = type(p).__name__, str(p.dtype).removeprefix("torch.")
            node = Node(number, name, kind, list(p.shape), dtype, p.numel(), 0, 0, True)
            around = (one for one in self.stack if one.number < 0 and f"{name}.".startswith(one.name))
            max(around, key=lambda one: len(one.name)).inside.append(node)
            self.counted.add(key)
            self.loose[key] = number
        if reader is not None:
            self.read.setdefault(reader.number, set()).add(self.loose[key])

    def _leave(self, module: nn.Module, given: Any, output: Any) -> None:
        node = self.stack.pop()
        tensors = [t for t in tree_leaves(output) if isinstance(t, torch.Tensor)]
        if tensors:
            node.shape, node.dtype = list(tensors[0].shape), str(tensors[0].dtype).removeprefix("torch.")
        if not self.stack:
            if all(one.number in self.loose.values() for one in node.inside):
                node.inside = []  # no module runs inside: it is drawn closed
            self.root = node
            return
        above = self.stack[-1]
        above.flops += node.flops
        above.kept += node.kept
        above.twice &= node.twice
        passed = all(any(t is one for one in tree_leaves(given)) for t in tensors)
        if self._shut() or passed or isinstance(module, nn.Dropout):
            return
        above.inside.append(node)
        if node.number >= 0:
            for t in tensors:
                if t.grad_fn is not None:
                    self.made.setdefault(t.grad_fn, node.number)

    def _pack(self, t: torch.Tensor) -> torch.Tensor:
        if self.stack and storage_of(t) not in self.held and storage_of(t) not in self.saved:
            self.saved[storage_of(t)] = t
            self.stack[-1].kept += t.untyped_storage().nbytes()
        return t

    def find_sources(self) -> None:
        """From the inputs of each drawn node back through autograd's graph to what made them."""
        assert self.root is not None
        for node in self.root.drawn():
            if node.number in self.loose.values():
                continue
            found, seen = set(self.read.get(node.number, ())), set[Any]()
            ahead = list(self.inputs.get(node.number, ()))
            while ahead:
                step = ahead.pop()
                if step is None or step in seen:
                    continue
                seen.add(step)
                variable = getattr(step, "variable", None)
                if variable is not None and storage_of(variable) in self.loose:
                    found.add(self.loose[storage_of(variable)])
                elif step in self.made and self.made[step] != node.number:
                    found.add(self.made[step])
                else:
                    ahead += [one for one, _ in step.next_functions]
            node.sources = sorted(found) or [-1]


def flops_of(func: Any, args: Any, kwargs: Any, result: Any) -> int:
    """FLOPs of one operator: of products of matrices, convolutions, fused attention; 0 of others."""
    name = func._overloadpacket
    if name is _FUSED:
        return int(sdpa_flop_count(*(t.shape for t in args[:3])))
    if name is _FUSED_BACKWARD:
        return int(sdpa_backward_flop_count(*(t.shape for t in args[:4])))
    if func.namespace == "aten" and name.__name__.endswith("_"):  # in place: baddbmm_ is baddbmm
        name = getattr(torch.ops.aten, name.__name__.rstrip("_"), name)
    formula = flop_registry.get(name)
    return 0 if formula is None else int(formula(*args, **kwargs, out_val=result))


def storage_of(t: torch.Tensor) -> int:
    """Which memory a tensor lies in."""
    return t.untyped_storage()._cdata


def _roll(node: Node) -> dict[int, int]:
    """Make equal neighbours one node; returns which number stands for which that is gone."""
    gone: dict[int, int] = {}
    for child in node.inside:
        gone |= _roll(child)
    kept: list[Node] = []
    place, children = 0, node.inside
    while place < len(children):
        period, times = _repeats(children[place:])
        group = children[place : place + period]
        for turn in range(1, times):
            for first, other in zip(group, children[place + turn * period :], strict=False):
                for one, two in zip(first.drawn(), other.drawn(), strict=True):
                    gone[two.number] = one.number
                    one.sources += two.sources
        if times > 1 and period > 1:
            kind = " + ".join(dict.fromkeys(one.kind for one in group))
            sums = {
                name: sum(getattr(one, name) for one in group) for name in ("parameters", "flops", "kept")
            }
            last = group[-1]
            twice = all(one.twice for one in group)
            wrapped = Node(-1, group[0].name, kind, last.shape, last.dtype, **sums, twice=twice, inside=group)
            group = [wrapped]
        for one in group:
            one.times = times
        kept += group
        place += period * times
    node.inside = kept
    for one in node.drawn():
        read = {gone.get(source, source) for source in one.sources}
        # What a later copy reads of the copy before it would point upwards; ×N says so.
        one.sources = sorted(source for source in read if source < one.number) or [-1] * bool(one.sources)
    return gone


def _repeats(nodes: list[Node]) -> tuple[int, int]:
    """How many nodes from the first on repeat together, and how often: what covers most; (1, 1): nothing."""
    alike = [_alike(node) for node in nodes]
    best = (1, 1)
    for period in range(1, min(PERIOD, len(nodes) // 2) + 1):
        times = 1
        while alike[times * period : (times + 1) * period] == alike[:period]:
            times += 1
        if times > 1 and period * times > best[0] * best[1]:
            best = (period, times)
    return best


def _alike(node: Node) -> Any:
    """What equal nodes have in common. Not the bytes kept: what several share is counted with the first."""
    name, inside = re.sub(r"\d+", "", node.name), tuple(_alike(one) for one in node.inside)
    costs = (node.parameters, node.flops, node.twice, node.times)
    return name, node.kind, node.settings, tuple(node.shape), node.dtype, costs, inside


def _settings(module: nn.Module) -> tuple[Any, ...]:
    """The plain values that a module and those inside hold: a window, a number of heads."""
    plain = (bool, int, float, str, tuple)
    return tuple(
        (name, value)
        for one in module.modules()
        for name, value in sorted(vars(one).items())
        if isinstance(value, plain) and not name.startswith("_") and name != "training"
    )
