"""Signals while `lab` is still being imported: none is lost, none ends in a traceback, and ``nohup`` is kept."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from steady import RUN, fills, proved, session_of, wait_for

AT_IMPORT = """
import os
import signal
import sys

left = int(os.environ["AT_IMPORT"])

def hook(event, args):
    global left
    if event == "import":
        left -= 1
        if left == 0:
            for name in os.environ["SEND"].split():
                os.kill(os.getpid(), signal.Signals[name])
            print("sent", flush=True)

from lab_command import main
sys.addaudithook(hook)
main()
"""
"""What the console script does; signals come while a module is being imported, counted from the first of lab's own."""
BEFORE_IT = "lab: stopped before the run began; nothing was written\n"


@pytest.fixture
def sent(lab: Any) -> Any:
    def run(names: str, at: int) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-c", AT_IMPORT, "run", "--provider", "mock", "--minutes", "60", "--speed", "20"],
            cwd=lab.folder, env={**lab.environment, "AT_IMPORT": str(at), "SEND": names}, capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.stdout.startswith("sent\n"), done.stderr
        return done.returncode, done.stdout.removeprefix("sent\n"), done.stderr

    return run


@pytest.mark.behaviour("S3", "S5")
@pytest.mark.parametrize("at", [1, 2, 3, 5, 8, 20, 60, 150])
def test_a_signal_at_any_import_ends_it_in_one_line_before_anything_began(lab: Any, sent: Any, at: int) -> None:
    name = ("SIGINT", "SIGTERM", "SIGHUP")[at % 3]
    assert sent(name, at) == (0, "", BEFORE_IT)
    assert lab.files() == []


@pytest.mark.behaviour("S3", "R5")
@pytest.mark.parametrize("at", [1, 8])
def test_the_kill_switch_is_heard_from_the_first_import_on(lab: Any, sent: Any, at: int) -> None:
    assert sent("SIGUSR1", at) == (99, "", BEFORE_IT.replace("stopped", "killed"))
    assert lab.files() == []


@pytest.mark.behaviour("S3", "S5")
def test_two_signals_while_it_is_imported_end_it_at_once(lab: Any, sent: Any) -> None:
    assert sent("SIGINT SIGTERM", 1) == (130, "", "lab: interrupted\n")
    assert lab.files() == []


@pytest.mark.behaviour("S3")
def test_the_command_takes_its_signals_before_it_imports_anything() -> None:
    probe = "import sys; there = set(sys.modules); import lab_command; print(sorted(set(sys.modules) - there))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "['lab_command']\n"


@pytest.mark.behaviour("S3")
def test_the_installed_script_is_the_command() -> None:
    script = Path(sys.executable).with_name("lab").read_text(encoding="utf-8")
    assert "from lab_command import main" in script


@pytest.fixture
def under_nohup(lab: Any, steady: Any) -> Iterator[Any]:
    """Give a function that starts a session under ``nohup``; what is left of it is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["nohup", *lab.command(*args)], cwd=lab.folder, env=lab.environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.behaviour("S3", "S4")
@pytest.mark.parametrize("supervise", [(), ("--supervise",)], ids=["alone", "supervised"])
def test_under_nohup_a_session_outlives_its_terminal(lab: Any, under_nohup: Any, supervise: tuple[str, ...]) -> None:
    process = under_nohup(*RUN, "--minutes", "5", *supervise)
    wait_for(lambda: fills(lab) > 0)
    session = int(wait_for(lambda: session_of(lab.run().folder)))
    for number in {process.pid, session}:
        os.kill(number, signal.SIGHUP)
    before = fills(lab)
    wait_for(lambda: fills(lab) > before)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=40)
    assert (process.returncode, "Traceback" in out) == (0, False), out
    assert lab.run().report()["reason"] == "stopped"
    proved(lab)
