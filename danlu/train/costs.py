"""What an experiment costs, without running or allocating it: parameters, FLOPs, memory, intensity."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from danlu import spec
from danlu.data import vocabulary_of
from danlu.models import Decoder, EncoderDecoder
from danlu.models import costs as of_model
from danlu.nn.fused import META
from danlu.objectives import Draw, Language, Objective, training_keys
from danlu.spec.shapes import advice
from danlu.train.assemble import outline, outlined, training_flops
from danlu.train.communication import sent
from danlu.train.teacher import sketch

BATCHES = (1, 32)  # sequences that are written side by side
ELEMENTS = {"bfloat16": 2, "float32": 4}


def costs(experiment: spec.Experiment, vocabulary: int | None = None) -> dict[str, Any]:
    """The costs of ``experiment`` with a tokenizer of ``vocabulary`` ids (left out: as ``vocabulary_of``).

    Returns ``vocabulary`` (``ids``, the objective's included, and ``known``: how; None without a text),
    ``unit``, ``device``, ``precision``, ``context`` (units of an example), ``rows`` (examples of a pass);

    ``parameters``: ``parts``, ``total`` and ``without_embeddings``, the N of 6N; ``flops``, for each token of
    the text that is read (each image): ``forward`` by part, ``training`` (3 × forward, and what a teacher
    computes) and ``over_6n``, how many times 6N that is (None where N is 0); ``cache`` (None where the model
    continues no text): ``bytes`` after a context, ``per_token``, what each token beyond one context adds on
    average over the next, and ``full``, the same as ``bytes`` of multi-head attention of the same shape; each
    by type;
    ``memory`` of a training pass over
    ``rows`` sequences, in bytes: ``weights`` and ``gradients`` (their type is ``train.weights``),
    ``activations`` kept for the backward pass and ``copies`` of weights in the activations' type;
    ``intensity``, FLOPs for each byte that memory must move at least: in ``training``, where the weights are
    read twice in the activations' type, gradients written once and activations written and read once; in
    ``decoding`` the last token of a context, by the number of sequences written side by side, where the
    weights are read once, in the activations' type, and every cache once; ``sent``: what workers that train
    apart say (``danlu.train.communication.sent``); ``shape``: what ``danlu.spec.shapes.advice`` says.
    """
    train, context = experiment.train, experiment.data.size
    objective, model, device, precision = outline(experiment, outlined(experiment, vocabulary))
    sketch(experiment, objective)
    element = model.compute.itemsize
    rows = train.rows
    standing_for = META.set(device)
    try:
        kept = of_model.kept(model, lambda: objective.loss(model, example_of(objective, rows)))
        writes = isinstance(objective, Language) and objective.continues
        writer = model if writes and isinstance(model, Decoder | EncoderDecoder) else None
        decoding = None if writer is None else _decoding(writer, objective.lengths, element)
    finally:
        META.reset(standing_for)
    parts = of_model.parameters(model)
    total, n = sum(parts.values()), of_model.without_embeddings(parts)
    forward = {part: count / context for part, count in of_model.flops(model, *objective.lengths).items()}
    whole = sum(forward.values())
    training = training_flops(objective, model) / context
    activations, copies = kept[2:4] if train.recompute else kept[:2]
    stored = 4 if train.weights == "float32" else 2
    moved = total * (2 * element + stored) + 2 * kept.activations
    return {
        "vocabulary": _vocabulary(experiment, objective, vocabulary),
        "unit": objective.unit,
        "device": device,
        "precision": precision,
        "context": context,
        "rows": rows,
        "parameters": {"parts": parts, "total": total, "without_embeddings": n},
        "flops": {"forward": forward, "training": training, "over_6n": training / (6 * n) if n else None},
        "cache": None if writer is None else _cache(writer, objective.lengths),
        "memory": {
            "weights": stored * total,
            "gradients": stored * total,
            "activations": activations,
            "copies": copies,
            "recompute": train.recompute,
        },
        "sent": sent(train, [p.numel() for p in model.parameters()], context),
        "intensity": {"training": 3 * whole * context * rows / moved, "decoding": decoding},
        "shape": advice(experiment.network, objective.vocabulary)
        if isinstance(objective, Language)
        else None,
    }


def _vocabulary(experiment: spec.Experiment, objective: Objective, given: int | None) -> Any:
    if not (isinstance(experiment.data, spec.Text) and isinstance(objective, Language)):
        return None
    known = "given" if given is not None else vocabulary_of(experiment.data)[1]
    return {"ids": objective.vocabulary, "known": known}


def example_of(objective: Objective, rows: int) -> dict[str, torch.Tensor]:
    """An example of ``rows`` rows, of which only shapes and types are left."""
    if isinstance(objective, Language):
        text = np.zeros((rows, objective.context), np.int64)
        made = objective.make(text, text, training_keys(0, 0, 0, rows))
    else:
        made = objective.example(Draw(0, 0, 0, 0, rows))
    return {name: torch.from_numpy(array).to("meta") for name, array in made.items()}


def _decoding(model: Decoder | EncoderDecoder, lengths: tuple[int, ...], element: int) -> dict[str, float]:
    length, memory = lengths[0], lengths[-1] if len(lengths) > 1 else 0
    parts = of_model.parameters(model)
    # Of a table that is only looked up in, a row is read.
    looked_up = 0 if model.readout.weight is model.embedding.weight else model.embedding.weight.numel()
    weights = sum(parts.values()) - looked_up
    if isinstance(model, EncoderDecoder):
        weights -= sum(p.numel() for p in model.encoder.parameters())
    one, held = of_model.decoding_flops(model, length, memory), model.cache_bytes(length, element, memory)
    return {str(batch): one * batch / (weights * element + held * batch) for batch in BATCHES}


def _cache(model: Decoder | EncoderDecoder, lengths: tuple[int, ...]) -> dict[str, dict[str, float]]:
    length, memory = lengths[0], lengths[-1] if len(lengths) > 1 else 0

    def each(of: Any) -> dict[str, float]:
        return {name: of(element) for name, element in ELEMENTS.items()}

    def grows(element: int) -> float:
        one, two = (model.cache_bytes(n, element, memory) for n in (length, 2 * length))
        return max(0, two - one) / length  # of Transformer-VQ it goes up and down

    return {
        "bytes": each(lambda element: model.cache_bytes(length, element, memory)),
        "per_token": each(grows),
        "full": each(lambda element: of_model.full_cache_bytes(model, length, element, memory)),
    }
