"""``environment.json``: on what a run was carried out, and what of it a resumed run must find again.

Importing this module does not import torch; ``environment`` does.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import danlu
from danlu.code import Recording, differing, edited, loaded, manifest, record
from danlu.files.json import read_json, write_json

# What a bitwise resume stands on: the place in the record, and its name in a sentence.
_MATTERS = {
    ("versions", "torch"): "torch",
    ("versions", "python"): "python",
    ("versions", "numpy"): "numpy",
    ("versions", "danlu"): "danlu",
    ("source", "commit"): "the commit of danlu's source",
    ("cpu", "model"): "the processor",
    ("cpu", "capability"): "the instruction set that torch uses",
    ("cpu", "threads"): "the number of threads",
    ("devices",): "the devices",
    ("cuda", "version"): "CUDA",
    ("cuda", "cudnn"): "cuDNN",
    ("processes",): "the number of processes",
    ("settings", "deterministic"): "torch's deterministic setting",
    ("settings", "float32_precision"): "the precision of float32 products",
    ("data",): "the data",
}
_OF_CODE = (("versions", "danlu"), ("source", "commit"))
NOT_BITWISE = ", so the run goes on, but not bit for bit"
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_tile", "bf16", "sve", "i8mm")
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ATEN_CPU_CAPABILITY", "CUBLAS_WORKSPACE_CONFIG",
              "CUDA_VISIBLE_DEVICES", "TORCH_LOGS")  # fmt: skip


def environment(dataset_record: Mapping[str, Any], choices: Mapping[str, Any]) -> dict[str, Any]:
    """What ``environment.json`` records; a JSON object. Never fails for what it cannot find out.

    ``dataset_record``: the data's names and hashes. ``choices``: what was left to danlu and how it
    was settled (kernels, compilation, precision, threads); a resumed run takes them from here.
    """
    import torch

    source = Path(danlu.__file__).parents[1]
    cuda = torch.cuda.is_available()
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": list(sys.argv),
        "folder": os.getcwd(),
        "versions": {"python": platform.python_version(), "danlu": danlu.__version__}
        | {name: _version(name) for name in ("torch", "numpy", "safetensors", "pydantic")},
        "code": record({}),
        "source": git(source) if (source / ".git").exists() else None,  # not of a repository around a .venv
        "git": git(Path.cwd()),
        "machine": platform.node(),
        "system": platform.platform(),
        "cpu": {
            **_processor(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
        },
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else [],
        "cuda": {"version": torch.version.cuda, "cudnn": torch.backends.cudnn.version()} if cuda else None,
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "settings": {
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "float32_precision": _float32_precision(),
            "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        },
        "data": dict(dataset_record),
        "choices": dict(choices),
    }


def write_code(path: Path, recording: Recording) -> list[str]:
    """Say in ``environment.json`` at ``path``, where there is one, which code the run has used so far: see
    ``danlu.code.verdict``. Returns the files that were edited meanwhile."""
    if not path.exists():
        return []
    said = read_json(path)
    code = record(recording.files, said.get("code"))
    write_json(path, {**said, "code": code})
    return edited(code)


def differs(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Sentences on what a bitwise resume needs and no longer finds; none if all is as it was.

    ``old``: as read from ``environment.json``. ``new``: of this process.
    """
    matters = _MATTERS
    sentences = []
    if manifest(old.get("code")):  # by which it is known better than by versions
        matters = {place: name for place, name in _MATTERS.items() if place not in _OF_CODE}
        changed = differing(old["code"], loaded())
        if changed:
            sentences.append(f"the code of {', '.join(changed)} was changed since the run began{NOT_BITWISE}")
    found = {name: (_at(old, place), _at(new, place)) for place, name in matters.items()}
    before, now = old.get("choices") or {}, new.get("choices") or {}
    for name in sorted({*before, *now}):
        found[f"the choice of {name}"] = (before.get(name), now.get(name))
    return sentences + [
        f"{name}: {_say(was)} before, {_say(here)} now{NOT_BITWISE}"
        for name, (was, here) in found.items()
        if _listed(was) != _listed(here)
    ]


def git(folder: Path, timeout: float = 1.0) -> dict[str, Any] | None:
    """Root, commit and dirtiness of the checkout that holds ``folder``; None if it is in none.

    None too if git is missing or takes longer than ``timeout`` seconds.
    """
    root = next((place for place in (folder, *folder.parents) if (place / ".git").exists()), None)
    if root is None:
        return None
    # One call gives both. Untracked files are left out: looking for them can take long.
    command = ["status", "--porcelain=v2", "--branch", "--untracked-files=no", "--ignore-submodules=all"]
    try:
        filters = _git(root, ["config", "--null", "--name-only", "--get-regexp", "^filter[.]"], timeout)
        without = {
            name: "false" if name.endswith(".required") else "" for name in filters.split("\0") if name
        }
        said = _git(root, command, timeout, without)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    lines = said.splitlines()
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid ")), None)
    return {"root": str(root), "commit": commit, "dirty": any(not line.startswith("#") for line in lines)}


def _git(root: Path, command: list[str], timeout: float, without: Mapping[str, str] | None = None) -> str:
    """What git says in a checkout that anybody may have made: nothing that its configuration names is run
    (``core.fsmonitor``, hooks, remotes' commands), nor what ``without`` sets to nothing."""
    settings = {"core.fsmonitor": "false", "core.hooksPath": os.devnull, **(without or {})}
    said = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings.items()):
        said |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    done = subprocess.run(
        ["git", "-C", str(root), *command],
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        env={
            **os.environ,
            **said,
            "GIT_OPTIONAL_LOCKS": "0",  # never in the way of the user's own git
            "GIT_ALLOW_PROTOCOL": "none",  # a partial clone may fetch what it lacks, by any command
            "GIT_NO_LAZY_FETCH": "1",
        },
    )
    if done.returncode and command[0] != "config":  # which has nothing to say where there is no filter
        done.check_returncode()
    return done.stdout


def _float32_precision() -> str:
    """Of products of float32 matrices on a GPU: ``highest``, or what a program set by either of PyTorch's two
    ways of setting it."""
    import torch

    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # set by the newer of the two: the older one refuses to answer
        return str(torch.backends.cuda.matmul.fp32_precision)


def _version(name: str) -> str | None:
    """The imported module's version where there is one: what is running, not what is installed."""
    running = getattr(sys.modules.get(name), "__version__", None)
    try:
        return str(running or metadata.version(name))
    except metadata.PackageNotFoundError:
        return None


def _processor() -> dict[str, Any]:
    """Name and relevant flags of the first processor, as Linux gives them."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        lines = text.split("\n\n")[0].splitlines()
    except OSError:
        return {"model": platform.processor() or platform.machine(), "flags": []}
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = set((facts.get("flags") or facts.get("Features") or "").split())
    return {
        "model": facts.get("model name") or platform.machine(),
        "flags": [flag for flag in _FLAGS if flag in flags],
    }


def _at(record: Any, place: tuple[str, ...]) -> Any:
    for key in place:
        record = record.get(key) if isinstance(record, Mapping) else None
    return record


def _listed(value: Any) -> Any:
    """As JSON gives it back: lists for tuples."""
    if isinstance(value, Mapping):
        return {str(key): _listed(inner) for key, inner in value.items()}
    return [_listed(inner) for inner in value] if isinstance(value, list | tuple) else value


def _say(value: Any) -> str:
    text = "none" if value in (None, [], {}) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
