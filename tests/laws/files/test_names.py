"""Headings as people write them: ours, with their units; and those that only remind of ours."""

from __future__ import annotations

import pytest

from danlu.laws import COLUMNS
from danlu.laws.files.names import guesses, not_nats, rank

PF_DAY = 1e15 * 86400


@pytest.mark.parametrize(
    ("heading", "ours", "factor"),
    [
        ("N", "n", 1), ("params", "n", 1), ("#params", "n", 1), ("nParams", "n", 1),
        ("parameter_count", "n", 1),
        ("Model Size", "n", 1), ("Model Size (B)", "n", 1e9), ("params_M", "n", 1e6), ("mparams", "n", 1e6),
        ("Parameters (in millions)", "n", 1e6), ("params_active_precise", "n", 1),
        ("config.n_params", "n", 1),
        ("non_embedding_params", "n", 1), ("total_params", "n", 1),
        ("D", "d", 1), ("token_num", "d", 1), ("throughput/total_tokens", "d", 1), ("train_tokens", "d", 1),
        ("Pretraining Data Size (T)", "d", 1e12), ("tokens in billions", "d", 1e9),
        ("tokens_seen_B", "d", 1e9),
        ("Tokens (×10^9)", "d", 1e9), ("Training Tokens", "d", 1), ("dataset_size", "d", 1),
        ("C", "c", 1), ("Training FLOP", "c", 1), ("FLOPs (1E21)", "c", 1e21), ("flops_1e18", "c", 1e18),
        ("total_gflops", "c", 1e9), ("Compute (PF-days)", "c", PF_DAY), ("C [petaflop/s-days]", "c", PF_DAY),
        ("compute_pf_days", "c", PF_DAY), ("log10_flops", "c", None), ("log10(C)", "c", None),
        ("budget", "c", 1),
        ("steps", "s", 1), ("global_step", "s", 1), ("unique_tokens", "u", 1), ("batch_tokens", "b", 1),
        ("peak_lr", "lr", 1), ("Learning Rate", "lr", 1),
        ("loss", "loss", 1), ("final_loss", "loss", 1), ("Val Loss", "loss", 1), ("eval/c4/loss", "loss", 1),
        ("test_cross_entropy", "loss", 1), ("metrics/eval/LanguageCrossEntropy", "loss", 1),
        ("Parameter (M)", "n", 1e6), ("Modellgröße (Mio.)", "n", 1e6), ("Anzahl Parameter", "n", 1),
        ("Tokens (Mrd)", "d", 1e9), ("Trainings-Tokens [Mrd.]", "d", 1e9), ("Verlust", "loss", 1),
        ("Validierungsverlust", "loss", 1), ("Rechenaufwand (FLOP)", "c", 1), ("Lernrate", "lr", 1),
        ("参数量", "n", 1), ("参数量（亿）", "n", 1e8), ("模型参数量(万)", "n", 1e4), ("模型规模", "n", 1),
        ("词元数", "d", 1), ("训练词元数（亿）", "d", 1e8), ("训练Token数 (十亿)", "d", 1e9),
        ("算力", "c", 1), ("准确率", "accuracy", 1),
        ("训练计算量(1e18 FLOPs)", "c", 1e18), ("损失", "loss", 1), ("验证损失", "loss", 1), ("步数", "s", 1),
        ("log_perplexity", "loss", 1), ("train/loss", "loss", 1), ("task_loss", "task_loss", 1),
    ],
)  # fmt: skip
def test_headings(heading: str, ours: str, factor: float | None) -> None:
    found = {name: guess for name in COLUMNS if (guess := rank(name, heading)) is not None}
    assert list(found) == [ours]
    assert found[ours].unit.factor == (None if factor is None else pytest.approx(factor))


@pytest.mark.parametrize(
    "heading",
    ["n_heads", "d_ff", "D/N", "tokens_per_second", "tokens_per_epoch", "flops_per_token", "vocab_size",
     "val_tokens", "embedding_params", "warmup_steps", "cooldown_lr", "val_ppl", "loss__MIN", "loss_std",
     "router_z_loss", "bits_per_byte", "num_train_epochs", "batch_size", "GFLOP/s", "C4",
     "每秒词元数", "困惑度"],
)  # fmt: skip
def test_headings_that_are_none_of_ours(heading: str) -> None:
    assert [name for name in COLUMNS if rank(name, heading) is not None] == []


def test_held_out_loss_goes_first_and_training_loss_last() -> None:
    for best_first in (
        ["val_loss", "loss", "eval/c4/loss", "train_loss"],
        ["Validierungsverlust", "Verlust", "Trainingsverlust"],
        ["验证损失", "损失", "训练损失"],
    ):
        for names in (best_first, best_first[::-1]):
            assert [guess.name for guess in guesses("loss", names)] == best_first


def test_all_parameters_go_before_some() -> None:
    names = ["params_no_embed", "active_params", "params"]
    assert [guess.name for guess in guesses("n", names)] == ["params", "active_params", "params_no_embed"]


@pytest.mark.parametrize(
    ("heading", "what"),
    [("val_ppl", "perplexity"), ("bpb", "bits per byte or character"),
     ("bits_per_byte", "bits per byte or character"),
     ("hellaswag_acc", "accuracy"), ("loss", ""), ("log_perplexity", "")],
)  # fmt: skip
def test_what_is_no_loss_in_nats(heading: str, what: str) -> None:
    assert not_nats(heading) == what
