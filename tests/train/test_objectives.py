"""Every objective through a whole run: trained, interrupted and resumed, evaluated, sampled."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from danlu import data, objectives
from danlu.models import build
from danlu.objectives import IGNORED, Example, HeldOut, Language, MaskedDiffusion, held_out_keys, language
from danlu.spec import DanluError, Experiment, resolve
from danlu.train import profile as profiles
from danlu.train import update as updates
from danlu.train.errors import RunError
from danlu.train.evaluate import evaluate
from danlu.train.load import generate_text, load_run
from danlu.train.parallel import Processes
from danlu.train.trainer import Trainer
from danlu.train.update import Update
from tests.train import small
from tests.train.test_resume import Died, at_call, die

OBJECTIVES = {
    "z-loss": ["+z-loss", "objective.z_loss=1e-2"],
    "prefix": ["+prefix-lm", "objective.length=5"],
    "masked": ["+masked-lm"],
    "masked-diffusion": ["+masked-diffusion"],
    "spans": ["+span-corruption"],
}
RUN = ["optimizer=adamw", "train.steps=4", "train.evaluate_every=2", "train.log_every=1", "train.keep=9"]
RUN += ["train.checkpoint_every=2", "train.evaluate_tokens=400"]
APART = "data.documents=separate"
ALONE = Processes(0, 1, torch.device("cpu"))
each = pytest.mark.parametrize("words", OBJECTIVES.values(), ids=OBJECTIVES)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.corpus(tmp_path_factory.mktemp("objectives"))


def prepared(corpus: Path, *more: str) -> tuple[Experiment, data.Dataset, Language]:
    experiment = resolve(small.words(corpus, *more))
    dataset = data.prepare(experiment.data)
    return experiment, dataset, objectives.build(experiment.objective, dataset)


@each
def test_a_run_and_its_resumption(
    tmp_path: Path, corpus: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit the same, dropout and corruption included; and something is learned."""
    more = [*words, *RUN, "model.dropout=0.1", "train.microbatch=4"]
    summary = small.run(corpus, tmp_path / "whole", *more)
    assert math.isfinite(summary["metric"]["value"])
    losses = small.losses(tmp_path / "whole")
    assert len(losses) == 4 and min(losses[1:]) < losses[0]
    at_call(monkeypatch, Trainer, "step", 4, die)  # after the checkpoint of step 2
    with pytest.raises(Died):
        small.run(corpus, tmp_path / "cut", *more)
    monkeypatch.undo()
    small.run(corpus, tmp_path / "cut", *more)
    small.assert_same(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize(
    "words",
    [
        *OBJECTIVES.values(),
        [*OBJECTIVES["prefix"], APART],
        [*OBJECTIVES["masked"], APART],
        [*OBJECTIVES["masked-diffusion"], "objective.z_loss=0.01"],
    ],
    ids=" ".join,
)
def test_accumulation_changes_nothing(tmp_path: Path, corpus: Path, words: list[str]) -> None:
    for micro in (8, 2):
        more = [*words, *RUN, f"train.microbatch={micro}"]
        small.run(corpus, tmp_path / str(micro), *more)
    small.close(small.losses(tmp_path / "8"), small.losses(tmp_path / "2"))
    one, other = ([row["grad_norm"] for row in small.rows(tmp_path / m) if "loss" in row] for m in "82")
    small.close(one, other, bound=1e-4)
    one, other = (
        [row["held_out_loss"] for row in small.rows(tmp_path / m) if "loss" not in row] for m in "82"
    )
    small.close(one, other)


def scored(model: torch.nn.Module, objective: Language, windows: HeldOut, rows: int) -> Any:
    return evaluate(model, objective, windows, ALONE, rows=rows)


@each
def test_a_uniform_guess_costs_the_logarithm_of_the_vocabulary(corpus: Path, words: list[str]) -> None:
    """For every predicted token, sentinels and separators too; divided by the bytes of the others. Of masked
    diffusion for every token of the text, of which the mask is none."""
    experiment, dataset, objective = prepared(corpus, *words, "model.tied=false", "model.init.readout=0")
    model = build(experiment.model, *objective.inputs)
    windows = objective.held_out(403)  # the last window is not full
    assert windows.count == (26 if objective.takes(np.arange(16) < 3) else 25) * objective.rounds
    found = [scored(model, objective, windows, rows) for rows in (4, 100)]
    text = data.held_out_windows(dataset.held_out, 16, limit_tokens=403)
    taken = [window for window in text if objective.takes(window[2])]

    def scored_text(made: Example) -> np.ndarray:
        return objective.scored({name: torch.from_numpy(part) for name, part in made.items()}).numpy()

    targets = np.concatenate(
        [
            scored_text(objective.make(a[None], b[None], held_out_keys([i]), mask[None]))
            for i, (a, b, mask) in enumerate(taken)
        ]
    )
    predicted, size = (targets != IGNORED).sum(), ((targets >= 0) & (targets < 256)).sum()
    assert predicted >= 25 * objective.count
    choices = objective.text_ids if isinstance(objective, MaskedDiffusion) else objective.vocabulary
    for score in found:  # however many windows in a pass
        assert score[objective.metrics[0].name] == pytest.approx(
            math.log2(choices) * predicted / size, rel=1e-6
        )
        assert score["held_out_loss"] == pytest.approx(math.log(choices), rel=1e-6)


@each
def test_an_evaluation_repeats_itself(corpus: Path, words: list[str]) -> None:
    """The same corruption each time: whatever the seed of training, the passes, the processes."""
    experiment, _, objective = prepared(corpus, *words, "model.init.branch=same")
    other = prepared(corpus, *words, "model.init.branch=same", "train.seed=9")[2]
    model = build(experiment.model, *objective.inputs)
    windows = objective.held_out(160)
    assert scored(model, objective, windows, 3) == scored(model, other, windows, 3)
    assert scored(model, objective, windows, 7) == pytest.approx(
        scored(model, objective, windows, 3), rel=1e-6
    )
    parts: list[torch.Tensor] = []

    class One(Processes):
        def sum(self, tensor: torch.Tensor) -> torch.Tensor:
            parts.append(tensor.clone())
            return torch.stack(parts).sum(0)  # of the last, the sum over all

    for rank in range(3):  # 10 windows, 2 for each in a pass: none is left for two of them in the last
        found = evaluate(model, objective, windows, One(rank, 3, ALONE.device), rows=3)
    assert found == pytest.approx(scored(model, objective, windows, 3), rel=1e-6)


def test_the_z_loss_is_trained_on_and_not_reported(tmp_path: Path, corpus: Path) -> None:
    for weight in ("0", "0.1"):
        small.run(corpus, tmp_path / weight, *RUN, f"objective.z_loss={weight}", "model.init.embedding=0.5")
    plain, heavy = (small.rows(tmp_path / weight) for weight in ("0", "0.1"))
    assert plain[0]["loss"] == heavy[0]["loss"] and plain[0]["grad_norm"] != heavy[0]["grad_norm"]
    normaliser = []
    for weight in ("0", "0.1"):
        run = load_run(tmp_path / weight, 4)
        normaliser.append(run.model(torch.arange(16)[None]).logsumexp(-1).abs().mean().item())
    assert normaliser[1] < normaliser[0]  # what it is for


def test_modules_have_their_turn_once_an_update_and_their_losses_every_token(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss of c·mean(θ) in every pass adds c/n to the gradient of each of n numbers θ."""
    turns: list[torch.nn.Module] = []
    monkeypatch.setattr(updates, "after_update", turns.append)
    seen: list[torch.Tensor] = []
    real = Update.apply

    def noted(self: Update, step: int, loss: float, **more: Any) -> bool:
        if step == 0:
            (gradient,) = (p.grad for name, p in self.named if name == "embedding.weight")
            assert gradient is not None
            seen.append(gradient.clone())
        return real(self, step, loss, **more)

    monkeypatch.setattr(Update, "apply", noted)
    for weight, micro in ((0.0, 8), (3.0, 8), (3.0, 2)):

        def own(model: torch.nn.Module, weight: float = weight) -> torch.Tensor:
            return weight * model.get_parameter("embedding.weight").mean()

        monkeypatch.setattr(language, "auxiliary", own)
        folder = tmp_path / f"{weight}-{micro}"
        small.run(corpus, folder, *OBJECTIVES["masked"], *RUN, f"train.microbatch={micro}")
    assert len(turns) == 3 * 4
    plain, whole, parts = seen
    torch.testing.assert_close(whole - plain, torch.full_like(plain, 3 / plain.numel()), rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-7)


def test_the_work_is_that_of_the_lengths_seen(tmp_path: Path, corpus: Path) -> None:
    summary = small.run(corpus, tmp_path / "run", *OBJECTIVES["spans"], *RUN)
    experiment, _, objective = prepared(corpus, *OBJECTIVES["spans"])
    assert objective.lengths == (4, 15)  # 2 of 16 tokens in 1 span: sentinel, 2, sentinel; 14 and a sentinel
    model = build(experiment.model, *objective.inputs)
    assert summary["flops"] == 3 * model.flops(1, 4, 15) // 16 * summary["tokens"]
    assert summary["tokens"] == 4 * 8 * 16  # the text read


@each
def test_text_that_cannot_be_scored_is_told_before_there_is_a_folder(
    tmp_path: Path, corpus: Path, words: list[str]
) -> None:
    least = {"+z-loss": 1, "+prefix-lm": 5}.get(words[0], 16)
    _, _, objective = prepared(corpus, *words)
    assert objective.held_out(least).count
    if least > 1:
        with pytest.raises(
            DanluError, match=r"nothing of the held-out text can be scored.*lower data\.context"
        ):
            small.run(corpus, tmp_path / "run", *words, *RUN, f"train.evaluate_tokens={least - 1}")
        assert not (tmp_path / "run").exists()


def test_an_encoder_does_not_continue_text(tmp_path: Path, corpus: Path) -> None:
    summary = small.run(corpus, tmp_path / "run", *OBJECTIVES["masked"], *RUN)
    assert summary["sample"] is None
    with pytest.raises(RunError, match="an encoder, which fills gaps in a text and does not continue one"):
        generate_text(load_run(tmp_path / "run"), "the cat", count=3)


def test_masked_diffusion_writes_and_keeps_the_prompt(tmp_path: Path, corpus: Path) -> None:
    """From the text alone, or from the mask of the whole window: any length, in any number of steps."""
    assert small.run(corpus, tmp_path / "run", *OBJECTIVES["masked-diffusion"], *RUN)["sample"]
    run = load_run(tmp_path / "run")
    for steps in (None, 1, 3):
        texts = [generate_text(run, "the cat", count=40, seed=seed, steps=steps) for seed in (1, 1, 2)]
        assert texts[0] == texts[1] != texts[2] and all(texts)
    assert (
        len({generate_text(run, "the", count=9, seed=seed, temperature=0, steps=1) for seed in (1, 2)}) == 1
    )
    with pytest.raises(RunError, match="steps = 0 unmask nothing"):
        generate_text(run, "the", count=3, steps=0)


def test_steps_are_refused_where_text_goes_from_left_to_right(tmp_path: Path, corpus: Path) -> None:
    small.run(corpus, tmp_path / "run", *RUN)
    with pytest.raises(RunError, match=r"steps = 4.*causal, which writes one token after another"):
        generate_text(load_run(tmp_path / "run"), "the", count=3, steps=4)


def test_a_prefix_run_continues_text(tmp_path: Path, corpus: Path) -> None:
    assert small.run(corpus, tmp_path / "run", *OBJECTIVES["prefix"], *RUN)["sample"]
    run = load_run(tmp_path / "run")
    texts = {generate_text(run, "the cat", count=20, seed=seed) for seed in (1, 1, 2)}
    assert len(texts) == 2 and all(texts)


def test_an_encoder_decoder_fills_in_what_follows(tmp_path: Path, corpus: Path) -> None:
    """Up to the next sentinel; the encoder sees the end of a prompt that is longer than its text was."""
    small.run(corpus, tmp_path / "run", *OBJECTIVES["spans"], *RUN, "objective.rate=0.5", "objective.mean=4")
    run = load_run(tmp_path / "run")
    assert run.objective.lengths == (11, 10)
    texts = {generate_text(run, "the cat", count=40, seed=seed) for seed in range(8)}
    assert len(texts) > 1 and all(len(text) <= 11 - 2 for text in texts)
    given = run.objective.prompt(run.tokenizer.encode("the cat").tolist())
    assert given["encoder_tokens"].tolist() == [[256, *b"the cat", 257]]
    assert given["tokens"].tolist() == [[256, 257]]
    long = run.objective.prompt(run.tokenizer.encode("the cat sat on the mat").tolist())
    assert long["encoder_tokens"].tolist() == [[*b"n the mat", 257]]


def test_a_profile_of_each_is_of_its_own_lengths(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for measured in ("ceiling", "bandwidth"):
        monkeypatch.setattr(profiles, measured, lambda *_: 1e11)
    for words in OBJECTIVES.values():
        experiment, _, objective = prepared(corpus, *words)
        model = build(experiment.model, *objective.inputs)
        assert profiles.profile(experiment, steps=1)["flops"] == 3 * model.flops(8, *objective.lengths)
