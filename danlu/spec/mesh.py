"""How the processes of a run are divided: a specification; ``danlu.train.mesh`` carries it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from danlu.spec.base import PositiveInt, Spec
from danlu.spec.mixers import LatentAttention, NoMixer
from danlu.spec.positions import T5Buckets
from danlu.spec.residuals import Admin

if TYPE_CHECKING:
    from danlu.spec.experiment import Experiment


class Mesh(Spec):
    """Processes by what they divide among them. What is left of their number is data parallel, which divides
    the rows of a batch.

    ``tensor``: so many processes have the same rows and compute a part of each layer, some heads or some
    hidden units. ``context``: so many have the same rows and some of the positions. ``pipeline``: so many
    have some of the layers. ``replicate``: under ``train.parallel = fsdp``, weights are sharded within each
    of so many groups of processes and are alike in all of them (hybrid sharding), so that they are gathered
    within a group and only gradients go between groups; it divides the data parallel processes.

    It says where a run computes, and not what: a run may go on with another mesh.
    """

    tensor: PositiveInt = 1
    pipeline: PositiveInt = 1
    context: PositiveInt = 1
    replicate: PositiveInt = 1

    @property
    def plain(self) -> bool:
        """Whether all processes are data parallel and none of them replicas."""
        return self == Mesh()

    @property
    def compiles(self) -> bool:
        """Whether what a process computes can be compiled: nothing is sent within it, no layer cut as it
        runs."""
        return self.pipeline == self.context == self.tensor == 1

    def data(self, processes: int) -> int:
        """How many parts of a batch there are with so many processes. Raises ValueError where they cannot be
        divided so."""
        each = self.tensor * self.pipeline * self.context
        if processes % each:
            said = " · ".join(
                f"{name} = {size}"
                for name, size in self.model_dump().items()
                if size > 1 and name != "replicate"
            )
            raise ValueError(
                f"train.mesh: {said} takes a multiple of {each} processes, and there "
                f"{'is 1' if processes == 1 else f'are {processes}'}; start so many by torchrun "
                "--nproc_per_node, or change train.mesh"
            )
        data = processes // each
        if data % self.replicate:
            raise ValueError(
                f"train.mesh.replicate = {self.replicate} does not divide the {data} data parallel of "
                f"{processes} processes; allowed: divisors of {data}"
            )
        return data


def check_mesh(experiment: Experiment) -> None:
    """Raises ValueError for stages and stretches of positions that cannot be, for layers that tensor parallel
    processes cannot divide, and for what needs that which no process has whole."""
    mesh = experiment.train.mesh
    for axis in ("tensor", "pipeline", "context"):
        if (size := getattr(mesh, axis)) > 1:
            for field, on, axes in _whole(experiment):
                if on and axis in axes:
                    raise ValueError(f"train.mesh.{axis} = {size} does not go with {field}; leave one out")
    if mesh.tensor > 1:
        _check_tensor(experiment)
    if mesh.pipeline > 1:
        _check_pipeline(experiment)
    if mesh.context > 1:
        _check_context(experiment)


def _whole(experiment: Experiment) -> list[tuple[str, object, tuple[str, ...]]]:
    """Fields, whether they are set, and the axes that they don't go with: processes divide there what these
    look into or change, which is whole layers, all layers or all positions."""
    train, model = experiment.train, experiment.model
    layers, depth, positions = "tensor", "pipeline", "context"
    every = layers, depth, positions
    return [
        ("train.compile = true", train.compile is True, every),
        (f"train.internals_every = {train.internals_every}", train.internals_every, every),
        (f"train.noise_every = {train.noise_every}", train.noise_every, every),
        (f"train.precise_bn = {train.precise_bn}", train.precise_bn, every),
        ("objective.teacher", getattr(experiment.objective, "teacher", None), every),
        ("train.quantize", train.quantize, (layers, depth)),
        ("train.products = float8", train.products == "float8", (layers, depth)),
        ("train.weights = bfloat16-stochastic", train.weights == "bfloat16-stochastic", (depth,)),
        # PyTorch's schedules sum once, behind the last pass.
        ("train.gradient_sync = pass", train.gradient_sync == "pass", (depth,)),
        ("model.bottleneck", getattr(model, "bottleneck", None), (depth, positions)),
        # Measured by a pass over whole rows through all layers, before the first update.
        ("model.residual = admin", isinstance(getattr(model, "residual", None), Admin), (depth, positions)),
    ]


def _check_tensor(experiment: Experiment) -> None:
    said = f"train.mesh.tensor = {(size := experiment.train.mesh.tensor)}"
    if not experiment.model.turn():
        raise ValueError(
            f"{said} divides heads and hidden units of blocks, and model.kind = {experiment.model.kind} has "
            "none; leave it out"
        )
    for mixer in (parts.mixer for parts in experiment.model.turn()):
        for name in ("heads", "kv_heads", "state"):
            count = getattr(mixer, name, None)
            if count is not None and count % size and (name != "kv_heads" or size % count):
                raise ValueError(f"{said} does not divide model.mixer.{name} = {count}; change one")


def _check_pipeline(experiment: Experiment) -> None:
    model, train = experiment.model, experiment.train
    said = f"train.mesh.pipeline = {train.mesh.pipeline}"
    if model.kind != "decoder":
        raise ValueError(f"{said} cuts decoders into stages, and model.kind = {model.kind}; leave it out")
    layers = experiment.network.layers
    if layers < train.mesh.pipeline:
        raise ValueError(
            f"{said}, and model.layers = {layers} has no block for each stage; allowed: 1 to {layers}"
        )
    position = experiment.network.position
    if isinstance(position, T5Buckets) and position.shared:
        raise ValueError(f"{said}, and all stages would share one table; set model.position.shared = false")
    for batch in train.batches().values():
        train.check_stages(batch)


def _check_context(experiment: Experiment) -> None:
    model, objective, mesh = experiment.model, experiment.objective, experiment.train.mesh
    size, said = mesh.context, f"train.mesh.context = {mesh.context}"
    if model.kind not in ("decoder", "encoder"):
        raise ValueError(
            f"{said} divides the positions of decoders and encoders, and model.kind = {model.kind}; leave it "
            "out"
        )
    if objective.kind not in ("causal", "prefix", "masked"):
        raise ValueError(
            f"{said} needs a loss that is a sum over positions, and objective.kind = {objective.kind}; "
            "allowed: causal, prefix, masked"
        )
    if (length := experiment.text.context) % size:
        raise ValueError(f"{said} does not divide data.context = {length}; change one")
    if (kind := experiment.network.norm.kind) in ("instance", "batch", "batch-renorm"):
        raise ValueError(f"{said}, and model.norm = {kind} normalises over positions; use rms or layer")
    for parts in experiment.network.turn():
        mixer = parts.mixer
        if isinstance(mixer, NoMixer):
            continue
        if not (mixer.kind == "attention" or isinstance(mixer, LatentAttention)):
            raise ValueError(
                f"{said} deals out heads of attention, and model.mixer.kind = {mixer.kind} has none; "
                "allowed: attention, latent"
            )
        if mixer.heads % (size * mesh.tensor):  # each tensor parallel one deals its share of them out
            among = said if mesh.tensor == 1 else f"{said} · train.mesh.tensor = {mesh.tensor}"
            raise ValueError(f"{among} does not divide model.mixer.heads = {mixer.heads}")
        if getattr(getattr(mixer, "weights", None), "kind", None) == "sinks":
            raise ValueError(
                f"{said} does not go with model.mixer.weights = sinks, which has numbers of all heads"
            )
