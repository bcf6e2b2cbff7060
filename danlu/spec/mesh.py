"""How the processes of a run are divided: a specification; ``danlu.train.mesh`` carries it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from danlu.spec.base import PositiveInt, Spec

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
    """Raises ValueError for layers that tensor parallel processes cannot divide, and for what looks into, or
    changes, layers of which they have a share alone."""
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
