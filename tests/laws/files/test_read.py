"""Points from files: what is guessed is told, and nothing that is wrong passes silently."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from danlu.files.errors import DanluError, FileError
from danlu.laws import LawError, Read, read

ROWS = [(1e6, 2e7, 4.0), (2e6, 4e7, 3.5), (4e6, 8e7, 3.25)]


def csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "points.csv"
    path.write_text(text, encoding="utf-8")
    return path


def same(found: Read) -> None:
    for name, column in zip(("n", "d", "loss"), zip(*ROWS, strict=True), strict=True):
        assert found.points[name].tolist() == list(column)


@pytest.mark.parametrize(
    "heading", ["N,D,loss", "params,tokens,Val Loss", "Model Size,training-tokens,held_out_loss"]
)
def test_csv_by_common_names(tmp_path: Path, heading: str) -> None:
    found = read(csv(tmp_path, "\n".join([heading, *(f"{n},{d},{loss}" for n, d, loss in ROWS)])))
    same(found)
    for theirs in heading.split(","):
        assert any(said.endswith(f"is the column {theirs}") for said in found.notes)
    assert found.warnings == []


@pytest.mark.parametrize(
    "text",
    [
        "Modell;Parameter (M);Tokens (Mrd);Verlust\na;1,0;0,020;4,000\nb;2,0;0,040;3,500\nc;4,0;0,080;3,250",
        "模型,参数量（万）,训练词元数（亿）,损失\na,100,0.2,4\nb,200,0.4,3.5\nc,400,0.8,3.25",
        "模型,参数量,词元数,验证损失\na,100万,0.2亿,4\nb,200万,4千万,3.5\nc,0.04亿,8千万,3.25",
    ],
)
def test_headings_and_numbers_of_other_languages(tmp_path: Path, text: str) -> None:
    found = read(csv(tmp_path, text))
    same(found)
    assert found.warnings == []


def test_a_scale_is_said_in_full(tmp_path: Path) -> None:
    notes = read(csv(tmp_path, "params (Mio),train_tokens_B,loss\n70,1,4\n160,2,3\n")).notes
    assert notes[0].endswith("params (Mio), in millions") and notes[1].endswith("train_tokens_B, in billions")


def test_columns_are_listed_as_they_are_read(tmp_path: Path) -> None:
    with pytest.raises(
        LawError, match=r"there are Größe \(numbers, 4\.5 first\), Wert \(numbers, 1\.234 first"
    ):
        read(csv(tmp_path, "Größe;Wert\n4,5;1,234\n5,5;1,345\n"))


def test_accuracies_alone_are_for_chains(tmp_path: Path) -> None:
    with pytest.raises(LawError, match="but accuracies: danlu laws chain goes from a loss to an accuracy"):
        read(csv(tmp_path, "n,d,accuracy\n1e6,2e7,0.25\n2e6,4e7,0.3\n"))
    with pytest.raises(LawError, match="--unit loss=perplexity"):
        read(csv(tmp_path, "n,d,ppl,accuracy\n1e6,2e7,40,0.25\n2e6,4e7,30,0.3\n"))


def test_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "points.jsonl"
    path.write_text("\n".join(json.dumps({"n": n, "d": d, "loss": loss}) for n, d, loss in ROWS) + "\n\n")
    same(read(path))


def test_parquet(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    n, d, loss = zip(*ROWS, strict=True)
    parquet.write_table(pyarrow.table({"N": n, "D": d, "Loss": loss}), tmp_path / "points.parquet")
    same(read(tmp_path / "points.parquet"))
    (tmp_path / "other.parquet").write_bytes(b"not at all")
    with pytest.raises(LawError, match="is not Parquet"):
        read(tmp_path / "other.parquet")


def test_the_missing_one_of_three_is_computed_and_told(tmp_path: Path) -> None:
    found = read(csv(tmp_path, "n,flops,loss\n1e6,1.2e14,4\n2e6,4.8e14,3\n"))
    np.testing.assert_allclose(found.points["d"], [2e7, 4e7], rtol=1e-15)
    assert any(said.startswith("d ") and "C = 6·N·D" in said for said in found.notes)


def test_chosen_columns(tmp_path: Path) -> None:
    path = csv(tmp_path, "N,params,D,loss\n1,2,3,4\n2,3,4,5\n")
    with pytest.raises(LawError, match="n may be any of the columns N, params"):
        read(path)
    assert read(path, {"n": "params"}).points["n"].tolist() == [2, 3]
    with pytest.raises(
        LawError, match=r"no column size .* there are N \(numbers, 1 first\), params .*, D .*, loss"
    ):
        read(path, {"n": "size"})
    told = read(path, wanted=("d", "loss"))  # n is not needed
    assert "n" not in told.points and any("n is left out" in said for said in told.notes)


def test_what_is_not_needed_may_be_anything(tmp_path: Path) -> None:
    found = read(csv(tmp_path, "n,d,lr,loss\n1e6,2e7,1e-3,4\n2e6,4e7,,3\n"))
    assert "lr" not in found.points
    assert any(said.startswith("lr is left out") for said in found.notes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("n,d,loss\n1,,3\n,2,3\n1,2,\n", "no whole point: 1 with no n, 1 with no d, 1 with no loss"),
        ("n,d,loss\n1,2,nan\n", r"no column for loss .*, loss \(empty\)"),
        ("n,d,loss\n1,2,inf\n", "holds no whole point: 1 with an infinite loss"),
        ("n,d,loss\n1,2,3\n1,2,high\n1,2,low\n", r"loss holds 'high' in point 2, .* \(2 points .*loss!=high"),
        ("n,d,loss\n1e6,0,3\n", "holds no whole point: 1 with d = 0"),
        ("n,d,loss\n0,1,3\n", "column n holds '0' in point 1, where a number above zero"),
        ("n,d,loss\n-1e6,1,3\n", "column n holds '-1e6' in point 1, where a number above zero"),
        ("n,d,loss\n4.2X,1,3\n4.2B,1,3\n", "column n holds '4.2X' in point 1"),
        ("n,d,loss,loss\n1,2,3,4\n", "more than one column loss"),
        ("n,d,loss,LOSS\n1,2,3,4\n", "loss may be any of the columns loss, LOSS"),
        ("n,d,loss\n1,2\n", "point 1: 2 fields under 3 headings"),
        ("n,d;loss\n1,2;3\n", "no column for d .* and loss"),
        (
            "n,d,loss\n1;2;3\n",
            "1 fields under 3 headings; the headings are parted by commas, this by semicolons",
        ),
        ("1,2,3\n4,5,6\n", "begins with numbers; write a line of headings"),
        ("n;d;loss\n1,5;2;3\n1.5;2;3\n", r"a decimal comma \(1,5\), others a decimal point \(1.5\)"),
        ("n,d,loss\n", "holds no points"),
        ("", "holds no points"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(LawError, match=said) as raised:
        read(csv(tmp_path, text))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_flops_that_contradict_size_and_tokens(tmp_path: Path, factor: float) -> None:
    def lines(factor: float) -> str:
        return "\n".join(["n,d,c,loss", *(f"{n},{d},{6 * n * d * factor},{loss}" for n, d, loss in ROWS)])

    (warning,) = read(csv(tmp_path, lines(factor))).warnings
    assert f"the FLOP are {factor:g} times 6·N·D" in warning
    assert read(csv(tmp_path, lines(1.9))).warnings == []
    with pytest.raises(LawError, match="another unit"):
        read(csv(tmp_path, lines(factor**9)))  # petaFLOP, say


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.jsonl", '{"n": 1, "n": 2}', "more than one column n"),
        ("p.jsonl", "[1, 2]", "line 1: not a JSON object"),
        ("p.jsonl", '{"n": 1}\n{"n": ', "line 2: "),
        ("p.xlsx", "", "is none of CSV, .* by the end of its name"),
        ("p.json", "[1, 2]", "holds no table"),
        ("p.json", '{"n": [1, 2], "d": [1]}', "columns must be equally long, not n 2, d 1"),
        ("p.json", '{"n": ', "cannot be read as JSON"),
        ("p.csv.gz", "no gzip", "is not gzip"),
    ],
)
def test_other_files(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(LawError, match=said):
        read(tmp_path / name)


def test_absent(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"absent\.csv is missing"):
        read(tmp_path / "absent.csv")
    with pytest.raises(LawError, match=r"there is no metrics\.jsonl"):
        read(tmp_path)


def run(folder: Path, n: int, losses: list[float], ended: bool = True) -> None:
    folder.mkdir()
    rows = []
    for i, loss in enumerate(losses, start=1):
        rows.append({"step": i, "tokens": 100 * i, "flops": 600 * n * i, "loss": 9.0})
        rows.append({"step": i, "tokens": 100 * i, "held_out_loss": loss})
    rows.append({"step": len(losses) + 1, "tokens": 100 * (len(losses) + 1), "flops": 1, "loss": 9.0})
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\n{"step": 9, "tok')
    (folder / "experiment.yaml").write_text("train: {batch: 4}\ndata: {context: 32}\noptimizer: {lr: 0.01}\n")
    if ended:
        (folder / "summary.json").write_text(json.dumps({"parameters": n}))


def test_runs(tmp_path: Path) -> None:
    run(tmp_path / "a", 10, [5.0, 4.0])
    run(tmp_path / "b", 20, [3.0])
    run(tmp_path / "c", 30, [3.0], ended=False)
    found = read(tmp_path)
    assert {name: column.tolist() for name, column in found.points.items()} == {
        "n": [10, 20], "d": [200, 100], "s": [2, 1], "loss": [4, 3], "c": [12000, 12000],
        "lr": [0.01, 0.01], "b": [128, 128],
    }  # fmt: skip
    assert len(found.warnings) == 1 and "c is left out: it has not ended" in found.warnings[0]
    assert read(tmp_path / "a").points["loss"].tolist() == [4]
    with pytest.raises(LawError, match="has not ended"):
        read(tmp_path / "c")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b'"' + b"x" * 200_000 + b'"\n1', "field larger than field limit"),
        ("a.csv", b"n,d,loss\n\xff", "line 2: not text in UTF-8"),
        ("a.jsonl", b"[" * 100_000, "line 1: nested deeper than 100"),
        ("a.jsonl", b'{"n": ' + b"1" * 5_000 + b"}", "line 1: .*digits"),
        ("a.jsonl", b"null", "line 1: not a JSON object"),
        ("a.jsonl", b"\n".join(b'{"%d": 1}' % i for i in range(10001)), "10,001 names of columns"),
        ("a.csv", b",".join(b"%d" % i for i in range(20_000)) + b"\n", "20,000 names of columns"),
        ("a.csv", b",".join(b"a%d" % i for i in range(10**6)) + b"\n", "1,000,000 names of columns"),
        ("a.csv", b"n,d,loss\n" + "1,2,é".encode("latin-1"), "not text in UTF-8"),
        ("a.csv", b"\xff\xfen", "not text in UTF-8"),
        ("a.csv", b"n,d,loss\n1,2,\x003\n", "a.csv"),
        ("a.parquet", b"PAR1", "is not Parquet"),
    ],
)
def test_hostile_files(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DanluError, match=said):
        read(tmp_path / name)


def test_a_run_whose_batch_is_text(tmp_path: Path) -> None:
    """`"16" * 100000000000` would take all memory."""
    run(tmp_path / "run", 1000, [3.0])
    (tmp_path / "run" / "experiment.yaml").write_text(
        'train: {batch: "16"}\ndata: {context: 100000000000}\noptimizer: {lr: 0.1}\n'
    )
    assert set(read(tmp_path / "run").points) == {"n", "d", "s", "loss", "c"}


def test_rows_without_a_needed_value_are_skipped_and_counted(tmp_path: Path) -> None:
    rows = "".join(f"1e6,{i}e7,3.5,x\n" for i in range(1, 20))
    found = read(csv(tmp_path, "n,d,loss,name\n1e6,,3,a\n" + rows))
    assert (found.points.size, found.skipped) == (19, 1)
    assert "1 of 20 rows are skipped: 1 with no d" in found.notes
    assert found.warnings == [] and found.texts("name") == ["x"] * 19
    found = read(csv(tmp_path, "n,d,loss\n1e6,0,3\n1e6,1e7,NaN\n1e6,1e7,inf\n" + rows.replace(",x", "")))
    assert found.skipped == 3
    assert [one.code for one in found.warnings] == ["skipped"]
    assert found.warnings[0].endswith("1 with d = 0, 1 with no loss, 1 with an infinite loss")


def test_rows_that_are_copies_count_once(tmp_path: Path) -> None:
    """A row written three times; runs that differ in a column of their own are none."""
    once = [f"1e6,{i}e7,{3 + i}" for i in range(1, 10)]
    thrice = read(csv(tmp_path, "\n".join(["n,d,loss", *(row for row in once for _ in range(3))])))
    assert (
        thrice.points.size == 9 and thrice.skipped == 18 and set(thrice.points["d"] / 1e7) == {*range(1, 10)}
    )
    (warned,) = thrice.warnings
    assert warned.code == "copies" and "18 of 27 rows are copies of others in every cell, row 2" in warned
    seeds = read(
        csv(tmp_path, "\n".join(["n,d,loss,seed", *(f"{row},{s}" for row in once for s in range(3))]))
    )
    assert seeds.points.size == 27 and seeds.warnings == []


def test_one_column_is_not_two_of_ours(tmp_path: Path) -> None:
    with pytest.raises(LawError, match="column tokens cannot be both n and d"):
        read(csv(tmp_path, "n,tokens,loss\n1e6,1e7,3\n"), {"n": "tokens", "d": "tokens"})


FAMILIES = "family,n,d,loss,Note\na,70M,1e9,4,x\nb,160M,2e9,3.5,\na,1.2B,3e9,3,y\n"


@pytest.mark.parametrize(
    ("where", "sizes"),
    [
        (["family=a"], [7e7, 1.2e9]),
        (["family!=a"], [1.6e8]),
        (["family~A"], [7e7, 1.2e9]),
        (["loss<3.7"], [1.6e8, 1.2e9]),
        (["loss<3.7", "family=a"], [1.2e9]),
        (["n>=160M"], [1.6e8, 1.2e9]),
        (["n=70M"], [7e7]),
        (["note=none"], [1.6e8]),
        (["c<1e18"], [7e7]),  # computed
    ],
)
def test_where(tmp_path: Path, where: list[str], sizes: list[float]) -> None:
    found = read(csv(tmp_path, FAMILIES), where=where)
    assert found.points["n"].tolist() == pytest.approx(sizes)
    assert len(found.table["family"]) == len(sizes) and tuple(where) == found.where


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("famly=a", "there is no column famly; did you mean family?"),
        ("nothing=a", r"no column nothing; there are family \(text, a first\), n"),
        ("family=c", "no row is left by --where family=c"),
        ("loss", "is not NAME OPERATOR VALUE"),
        ("loss<high", "< needs a number"),
    ],
)
def test_where_mistakes(tmp_path: Path, where: str, said: str) -> None:
    with pytest.raises(DanluError, match=said):
        read(csv(tmp_path, FAMILIES), where=[where])


def test_units_are_asked_for_or_in_the_heading(tmp_path: Path) -> None:
    path = csv(tmp_path, "size,tokens (B),loss\n70,1.4,4\n160,3.2,3\n")
    found = read(path, {"n": "size"}, units={"n": "M"})
    assert found.points["n"].tolist() == [7e7, 1.6e8] and found.points["d"].tolist() == [1.4e9, 3.2e9]
    assert found.json()["columns"] == {
        "n": {"name": "size", "unit": "M", "factor": 1e6, "why": "chosen"},
        "d": {"name": "tokens (B)", "unit": "B", "factor": 1e9, "why": "name"},
        "loss": {"name": "loss", "unit": "", "factor": 1.0, "why": "name"},
    }
    assert [one.code for one in read(path).warnings] == ["small-sizes"]
    with pytest.raises(LawError, match="--unit lr: there is no column for lr"):
        read(path, units={"lr": "M"})


def test_perplexity_is_no_loss_but_may_become_one(tmp_path: Path) -> None:
    path = csv(tmp_path, "n,d,val_ppl\n1e6,1e7,20\n2e6,1e7,10\n")
    with pytest.raises(LawError, match=r"name it with --column loss=val_ppl --unit loss=perplexity"):
        read(path)
    found = read(path, {"loss": "val_ppl"}, units={"loss": "perplexity"})
    np.testing.assert_allclose(found.points["loss"], np.log([20, 10]))
    (warning,) = read(path, {"loss": "val_ppl"}).warnings
    assert warning.code == "not-nats" and "val_ppl is perplexity" in warning


def test_the_held_out_loss_is_taken_and_training_loss_is_told(tmp_path: Path) -> None:
    found = read(csv(tmp_path, "n,d,train/loss,eval/loss\n1e6,1e7,1,2\n2e6,1e7,1,2\n"))
    assert found.columns["loss"].name == "eval/loss"
    assert "loss (held-out loss) is the column eval/loss (not train/loss)" in found.notes
    (warning,) = read(csv(tmp_path, "n,d,train/loss\n1e6,1e7,1\n2e6,1e7,1\n")).warnings
    assert warning.code == "train-loss"


def test_numbers_tell_which_of_several_columns_is_meant(tmp_path: Path) -> None:
    """C = 6 N D holds of one choice alone; without C it is asked for, and equal columns are one."""
    rows = [(n, d, 3 * d, 6 * n * d) for n, d in ((1e6, 1e7), (2e6, 3e7))]
    text = "".join(f"{n},{d},{planned},{c},3\n" for n, d, planned, c in rows)
    found = read(csv(tmp_path, "N,tokens,train_tokens,C,loss\n" + text))
    assert found.columns["d"].name == "tokens"
    with pytest.raises(
        LawError, match="d may be any of the columns tokens, train_tokens; say which, --d tokens"
    ):
        read(csv(tmp_path, "N,tokens,train_tokens,z,loss\n" + text))
    twice = "".join(f"{n},{d},{d},3\n" for n, d, *_ in rows)
    assert read(csv(tmp_path, "N,tokens,train_tokens,loss\n" + twice)).columns["d"].name == "tokens"


def test_compute_that_belongs_to_other_runs_is_left_out(tmp_path: Path) -> None:
    text = "".join(f"1e6,{d}e7,{6e13 * 10.0**d},3\n" for d in range(1, 9))
    found = read(csv(tmp_path, "n,d,flops,loss\n" + text))
    np.testing.assert_allclose(found.points["c"], 6e13 * np.arange(1, 9))
    assert [one.code for one in found.warnings] == ["flop-count"]


def test_a_unit_that_would_mend_it_is_told(tmp_path: Path) -> None:
    text = "".join(f"{n},{d},{6 * n * d / 1e18},3\n" for n, d in ((1e8, 1e10), (2e8, 3e10)))
    path = csv(tmp_path, "n,d,flops,loss\n" + text)
    with pytest.raises(LawError, match="--unit c=1e18 would mend it"):
        read(path)
    assert read(path, units={"c": "1e18"}).points["c"][0] == pytest.approx(6e18)


def test_sizes_that_names_tell(tmp_path: Path) -> None:
    text = "model,tokens,loss\npythia-70m,1e9,4\npythia-1.4B-deduped,1e9,3\n"
    found = read(csv(tmp_path, text))
    assert found.points["n"].tolist() == [7e7, 1.4e9]
    assert found.columns["n"].name == "size in model" and found.columns["n"].why == "text"
    assert [one.code for one in found.warnings] == ["nominal-sizes"]
    with pytest.raises(LawError, match="no column for n"):  # two sizes in a name
        read(csv(tmp_path, text.replace("70m", "70m-2B")))


@pytest.mark.parametrize(
    ("name", "size"),
    [("1-4B", 1.4e9), ("2_8b", 2.8e9), ("pythia-1p4b", 1.4e9), ("llama-2-7B", 7e9), ("Group: 1-4B_x", 1.4e9)],
)
def test_a_point_that_a_name_writes_otherwise(tmp_path: Path, name: str, size: float) -> None:
    found = read(csv(tmp_path, f"model,tokens,loss\n70M,1e9,4\n{name},1e9,3\n"))
    assert found.points["n"].tolist() == [7e7, pytest.approx(size)]
    assert "as called: 70M, " in str(found.warnings[0])


def test_numbers_that_rounding_parts_are_one(tmp_path: Path) -> None:
    text = "n,d,loss,share\n1e6,1e7,3,0.02\n1e6,2e7,3,0.020000000000000004\n1e6,3e7,3,0.03\n"
    path = csv(tmp_path, text)
    assert read(path).texts("share") == ["0.02", "0.02", "0.03"]
    assert read(path, where=["share=0.02"]).points.size == 2
    assert read(path, where=["share!=0.02"]).points.size == 1


def test_rows_are_kept_by_tokens_per_parameter(tmp_path: Path) -> None:
    path = csv(tmp_path, "n,d,loss\n1e7,1e8,4\n1e7,1e9,3\n")
    assert read(path, where=["d/n>20"]).points["d"].tolist() == [1e9]


def test_too_few_tokens_for_any_run_are_told(tmp_path: Path) -> None:
    path = csv(tmp_path, "n,step,loss\n1e7,1000,4\n2e7,2000,3\n")
    with pytest.raises(LawError, match="--d step --unit d=TOKENS_OF_AN_UPDATE"):
        read(path)
    assert [one.code for one in read(path, {"d": "step"}).warnings] == ["few-tokens"]
    found = read(path, {"d": "step"}, units={"d": "524288"})
    assert found.points["d"][0] == 524288e3 and not found.warnings


def test_laws_of_experts_take_what_a_token_meets(tmp_path: Path) -> None:
    text = "total_params,{}_params,experts,loss\n8e9,1e9,8,3\n16e9,1e9,16,2.9\n"
    for word in ("active", "dense"):
        path = csv(tmp_path, text.format(word))
        found = read(path, wanted=("n", "e", "loss"))
        assert found.columns["n"].name == f"{word}_params" and not found.warnings
    assert read(path, wanted=("n", "loss")).columns["n"].name == "total_params"
    alone = csv(tmp_path, text.format("free").replace("free_params", "price"))
    found = read(alone, wanted=("n", "e", "loss"))
    assert [one.code for one in found.warnings] == ["active-parameters"]


def test_a_heading_over_two_lines(tmp_path: Path) -> None:
    found = read(csv(tmp_path, '"Model\nSize","Training\nTokens",loss\n1e6,1e7,3\n'))
    assert found.columns["n"].name == "Model Size"


def test_bits_per_byte_are_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(LawError, match="loss=val_bpb, which is bits per byte or character and not nats"):
        read(csv(tmp_path, "n,d,val_bpb\n1e6,1e7,1\n"))


def test_marked_points_are_told(tmp_path: Path) -> None:
    path = csv(tmp_path, "n,d,loss,outlier\n1e6,1e7,3,True\n1e6,2e7,3,False\n")
    (warning,) = read(path).warnings
    assert warning.code == "marked" and "column outlier marks 1 points" in warning
    assert read(path, where=["outlier=false"]).points.size == 1


PUBLISHED = {
    "bnsl/four_digit_addition.csv": "no column for n",
    "datablations/all_runs_296.csv": 296,
    "datablations/datablations_code_losses.csv": 296,
    "datablations/datablations_contour_losses.csv": 229,
    "datablations/datablations_losses.csv": 9261,
    "datablations/parametric_fit_182.csv": 182,
    "double_descent/nlp-model-dd.csv": "no column for d",
    "epoch_chinchilla/svg_extracted_data.csv": 245,
    "gadre/evals.csv": "no column for n",
    "gadre/models.csv": "loss may be any of the columns loss_openlm, loss_c4_val",
    "isoflops/isoflops.csv": 774,
    "misfitting/scaling_results.csv": 4850,  # of 4,852, two written twice
    "misfitting/scaling_results_last_ckpt_only.csv": 260,  # one written twice
    "obs_scaling/base_llm_benchmark_eval.csv": "no column for loss",
    "openclip/zeroshot_results.csv": "the nearest by name is samples_seen",
    "porian/isoflop_points_refinedweb.csv": 579,
    "porian/optimal_pairs_refinedweb.csv": 58,
    "revisiting_nsl/benchmark.lang.csv": "the nearest by name is Seen Examples for d",
    "steplaw/dense_lr_bs_loss.csv": 1911,
    "steplaw/moe_lr_bs_loss.csv": 708,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_are_read_or_say_what_to_name(scaling: Callable[[str], Path], name: str) -> None:
    expected = PUBLISHED[name]
    if isinstance(expected, int):
        assert read(scaling(name)).points.size == expected
        return
    with pytest.raises(LawError, match=expected):
        read(scaling(name))


def made(tmp_path: Path, heading: str, row: Callable[[float, float, float, int], str]) -> Path:
    """Five sizes at six ratios, with losses of six digits, by ``row`` of n, d, loss and number."""
    places = [(n, ratio * n) for n in (2e7, 5e7, 1e8, 5e8, 1e9) for ratio in (5, 10, 20, 40, 80, 160)]
    rows = [row(n, d, 1.7 + 400 / n**0.34 + 410 / d**0.28, i) for i, (n, d) in enumerate(places)]
    return csv(tmp_path, "\n".join([heading, *rows]))


def test_compute_in_another_unit_makes_no_tokens(tmp_path: Path) -> None:
    days = made(
        tmp_path, "params,compute,loss", lambda n, d, loss, i: f"{n},{6 * n * d / 8.64e19},{loss:.6f}"
    )
    with pytest.raises(LawError, match=r"makes tokens of at most .* --unit c=PF-days would mend it"):
        read(days)
    mended = read(days, units={"c": "PF-days"}).points
    assert (mended["d"] / mended["n"]).max() == pytest.approx(160, rel=1e-6)
    giga = made(tmp_path, "tokens,compute,loss", lambda n, d, loss, i: f"{d},{6 * n * d / 1e18},{loss:.6f}")
    with pytest.raises(LawError, match=r"makes parameters of at most .* --unit c=EFLOP would mend it"):
        read(giga)
    whole = "params,tokens,compute,loss"
    days = made(tmp_path, whole, lambda n, d, loss, i: f"{n},{d},{6 * n * d / 8.64e19},{loss:.6f}")
    with pytest.raises(LawError, match="--unit c=PF-days would mend it"):
        read(days)


def test_flop_counted_in_two_ways_are_told(tmp_path: Path) -> None:
    def row(n: float, d: float, loss: float, i: int, more: float = 1.3) -> str:
        return f"{n},{d},{6 * n * d * (more if i % 2 else 1)},{loss:.6f}"

    heading = "params,tokens,flops,loss"
    assert "mixed-counting" in {one.code for one in read(made(tmp_path, heading, row)).warnings}
    # One way of its own for each size, and FLOP that were read off a figure, are none.
    own = made(tmp_path, heading, lambda n, d, loss, i: f"{n},{d},{6 * n * d * (1 + 1e7 / n)},{loss:.6f}")
    assert "mixed-counting" not in {one.code for one in read(own).warnings}
    noise = np.random.default_rng(0).normal(1, 0.03, 30)
    off = made(tmp_path, heading, lambda n, d, loss, i: f"{n},{d},{6 * n * d * noise[i]},{loss:.6f}")
    assert "mixed-counting" not in {one.code for one in read(off).warnings}


def test_what_names_and_numbers_give_away(tmp_path: Path) -> None:
    def codes(path: Path, **chosen: str) -> set[str]:
        return {one.code for one in read(path, chosen).warnings}

    plain = made(tmp_path, "params,tokens,loss", lambda n, d, loss, i: f"{n},{d},{loss:.6f}")
    assert codes(plain) == set()
    bare = made(tmp_path, "# Params (excl. emb.),tokens,loss", lambda n, d, loss, i: f"{n},{d},{loss:.6f}")
    assert codes(bare) == {"non-embedding"}
    train = made(tmp_path, "params,tokens,train/loss", lambda n, d, loss, i: f"{n},{d},{loss:.6f}")
    assert codes(train, loss="train/loss") == {"train-loss"}
    assert "loss (loss on training data) is the column train/loss" in read(train).notes
    twins = made(tmp_path, "id,params,tokens,loss", lambda n, d, loss, i: f"{i},{n},{d},{loss:.6f}")
    twins.write_text(
        twins.read_text() + "\n" + "\n".join(f"9{row}" for row in twins.read_text().split("\n")[1:6])
    )
    assert codes(twins) == {"same-numbers"}
    epochs = made(tmp_path, "params,tokens_per_epoch,loss", lambda n, d, loss, i: f"{n},{d},{loss:.6f}")
    with pytest.raises(
        LawError, match="tokens_per_epoch is of one epoch: write a column of it times the epochs"
    ):
        read(epochs)


def test_a_law_of_one_size_takes_compute_that_the_file_does_not_say(tmp_path: Path) -> None:
    path = made(tmp_path, "params,tokens,loss", lambda n, d, loss, i: f"{n},{d},{loss:.6f}")
    found = read(path, {"x": "c"}, wanted=("x", "loss"))
    np.testing.assert_array_equal(found.points["x"], 6 * found.points["n"] * found.points["d"])
    assert found.columns["x"].name == "c"
    with pytest.raises(LawError, match="has no column for d"):
        read(csv(tmp_path, "size,loss\n1,3\n2,2"), {"x": "c"}, wanted=("x", "loss"))
