import os
import signal
import subprocess
import sys

import pytest

from danlu.files.lock import Held
from danlu.spec import resolve
from danlu.spec.replay import to_yaml
from danlu.train.errors import RunError
from danlu.train.folder import RunFolder, new_run
from tests.train import small

HOLD = """
import sys
from danlu.train.folder import RunFolder
run = RunFolder.create_or_open(sys.argv[1], "a: 1\\n")
print("held", flush=True)
sys.stdin.read()
"""


def hold(path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_and_told_who_holds_the_folder(tmp_path):
    process = hold(tmp_path / "run")
    try:
        with pytest.raises(Held, match=f"in use by process {process.pid} on "):
            RunFolder.create_or_open(tmp_path / "run", "a: 1\n")
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with RunFolder.create_or_open(tmp_path / "run", "a: 1\n"):  # kill -9 has freed it
        pass


def test_a_forked_child_that_outlives_the_run_does_not_hold_the_lock(tmp_path):
    run = RunFolder.create_or_open(tmp_path / "run", "a: 1\n")
    ready, said = os.pipe()
    wait, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go)
        os.write(said, b"!")
        os.read(wait, 1)  # until the parent closes its end
        os._exit(0)
    try:
        os.read(ready, 1)
        run.close()
        RunFolder.create_or_open(tmp_path / "run", "a: 1\n").close()
    finally:
        os.close(go)
        os.waitpid(child, 0)
        for handle in (ready, said, wait):
            os.close(handle)


def test_the_same_experiment_is_opened_again_and_another_refused(tmp_path):
    RunFolder.create_or_open(tmp_path, "model: a\nsteps: 1\n").close()
    RunFolder.create_or_open(tmp_path, "model: a\nsteps: 1\n").close()
    with pytest.raises(RunError, match="it says 'steps: 1', this one 'steps: 2'"):
        RunFolder.create_or_open(tmp_path, "model: a\nsteps: 2\n")
    with pytest.raises(RunError, match="only one of the two says 'seed: 1'"):
        RunFolder.create_or_open(tmp_path, "model: a\nsteps: 1\nseed: 1\n")
    with pytest.raises(RunError, match="1, not 2"):
        RunFolder.create_or_open(tmp_path, "steps: 2\n", difference=lambda old, new: "train.steps = 1, not 2")
    RunFolder.create_or_open(tmp_path, "steps: 2\n", difference=lambda old, new: "").close()
    assert (tmp_path / "experiment.yaml").read_text() == "model: a\nsteps: 1\n"


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("chapter")
    with pytest.raises(RunError, match=r"thesis\.tex"):
        RunFolder.create_or_open(tmp_path, "a: 1\n")
    assert not (tmp_path / "experiment.yaml").exists()


def test_opening_removes_what_killed_processes_left(tmp_path):
    RunFolder.create_or_open(tmp_path, "a: 1\n").close()
    (tmp_path / ".0123456789abcdef.writing").write_text("{")
    os.utime(tmp_path / ".0123456789abcdef.writing", (1, 1))
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / ".fedcba9876543210.writing").write_text("<svg")
    os.utime(tmp_path / "samples" / ".fedcba9876543210.writing", (1, 1))
    (tmp_path / "checkpoints" / ".writing-step-5").mkdir(parents=True)
    (tmp_path / "checkpoints" / ".mine").mkdir()
    RunFolder.create_or_open(tmp_path, "a: 1\n").close()
    kept = sorted(p.name for p in tmp_path.iterdir())
    assert kept == [".lock", "checkpoints", "experiment.yaml", "samples"]
    assert not list((tmp_path / "samples").iterdir())
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == [".mine"]


def test_new_runs_get_names_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda _: "20260102-030405")
    names = [new_run(tmp_path / "runs", "lm/tiny model").name for _ in range(3)]
    stem = "lm-tiny-model-20260102-030405"
    assert names == [stem, f"{stem}-2", f"{stem}-3"]
    RunFolder.create_or_open(tmp_path / "runs" / stem, "a: 1\n").close()  # empty: may become a run


def test_no_torch():
    code = "import danlu.train.folder, danlu.train.metrics, danlu.train.clock, danlu.train.environment, sys"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], check=True)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"experiment.yaml": "valuable: 1\n"}, "holds 'experiment.yaml', which is no experiment"),
        (
            {"experiment.yaml": "valuable: 1\n", "metrics.jsonl": "my own rows\n"},
            "holds 'metrics.jsonl' but no",
        ),
        ({"experiment.yaml": "\x00"}, "holds 'experiment.yaml', which is no experiment"),
    ],
)
def test_a_folder_of_somebodys_own_is_left_alone(tmp_path, files, said):
    """Its files only have the names that a run's have."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(RunError, match=said):
        small.run(small.corpus(tmp_path), folder)
    assert {path.name: path.read_text() for path in folder.iterdir() if path.name[0] != "."} == files


def test_a_run_that_never_began_is_begun_anew_whatever_its_experiment(tmp_path):
    corpus, folder = small.corpus(tmp_path), tmp_path / "run"
    RunFolder.create_or_open(folder, to_yaml(resolve(small.words(corpus, "train.steps=9")))).close()
    assert small.run(corpus, folder, "train.steps=2")["steps"] == 2
