"""The verb ``referee``."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.options import Ledger, Studies
from danlu.cli.output import inform, print_json, print_table, say, speak, spoken
from danlu.cli.show import AsJson


def referee(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A YAML file that says how the program is run.")
    ] = Path("referee.yaml"),
    init: Annotated[
        bool, typer.Option("--init", help="Write an example with comments to FILE, and run nothing.")
    ] = False,
    pairs: Annotated[
        int | None, typer.Option(help="Number of pairs of runs, in place of the file's.", show_default=False)
    ] = None,
    studies: Studies = Path("studies"),
    ledger: Ledger = Path("ledger.yaml"),
    as_json: AsJson = False,
    exit_verdict: Annotated[
        bool,
        typer.Option("--exit-verdict", help="Let the exit code tell the verdict; 0 is better."),
    ] = False,
) -> int:
    """Test a change to any training program.

    The program is run in pairs, with and without the change, in copies of its git repository. The seed is
    drawn for each pair. Your files stay as they are.

    Exit codes: 0 answered, 2 wrong usage, 3 void, 4 runs failed, 5 budget spent. With --exit-verdict an
    answer is 0 if every idea is better, 12 if so, but early or in a regime that is not known, 11 if one is
    worse, 10 otherwise (not shown, equivalent, scale-bound).

    Examples: danlu referee --init; danlu referee referee.yaml --json
    """
    if init:
        return _init(file)
    from danlu.files.write import write_atomically
    from danlu.lab.referee import referee as judge
    from danlu.lab.referee.report import report
    from danlu.lab.referee.terminal import asked, details, table

    # So that what runs is ended, as by Ctrl-C; whoever calls from Python has the handler back.
    found = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        answer = judge(file, studies, pairs=pairs, book=ledger, tell=inform)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if found is None else found)
    write_atomically(answer.study.report, report(answer).encode())
    if not as_json:
        if answer.findings:
            speak(f"{asked(answer)}\n")
            print_table(spoken(table(answer), names=(0,)), shorten=(0,))
            say()
        for line in details(answer):
            speak(line)
        return answer.exit_verdict if exit_verdict else answer.exit_code
    print_json("referee", answer.json())
    if answer.why:
        inform(f"danlu: {answer.outcome}: {answer.why}")
    return answer.exit_verdict if exit_verdict else answer.exit_code


def _init(file: Path) -> int:
    from importlib import resources

    from danlu.files.errors import FileError
    from danlu.files.write import write_atomically

    if file.exists() or file.is_symlink():
        raise FileError(f"{file} is there already and stays as it is; name another file")
    write_atomically(file, (resources.files("danlu") / "catalog" / "referee.yaml").read_bytes())
    inform(f"wrote {file}; correct its lines, then: danlu referee {shlex.quote(str(file))}")
    return 0
