"""Commands of lab in a child process that measures how much memory each of them takes over what it had before.

As a script it is that child: it reads a JSON list of command lines from its standard input and writes a JSON list of
results. Address space is limited, so that a reader without a limit fails a test and not the machine.
"""

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from attrs import frozen

MOST_MIB = 64
_LIMIT = 2 << 30
CAN_BE_MEASURED = Path("/proc/self/clear_refs").exists()


@frozen
class Measured:
    """What a command came to: exit code, all it wrote, and how many MiB it took at its peak over those before it."""

    code: int
    said: str
    grown: float


def measured(folder: Path, environment: dict[str, str], commands: Sequence[Sequence[str]]) -> list[Measured]:
    """Run commands of lab one after the other in one child process."""
    done = subprocess.run(
        [sys.executable, __file__], input=json.dumps(commands), cwd=folder, env=environment,
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [Measured(**one) for one in json.loads(done.stdout)]


def complaints(one: Measured, culprit: str, codes: Collection[int]) -> list[str]:
    """Return what is wrong with how a command took a hostile file."""
    wrong = [] if one.grown < MOST_MIB else [f"{one.grown:.0f} MiB"]
    wrong += [] if one.code in codes else [f"exit code {one.code}"]
    wrong += [] if culprit in one.said else [f"{culprit} not named"]
    return wrong + (["a traceback"] if "Traceback" in one.said else [])


def _status(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(name)


def _main() -> None:
    import resource

    from lab.cli.main import run_command_line
    from lab.live.signals import Interrupts

    resource.setrlimit(resource.RLIMIT_AS, (_LIMIT, _LIMIT))
    results = []
    for command in json.load(sys.stdin):
        sys.argv = ["lab", *command]
        said = io.StringIO()
        Path("/proc/self/clear_refs").write_text("5")  # the peak is from now on
        before = _status("VmRSS")
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            try:
                code = run_command_line(Interrupts())
            except BaseException as error:  # a MemoryError, above all
                code = -1
                said.write(repr(error))
        results.append({"code": code, "said": said.getvalue()[-2000:], "grown": _status("VmHWM") - before})
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    _main()
