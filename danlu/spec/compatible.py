"""Which parts go together: each combination that cannot work is refused in a sentence that says why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from danlu.spec.attention import Attention, HeadGate
from danlu.spec.data import OwnData, Text
from danlu.spec.maxent import check_maxent
from danlu.spec.mesh import check_mesh
from danlu.spec.mixers import (
    LRU,
    LatentAttention,
    NoMixer,
    OwnMixer,
    VQAttention,
    runs_in_order,
    takes_position,
)
from danlu.spec.norms import BatchNorm, BatchRenorm
from danlu.spec.positions import NoPosition, Position, ReRotary, Rotary, T5Buckets
from danlu.spec.residuals import Admin, DeepNorm, NoResidual, ReZero
from danlu.spec.schema import accepts

if TYPE_CHECKING:
    from danlu.spec.experiment import Experiment
    from danlu.spec.models import Network, Parts


def check_layer(width: int, parts: Parts, *, causal: bool) -> None:
    """Raises ValueError where the parts of one layer contradict one another or the width."""
    mixer, position = parts.mixer, parts.position
    if isinstance(mixer, NoMixer):
        return
    if isinstance(mixer, LRU):
        if not causal:
            raise ValueError(
                "mixer.kind = lru runs from left to right, and an encoder looks both ways; "
                "use kind decoder, or another mixer"
            )
        return
    if isinstance(mixer, OwnMixer):
        if not causal and not mixer.reads_mask:
            raise ValueError(
                f"mixer.kind = {mixer.kind} takes no mask, so it runs from left to right, and an encoder "
                "looks both ways; use kind decoder, or let its forward take the mask"
            )
        return
    if isinstance(mixer, VQAttention) and not causal:
        raise ValueError(
            "mixer.kind = vq sees earlier positions only, and an encoder looks both ways; "
            "use kind decoder, or another mixer"
        )
    check_mixer(width, mixer, position, at="mixer.")


def check_mixer(
    width: int, mixer: Attention | LatentAttention | VQAttention, position: Position, *, at: str = ""
) -> None:
    """Raises ValueError where a mixer does not go with the width or the position. ``at``: what stands before
    the names of its fields."""
    _check_heads(width, mixer, at)
    kind = f"{at}kind = {mixer.kind}"
    if isinstance(mixer, LatentAttention):
        if not isinstance(position, Rotary | NoPosition) and position.acts_on != "embedding":
            raise ValueError(
                f"position.kind = {position.kind} cannot be used with {kind}; "
                "allowed: rotary, learned, sinusoidal, none"
            )
        if isinstance(position, Rotary) and position.fraction != 1:
            raise ValueError(
                f"position.fraction = {position.fraction} with {kind}, where {at}rotary_size says how much "
                "is rotated; set position.fraction = 1"
            )
    elif isinstance(mixer, VQAttention):
        if position.acts_on in ("heads", "scores"):
            raise ValueError(
                f"position.kind = {position.kind} cannot be used with {kind}, which has relative positions "
                "of its own; allowed: none, learned, sinusoidal"
            )
    else:
        _check_attention(width, mixer, position, at)


def _check_heads(width: int, mixer: Attention | LatentAttention | VQAttention, at: str) -> None:
    sizes = {
        "attention": ("head_size",),
        "latent": ("head_size", "value_size"),
        "vq": ("key_size", "value_size"),
    }[mixer.kind]
    missing = [name for name in sizes if getattr(mixer, name) is None]
    if missing and width % mixer.heads:
        allowed = ", ".join(str(d) for d in range(1, min(width, 64) + 1) if width % d == 0)
        raise ValueError(
            f"{at}heads = {mixer.heads} does not divide width = {width}; choose heads among {allowed} "
            f"or set {at}{missing[0]}"
        )


def _check_attention(width: int, mixer: Attention, position: Position, at: str) -> None:
    if isinstance(mixer.gate, HeadGate) and width % mixer.heads:
        raise ValueError(
            f"{at}gate.kind = heads reads a slice of the width for each head, and "
            f"{at}heads = {mixer.heads} does not divide width = {width}; use kind elements"
        )
    size = mixer.head_size or width // mixer.heads
    if isinstance(position, Rotary):
        turned = int(size * position.fraction)
        if position.fraction == 1 and size % 2:
            raise ValueError(
                f"rotary positions rotate pairs of numbers, and a head has {size} "
                f"(width = {width}, {at}heads = {mixer.heads}); allowed: an even head size"
            )
        if turned < 2:
            raise ValueError(
                f"position.fraction = {position.fraction} of a head of {size} has no pair to rotate; "
                f"allowed: {2 / size:g} or more"
            )
    if isinstance(position, ReRotary):
        if size % 2:
            raise ValueError(
                f"position.kind = rerope rotates pairs of numbers, and a head has {size}; "
                "allowed: an even head size"
            )
        if mixer.qk_norm is not None and mixer.qk_norm.when == "after":
            raise ValueError(
                f"{at}qk_norm.when = after cannot be used with position.kind = rerope, which rotates queries "
                f"and keys while it computes the scores; set {at}qk_norm.when = before"
            )


def check_network(model: Network) -> None:
    """Raises ValueError where parts of the whole contradict one another."""
    if model.placement.startswith("parallel") and any(isinstance(p.mixer, NoMixer) for p in model.turn()):
        raise ValueError(
            f"placement = {model.placement} computes mixer and feed-forward side by side, and a layer with "
            "mixer.kind = none has no mixer; set placement = pre"
        )
    if model.tied and model.init.readout is not None:
        raise ValueError(
            f"init.readout = {model.init.readout} cannot be used with tied = true, where readout and "
            "embedding are one matrix; set tied = false, or leave init.readout out"
        )
    causal = model.causal
    if causal and model.norm.across_positions:
        raise ValueError(
            f"norm.kind = {model.norm.kind} takes its mean over positions, so a position would see later "
            "ones; allowed in a decoder: rms, layer, group; in an encoder also batch, batch-renorm, instance"
        )
    if model.norm.kind == "group" and model.width % model.norm.groups:
        allowed = ", ".join(str(d) for d in range(1, min(model.width, 64) + 1) if model.width % d == 0)
        raise ValueError(
            f"norm.groups = {model.norm.groups} does not divide width = {model.width}; allowed: {allowed}"
        )
    if isinstance(model.residual, DeepNorm | Admin) and model.placement != "post":
        raise ValueError(
            f"residual.kind = {model.residual.kind} needs a norm after each sum, and placement = "
            f"{model.placement} has none; set placement = post"
        )
    if isinstance(model.residual, DeepNorm) and model.init.branch != "same":
        raise ValueError(
            f"residual.kind = deepnorm sets the initial size of the branches itself, and "
            f"init.branch = {model.init.branch} would change it; set init.branch = same"
        )
    if isinstance(model.residual, ReZero) and model.init.branch == "zero":
        raise ValueError(
            "residual.kind = rezero multiplies each branch by 0 at first, and with init.branch = zero the "
            "branch is 0 too: no gradient is left, and nothing is learned; set init.branch = same"
        )
    if isinstance(model.residual, NoResidual) and model.init.branch == "zero":
        raise ValueError(
            "residual.kind = none leaves only the branches, and with init.branch = zero they give zeros: "
            "nothing is left of the input; set init.branch = same"
        )
    for i, layer in enumerate(model.pattern or ()):
        if layer.position is None or layer.position == model.position:
            continue
        if layer.position.acts_on == "embedding":
            raise ValueError(
                f"pattern.{i}.position.kind = {layer.position.kind} is added to the embedding, so all layers "
                "have it or none; set model.position"
            )
        if model.position.acts_on == "embedding" and isinstance(layer.position, NoPosition):
            raise ValueError(
                f"pattern.{i}.position = none has no effect, since position.kind = {model.position.kind} "
                "is added to the embedding, which all layers read; leave it out"
            )
    _check_stacks(model)
    mixers, position = [parts.mixer for parts in model.turn()], model.position
    if not any(takes_position(mixer) for mixer in mixers) and position.acts_on in ("heads", "scores"):
        kinds = " or ".join(dict.fromkeys(mixer.kind for mixer in mixers))
        raise ValueError(
            f"position.kind = {position.kind} acts inside attention, and no layer has attention "
            f"(mixer.kind = {kinds}); set position = none"
        )


def _check_stacks(model: Network) -> None:
    if model.bottleneck_after is not None and model.bottleneck is None:
        raise ValueError(
            f"bottleneck_after = {model.bottleneck_after} places a bottleneck, and there is none; "
            "set bottleneck, or leave bottleneck_after out"
        )
    if model.bottleneck_after is not None and model.bottleneck_after > model.depth:
        raise ValueError(
            f"bottleneck_after = {model.bottleneck_after}, and there are {model.depth} layers; "
            f"allowed: 1 to {model.depth}"
        )
    if model.bottleneck is not None and model.base_width is not None:
        raise ValueError(
            f"base_width = {model.base_width} has no rule for the maps to and from bottleneck.kind = "
            f"{model.bottleneck.kind}; leave base_width out, or set bottleneck = none"
        )
    mixers = [parts.mixer for parts in model.turn()]
    if model.kind == "encoder-decoder":
        if model.placement.startswith("parallel"):
            raise ValueError(
                f"placement = {model.placement} computes mixer and feed-forward side by side, and in an "
                "encoder-decoder the attention to the encoder comes between them; allowed: pre, post, "
                "double, output"
            )
        for mixer in mixers:
            if not isinstance(mixer, Attention):
                raise ValueError(
                    f"mixer.kind = {mixer.kind} cannot be used in an encoder-decoder, whose decoder also "
                    "attends to the encoder; set mixer = attention"
                )
    position = model.position
    if (
        isinstance(position, T5Buckets)
        and position.shared
        and len({m.heads for m in mixers if isinstance(m, Attention)}) > 1
    ):
        raise ValueError(
            "position.shared = true gives every layer the same table, and the layers have different "
            "numbers of heads; set position.shared = false"
        )


def check_experiment(experiment: Experiment) -> None:
    """Raises ValueError where model, data, objective and training contradict one another."""
    model, data, objective, train = experiment.model, experiment.data, experiment.objective, experiment.train
    if data.kind not in objective.data and getattr(data, "like", "") not in objective.data:
        raise ValueError(
            f"objective.kind = {objective.kind} takes data of kind {' or '.join(objective.data)}, "
            f"and data.kind = {data.kind}; "
            f"set data.kind = {objective.data[0]}{_or_objective(experiment, 'data', data.kind)}"
        )
    if model.kind not in objective.models:
        raise ValueError(
            f"objective.kind = {objective.kind} is for a model of kind {' or '.join(objective.models)}, "
            f"and model.kind = {model.kind}; "
            f"set model.kind = {objective.models[0]}{_or_objective(experiment, 'models', model.kind)}"
        )
    if getattr(objective, "judge", None) == "frechet" and data.kind != "digits":
        raise ValueError(
            f"objective.judge = frechet measures features of digits, and data.kind = {data.kind}; "
            "set objective.judge = energy"
        )
    told = getattr(objective, "supervise", "values")
    if told != "values" and train.parallel == "fsdp":
        raise ValueError(
            f"objective.supervise = {told} differentiates twice, and train.parallel = fsdp lets weights go "
            "in between; set train.parallel = ddp"
        )
    if getattr(getattr(objective, "teacher", None), "hidden", None) is not None:
        for field, value in (("compile", True), ("parallel", "fsdp")):
            if getattr(train, field) == value:
                raise ValueError(
                    f"train.{field} = {str(value).lower()} does not go with objective.teacher.hidden, which "
                    "takes what comes out of the blocks; leave one out"
                )
    for parts in model.turn():
        if isinstance(parts.mixer, VQAttention) and train.recompute:
            raise ValueError(
                "train.recompute = true computes a layer twice, and model.mixer.kind = vq would count its "
                "keys twice; set train.recompute = false"
            )
    if isinstance(data, Text):
        _check_text(experiment, data)
    elif train.tokens is not None:
        raise ValueError(
            f"train.tokens = {train.tokens}, and data.kind = {data.kind} has no tokens; "
            "set train.steps or train.seconds"
        )
    if not isinstance(data, Text):
        _check_shape(experiment)
    norm = getattr(model, "norm", None)
    if isinstance(norm, BatchNorm | BatchRenorm) and train.recompute:
        raise ValueError(
            f"train.recompute = true computes a layer twice, and model.norm.kind = {norm.kind} would update "
            "its running averages twice; set train.recompute = false"
        )
    if train.precise_bn is not None and not isinstance(norm, BatchNorm | BatchRenorm):
        raise ValueError(
            f"train.precise_bn = {train.precise_bn} measures statistics of batch norms, and the network has "
            "none; leave it out, or set model.norm = batch in an encoder"
        )
    if isinstance(norm, BatchRenorm) and train.steps is not None and norm.begin >= train.steps:
        raise ValueError(
            f"model.norm.begin = {norm.begin}: before that update batch renorm is batch norm, and "
            f"train.steps = {train.steps}; set model.norm.begin, d_by and r_by to updates within the run"
        )
    if isinstance(getattr(model, "residual", None), Admin) and train.parallel == "fsdp":
        raise ValueError(
            "model.residual.kind = admin is set by a first batch, which train.parallel = fsdp would set in "
            "copies that go; set train.parallel = ddp"
        )
    if experiment.optimizer.kind == "amos" and experiment.schedule.kind != "constant":
        raise ValueError(
            f"optimizer.kind = amos lowers its own rate and decay, and schedule.kind = "
            f"{experiment.schedule.kind} would lower them again; set schedule.kind = constant"
        )
    check_maxent(experiment)
    check_mesh(experiment)
    if train.average is not None and experiment.optimizer.kind == "schedule-free":
        raise ValueError(
            f"train.average = {train.average.kind}, and optimizer.kind = schedule-free averages the weights "
            "itself; set train.average = none"
        )


def _check_shape(experiment: Experiment) -> None:
    model, data = experiment.model, experiment.data
    shape = getattr(data, "shape", ())
    if isinstance(data, OwnData) and model.kind == "patches" and len(shape) != 3:
        raise ValueError(
            f"data.kind = {data.kind} has no images for model.kind = patches: say shape = (channels, height, "
            "width) and classes = … in its class"
        )
    if shape is None:  # an array's, which is known when it is read (danlu.train.assemble)
        return
    try:
        model.check_shape(shape)
    except ValueError as error:
        raise ValueError(f"data.kind = {data.kind}: {error}") from None


def _or_objective(experiment: Experiment, field: str, kind: str) -> str:
    """The objectives that take ``kind``, as a sentence goes on."""
    every = accepts(type(experiment))["objective"].kinds
    fit = [name for name, objective in every.items() if kind in getattr(objective, field)]
    return f", or objective.kind = {' or '.join(fit)}" if fit else ""


def _check_text(experiment: Experiment, data: Text) -> None:
    model, objective = experiment.network, experiment.objective
    for i, parts in enumerate(model.turn()):
        window = getattr(parts.mixer, "window", None)
        if window is not None and window > data.context:
            own = model.pattern is not None
            place = f"model.pattern.{i % len(model.pattern)}" if own and model.pattern else "model.mixer"
            raise ValueError(
                f"{place}.window = {window} is longer than data.context = {data.context}; "
                f"allowed: 1 to {data.context}, or {'full' if own else 'none'} for full attention"
            )
        ordered = runs_in_order(parts.mixer)
        if ordered and data.documents == "separate":
            raise ValueError(
                f"data.documents = separate cannot be used with model.mixer.kind = {parts.mixer.kind}, which "
                "carries its state from one document into the next; set data.documents = join"
            )
        if ordered and objective.kind == "prefix":
            raise ValueError(
                "objective.kind = prefix lets the positions of the prefix see one another, and "
                f"model.mixer.kind = {parts.mixer.kind} runs from left to right; use another mixer, or "
                "objective.kind = causal"
            )
    if objective.kind == "spans" and data.documents == "separate":
        raise ValueError(
            "data.documents = separate cannot be used with objective.kind = spans, whose spans may reach "
            "over the end of a document; set data.documents = join"
        )
    if objective.kind == "bigram-backcopy" and data.documents == "separate":
        raise ValueError(
            "data.documents = separate has no effect with objective.kind = bigram-backcopy, whose rows are "
            "one document each; set data.documents = join"
        )
    if objective.kind == "masked-diffusion" and data.documents == "separate":
        raise ValueError(
            "data.documents = separate cannot be used with objective.kind = masked-diffusion: which tokens "
            "see one another would tell where documents end, and the loss would no longer be a bound on the "
            "text; set data.documents = join"
        )
    if objective.kind == "spans" and data.context < 2:
        raise ValueError(
            "data.context = 1 leaves nothing beside a span; objective.kind = spans takes 2 or more"
        )
    if objective.kind == "prefix" and objective.length >= data.context:
        raise ValueError(
            f"objective.length = {objective.length} leaves nothing to predict of "
            f"data.context = {data.context}; "
            f"allowed: less than {data.context}"
        )
    length = getattr(model.position, "length", None)
    if length is not None and length < data.context:
        raise ValueError(
            f"model.position.length = {length} is shorter than data.context = {data.context}; "
            f"allowed: {data.context} or more"
        )
