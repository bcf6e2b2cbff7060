"""Measures of what the trained model predicts of held-out text."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
import torch.nn as nn

from danlu import objectives
from danlu.data import synthetic
from danlu.lab.errors import LabError
from danlu.lab.measures.names import Reading
from danlu.lab.measures.trained import Trained, predicted
from danlu.spec.words import split
from danlu.train.assemble import objective_of
from danlu.train.averages import evaluate_averages
from danlu.train.parallel import ALONE
from danlu.train.precise import precise_statistics, training_passes
from danlu.train.update import to_device


def metric_at(run: Trained, reading: Reading) -> float:
    """The held-out metric of the trained weights at another context, mean over all positions of windows that
    do not overlap; with words, read by the model that they make of the experiment (positions scaled, a
    window, …). Computed as the run computes, on as many tokens as it is evaluated on.

    Raises ``LabError`` where the model cannot be so long, or has other weights.
    """
    experiment, model = run.laid_over([f"data.context={reading.context}", *split(reading.words)])
    source = replace(run.source, spec=experiment.data)
    objective = objective_of(experiment, source)
    return run.score(model, objective, objective.held_out(experiment.train.evaluate_tokens))


def other_corpus(run: Trained, corpus: str) -> float:
    """The metric on the held-out text of another corpus, in the run's own tokens."""
    objective = run.reading(corpus=corpus)
    return run.score(run.run.model, objective, objective.held_out(run.experiment.train.evaluate_tokens))


def offset(run: Trained, corpus: str) -> float:
    """The metric on the held-out text of another corpus minus that on the run's own."""
    return other_corpus(run, corpus) - run.metric


def train_mode_gap(run: Trained) -> float:
    """The held-out metric in training mode, where batch norm takes the statistics of the batch (of
    ``train.batch`` rows, or ``train.microbatch``), minus that in evaluation mode; without dropout."""
    model, objective, train = copy.deepcopy(run.run.model), run.language, run.experiment.train
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model.train()
    sums: dict[str, float] = {}
    with torch.no_grad():
        for example in run.examples(train.rows):
            for name, value in objective.score(model, to_device(example, ALONE.device)).items():
                sums[name] = sums.get(name, 0.0) + float(value)
    return objective.measure(sums)[run.experiment.objective.metrics[0].name] - run.metric


def precise_statistics_gain(run: Trained) -> float:
    """The held-out metric with the precise statistics of batch norms, of 200 training batches by the weights
    as they are (``danlu.train.precise``), minus that with the run's own. Raises ``LabError`` where there is
    no batch norm."""
    model = copy.deepcopy(run.run.model)
    try:
        precise_statistics(model, training_passes(model, run.experiment, run.objective))
    except ValueError as error:
        raise LabError(f"{run.folder}: {error}") from None
    return run.score(model, run.objective, run.held_out) - run.metric


def outputs_minus_weights(run: Trained) -> float:
    """The metric of the mean probabilities of all models that the run kept (``train.keep``) minus that of
    one model with their mean weights (``danlu.train.averages.evaluate_averages``)."""
    found = evaluate_averages(run.folder)
    return float(found["probabilities"] - found["weights"])


def at_start(run: Trained) -> float:
    """The held-out metric of the weights as they were before the first update."""
    return run.score(run.initial, run.objective, run.held_out)


def accuracy(run: Trained) -> float:
    """The share of the held-out tokens that the objective asks for whose likeliest prediction is right."""
    right = count = 0
    for example, guesses in run.predictions:
        where = predicted(example)
        right += int((guesses == example["targets"])[where].sum())
        count += int(where.sum())
    return right / count


def exact_match(run: Trained) -> float:
    """The share of the answers in held-out text that are right from their first token to the end of the line.

    Of a synthetic corpus of lines ``given=answer``, lines that lie wholly in one window. A model that writes
    greedily after ``=`` writes exactly the answer if and only if its likeliest token is right at each place
    of the right answer, so that one pass over the text tells. Raises ``LabError`` for other corpora,
    objectives and tokenizers.
    """
    found = _answers_of(run)
    return sum(bool(right.all()) for right in found) / len(found)


def answer_accuracy(run: Trained) -> float:
    """The share of the tokens of those answers that are right after the right ones before them."""
    return float(np.concatenate(_answers_of(run)).mean())


def match_excess(run: Trained) -> float:
    """``exact-match`` minus what it were if tokens were right independently of one another: the power of
    ``answer-accuracy`` to the length of the answer, mean over answers."""
    found, share = _answers_of(run), answer_accuracy(run)
    return exact_match(run) - float(np.mean([share ** len(right) for right in found]))


def marks_of(run: Trained) -> tuple[int, int]:
    """The tokens before an answer and at its end. Raises ``LabError`` where a run's text holds no answers,
    and for objectives and tokenizers of which they cannot be told."""
    objective = run.language
    corpus, tokenizer = objective.source.spec.corpus, objective.tokenizer
    if not (corpus.startswith(synthetic.PREFIX) and synthetic.find(corpus).answers):
        raise LabError(f"{run.folder} was trained on {corpus}, whose text holds no answers; take {_FORMS}")
    if not isinstance(objective, objectives.Causal | objectives.Prefix):
        raise LabError(
            f"{run.folder} has the objective {run.experiment.objective.kind}: answers need causal or prefix"
        )
    if tokenizer.name not in ("bytes", "characters"):
        raise LabError(f"{run.folder} reads {tokenizer.name} tokens: answers need data.tokenizer=bytes")
    equals, end = (int(tokenizer.encode(mark)[0]) for mark in (synthetic.ANSWER, "\n"))
    return equals, end


def no_line(run: Trained) -> LabError:
    """The error where no line of the text fits in a context."""
    text = run.language.source.spec
    return LabError(f"no line of {text.corpus} fits in data.context = {text.context}; raise data.context")


def _answers_of(run: Trained) -> list[np.ndarray]:
    """Of each answer which of its tokens are predicted right: bool arrays."""
    equals, end = marks_of(run)
    found = []
    for example, guesses in run.predictions:
        right = guesses == example["targets"]
        for row, start, stop in answers(example, equals, end, run.language.separator):
            found.append(right[row, start:stop])
    if not found:
        raise no_line(run)
    return found


_FORMS = ", ".join(form for form in synthetic.forms() if "markov" not in form and "rare" not in form)


def answers(
    example: objectives.Example, equals: int, end: int, separator: int
) -> Iterator[tuple[int, int, int]]:
    """The answers of the lines that lie wholly in a row of ``example``, as (row, first, last + 1) among its
    targets: what follows ``equals``, with ``end``, of which every token is predicted."""
    for row, (tokens, targets) in enumerate(zip(example["tokens"], example["targets"], strict=True)):
        text = np.append(tokens, targets[-1])
        ends = np.flatnonzero((text == end) | (text == separator))
        for before, last in pairwise(ends.tolist()):
            (marks,) = np.nonzero(text[before:last] == equals)
            if text[last] == end and len(marks):
                first = before + int(marks[0])
                if (targets[first:last] >= 0).all():
                    yield row, first, last
