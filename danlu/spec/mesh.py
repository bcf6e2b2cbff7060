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
    processes cannot divide, and for what looks into, or changes, layers of which they have a share alone."""
    _check_apart(experiment)
    train, tensor = experiment.train, experiment.train.mesh.tensor
    if tensor == 1:
        return
    if not experiment.model.turn():
        raise ValueError(
            f"train.mesh.tensor = {tensor} divides heads and hidden units of blocks, and model.kind = "
            f"{experiment.model.kind} has none; leave it out"
        )
    for mixer in (parts.mixer for parts in experiment.model.turn()):
        for name in ("heads", "kv_heads", "state"):
            count = getattr(mixer, name, None)
            if count is not None and count % tensor and (name != "kv_heads" or tensor % count):
                raise ValueError(
                    f"train.mesh.tensor = {tensor} does not divide model.mixer.{name} = {count}; change one"
                )
    said = {
        "train.compile": train.compile is True,
        "train.quantize": train.quantize is not None,
        "train.products": train.products is not None,
        "train.internals_every": train.internals_every is not None,
        "train.noise_every": train.noise_every is not None,
        "train.precise_bn": train.precise_bn is not None,
        "objective.teacher": getattr(experiment.objective, "teacher", None) is not None,
    }
    for field in (name for name, is_so in said.items() if is_so):
        raise ValueError(
            f"train.mesh.tensor = {tensor} does not go with {field}, which needs whole layers; leave one out"
        )


def _check_apart(experiment: Experiment) -> None:
    """Raises ValueError where ``train.mesh`` asks for a pipeline, or for stretches of positions, and network
    or training do not go with it."""
    mesh, train = experiment.train.mesh, experiment.train
    for axis in ("pipeline", "context"):
        if (size := getattr(mesh, axis)) == 1:
            continue
        said = f"train.mesh.{axis} = {size}"
        if mesh.tensor > 1:
            raise ValueError(
                f"{said} does not go with train.mesh.tensor = {mesh.tensor}; set one of them to 1"
            )
        without: dict[str, object] = {
            "train.compile = true": train.compile is True,
            f"train.internals_every = {train.internals_every}": train.internals_every,
            f"train.noise_every = {train.noise_every}": train.noise_every,
            f"train.precise_bn = {train.precise_bn}": train.precise_bn,
            "objective.teacher": getattr(experiment.objective, "teacher", None),
            "model.bottleneck": getattr(experiment.model, "bottleneck", None),
            # Measured by a pass over whole rows through all layers, before the first update.
            "model.residual = admin": isinstance(getattr(experiment.model, "residual", None), Admin),
        }
        if axis == "pipeline":
            without |= {
                "train.quantize": train.quantize,
                f"train.weights = {train.weights}": train.weights == "bfloat16-stochastic",
                "train.products = float8": train.products == "float8",
            }
        for field, on in without.items():
            if on:
                raise ValueError(f"{said} does not go with {field}; leave one out")
    if mesh.pipeline > 1:
        _check_pipeline(experiment)
    if mesh.context > 1:
        _check_context(experiment)


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
    model, objective, size = experiment.model, experiment.objective, experiment.train.mesh.context
    said = f"train.mesh.context = {size}"
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
        raise ValueError(f"{said} does not divide data.context = {length}")
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
        if mixer.heads % size:
            raise ValueError(f"{said} does not divide model.mixer.heads = {mixer.heads}")
        if getattr(getattr(mixer, "weights", None), "kind", None) == "sinks":
            raise ValueError(
                f"{said} does not go with model.mixer.weights = sinks, which has numbers of all heads"
            )
