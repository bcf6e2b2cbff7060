"""The server, by the real client of the SDK: in this process, and over stdin and stdout of ``danlu mcp``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp")

import anyio
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import CallToolResult, Implementation

import danlu
from danlu.mcp.server import INSTRUCTIONS, make
from danlu.mcp.tools import TOOLS
from tests.conftest import LIMIT
from tests.lab.reading.folders import make_run
from tests.mcp.small import ON, TRY, server

ME = Implementation(name="tester", version="1")
Talk = Callable[[Client], Awaitable[None]]


def here(talk: Talk, **limits: Any) -> None:
    """Speak with a server in this process."""

    async def main() -> None:
        async with Client(make(server(**limits)), client_info=ME) as client:
            await talk(client)

    anyio.run(main)


def over_stdio(talk: Talk, folder: Path, *options: str) -> None:
    """Speak with ``danlu mcp`` in another process."""

    async def main() -> None:
        command = ["-P", "-m", "danlu", "mcp", "--folder", str(folder), *options]
        said = StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ))
        async with Client(said, client_info=ME) as client:
            await talk(client)

    anyio.run(main)


def answer(result: CallToolResult) -> dict[str, Any]:
    """What a tool answered, the same as text and as data."""
    assert not result.is_error, result.content
    text: Any = result.content[0]
    assert json.loads(text.text) == result.structured_content
    return dict(result.structured_content)


def refusal(result: CallToolResult) -> str:
    """Why a tool refused, in a sentence."""
    text: Any = result.content[0]
    assert result.is_error and result.structured_content == {
        "schema": "danlu.mcp.refused/1",
        "refused": text.text,
    }
    return str(text.text)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_handshake_and_the_list_of_tools(mode: Any) -> None:
    async def main() -> None:
        async with Client(make(server()), client_info=ME, mode=mode) as client:
            assert client.server_info is not None
            assert (client.server_info.name, client.server_info.version) == ("danlu", danlu.__version__)
            assert client.instructions == INSTRUCTIONS
            tools = (await client.list_tools()).tools
            assert [tool.name for tool in tools] == [tool.name for tool in TOOLS] and len(tools) <= 10
            for tool in tools:
                assert tool.input_schema["type"] == "object" and tool.description
            wrote = {tool.name for tool in tools if tool.annotations and not tool.annotations.read_only_hint}
            assert wrote == {"start", "stop", "decide"}

    anyio.run(main)


def test_a_tool_answers_and_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(Path("runs/one"), scores=[3.0, 2.0])

    async def talk(client: Client) -> None:
        (run,) = answer(await client.call_tool("runs", {}))["runs"]
        assert run["run"] == "runs/one" and run["best"]["value"] == 2.0
        assert (
            refusal(await client.call_tool("runs", {"folder": "x"}))
            == "runs: folder: there is no such argument"
        )
        assert "there is no tool run" in refusal(await client.call_tool("run", {}))
        assert "--max-seconds" not in refusal(await client.call_tool("verdict", {"study": "x"}))

    here(talk)


def test_a_defect_is_no_answer_and_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no mistake of the agent's is an error, and the next call is answered."""
    from danlu.mcp import reading

    monkeypatch.setattr(reading, "show", lambda *_: 1 / 0)

    async def talk(client: Client) -> None:
        with pytest.raises(Exception, match=r"."):
            await client.call_tool("show", {})
        assert answer(await client.call_tool("ideas", {"limit": 1}))["ideas"]

    here(talk)


def test_without_the_sdk_one_sentence_says_what_to_install() -> None:
    code = (
        "import sys, importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'mcp' else real(name, *a)\n"
        "from danlu.cli.main import main; main(['mcp'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT)
    assert (done.returncode, done.stdout) == (2, "")
    said = "danlu: the SDK of the Model Context Protocol is not installed: pip install 'danlu[mcp]'\n"
    assert done.stderr == said


def test_help_needs_neither_the_sdk_nor_torch() -> None:
    code = (
        "import sys\nfrom danlu.cli.main import main\n"
        "try: main(['mcp', '--help'])\n"
        "except SystemExit: print(sorted({'mcp', 'torch', 'anyio', 'starlette'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT)
    assert done.stdout.endswith("\n[]\n") and "--max-flops" in done.stdout


@pytest.mark.parametrize(
    ("options", "why"),
    [(["--folder", "gone"], "is not a folder"), (["--referee", "gone.yaml"], "is not a file"),
     (["--referee", "../x.yaml"], "is not a file"), (["--max-seconds", "0"], "max-seconds")],
)  # fmt: skip
def test_options_that_are_wrong(options: list[str], why: str, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "danlu", "mcp", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT, input="")
    assert done.returncode == 2 and done.stdout == "" and why in done.stderr


# ---------------------------------------------------------------- studies, over stdio


@pytest.mark.slow
def test_a_study_is_started_waited_for_and_judged(tmp_path: Path) -> None:
    """The whole way; the same question twice is one study; a decision on so little is weak."""

    async def talk(client: Client) -> None:
        started = answer(await client.call_tool("start", {"question": TRY}))
        again = answer(await client.call_tool("start", {"question": {**TRY, "stop_early": False}}))
        assert again["study"] == started["study"] and again["already"]
        name = started["study"]
        assert "is under way" in refusal(await client.call_tool("start", {"question": {**TRY, "seeds": 3}}))
        assert "it has no answer" in refusal(await client.call_tool("verdict", {"study": name}))
        told = await ended(client, name)
        assert told["state"] == "ended" and told["exit_code"] == 0
        assert told["budget"]["flops"]["spent"] == told["planned"]["flops"] > 0
        said = answer(await client.call_tool("verdict", {"study": name}))
        steps, *_ = said["findings"]
        assert steps["idea"] == "optimizer.beta2=0.9" and steps["seeds"] == 2 and steps["early"]
        assert steps["interval"][0] < steps["difference"] < steps["interval"][1]
        assert said["over_session"]["questions"] == 1 and said["tries"]["entries"] == 1
        (entry,) = said["ledger"]
        decided = answer(await client.call_tool(
            "decide", {"entry": entry["id"], "decision": "adopt", "because": "it runs"}
        ))["entry"]  # fmt: skip
        assert (decided["by"], decided["weak"]) == ("agent tester", True)
        runs = answer(await client.call_tool("runs", {"where": ["train.steps=6"]}))["runs"]
        assert len(runs) == 4  # two pairs; another one measured the speed
        listed = answer(await client.call_tool("status", {}))["studies"]
        assert listed == [{"study": name, "state": "ended"}]

    over_stdio(talk, tmp_path, "--max-flops", "1e12")


@pytest.mark.slow
def test_a_study_is_stopped(tmp_path: Path) -> None:
    """Stopped while it trains. Before, a question that the budget is too small for is refused."""
    long = {**TRY, "on": f"{ON} train.steps=1000000 train.log_every=1000"}

    async def talk(client: Client) -> None:
        too_much = {**TRY, "on": f"{ON} train.steps=100000000"}
        assert "--max-flops" in refusal(await client.call_tool("start", {"question": too_much}))
        name = answer(await client.call_tool("start", {"question": long}))["study"]
        until = time.monotonic() + LIMIT
        while not list(tmp_path.glob("studies/runs/*/metrics.jsonl")) and time.monotonic() < until:
            await anyio.sleep(0.1)
        answer(await client.call_tool("stop", {"study": name}))
        told = await ended(client, name)
        assert told["state"] == "stopped" and told["why"] == "it was told to stop"
        assert "is stopped" in refusal(await client.call_tool("verdict", {"study": name}))

    over_stdio(talk, tmp_path, "--max-flops", "1e15")


async def ended(client: Client, name: str) -> dict[str, Any]:
    """How the study stands at its end."""
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        told = answer(await client.call_tool("status", {"study": name, "wait_s": 20}))
        if told["state"] not in ("begun", "checking", "running"):
            return told
    raise AssertionError("it does not end")
