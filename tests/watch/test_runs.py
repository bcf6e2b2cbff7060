"""The list of runs: the filter words of the CLI, state in the address, pages, nothing taken for HTML."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from danlu.watch import runs
from danlu.watch.place import FRESH, Place, id_of
from tests.lab.reading.folders import make_run
from tests.watch.pages import Page, client, page


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k in range(6):
        lr = (1e-3, 1e-2)[k % 2]
        make_run(
            tmp_path / "runs" / f"run-{k}", f"nano train.seed={k // 2} optimizer.lr={lr}", [3.0, 2 + k / 10]
        )
    make_run(tmp_path / "studies" / "runs" / "other", "nano optimizer.lr=0.1", [4.0], finished=False)
    return tmp_path


def names(found: Page) -> list[str]:
    return [row[1] for table in found.tables for row in table[1:]]


def test_all_runs_are_listed(folder: Path) -> None:
    found = page(folder, "/")
    assert sorted(names(found)) == [*(f"runs/run-{k}" for k in range(6)), "studies/runs/other"]
    head = found.tables[0][0]
    assert head[1:3] == ["run", "state"] and {"lr", "seed", "best"} <= set(head)
    row = next(row for row in found.tables[0] if row[1] == "studies/runs/other")
    assert row[2] == "stopped" and row[head.index("lr")] == "0.1"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("where=lr%3E5e-3", ["runs/run-1", "runs/run-3", "runs/run-5", "studies/runs/other"]),
        ("where=lr%3E5e-3&where=state%3Dfinished", ["runs/run-1", "runs/run-3", "runs/run-5"]),
        ("where=seed%3D2", ["runs/run-4", "runs/run-5"]),
        ("where=name~other", ["studies/runs/other"]),
        ("where=lr%3E9", []),
    ],
)
def test_filters_are_those_of_the_cli(folder: Path, query: str, expected: list[str]) -> None:
    assert sorted(names(page(folder, f"/?{query}"))) == expected


def test_sorted_by_the_best_and_the_other_way(folder: Path) -> None:
    found = page(folder, "/?sort=best&where=state%3Dfinished")
    assert names(found) == [f"runs/run-{k}" for k in range(6)]
    assert [at for at in found.all("th", scope="col") if at.get("aria-sort") == "ascending"]
    assert names(page(folder, "/?sort=-best&where=state%3Dfinished")) == [
        f"runs/run-{k}" for k in (5, 4, 3, 2, 1, 0)
    ]


def test_the_address_restores_what_was_asked(folder: Path) -> None:
    found = page(folder, "/?where=lr%3E5e-3&sort=-best&columns=best%2Clr&group=1")
    values = {at["name"]: at.get("value") for at in reversed(found.all("input")) if at.get("name")}
    assert (values["where"], values["sort"], values["columns"]) == ("lr>5e-3", "-best", "best,lr")
    assert found.all("input", name="group")[0].keys() >= {"checked"}
    assert found.tables[0][0][1:] == ["runs", "best", "lr", "n"]


def test_seeds_together(folder: Path) -> None:
    found = page(folder, "/?group=1&where=state%3Dfinished")
    assert len(found.tables[0]) == 3 and "2 groups of seeds" in found.text
    assert [row[2] for row in found.tables[0][1:]] == ["3", "3"]


@pytest.mark.parametrize(
    "where", ["lr", "lr>", "nonsense=1", "__import__('os')=1", "lr>abc", "=", "lr>1e-3; rm -rf"]
)
def test_a_filter_that_cannot_be_meant_is_said(folder: Path, where: str) -> None:
    answer = client(folder).get("/", params={"where": where})
    assert answer.status_code == 400 and Page(answer.text).all("div", role="alert")
    assert where in [at.get("value") for at in Page(answer.text).all("input", name="where")]


def test_pages(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "PAGE", 3)
    seen = []
    address = "/?sort=name"
    for _ in range(3):
        found = page(folder, address)
        seen += names(found)
        further = found.all("a", rel="next")
        address = further[0]["href"] or "" if further else ""
    assert address == "" and seen == sorted(seen) and len(seen) == 7
    assert names(page(folder, "/?page=99")) == [] and names(page(folder, "/?page=-1")) != []


def test_names_are_never_html(tmp_path: Path) -> None:
    bad = "<img src=x onerror=alert(1)>\u202egnp"
    make_run(tmp_path / "runs" / bad)
    make_run(tmp_path / "runs" / "b", "nano optimizer.lr=0.5")
    text = client(tmp_path).get("/").text
    assert not [at for at in Page(text).all("img") if "onerror" in at]
    assert "<img src=x" not in text and "\u202e" not in text and "\\u202e" in text
    assert client(tmp_path).get("/", params={"where": f"name~{bad}"}).status_code == 200
    run = client(tmp_path).get(f"/run/{id_of(tmp_path / 'runs' / bad)}").text
    assert "<img src=x" not in run and "\u202e" not in run


def test_only_what_changed_is_another_object(folder: Path) -> None:
    """A run that is as it was has parsed its fields, and nobody looks more often than once a second."""
    now = [0.0]
    place = Place(folder, clock=lambda: now[0])
    first, version = {run.path: run for run in place.runs()}, place.version()
    going = folder / "studies" / "runs" / "other"
    with open(going / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 9, "tokens": 576, "seconds": 7.0, "loss": 1.5}\n')
    assert place.runs() == list(first.values()) and place.version() == version  # still fresh
    now[0] = FRESH
    again = {run.path: run for run in place.runs()}
    assert [path for path in again if first[path] is not again[path]] == [going]
    assert again[going].steps == 9 and place.version() == version + 1
    now[0] = 2 * FRESH
    assert all(again[run.path] is run for run in place.runs()) and place.version() == version + 1


def test_addresses_name_no_paths(folder: Path) -> None:
    outside = make_run(folder.parent / f"{folder.name}-outside" / "secret")
    there = client(folder)
    for name in ("../secret", "%2e%2e%2fsecret", str(outside), "C:\\x", id_of(outside), "run-0", "%00"):
        assert there.get(f"/run/{name}").status_code == 404
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/static/..%2fapp.py"):
        assert there.get(path).status_code == 404


@pytest.mark.parametrize("file", ["metrics.jsonl", "summary.json", "experiment.yaml"])
def test_a_link_out_of_the_folder_is_not_followed(folder: Path, file: str) -> None:
    secret = folder.parent / f"{folder.name}-secret"
    secret.write_text(json.dumps({"step": 1, "loss": math.pi}) + "\nroot:x:0:0\n")
    run = folder / "runs" / "run-0"
    assert client(folder).get(f"/run/{id_of(run)}").status_code == 200
    (run / file).unlink()
    os.symlink(secret, run / file)
    assert client(folder).get(f"/run/{id_of(run)}").status_code == 404
    assert client(folder).get(f"/run/{id_of(run)}/curve.svg").status_code == 404
    os.symlink(secret.parent, folder / "runs" / "elsewhere")  # nor is a folder's
    make_run(secret.parent / f"{folder.name}-x")
    assert len(names(page(folder, "/"))) == 7


def test_one_folder_of_runs_alone(folder: Path) -> None:
    assert len(names(page(folder / "runs", "/"))) == 6
    assert "No run fits" in page(folder / "runs" / "run-0" / "..", "/?where=lr%3E9").text
