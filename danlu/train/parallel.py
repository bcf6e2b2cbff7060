"""Several processes under ``torchrun``: data parallel (DDP) and sharded (FSDP2); one is the case of one."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.nn as nn

from danlu.nn.linear import weights_on_meta
from danlu.spec.errors import DanluError
from danlu.spec.mesh import Mesh
from danlu.train import meeting
from danlu.train.errors import RunError
from danlu.train.machine import PRECISIONS
from danlu.train.mesh import Axes, Axis, axes_of

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

# How long a process waits for another, which may prepare data or train a teacher first. torchrun ends the
# others where one dies, so nobody waits for the dead.
PATIENCE = timedelta(days=7)

T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)


class ToldElsewhere(DanluError):
    """A mistake that the first process reports; the others end with its exit code and say nothing."""


@dataclass(frozen=True)
class Processes:
    """This process among ``count``: its ``rank``, its ``device``, and where it stands in ``train.mesh``
    (``axes``; None: all processes are data parallel)."""

    rank: int
    count: int
    device: torch.device
    axes: Axes | None = None

    @property
    def first(self) -> bool:
        """Whether this one writes and speaks."""
        return self.rank == 0

    @property
    def data(self) -> Axis:
        """This process among those that have other rows of a batch."""
        return Axis(self.rank, self.count) if self.axes is None else self.axes.data

    @property
    def shard(self) -> Axis:
        """This process among those that hold other parts of sharded weights."""
        return Axis(self.rank, self.count) if self.axes is None else self.axes.shard

    @property
    def context(self) -> Axis:
        """This process among those that have other positions of the same rows."""
        return Axis() if self.axes is None else self.axes.context

    @property
    def pipeline(self) -> Axis:
        """This process among those that have other layers, in the order of their layers."""
        return Axis() if self.axes is None else self.axes.pipeline

    @property
    def stream(self) -> int:
        """The number of its random numbers for activations: alike where rows, positions and layers are."""
        if self.axes is None:
            return self.rank
        layers, rows, context = self.axes.pipeline, self.axes.data, self.axes.context
        return (layers.rank * rows.count + rows.rank) * context.count + context.rank

    @property
    def share_of_loss(self) -> int:
        """What a process's part of the loss is multiplied by: gradients are averaged over those that hold the
        same layers, of which those that are tensor parallel have the same loss."""
        return self.count if self.axes is None else self.axes.stage.count // self.axes.tensor.count

    def sum_of_rows(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum (in place) over all processes of what they computed of their rows and positions; what
        tensor parallel ones have alike counts once."""
        return self.sum(tensor) if self.axes is None else _sum_along(self.axes.rows, tensor)

    def sum_of_shards(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum (in place) over those that hold other parts of sharded weights; replicas count once."""
        return self.sum(tensor) if self.axes is None else _sum_along(self.axes.shard, tensor)

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum of a tensor over all processes (in place)."""
        if self.count > 1:
            import torch.distributed as dist

            dist.all_reduce(tensor)
        return tensor

    def share(self, value: Any) -> Any:
        """The first process's value, for all."""
        if self.count == 1:
            return value
        import torch.distributed as dist

        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: T) -> list[T] | None:
        """What all processes give, in their order, in the first; None in the others."""
        if self.count == 1:
            return [value]
        import torch.distributed as dist

        found: list[Any] | None = [None] * self.count if self.first else None
        dist.gather_object(value, found, dst=0)
        return found

    def first_known(self, value: T | None) -> T | None:
        """Of what the processes know, where some know nothing, what the first of them does: for all."""
        if self.count == 1:
            return value
        import torch.distributed as dist

        said: list[Any] = [None] * self.count
        dist.all_gather_object(said, value)
        return next((each for each in said if each is not None), None)

    def any(self, flag: bool) -> bool:
        """Whether it is so in any process: the same answer in all."""
        return bool(self.sum(torch.tensor(float(flag), device=self.device))) if self.count > 1 else flag

    def on_first(self, work: Callable[[], T]) -> T:
        """Do ``work`` in the first process; its result is everybody's; if it fails, all end."""
        result: Any = None
        error: Exception | None = None
        if self.first:
            try:
                result = work()
            except Exception as caught:
                if self.count == 1:
                    raise
                error = caught
        result, error = self.share((result, error))
        if error is not None:
            raise self.once(error) if isinstance(error, DanluError) else error
        return result

    def only_first(self, work: Callable[[], T]) -> T | None:
        """``on_first`` for a result that stays in the first process; None in the others."""
        found: list[T] = []
        self.on_first(lambda: found.append(work()))
        return found[0] if found else None

    def once(self, error: DanluError) -> DanluError:
        """What to raise for an error that every process meets: the error itself in the first alone."""
        return error if self.first else ToldElsewhere()

    def wait(self) -> None:
        """Until every process is here."""
        if self.count > 1:
            import torch.distributed as dist

            dist.barrier()


def _sum_along(axis: Axis, tensor: torch.Tensor) -> torch.Tensor:
    if axis.count > 1:
        import torch.distributed as dist

        dist.all_reduce(tensor, group=axis.group)
    return tensor


@contextmanager
def processes(device: torch.device, mesh: Mesh = Mesh()) -> Iterator[Processes]:
    """Join the group that ``torchrun`` announces through the environment, or be the only process. ``mesh``:
    how the processes are divided. A group that this process has joined already is taken, and stays. Raises
    ``RunError`` where their number cannot be."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    try:
        mesh.data(count)
    except ValueError as error:
        first = int(os.environ.get("RANK", "0")) == 0
        raise RunError(str(error)) if first else ToldElsewhere() from None
    if count == 1:
        yield Processes(0, 1, device)
        return
    import torch.distributed as dist

    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    joined = dist.is_initialized()
    if not joined:
        _join(dist, count, device)
    try:
        axes = None if mesh.plain else axes_of(mesh, device.type)
        yield Processes(dist.get_rank(), count, device, axes)
    except ToldElsewhere:
        time.sleep(1)  # torchrun ends the others when one has ended: the first must have spoken by then
        raise
    finally:
        gc.collect()  # DDP's reducer must go before the group that it talks through
        if not joined:
            dist.destroy_process_group()


def _join(dist: Any, count: int, device: torch.device) -> None:
    rank = int(os.environ.get("RANK", "0"))  # where there is none, PyTorch says so
    at: dict[str, Any] = {"timeout": PATIENCE}
    if (store := meeting.store(rank, count, PATIENCE)) is not None:
        at |= {"store": store, "rank": rank, "world_size": count}
    if device.type == "cuda":  # NCCL starts at once, and barriers know their device
        dist.init_process_group("cpu:gloo,cuda:nccl", device_id=device, **at)
    else:
        dist.init_process_group("gloo", **at)


ALONE = Processes(0, 1, torch.device("cpu"))


def distribute(
    make: Callable[[], M], kind: str | None, group: Processes, precision: str
) -> tuple[M, nn.Module]:
    """The model that ``make`` gives, and the model as every process runs it: itself alone (one process, or
    ``kind`` None), wrapped in DDP, or sharded in place by FSDP2. A stage of a pipeline, whose passes are not
    DDP's, is never wrapped.

    Under FSDP2 every block, and the rest together, is a unit: parameters are gathered where they are used
    (``shard``), masters stay sharded in float32. The large weights are made on the meta device, so that no
    process ever holds more than one unit whole, and drawn once they are sharded: the values are those of one
    process.
    """
    if group.count == 1 or kind is None:
        model = make()
        return model.to(group.device), model
    staged = group.pipeline.count > 1
    if kind == "ddp" and not staged:
        from torch.nn.parallel import DistributedDataParallel

        model = make().to(group.device)
        shared = kept_buffers(model)
        own = [name for name, _ in model.named_buffers() if name not in shared]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, own)
        ids = [group.device.index] if group.device.type == "cuda" else None
        over = None if group.axes is None else group.axes.stage.group
        # Gradients that are there already move into DDP's buckets, and so are never held beside them.
        for p in model.parameters():
            p.grad = torch.zeros_like(p) if p.requires_grad else None
        wrapped = DistributedDataParallel(
            model, device_ids=ids, process_group=over, gradient_as_bucket_view=True
        )
        return model, wrapped
    from torch.distributed.device_mesh import init_device_mesh

    from danlu.train.materialise import materialise

    with weights_on_meta():
        model = make()
    if group.axes is None:
        mesh = init_device_mesh(group.device.type, (group.count,))
    else:
        mesh = group.axes.mesh
    if kind == "fsdp":
        shard(model, mesh, precision)
    materialise(model, group.device)
    if not staged:  # of which none has such buffers
        _share_buffers(model)
    return model, model


def kept_buffers(model: nn.Module) -> list[str]:
    """The names of the buffers that a checkpoint holds, such as running averages. The others are each
    process's own: tables, and what is gathered of its rows."""
    kept = model.state_dict().keys()
    return [name for name, _ in model.named_buffers() if name in kept]


def _share_buffers(model: nn.Module) -> None:
    """From now on the buffers that a checkpoint holds are in all processes those of the first one, before
    each forward pass: as DDP does it, and FSDP2 does not."""
    import torch.distributed as dist

    names = kept_buffers(model)  # once: state_dict() lets go of the weights that a pass has gathered

    @torch.no_grad()
    def send(module: nn.Module, given: Any) -> None:
        for name in names:
            dist.broadcast(module.get_buffer(name), src=0)

    if names:
        model.register_forward_pre_hook(send)


def shard(model: Any, mesh: DeviceMesh, precision: str) -> None:
    """Shard ``model`` in place by FSDP2 over ``mesh``, of one dimension or of replicas × shards. Parameters
    are gathered in ``precision``, but those of modules that set ``full_precision`` in float32, and so those
    of blocks that round weights to few bits (``train.quantize``): exact numbers are rounded, not short ones.
    Gradients are summed in float32 at least. What the model itself is given, coordinates and times among it,
    keeps its type."""
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    from danlu.quantization.rounded import Rounded

    wide = torch.promote_types(PRECISIONS[precision], torch.float32)
    policy = MixedPrecisionPolicy(param_dtype=PRECISIONS[precision], reduce_dtype=wide)
    full = MixedPrecisionPolicy(reduce_dtype=wide, cast_forward_inputs=False)
    for module in model.modules():
        if getattr(module, "full_precision", False):
            fully_shard(module, mesh=mesh, mp_policy=full)
    for block in model.blocks:
        rounds = any(isinstance(module, Rounded) for module in block.modules())
        fully_shard(block, mesh=mesh, mp_policy=full if rounds else policy)
    fully_shard(model, mesh=mesh, mp_policy=replace(policy, cast_forward_inputs=False))


def hold_gradients(model: Any, hold: bool, scatter: bool = False) -> Any:
    """A context for a backward pass, which is not the update's last where they ``hold``: gradients are summed
    over processes once an update, not once a pass. ``scatter`` (FSDP2): within each group of shards they are
    summed once a pass, so that no process keeps whole ones, and over replicas once an update."""
    if hasattr(model, "set_requires_gradient_sync"):  # FSDP2
        model.set_requires_gradient_sync(scatter or not hold)
        model.set_requires_all_reduce(not hold)
        return nullcontext()
    return model.no_sync() if hold and hasattr(model, "no_sync") else nullcontext()
