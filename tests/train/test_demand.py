"""What is counted of an experiment is what PyTorch holds and sends when it is trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule
from torch.utils._python_dispatch import TorchDispatchMode

from danlu import optim
from danlu.objectives import Objective
from danlu.planning import Layout, memory
from danlu.planning.traffic import traffic
from danlu.spec import Experiment, resolve
from danlu.spec.devices import device
from danlu.train.assemble import Assembly, initial, objective_of, outline, outlined
from danlu.train.costs import costs, example_of
from danlu.train.demand import demand_of
from danlu.train.errors import RunError
from danlu.train.parallel import Processes, distribute, hold_gradients, shard
from danlu.train.update import Update

fake = pytest.importorskip("torch.testing._internal.distributed.fake_pg")
tracking = pytest.importorskip("torch.distributed._tools.fsdp2_mem_tracker")

PROCESSES = 8
H100 = device("h100")
WORDS = ["tiny", "optimizer=adamw", "model.layers=3", "train.batch=16", "data.context=32", "train.device=cpu"]


@pytest.fixture
def group() -> Iterator[None]:
    dist.init_process_group("fake", store=fake.FakeStore(), rank=0, world_size=PROCESSES)
    yield
    dist.destroy_process_group()


def sharded(experiment: Experiment, *sizes: int) -> tuple[Objective, Any]:
    """Among all processes; ``sizes``: among replicas × shards."""
    objective = objective_of(experiment, outlined(experiment))
    model = initial(experiment, objective, "bfloat16")
    names = ("replicate", "shard")[-len(sizes or (1,)) :]
    shard(model, init_device_mesh("cpu", sizes or (PROCESSES,), mesh_dim_names=names), "bfloat16")
    return objective, model


class Said(TorchDispatchMode):
    """Calls and whole bytes of collectives."""

    KINDS: ClassVar = {
        "_allgather_base_": ("all_gather", 0),
        "_reduce_scatter_base_": ("reduce_scatter", 1),
        "allreduce_": ("all_reduce", 0),
    }

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, int] = {}
        self.bytes: dict[str, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__ if func.namespace == "c10d" else ""
        if name in self.KINDS:
            kind, place = self.KINDS[name]
            whole = args[place][0] if isinstance(args[place], list) else args[place]
            self.calls[kind] = self.calls.get(kind, 0) + 1
            self.bytes[kind] = self.bytes.get(kind, 0) + whole.numel() * whole.element_size()
        return func(*args, **(kwargs or {}))


def given(objective: Objective, rows: int) -> dict[str, torch.Tensor]:
    return {name: torch.zeros_like(t, device="cpu") for name, t in example_of(objective, rows).items()}


def backward(objective: Objective, model: Any, rows: int = 2) -> None:
    found = objective.loss(model, given(objective, rows))
    (found[0] if isinstance(found, tuple) else found).backward()


def test_fsdp_holds_what_is_predicted(group: None) -> None:
    experiment = resolve(WORDS)
    objective, model = sharded(experiment)
    rules = optim.build(experiment.optimizer, model, 1)
    tracker = tracking.FSDPMemTracker(model, rules[0])
    with tracker:
        backward(objective, model)
        rules[0].step()
        rules[0].zero_grad()
    peak, rest = (tracker.get_tracker_snapshot(when)[torch.device("cpu")] for when in ("peak", "current"))
    held = {key.name: value for key, value in peak.items() if hasattr(key, "name")}
    after = {key.name: value for key, value in rest.items() if hasattr(key, "name")}
    demand = demand_of(experiment, H100)
    found = memory(demand, Layout(shard=PROCESSES, sharded=True, rows=2))
    # Rows of each parameter are divided; where they don't divide, a process has one more.
    assert held["SHARDED_PARAM"] == pytest.approx(found.weights, rel=0.02)
    assert after["OPT"] == pytest.approx(found.optimizer, rel=0.02)
    # At the peak of the forward pass the ends and one block are whole, and the next is on its way.
    whole = held["UNSHARDED_PARAM"] + held["ALL_GATHER"]
    assert whole == pytest.approx(
        2 * (demand.first + demand.last - demand.shared + 2 * demand.blocks[0]), rel=0.02
    )


def sharded_parameters(model: Any) -> list[Any]:
    """FSDP2's own records of them."""
    found = []
    for module in model.modules():
        if isinstance(module, FSDPModule) and (own := module._get_fsdp_state()._fsdp_param_group):
            found += own.fsdp_params
    return found


def test_fsdp_holds_whole_gradients_between_passes(group: None) -> None:
    objective, model = sharded(resolve(WORDS))
    with hold_gradients(model, True):
        backward(objective, model)
    numbers = 0
    for p in sharded_parameters(model):
        assert p.unsharded_accumulated_grad is not None
        assert p.unsharded_accumulated_grad.dtype == torch.float32
        numbers += p.unsharded_accumulated_grad.numel()
    demand = demand_of(resolve(WORDS), H100)
    assert numbers == demand.parameters
    once, twice = (memory(demand, Layout(shard=PROCESSES, sharded=True, rows=rows)) for rows in (2, 1))
    assert twice.gathered - once.gathered == 4 * numbers


def test_fsdp_makes_the_calls_that_are_predicted(group: None) -> None:
    objective, model = sharded(resolve(WORDS))
    with Said() as seen:
        backward(objective, model)
    demand = demand_of(resolve(WORDS), H100)
    found = traffic(demand, Layout(shard=PROCESSES, sharded=True, rows=2), H100)
    assert {one.kind: one.calls for one in found} == seen.calls
    # What comes out of a gather, and goes into a scatter; each process sends 7/8 of it.
    sent = {kind: size * 7 / 8 for kind, size in seen.bytes.items()}
    assert sent == {one.kind: pytest.approx(one.bytes, rel=0.02) for one in found}


@pytest.mark.parametrize("sizes", [(), (2, PROCESSES // 2)])
def test_fsdp_scatters_after_each_pass_where_it_is_to(group: None, sizes: tuple[int, ...]) -> None:
    """Then nobody holds a gradient whole; replicas sum once an update."""
    objective, model = sharded(resolve(WORDS), *sizes)
    with Said() as seen:
        for hold in (True, False):
            with hold_gradients(model, hold, scatter=True):
                backward(objective, model, 1)
            assert all(p.unsharded_accumulated_grad is None for p in sharded_parameters(model))
    assert all(p.grad is not None for p in model.parameters())
    replicate, shards = sizes or (1, PROCESSES)
    layout = Layout(replicate=replicate, shard=shards, sharded=True, rows=1, held=False)
    demand = demand_of(resolve(WORDS), H100)
    found = {one.kind: one for one in traffic(demand, layout, H100)}
    assert {kind: one.calls for kind, one in found.items()} == seen.calls
    assert seen.calls["reduce_scatter"] == 2 * (len(demand.blocks) + 1)
    scattered = found["reduce_scatter"].bytes
    assert seen.bytes["reduce_scatter"] * (shards - 1) / shards == pytest.approx(scattered, rel=0.02)


def test_a_stage_has_all_its_weights_gathered_between_two_passes(group: None) -> None:
    """Of a pipeline of one stage in two passes: what the backward pass gathered stays, and the gradients."""
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B

    objective, model = sharded(resolve(WORDS))
    alone = dist.new_group([0])
    whole: list[int] = []

    def look(*_: Any) -> None:
        params = sharded_parameters(model)
        whole.append(sum(p.unsharded_param.numel() for p in params if p.sharded_state.name == "UNSHARDED"))

    tokens = given(objective, 2)["tokens"]
    made = torch.empty(1, *tokens.shape[1:], objective.inputs[0], device="meta")
    stage = PipelineStage(
        model, 0, 1, torch.device("cpu"), input_args=tokens[:1].to("meta"), output_args=made, group=alone
    )
    model.blocks[0].register_forward_pre_hook(look)
    Schedule1F1B(stage, 2, lambda output, target: output.sum(), scale_grads=False).step(
        tokens, target=torch.arange(2), return_outputs=False
    )
    assert whole[1] == demand_of(resolve(WORDS), H100).parameters > whole[0]


@pytest.mark.parametrize("microbatch", [1, 2])
def test_ddp_holds_gradients_in_its_buckets_alone(group: None, microbatch: int) -> None:
    """From the first pass to the last of every update, in one pass or in two."""
    experiment = resolve([*WORDS, f"train.microbatch={microbatch}"])
    objective = objective_of(experiment, outlined(experiment))
    processes = Processes(0, PROCESSES, torch.device("cpu"))
    model, wrapped = distribute(lambda: initial(experiment, objective, "bfloat16"), "ddp", processes, "")
    rules = optim.build(experiment.optimizer, model, 1)
    update = Update(Assembly(experiment, objective, model, wrapped, rules, "bfloat16", processes))
    held: list[set[int]] = []

    def example(draw: Any) -> dict[str, torch.Tensor]:
        held.append(memory_of([p.grad for _, p in update.named]))
        return given(objective, microbatch)

    def summed(bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        buckets.update(memory_of([bucket.buffer()]))
        done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    update.example = example  # type: ignore[method-assign]
    wrapped.register_comm_hook(None, lambda _, bucket: summed(bucket))
    for step in range(3):
        buckets: set[int] = set()
        update.gradients(step, 0, 2 * PROCESSES)
        assert memory_of([p.grad for _, p in update.named]) == buckets
        update.clear()
        assert all(p.grad is not None and not p.grad.any() for _, p in update.named)
    assert held[-1] == buckets and len(held) == 3 * 2 // microbatch
    assert all(len(some) < len(update.named) for some in held)


def memory_of(tensors: list[Any]) -> set[int]:
    """Where the memory begins in which they lie."""
    return {t.untyped_storage().data_ptr() for t in tensors}


def test_parameters_flops_and_state_are_those_of_the_model() -> None:
    for words in (WORDS, [*WORDS, "model.tied=false"], [*WORDS, "optimizer=sgd"], [*WORDS, "optimizer=soap"]):
        experiment = resolve(words)
        _, model, _, _ = outline(experiment)
        demand = demand_of(experiment, H100)
        assert demand.parameters == sum(p.numel() for p in model.parameters())
        assert (demand.shared > 0) is experiment.network.tied
        rules = optim.build(experiment.optimizer, model, 1)
        for rule in rules:
            rule.prepare()
        held = optim.build.__globals__["state_tensors"](rules).values()
        assert demand.state + demand.whole == sum(t.numel() * t.element_size() for t in held)


def test_muon_is_counted() -> None:
    """n × m, n ≤ m ≤ 2n: five steps of XXᵀ, of its square and of their product with X."""
    demand = demand_of(resolve([*WORDS, "optimizer=muon", "model.mixer.heads=4"]), H100)
    _, model, _, _ = outline(resolve(WORDS))
    expected = 0
    for block in model.blocks:
        for p in block.parameters():
            if p.ndim == 2:
                n, m = sorted(p.shape)
                if m <= 2 * n:
                    expected += 5 * (4 * n * n * m + 2 * n**3)
    assert 0 < expected <= demand.update_flops
    assert demand.dealt == 8 * sum(p.numel() for b in model.blocks for p in b.parameters() if p.ndim == 2)


class Dealt(TorchDispatchMode):
    """Calls of collectives between processes' parts of matrices, and the bytes of one process's parts."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # On a CPU an all-to-all is made of an all-gather of the same parts.
        if func.overloadpacket.__name__ in ("all_gather_into_tensor", "all_to_all_single"):
            self.calls += 1
            self.bytes += args[0].numel() * args[0].element_size()
        return func(*args, **(kwargs or {}))


# SOAP takes the embedding too, one matrix of its shape: the first process works on it, and gives more back.
@pytest.mark.parametrize(
    ("words", "rel"), [(["optimizer=muon"], 1e-9), (["optimizer=soap", "optimizer.every=1000000"], 0.12)]
)
def test_matrices_are_dealt_as_predicted(group: None, words: list[str], rel: float) -> None:
    experiment = resolve([*WORDS, "model.layers=8", *words])  # a matrix of each shape for each process
    objective, model = sharded(experiment)
    rules = optim.build(experiment.optimizer, model, 1)
    backward(objective, model)
    demand = demand_of(experiment, H100)
    for _ in range(2):  # SOAP begins with a step of its own kind
        with Dealt() as seen:
            for rule in rules:
                rule.step()
    assert seen.calls == demand.deals
    assert PROCESSES * seen.bytes == pytest.approx(demand.dealt, rel=rel)
    found = {one.why: one for one in traffic(demand, Layout(shard=PROCESSES, sharded=True), H100)}
    assert found["matrices for the optimizer"].bytes == pytest.approx(
        demand.dealt / PROCESSES * (PROCESSES - 1) / PROCESSES
    )


def test_tensor_parallel_keeps_what_a_network_of_fewer_heads_keeps() -> None:
    """Half of the heads and of the hidden units, the stream as it was: what one of two devices computes."""
    words = ["llama-15m", "train.batch=16", "train.microbatch=16"]
    mixer = resolve(words).network.mixer
    size, hidden = resolve(words).network.width // mixer.heads, 768
    words = [*words, f"model.feed_forward.hidden={hidden}"]
    whole = demand_of(resolve(words), H100)
    half = demand_of(
        resolve([*words, f"model.mixer.heads={mixer.heads // 2}", f"model.mixer.head_size={size}",
                 f"model.feed_forward.hidden={hidden // 2}"]), H100)  # fmt: skip
    predicted = memory(replace(whole, outside=0, batch=1), Layout(tensor=2))
    assert predicted.activations == pytest.approx(sum(half.activations), rel=0.05)


@pytest.mark.slow
def test_a_network_without_blocks_is_refused() -> None:
    with pytest.raises(RunError, match="divides the blocks"):
        demand_of(resolve(["maxent-digits"]), H100)


def test_float8_and_half_precision_are_taken_from_the_device() -> None:
    assert demand_of(resolve(WORDS), device("t4")).precision == "float16"
    assert demand_of(resolve([*WORDS, "train.products=float8"]), H100).precision == "float8"


def test_large_logits_are_counted_in_parts() -> None:
    """As ``danlu show --costs`` counts a pass of so many rows."""
    words = [*WORDS, "data.vocabulary=32000", "data.tokenizer=bpe:32000", "data.context=1024"]
    demand = demand_of(resolve(words), H100)
    assert demand.parts == 2**31 // (4 * 1024 * 32000) + 1
    for rows in (2, 32):
        counted = costs(resolve([*words, f"train.batch={rows}", "train.device=cuda"]))["memory"]
        found = memory(replace(demand, batch=rows), Layout(rows=rows))
        assert found.activations == pytest.approx(counted["activations"], rel=0.02)
        assert found.copies >= counted["copies"]  # in parts the readout's is not kept
