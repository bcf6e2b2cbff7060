"""The address: where it listens, by what it may be called, what is missing."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from danlu.cli.main import app
from danlu.lab.errors import LabError
from danlu.watch import serve
from danlu.watch.guard import LOOPBACK, Keys
from tests.lab.reading.folders import make_run


def test_a_loopback_address_needs_no_name() -> None:
    assert serve.names_of("127.0.0.1", None) == LOOPBACK
    assert serve.names_of("::1", "lab.local") == (*LOOPBACK, "lab.local")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_all_addresses_are_refused_without_a_name(host: str) -> None:
    with pytest.raises(LabError, match="--name MACHINE"):
        serve.names_of(host, None)
    assert serve.names_of(host, "lab.local") == (*LOOPBACK, "lab.local")


def test_one_address_is_its_own_name() -> None:
    assert serve.names_of("192.168.1.5", None)[-1] == "192.168.1.5"
    assert serve.names_of("fd00::5", None)[-1] == "[fd00::5]"


@pytest.mark.parametrize("name", ["http://lab", "lab:80", "a b", "", "lab/x", "é"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(LabError, match="no name of a machine"):
        serve.names_of("0.0.0.0", name)


def test_a_port_that_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(LabError, match=f"port {port} .*in use"):
            serve.listen("127.0.0.1", port)


def test_without_a_port_the_next_free_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setattr(serve, "PORT", other.getsockname()[1])
        with serve.listen("127.0.0.1", None) as found:
            assert 0 < found.getsockname()[1] - serve.PORT < serve.TRIES


def test_what_is_printed() -> None:
    keys = Keys()
    lines = list(serve.said(keys, 8765, LOOPBACK, "127.0.0.1"))
    assert lines[0] == f"http://127.0.0.1:8765/?token={keys.token}"
    assert "ssh -L 8765:127.0.0.1:8765 " in lines[1]
    assert not any("encrypted" in line for line in lines)
    lines = list(serve.said(keys, 8765, (*LOOPBACK, "lab.local"), "0.0.0.0"))
    assert f"http://lab.local:8765/?token={keys.token}" in lines and "not encrypted" in lines[2]


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "PACKAGES", ("no_such_package", "jinja2"))
    done = CliRunner().invoke(app, ["watch"])
    assert isinstance(done.exception, LabError)
    assert str(done.exception) == "danlu watch needs no_such_package: pip install 'danlu[watch]'"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["watch", str(tmp_path / "nothing")])
    assert "is not a folder" in str(done.exception)


def without(modules: str, code: str) -> None:
    """That none of these are imported by this code."""
    code += f"; import sys; sys.exit([name for name in {modules.split()} if name in sys.modules] or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_pages_never_import_torch() -> None:
    every = "from danlu.watch import app; [app.loaded(name) for _, name, _ in app.ROUTES]"
    without("torch optuna", f"{every}; from danlu.watch import serve")


def test_the_list_of_runs_needs_no_specifications(tmp_path: Path) -> None:
    """They take longer to import than all else that it takes to show it."""
    make_run(tmp_path / "runs" / "a")
    get = f"client(pathlib.Path({str(tmp_path)!r})).get('/')"
    code = f"import pathlib; from tests.watch.pages import client; assert 'runs/a' in {get}.text"
    without("danlu.spec pydantic numpy", code)
