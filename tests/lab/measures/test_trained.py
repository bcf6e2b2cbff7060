"""Measures of trained models, by identities: rigged weights, rigged predictions, the run's own evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

from danlu.inspection.attending import first_weights, later_half
from danlu.lab.errors import LabError
from danlu.lab.measures import measure, of_run, weights
from danlu.lab.measures.inside import perplexity
from danlu.lab.measures.text import answers
from danlu.lab.measures.trained import Trained
from danlu.models import generate
from danlu.nn.kernels import Attended, watched
from danlu.nn.masks import MaskPattern
from danlu.train import metrics
from tests.train import small

CORPUS = "synthetic:reverse-3"
RUN = ["train.evaluate_tokens=1000", "train.log_every=1", "optimizer=adamw", "train.batch=8"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Runs a minute experiment on answers, once for each list of words; the folder."""
    done: dict[tuple[str, ...], Path] = {}

    def run(*words: str) -> Path:
        if words not in done:
            done[words] = tmp_path_factory.mktemp("run") / "run"
            given = ["data.context=32", "train.steps=4", *RUN, *words]
            small.run(Path(CORPUS), done[words], *given)
        return done[words]

    return run


def taken(run: Trained, name: str) -> float:
    return measure(name, run.experiment.objective.metrics).take(run)


def test_sinks_by_kind_of_position_have_the_mean_of_all(runs: Callable[..., Path]) -> None:
    words = ["objective=bigram-backcopy", "model.mixer.heads=2"]
    run = Trained(runs(*words))
    copied = np.isin(run.sample["tokens"][:, 16:], run.objective.pairs.ids[:3]).mean()
    names = ("sink-at-triggers", "sink-elsewhere", "attention-to-first")
    triggers, elsewhere, every = (taken(run, name) for name in names)
    assert 0 < copied < 1 and triggers != elsewhere
    assert copied * triggers + (1 - copied) * elsewhere == pytest.approx(every, rel=1e-5)
    with pytest.raises(LabError, match="where no token is a trigger"):
        taken(Trained(runs()), "sink-elsewhere")


# ------------------------------------------------------------ scores of held-out text


@pytest.mark.parametrize("words", [[], ["train.average=ema"], ["train.precision=bfloat16"]])
def test_at_the_runs_own_context_it_is_the_runs_own_evaluation(
    runs: Callable[..., Path], words: list[str]
) -> None:
    folder = runs(*words)
    names = ["bits-per-byte@32", f"bits-per-byte-other:{CORPUS}", "bits_per_byte"]
    own = of_run(folder, names)
    assert own["bits-per-byte@32"] == pytest.approx(own["bits_per_byte"], rel=1e-6)
    assert own[f"bits-per-byte-other:{CORPUS}"] == pytest.approx(own["bits_per_byte"], rel=1e-6)
    assert of_run(folder, [f"offset:{CORPUS}"]) == {f"offset:{CORPUS}": pytest.approx(0, abs=1e-6)}
    (row,) = [row for row in metrics.read(folder / "metrics.jsonl") if "bits_per_byte" in row]
    assert own["bits_per_byte"] == row.get("bits_per_byte_average", row["bits_per_byte"])


def test_without_what_training_does_otherwise_the_modes_agree(runs: Callable[..., Path]) -> None:
    found = of_run(runs("model.dropout=0.3"), ["train-mode-gap"])
    assert abs(found["train-mode-gap"]) < 1e-5


def test_precise_statistics_are_of_batch_norms(runs: Callable[..., Path]) -> None:
    with pytest.raises(LabError, match="the network has no batch norm"):
        of_run(runs(), ["precise-statistics"])


def test_one_kept_model_is_its_own_average(runs: Callable[..., Path]) -> None:
    assert abs(of_run(runs(), ["outputs-minus-weights"])["outputs-minus-weights"]) < 1e-6


def test_words_change_how_the_weights_read(runs: Callable[..., Path]) -> None:
    run = Trained(runs())
    wide = taken(run, "bits-per-byte@32:model.mixer.window=32")
    assert wide == pytest.approx(taken(run, "bits-per-byte@32"), rel=1e-6)
    # A window of one sees nothing but itself, at whatever context.
    narrow = [taken(run, f"bits-per-byte@{n}:model.mixer.window=1") for n in (8, 32)]
    assert narrow[0] == pytest.approx(narrow[1], rel=1e-5) and narrow[0] != pytest.approx(wide, rel=1e-5)
    with pytest.raises(LabError, match="needs other weights"):
        taken(run, "bits-per-byte@32:model.layers=2")


def test_learned_positions_end(runs: Callable[..., Path]) -> None:
    with pytest.raises(LabError, match="beyond the 32 learned ones"):
        of_run(runs("model.position=learned"), ["bits-per-byte@33"])


# ------------------------------------------------------------ right predictions and answers


def rig(run: Trained, wrong: Callable[[np.ndarray], np.ndarray]) -> Trained:
    """The run with predictions that are right but where ``wrong`` of the targets says."""
    examples = list(run.examples(run.rows))
    run.predictions = [(e, np.where(wrong(e["targets"]), 1, e["targets"])) for e in examples]  # type: ignore[misc]
    return run


def test_of_right_predictions_everything_is_right(runs: Callable[..., Path]) -> None:
    run = rig(Trained(runs()), lambda targets: np.zeros_like(targets, bool))
    for name in ("accuracy", "exact-match", "answer-accuracy"):
        assert taken(run, name) == 1.0
    assert taken(run, "match-excess") == 0.0


def sure(run: Trained, letters: int) -> Trained:
    """The run with logits that are sure, whatever it reads, of so many letters after the right one."""
    said = np.arange(257)
    said[ord("a") : ord("z") + 1] = np.roll(said[ord("a") : ord("z") + 1], -letters)
    truth = [example["targets"] for example in run.examples(run.rows)]
    asked = iter([targets for targets in truth for _ in range(4)])  # for the right answer and three others

    def logits(model: Any, example: Any) -> torch.Tensor:
        return 30 * torch.nn.functional.one_hot(torch.from_numpy(said[next(asked).clip(0)]), 257).float()

    run.logits = logits  # type: ignore[method-assign]
    return run


def test_who_knows_the_answers_chooses_right(runs: Callable[..., Path]) -> None:
    """Who is sure of the next letters takes the option with both ends changed: a Brier score of 1² + 1²."""
    for letters, grade, brier in ((0, 1.0, 0.0), (1, 0.0, 2.0)):
        assert taken(sure(Trained(runs()), letters), "choice-grade") == grade
        assert taken(sure(Trained(runs()), letters), "choice-brier") == pytest.approx(brier, abs=1e-6)


def test_who_takes_all_options_as_equal_scores_three_quarters(runs: Callable[..., Path]) -> None:
    run = Trained(runs())
    run.logits = lambda model, example: torch.zeros(*example["tokens"].shape, 257)  # type: ignore[method-assign]
    assert taken(run, "choice-brier") == pytest.approx(0.75) and taken(run, "choice-grade") == 0.0


def test_one_wrong_token_of_four_is_no_match(runs: Callable[..., Path]) -> None:
    """Answers are three letters and the line's end. With every line's end wrong, none is matched."""
    run = rig(Trained(runs()), lambda targets: targets == ord("\n"))
    assert taken(run, "exact-match") == 0.0 and taken(run, "answer-accuracy") == 0.75
    assert taken(run, "match-excess") == pytest.approx(-(0.75**4))
    ends = np.concatenate([e["targets"].ravel() == ord("\n") for e, _ in run.predictions])
    asked = np.concatenate([e["targets"].ravel() >= 0 for e, _ in run.predictions])
    assert taken(run, "accuracy") == pytest.approx(1 - ends.sum() / asked.sum())


def test_one_pass_tells_what_greedy_writing_gives(runs: Callable[..., Path]) -> None:
    run = Trained(runs("train.steps=60"))
    example, guesses = run.predictions[0]
    leads = []
    for row, start, stop in answers(example, ord("="), ord("\n"), 256):
        target = example["targets"][row, start:stop]
        told = guesses[row, start:stop] == target
        given = torch.from_numpy(example["tokens"][row : row + 1, : start + 1])
        wrote = generate(run.run.model, given, count=stop - start, context=32, temperature=0)
        written = np.array([int(token) for token in wrote]) == target
        lead = [int(np.append(~right, True).argmax()) for right in (told, written)]
        assert lead[0] == lead[1]
        leads.append(lead[0])
    assert len(leads) > 50 and any(leads)


def test_answers_of_lines_that_are_whole() -> None:
    text = "c=d\nab=ba\nxy=|pq=q\nz"
    ids = np.array([[256 if c == "|" else ord(c) for c in text]])
    found = list(answers({"tokens": ids[:, :-1], "targets": ids[:, 1:]}, ord("="), ord("\n"), 256))
    # Not c=d, whose beginning may be cut off, nor xy=, which a document's end cuts off.
    assert [text[start + 1 : stop + 1] for _, start, stop in found] == ["ba\n", "q\n"]
    hidden = np.where(np.arange(len(text) - 1) < 8, -100, ids[:, 1:])
    found = list(answers({"tokens": ids[:, :-1], "targets": hidden}, ord("="), ord("\n"), 256))
    assert [text[start + 1 : stop + 1] for _, start, stop in found] == ["q\n"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["data.corpus=synthetic:markov-2"], "holds no answers"),
        (["+masked-lm"], "answers need causal or prefix"),
        (["data.context=6"], "no line of synthetic:reverse-3 fits"),
    ],
)
def test_where_there_are_no_answers(runs: Callable[..., Path], words: list[str], says: str) -> None:
    with pytest.raises(LabError, match=says):
        of_run(runs(*words), ["exact-match"])


def test_at_the_start_all_bytes_are_alike(runs: Callable[..., Path]) -> None:
    run = Trained(runs("model.tied=false", "model.init.readout=1e-6"))
    assert taken(run, "at-start") == pytest.approx(math.log2(257), abs=1e-3)


# ------------------------------------------------------------ inside


def test_the_share_above_a_cap_is_counted_before_the_cap(runs: Callable[..., Path]) -> None:
    """By hand: of all pairs that are seen, those whose score without a cap is beyond it."""
    run = Trained(runs("model.mixer.softcap=0.01"))
    share = taken(run, "share-above-cap")
    scores: list[torch.Tensor] = []

    def watch(call: Attended) -> None:
        bare = call._replace(softcap=None)
        scores.append(bare.scores(0, call.pattern.queries, 0, call.pattern.keys))

    with watched(watch):
        run.forward(run.run.model, run.sample)
    seen = torch.cat([s[s.isfinite()] for s in scores])
    assert share == pytest.approx(float((seen.abs() > 0.01).float().mean()), abs=1e-6) and 0 < share < 1
    assert taken(Trained(runs("model.mixer.softcap=1e6")), "share-above-cap") == 0
    with pytest.raises(LabError, match="caps no attention scores"):
        of_run(runs(), ["share-above-cap"])


def test_dead_units_are_those_that_are_never_on(runs: Callable[..., Path]) -> None:
    run = Trained(runs("model.feed_forward.activation=relu"))
    layers = [block.feed_forward for block in run.run.model.blocks]
    before = taken(run, "dead-units")
    for layer in layers:
        layer.up.weight[: layer.up.out_features // 2] = 0  # relu(0) is never on
    del run.activations
    assert before < 0.4 and taken(run, "dead-units") >= 0.5
    assert taken(Trained(runs()), "dead-units") == 0  # gelu is zero nowhere else


def test_uniform_attention_gives_the_first_one_over_the_position(runs: Callable[..., Path]) -> None:
    run = Trained(runs())
    mixer = run.run.model.blocks[0].mixer
    mixer.qkv.weight[: mixer.heads * mixer.size] = 0  # queries of zero: scores of zero
    expected = sum(1 / n for n in range(17, 33)) / 16
    assert taken(run, "attention-to-first") == pytest.approx(expected, rel=1e-6)
    assert taken(run, "max-logit") == 0


def test_a_window_hides_the_first() -> None:
    q = k = torch.randn(2, 3, 12, 4)
    narrow, wide = (
        later_half(first_weights(Attended(q, k, 1.0, MaskPattern(12, 12, window=w)))[..., 0]) for w in (6, 12)
    )
    assert float(narrow.max()) == 0
    expected = (q @ k.mT).masked_fill(~torch.ones(12, 12).tril().bool(), -math.inf).softmax(-1)[..., 6:, 0]
    torch.testing.assert_close(wide, expected)


def test_a_zero_network_is_silent(runs: Callable[..., Path]) -> None:
    run = Trained(runs())
    for p in run.run.model.parameters():
        p.zero_()
    assert taken(run, "logit-rms") == taken(run, "max-activation") == taken(run, "weight-rms") == 0


def test_normal_streams_have_no_kurtosis(runs: Callable[..., Path]) -> None:
    """A block that adds nothing to embeddings drawn from a normal distribution. Rows of the same letter are
    equal, so the bound is of as many numbers as the letters alone have."""
    run = Trained(runs())
    model = run.run.model
    for name, p in model.named_parameters():
        p.normal_(generator=torch.Generator().manual_seed(1)) if name == "embedding.weight" else p.zero_()
    letters = len(np.unique(run.sample["tokens"]))
    assert abs(taken(run, "kurtosis")) < 5 * math.sqrt(24 / (letters * 16))
    rows = model.embedding(torch.from_numpy(run.sample["tokens"])).numpy()
    assert taken(run, "kurtosis") == pytest.approx(scipy.stats.kurtosis(rows, axis=None), rel=1e-5)
    assert taken(run, "max-activation") == np.abs(rows).max()


def test_the_increment_is_of_the_last_stream(runs: Callable[..., Path]) -> None:
    still = Trained(runs("optimizer.lr=1e-30", "optimizer.weight_decay=0", "train.steps=1"))
    for name, p in still.initial.named_parameters():  # what the run began with, drawn anew
        assert torch.equal(p, dict(still.run.model.named_parameters())[name])
    assert taken(still, "increment") == 0
    moved = Trained(runs())
    assert taken(moved, "increment") > 0
    moved.run.model.load_state_dict(moved.initial.state_dict())
    moved.run.model.blocks[-1].feed_forward.out.weight.zero_()
    moved.initial.blocks[-1].feed_forward.out.weight.zero_()
    moved.run.model.norm.gain.mul_(2)  # after the last stream
    assert taken(moved, "increment") == 0


def test_perplexity_is_that_of_the_shares() -> None:
    one, all_ = torch.full((2, 1, 8), 3), torch.arange(16).reshape(2, 1, 8)
    found = perplexity(torch.cat((one, all_), dim=1), 16)
    torch.testing.assert_close(found, torch.tensor([1.0, 16.0], dtype=torch.float64))
    z = torch.randint(5, (4, 1, 9))
    entropy = scipy.stats.entropy(np.bincount(z.ravel(), minlength=5))
    assert float(perplexity(z, 5)) == pytest.approx(math.exp(entropy), rel=1e-12)


def test_codebooks(runs: Callable[..., Path]) -> None:
    run = Trained(runs("+vq-attention", "model.mixer.heads=2"))
    book = run.run.model.blocks[0].mixer.codebook
    assert 1 <= taken(run, "codebook-perplexity") <= book.codes.shape[1]
    book.codes.copy_(book.codes[:, :1].expand_as(book.codes).clone())  # equal words: the first is taken
    assert taken(run, "codebook-perplexity") == 1
    with pytest.raises(LabError, match=r"no codebook.*\+vq-attention"):
        of_run(runs(), ["codebook-perplexity"])
    with pytest.raises(LabError, match="no attention that computes scores"):
        of_run(runs("+lru"), ["max-logit"])


# ------------------------------------------------------------ weights


def test_rows_by_how_often_their_tokens_occur(runs: Callable[..., Path]) -> None:
    run = Trained(runs())
    seen = {ord(c) for c in "abcdefghijklmnopqrstuvwxyz=\n"} | {256}
    rows = run.run.model.embedding.weight
    unseen = [i for i in range(257) if i not in seen]
    assert taken(run, "unseen-rows") == pytest.approx(float(rows[unseen].abs().mean()), rel=1e-6)
    assert taken(run, "rare-rows") == pytest.approx(
        float(rows[256].abs().mean()), rel=1e-6
    )  # a few documents
    rigged = Trained(runs())
    rigged.language.source = SimpleNamespace(train=SimpleNamespace(ids=np.arange(257)))  # type: ignore[misc]
    with pytest.raises(LabError, match="none is absent from"):
        taken(rigged, "unseen-rows")
    with pytest.raises(LabError, match="none is rare in"):
        taken(rigged, "rare-rows")


def test_weight_rms_and_cache(runs: Callable[..., Path]) -> None:
    run = Trained(runs())
    for name, p in run.run.model.named_parameters():
        p.fill_(-3.0 if "blocks" in name and p.ndim == 2 else 100.0)
    assert taken(run, "weight-rms") == 3
    assert taken(run, "cache-bytes") == 2 * 16 * 2  # keys and values of one layer of width 16, two bytes each
    with pytest.raises(LabError, match="keeps no cache"):
        of_run(runs("+masked-lm"), ["cache-bytes"])


def test_writing_is_timed_with_a_full_cache_one_token_at_a_time(
    runs: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, read = Trained(runs("data.context=40")), []
    run.run.model.register_forward_pre_hook(lambda module, given: read.append(tuple(given[0].shape)))
    clock = iter([t for i in range(32) for t in (100.0 * i, 100.0 * i + i)])  # the i-th token takes i seconds
    monkeypatch.setattr(weights, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert taken(run, "writing-seconds") == 15.5  # the median of 0, 1, … 31
    assert read == [(1, 8), *[(1, 1)] * 32]
    with pytest.raises(LabError, match="more than 32"):
        of_run(runs(), ["writing-seconds"])
    with pytest.raises(LabError, match="no decoder"):
        of_run(runs("+masked-lm"), ["writing-seconds"])


@pytest.mark.parametrize(
    "words", [["+masked-lm"], ["+span-corruption"], ["+mla"], ["model.layers=3", "+lru-attention"]]
)
def test_other_networks_are_measured(runs: Callable[..., Path], words: list[str]) -> None:
    names = [
        "accuracy",
        "max-logit",
        "kurtosis",
        "attention-to-first",
        "increment",
        "logit-rms",
        "weight-rms",
    ]
    found: dict[str, Any] = of_run(runs(*words), names)
    assert list(found) == names and all(math.isfinite(value) for value in found.values())
