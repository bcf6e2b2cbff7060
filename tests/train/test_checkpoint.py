import json
import os
import shutil
import signal
from collections import namedtuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from danlu.files.errors import FileError
from danlu.train import store, whole
from danlu.train.checkpoint import load, save
from danlu.train.errors import RunError
from danlu.train.store import latest_step, list_steps, prune, step_folder


def example(step):
    return {"model": {"w": torch.full((4, 3), float(step)), "n": torch.tensor(step)}, "optimizer": {}}


def saved(tmp_path, *which, **options):
    for step in which:
        save(tmp_path, step, example(step), {"step": step}, **options)


def same(one, other):
    """Equal as bits, so that a NaN equals itself."""
    assert one.dtype == other.dtype and one.shape == other.shape
    flat = [t.contiguous().reshape(-1).view(torch.uint8) for t in (one, other)]
    assert torch.equal(*flat)


def check(folder, step):
    """The checkpoint is that of `step`, whole."""
    tensors, state = load(folder)
    assert state == {"step": step}
    assert set(tensors) == {"model", "optimizer"} and tensors["optimizer"] == {}
    assert torch.equal(tensors["model"]["w"], example(step)["model"]["w"])


# What comes back is what was saved


def test_all_kinds_of_tensors(tmp_path):
    base = torch.randn(6, 5)
    model = {
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "none": torch.zeros(0, 3),
        "bfloat16": torch.randn(7).bfloat16(),
        "bool": torch.tensor([True, False, True]),
        "int8": torch.tensor([-3], dtype=torch.int8),
        "int64": torch.tensor(2**62 + 1),
        "nan": torch.tensor([float("nan"), -0.0, float("inf")]),
        "parameter": torch.nn.Parameter(torch.randn(2)),
        "base": base,
        "transposed": base.T,
        "strided": base[::2, 1::2],
        "expanded": torch.ones(1).expand(4),
        "rows": base[1:3],
        "conjugate": torch.randn(3, dtype=torch.complex64).conj(),
    }
    save(tmp_path, 3, {"model": model}, {})
    back, _ = load(tmp_path)
    assert back["model"].keys() == model.keys()
    for name, tensor in model.items():
        same(back["model"][name], tensor.detach().resolve_conj())
    # The file is an ordinary safetensors file, of which an older reader knows nothing of us.
    assert load_file(step_folder(tmp_path, 3) / "model.safetensors").keys() == model.keys()


def test_tied_weights_are_written_once_and_come_back_tied(tmp_path):
    layer = torch.nn.Linear(3, 3)
    model = {"embedding": layer.weight, "bias": layer.bias, "readout": layer.weight.detach()}
    save(tmp_path, 1, {"model": model, "averages": {"readout": layer.weight}}, {})
    assert set(load_file(step_folder(tmp_path, 1) / "model.safetensors")) == {"embedding", "bias"}
    back, _ = load(tmp_path)
    assert back["model"]["readout"] is back["model"]["embedding"]
    assert torch.equal(back["averages"]["readout"], layer.weight)


DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]


@settings(max_examples=25, deadline=None)
@given(
    groups=st.dictionaries(
        st.from_regex(r"[a-z][a-z_.0-9]{0,8}", fullmatch=True),
        st.dictionaries(
            st.text(min_size=1).filter(lambda name: name != "__metadata__"),
            st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 4), max_size=3), st.booleans()),
            max_size=4,
        ),
        max_size=3,
    ),
    state=st.dictionaries(st.text(), st.floats() | st.lists(st.integers()), max_size=3),
)
def test_random_tensors(tmp_path_factory, groups, state):
    def make(dtype, shape, turned):
        tensor = (torch.randn(shape) * 3).to(dtype)
        return tensor.transpose(0, -1) if turned and shape else tensor

    folder = tmp_path_factory.mktemp("run")
    tensors = {g: {n: make(*spec) for n, spec in named.items()} for g, named in groups.items()}
    save(folder, 1, tensors, state)
    back, state_back = load(folder)
    assert repr(state_back) == repr(state)
    assert {g: set(named) for g, named in back.items()} == {g: set(named) for g, named in tensors.items()}
    for group, named in tensors.items():
        for name, tensor in named.items():
            same(back[group][name], tensor)


def test_some_groups_only(tmp_path):
    saved(tmp_path, 5)
    (step_folder(tmp_path, 5) / "optimizer.safetensors").unlink()
    tensors, _ = load(tmp_path, only={"model"})  # does not miss what it does not read
    assert set(tensors) == {"model"}
    with pytest.raises(RunError, match=r"has no 'averages'; it has model, optimizer"):
        load(tmp_path, only={"model", "averages"})


def test_loaded_tensors_outlive_the_file(tmp_path):
    saved(tmp_path, 5)
    tensors, _ = load(tmp_path)
    path = step_folder(tmp_path, 5) / "model.safetensors"
    path.write_bytes(b"\0" * path.stat().st_size)
    assert torch.equal(tensors["model"]["w"], example(5)["model"]["w"])


def test_what_cannot_be_saved_is_refused_and_leaves_nothing(tmp_path):
    saved(tmp_path, 5)
    for tensors, state, error in [
        ({"../model": {}}, {}, ValueError),
        ({"model": {"a": torch.zeros(2, dtype=torch.complex128)}}, {}, TypeError),
        ({"model": {}}, {"generator": torch.Generator()}, TypeError),
    ]:
        with pytest.raises(error):
            save(tmp_path, 6, tensors, state)
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["latest", "step-5"]


# Which checkpoints stay, which one is loaded


def test_the_newest_and_the_best_stay(tmp_path):
    saved(tmp_path, 10, 20, 30, 40, keep=2, protect={10})
    assert list_steps(tmp_path) == [10, 30, 40] and latest_step(tmp_path) == 40
    prune(tmp_path, keep=1)
    assert list_steps(tmp_path) == [40]


def test_an_earlier_step_can_be_loaded_and_gone_on_from(tmp_path):
    saved(tmp_path, 10, 20, 30, keep=3)
    assert load(tmp_path, 20)[1] == {"step": 20}
    saved(tmp_path, 25, keep=3)
    assert list_steps(tmp_path) == [10, 20, 25]  # 30 was of the continuation given up
    check(tmp_path, 25)


def test_the_same_step_again_replaces_it(tmp_path):
    saved(tmp_path, 10)
    save(tmp_path, 10, example(10), {"again": True})
    assert load(tmp_path)[1] == {"again": True}
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["latest", "step-10"]


def test_none_and_absent_steps(tmp_path):
    assert latest_step(tmp_path) is None
    with pytest.raises(RunError, match="holds no checkpoint"):
        load(tmp_path)
    saved(tmp_path, 10)
    with pytest.raises(RunError, match=r"step-7 is missing; steps with a checkpoint: 10"):
        load(tmp_path, 7)


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"step": 99}'])
def test_the_pointer_may_be_lost(tmp_path, text):
    saved(tmp_path, 10, 20)
    pointer = tmp_path / "checkpoints" / "latest"
    pointer.unlink() if text is None else pointer.write_text(text)
    check(tmp_path, 20)


# Damage


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("harm", ["missing", "truncated", "altered"])
def test_damage_is_named_with_the_way_out(tmp_path, name, harm):
    saved(tmp_path, 10, 20, 30, keep=3)
    path = step_folder(tmp_path, 30) / name
    data = path.read_bytes()
    if harm == "missing":
        path.unlink()
    elif harm == "truncated":
        path.write_bytes(data[:-5])
    else:
        path.write_bytes(data.replace(b"30", b"31") if name == "state.json" else data[:-1] + b"\7")
    (step_folder(tmp_path, 20) / "model.safetensors").write_bytes(b"")
    with pytest.raises(RunError) as found:
        load(tmp_path)
    message = str(found.value)
    assert str(path) in message and harm in message
    assert f"the checkpoint of step 10 is whole: delete {step_folder(tmp_path, 30)}" in message
    if harm == "altered":
        assert "sha256" in message
    shutil.rmtree(step_folder(tmp_path, 30))  # as told; step 20 is next, and is damaged too
    with pytest.raises(RunError, match="0 found; the checkpoint of step 10 is whole"):
        load(tmp_path)
    shutil.rmtree(step_folder(tmp_path, 20))
    check(tmp_path, 10)


def test_damage_without_a_way_out(tmp_path):
    saved(tmp_path, 10)
    (step_folder(tmp_path, 10) / "model.safetensors").unlink()
    with pytest.raises(RunError, match="no earlier checkpoint is whole"):
        load(tmp_path)


def test_a_record_that_was_forged_to_fit_still_needs_a_real_file(tmp_path):
    saved(tmp_path, 10)
    path = step_folder(tmp_path, 10) / "model.safetensors"
    path.write_bytes(b"not safetensors")
    record = json.loads((path.parent / "state.json").read_text())
    import hashlib

    record["content"]["files"]["model.safetensors"] = {
        "size": 15,
        "sha256": hashlib.sha256(b"not safetensors").hexdigest(),
    }
    record["sha256"] = store._digest(record["content"])
    (path.parent / "state.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match="is not a safetensors file"):
        load(tmp_path)


# Interrupted saving

CALLS = ("open", "fsync", "replace", "rmdir", "unlink", "mkdir")


def counted(monkeypatch, act):
    """Call `act(n)` before the n-th call that touches the disk."""
    count = 0
    for name in CALLS:
        module, real = (os, getattr(os, name))

        def patched(*args, real=real, **kwargs):
            nonlocal count
            count += 1
            act(count)
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, patched)


def survive(folder, monkeypatch, step, moment):
    """In a child process, kill -9 at the given moment of saving; whether it was ever reached."""
    child = os.fork()
    if child == 0:
        counted(monkeypatch, lambda n: n == moment and os.kill(os.getpid(), signal.SIGKILL))
        try:
            save(folder, step, example(step), {"step": step}, keep=1)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("step", [20, 10], ids=["a later step", "the same step"])
def test_kill_9_at_every_moment(tmp_path, monkeypatch, step):
    moment, outcomes = 1, set()
    while True:
        folder = tmp_path / str(moment)
        saved(folder, 10)
        killed = survive(folder, monkeypatch, step, moment)
        store.clean(folder)  # as opening the run's folder does
        outcomes.add(load(folder)[1]["step"])
        check(folder, latest_step(folder))
        saved(folder, 30, keep=1)
        assert sorted(os.listdir(folder / "checkpoints")) == ["latest", "step-30"]
        if not killed:
            break
        moment += 1
    assert moment > 10
    assert outcomes == {10, step}


@pytest.mark.parametrize("step", [20, 10], ids=["a later step", "the same step"])
def test_a_disk_that_fails_at_every_moment(tmp_path, step):
    moment, reached, refused = 1, True, 0
    while reached:
        folder, reached = tmp_path / str(moment), False
        saved(folder, 10)

        def fail(n, moment=moment):
            nonlocal reached
            if n == moment:
                reached = True
                raise OSError(28, "No space left on device")

        with pytest.MonkeyPatch.context() as patch:
            counted(patch, fail)
            try:
                save(folder, step, example(step), {"step": step}, keep=1)
            except FileError as error:
                refused += 1
                assert "disk full while writing" in str(error) and "MB free" in str(error)
                assert not list((folder / "checkpoints").glob(".*"))  # undone at once
        store.clean(folder)
        check(folder, latest_step(folder))
        moment += 1
    assert moment > 10 and refused > 5
    assert latest_step(folder) == step


def test_a_full_disk_says_what_is_needed(tmp_path, monkeypatch):
    saved(tmp_path, 10)

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, data):
            self.file.write(data[:8])
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole, "open", lambda *a, **k: Full(open(*a, **k)), raising=False)  # noqa: SIM115
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1_500_000))
    with pytest.raises(FileError, match=r"disk full .*step-20: needs about 4\.0 MB, 1\.5 MB free; free some"):
        save(tmp_path, 20, {"model": {"w": torch.zeros(1000, 1000)}}, {})
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["latest", "step-10"]
    check(tmp_path, 10)


def test_only_our_leftovers_are_removed(tmp_path):
    folder = tmp_path / "checkpoints"
    for name in (".writing-step-5", ".pruned-step-6", ".replaced-step-10", ".writing-step-x", "notes"):
        (folder / name).mkdir(parents=True)
    saved(tmp_path, 10)
    assert sorted(os.listdir(folder)) == [".writing-step-x", "latest", "notes", "step-10"]


def test_a_reader_does_not_disturb_a_writer(tmp_path):
    saved(tmp_path, 10)
    aside = store.begin(tmp_path, 20)
    load(tmp_path)
    assert aside.is_dir()
