"""What the arms are, and that nothing of the user's is touched."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from danlu.files.json import read_json
from danlu.lab.errors import LabError
from danlu.lab.referee.git import Repository
from danlu.lab.referee.inputs import Inputs
from tests.lab.referee.program import NOISY, PYTHON, answer, git, make, plan, state


def repository(folder: Path) -> Repository:
    return Repository(folder, folder.parent / "studies" / "referee.git")


def test_nothing_of_the_users_is_touched(tmp_path: Path) -> None:
    """A staged change, one that is not staged, a new file, an ignored one that is an input, a run that writes
    wherever it can: every byte and time stays, those of git too, and what git says of the folder."""
    messy = f"{NOISY}\nfor name in ('new', 'train.py', 'data.bin', 'junk/x'):\n"
    messy += "    import os; os.makedirs('junk', exist_ok=True)\n"
    messy += "    if name != 'data.bin': open(name, 'a').write('# x')\n"
    folder = make(tmp_path / "p", train_py=messy, _gitignore="*.bin\n", other_py="1")
    (folder / "other.py").write_text("2")
    git(folder, "add", "other.py")
    (folder / "train.py").write_text(messy + "\n# changed\n")
    (folder / "untracked.py").write_text("3")
    (folder / "data.bin").write_bytes(b"data")
    said = [git(folder, *words.split()) for words in ("status --porcelain --ignored", "worktree list", "log")]
    before = state(folder)
    found = answer(folder, arms={"base": {"git": "main"}, "idea": {"git": "."}}, inputs=["*.bin"])
    assert found.outcome == "answered"
    assert state(folder) == before
    again = [
        git(folder, *words.split()) for words in ("status --porcelain --ignored", "worktree list", "log")
    ]
    assert again == said


def test_the_trees_of_arms(tmp_path: Path) -> None:
    """A branch, what git tracks as it is in the folder, a diff over either; what git was not told of is
    out, and so is what is no part of the program."""
    folder = make(tmp_path / "p", a_py="1\n", _gitignore="*.bin\n")
    git(folder, "checkout", "-qb", "other")
    (folder / "b.py").write_text("2\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "second")
    git(folder, "checkout", "-q", "main")
    (folder / "a.py").write_text("3\n")
    (folder / "c.bin").write_text("")
    (folder / "d.py").write_text("4\n")
    found = repository(folder)
    assert found.files(found.tree("other")) == [".gitignore", "a.py", "b.py"]
    here = found.working_tree()
    assert found.files(here) == [".gitignore", "a.py"] and found.untracked() == ["d.py"]
    assert found.differing(found.tree("main"), here) == ["a.py"]
    git(folder, "add", "-N", "d.py")
    assert found.files(found.working_tree()) == [".gitignore", "a.py", "d.py"] and not found.untracked()
    assert found.files(found.without(found.working_tree(), [folder / "d.py", tmp_path])) == [
        ".gitignore",
        "a.py",
    ]
    git(folder, "reset", "-q", "d.py")
    assert found.untracked([folder / "d.py"]) == []
    patch = tmp_path / "x.diff"
    patch.write_text(git(folder, "diff"))
    laid = found.patched(found.tree("other"), patch)
    assert found.differing(found.tree("other"), laid) == ["a.py"]
    patch.write_text("--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-7\n+8\n")
    with pytest.raises(LabError, match=r"x\.diff does not fit the tree that it is laid over: a\.py"):
        found.patched(laid, patch)
    with pytest.raises(LabError, match=r"'othr' is nothing that .* knows; did you mean other"):
        found.tree("othr")
    with pytest.raises(LabError, match="is in no git repository"):
        repository(tmp_path)


def test_an_idea_as_a_patch_over_a_patch_for_all(tmp_path: Path) -> None:
    """The program has a fixed seed: a diff for all arms gives it one, without which there is no verdict."""
    apart = NOISY.replace("print(", "#\n#\nprint(")  # git merges what is not on neighbouring lines
    fixed = apart.replace('words.add_argument("--seed", type=int)\n', "").replace("given.seed", "1337")
    folder = make(tmp_path / "p", train_py=fixed)
    run = f"{PYTHON} train.py {{set}}"
    assert "fixed seed" in answer(folder, run=run).why
    (folder / "train.py").write_text(apart)
    (tmp_path / "seed.diff").write_text(git(folder, "diff"))
    git(folder, "checkout", "-q", "train.py")
    (folder / "train.py").write_text(fixed.replace("1 + noise", "9 + noise"))
    (tmp_path / "idea.diff").write_text(git(folder, "diff"))
    git(folder, "checkout", "-q", "train.py")
    (finding,) = answer(folder, patch="seed.diff", arms={"base": {}, "idea": {"patch": "idea.diff"}}).findings
    assert finding.verdict == "worse" and finding.interval.value == pytest.approx(8)


def test_a_program_in_a_folder_of_its_repository(tmp_path: Path) -> None:
    """Patterns and inputs are relative to it; protected files above may differ."""
    top = make(tmp_path / "top", readme_md="1")
    folder = top / "sub"
    folder.mkdir()
    (folder / "train.py").write_text(f"{NOISY}\nassert open('data.txt').read() == 'data'\n")
    (folder / ".gitignore").write_text("data.txt\n")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "second")
    (folder / "data.txt").write_text("data")
    (top / "readme.md").write_text("2")
    arms = {"base": {"git": "main"}, "idea": {"git": ".", "set": "--worse 1"}}
    found = answer(top, folder="top/sub", arms=arms, inputs=["data.txt"], protect=["*.py"])
    assert found.outcome == "answered" and found.findings[0].verdict == "worse"
    with pytest.raises(LabError, match=r"protect: '\*\.md' names no file of base"):
        answer(top, folder="top/sub", arms=arms, inputs=["data.txt"], protect=["*.md"])
    with pytest.raises(LabError, match=r"inputs: 'dat\.txt' names no file"):
        answer(top, folder="top/sub", arms=arms, inputs=["dat.txt"])


def test_setup_is_run_once_in_each_tree(tmp_path: Path) -> None:
    """Arms of equal files share it; what it makes stays while runs come and go."""
    setup = "import os; open('made.txt', 'x').write('1')\n"
    train = f"{NOISY}\nimport os; assert open('made.txt').read() == '1'; open('left.txt', 'x')\n"
    folder = make(tmp_path / "p", train_py=train, setup_py=setup)
    arms = {"base": {}, "words": {"set": "--worse 1"}, "idea": {"patch": "idea.diff"}}
    (folder / "train.py").write_text(f"{train}print()\n")
    (tmp_path / "idea.diff").write_text(git(folder, "diff"))
    git(folder, "checkout", "-q", "train.py")
    found = answer(folder, arms=arms, setup=f"{PYTHON} setup.py")
    assert [f.verdict for f in found.findings] == ["worse", "not shown"]
    assert found.findings[1].why == "loss is the same in every pair: the change does nothing here"
    assert len(list((found.study.path / "trees").iterdir())) == 2
    assert not (folder / "made.txt").exists()
    broken = answer(folder, arms=arms, setup=f"{PYTHON} -c 'raise SystemExit(3)'")
    assert broken.outcome == "failed" and broken.why.startswith("setup failed: exit code 3")
    cheats = f"{PYTHON} -c \"open('setup.py', 'a').write('#')\""
    void = answer(folder, arms=arms, setup=cheats, protect=["setup.py"])
    assert void.outcome == "void" and void.why == "setup changed setup.py, which is protected"


def test_a_run_that_writes_to_its_input(tmp_path: Path) -> None:
    """The user's stays, and so does the copy, unless a run writes through its link."""
    folder = make(
        tmp_path / "p", train_py=f"import os\n{NOISY}\nos.remove('d.bin'); open('d.bin', 'w').write('x')"
    )
    (folder / ".git" / "info" / "exclude").write_text("*.bin\n")
    (folder / "d.bin").write_text("data")
    found = answer(folder, inputs=["d.bin"])
    assert found.outcome == "answered"  # it replaced the link, which is put back
    (link,) = found.study.path.glob("trees/*/files/d.bin")
    assert link.is_symlink() and link.read_text() == "data"
    (folder / "train.py").write_text(
        f"import os\n{NOISY}\nos.chmod('d.bin', 0o644); open('d.bin', 'w').write('x')"
    )
    found = answer(folder, inputs=["d.bin"])
    assert found.outcome == "void" and "changed the input" in found.why
    assert (folder / "d.bin").read_text() == "data"


def test_what_a_run_leaves_is_not_there_for_the_next(tmp_path: Path) -> None:
    """A checkpoint that it would go on from, ignored by git; a file of the program that it changes."""
    resumes = "import os\nif os.path.exists('ckpt'): raise SystemExit('resumed')\nopen('ckpt', 'w')\n"
    resumes += "assert open('count.txt').read() == ''\nopen('count.txt', 'w').write('1')\n"
    folder = make(tmp_path / "p", train_py=resumes + NOISY, _gitignore="ckpt\n", count_txt="")
    assert answer(folder).outcome == "answered"


def test_an_edit_is_another_question(tmp_path: Path) -> None:
    """By content: what was run for one tree is not taken for another; the same content is found again."""
    folder = make(tmp_path / "p", train_py=NOISY)
    first = answer(folder)
    (folder / "train.py").write_text(NOISY.replace("1 + noise", "2 + noise"))
    second = answer(folder)
    assert first.study.path != second.study.path
    git(folder, "checkout", "-q", "train.py")
    os.utime(folder / "train.py")
    again = answer(folder)
    assert again.study.path == first.study.path
    assert [r.folder for r in again.findings[0].sides.baseline] == [
        r.folder for r in first.findings[0].sides.baseline
    ]


def test_what_a_record_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tree, command, variables, tails; no secret."""
    monkeypatch.setenv("WANDB_API_KEY", "hush")
    monkeypatch.setenv("MY_SETTING", "7")
    monkeypatch.setenv("OTHER", "8")
    shown = f"{NOISY}\nimport os, sys\nassert 'OTHER' not in os.environ and os.environ['WANDB_API_KEY']\n"
    folder = make(tmp_path / "p", train_py=shown + "print('end', file=sys.stderr)")
    found = answer(folder, env=["MY_SETTING", "WANDB_API_KEY"])
    assert found.findings, found.why
    record = read_json(Path(found.findings[0].sides.variant[0].folder) / "record.json")
    about = record["about"]
    assert about["argv"][1:] == ["train.py", "--seed", str(about["seed"]), "--worse", "1"]
    assert about["environment"]["MY_SETTING"] == "7" and about["environment"]["WANDB_API_KEY"] == "(secret)"
    assert record["stderr"] == "end\n" and record["stdout"].startswith("loss ") and record["end"] == "ended"
    text = [path.read_text(errors="replace") for path in found.study.path.rglob("*") if path.is_file()]
    assert not any("hush" in one for one in text)


def test_a_package_that_is_imported_from_the_users_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By PYTHONPATH: each arm has its own. Installed in place: every arm would run the same code."""
    uses = NOISY.replace("1 + noise", "lib.BASE + noise").replace("import argparse", "import lib, argparse")
    folder = make(tmp_path / "p", train_py=uses)
    (folder / "src").mkdir()
    (folder / "src" / "lib.py").write_text("BASE = 1\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "second")
    (folder / "src" / "lib.py").write_text("BASE = 3\n")
    monkeypatch.setenv("PYTHONPATH", f"{folder / 'src'}{os.pathsep}{tmp_path / 'site'}")
    arms = {"base": {"git": "main"}, "idea": {"git": "."}}
    (finding,) = answer(folder, arms=arms).findings
    assert finding.verdict == "worse" and finding.interval.value == pytest.approx(2)
    about = tmp_path / "site" / "lib-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lib\nVersion: 1.0\n")
    origin = {"url": (folder / "src").as_uri(), "dir_info": {"editable": True}}
    (about / "direct_url.json").write_text(json.dumps(origin))
    found = answer(folder, arms=arms)
    assert found.outcome == "void" and found.why.startswith(
        f"Python imports lib from {folder / 'src'}, your own"
    )


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = plan(make(tmp_path / "p", train_py=NOISY))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(LabError, match="needs git"):
        repository(file.parent / "p")


def test_inputs_are_known_by_their_places(tmp_path: Path) -> None:
    """Two files of one name whose contents change places make another question; a project that is moved with
    all its inputs makes none."""

    def digest(folder: Path, train: str, val: str) -> str:
        for name, text in (("train", train), ("val", val), ("../beside", "both")):
            place = folder / name / "data.bin"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        return Inputs(["*/data.bin", "../beside/data.bin"], folder).digest

    first = digest(tmp_path / "a" / "p", "1", "2")
    assert digest(tmp_path / "a" / "p", "2", "1") != first
    assert digest(tmp_path / "b" / "p", "1", "2") == first
