"""What a run's numbers may depend on besides its code: the machine, variables, packages. No secrets."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from fnmatch import fnmatch
from pathlib import Path
from shutil import which
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from danlu.files.lock import Held, Lock
from danlu.files.paths import cache_folder
from danlu.lab.queue import gpus
from danlu.lab.queue.executors import cores

# Variables that a program gets; those of the second line may change its numbers, and are in the key of a run.
PASSED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_*", "TZ", "TMPDIR", "XDG_*", "TERM")
TELLING = (
    "PYTHON*", "VIRTUAL_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH", "LD_PRELOAD", "CUDA*", "CUBLAS_*",
    "NVIDIA_*", "HIP_*", "ROCR_*", "OMP_*", "MKL_*", "OPENBLAS_*", "KMP_*", "NCCL_*", "TORCH*", "PYTORCH_*",
    "TRITON_*", "XLA_*", "JAX_*", "TF_*", "HF_HOME", "HF_HUB_OFFLINE", "TOKENIZERS_PARALLELISM",
)  # fmt: skip
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|AUTH", re.IGNORECASE)
LIST = """
import json, sys
from importlib import metadata
names, elsewhere = set(), {}
for one in metadata.distributions():
    names.add(f"{one.name} {one.version}")
    origin = json.loads(one.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        elsewhere[one.name] = origin["url"]
json.dump([sys.version.split()[0], sorted(names), elsewhere], sys.stdout)
"""


def variables(more: Sequence[str] = ()) -> dict[str, str]:
    """The variables that a program gets: the usual ones, and those named."""
    return _chosen((*PASSED, *TELLING, *more))


def telling(more: Sequence[str] = ()) -> dict[str, str]:
    """Those of them that may change its numbers; a secret's value is left out."""
    found = _chosen((*TELLING, *more))
    return {name: "(secret)" if SECRET.search(name) else value for name, value in found.items()}


def _chosen(patterns: Sequence[str]) -> dict[str, str]:
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if any(fnmatch(name, pattern) for pattern in patterns)
    }


def here() -> str:
    """The kind of machine: processor, cores, GPUs."""
    return f"{system()}, {cores()} cores, {gpus.kinds()}"


def system() -> str:
    """Operating system and processor."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    model = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return f"{platform.system()} {platform.machine()} {model[1] if model else platform.processor()}".strip()


class Packages(NamedTuple):
    """Python's version and packages, and where those are that are imported from a folder of their own."""

    names: list[str]
    elsewhere: dict[str, str]


def packages(argv: Sequence[str], folder: Path, given: Mapping[str, str]) -> Packages:
    """Of the interpreter that a command uses: the command itself, or the one beside it (``torchrun``); empty
    where that is none."""
    found = which(argv[0], path=given.get("PATH")) or os.path.join(folder, argv[0])
    if not os.path.basename(found).startswith("python"):
        found = os.path.join(os.path.dirname(found), "python")
    try:
        said = subprocess.run(
            [found, "-c", LIST], cwd=folder, env=dict(given), capture_output=True, timeout=60, check=True
        ).stdout
        version, names, elsewhere = json.loads(said)
    except (OSError, ValueError, subprocess.SubprocessError):
        return Packages([], {})
    places = {name: unquote(urlsplit(url).path) for name, url in elsewhere.items()}
    return Packages([f"python {version}", *names], places)


def digest(value: object) -> str:
    """Sixteen digits that stand for a value of JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def lock_gpus(tell: Callable[[str], None]) -> ExitStack:
    """Hold the GPUs that the program will see, by their UUIDs, against other referees of this user; waits."""
    held = ExitStack()
    folder = cache_folder() / "gpus"
    for uuid in sorted(gpus.uuids()):
        folder.mkdir(parents=True, exist_ok=True)
        place = folder / f"{uuid}.lock"
        try:
            held.enter_context(Lock(place, wait=0, named=True))
        except Held as error:
            tell(f"waiting for the GPU {uuid}: {error}")
            held.enter_context(Lock(place, named=True))
    return held
