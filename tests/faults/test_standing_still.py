"""A machine that stands still and wakes: nobody is aborted, and nothing is decided on what waited meanwhile."""

import os
import signal
import subprocess
import sys
import time
from typing import Any, Final

import pytest
from steady import RUN, causes, fills, proved, session_of, wait_for


def stood_still(lab: Any, command: list[str], seconds: float) -> None:
    args = [one if one != "steady" else "piped" for one in RUN[1:]]
    with subprocess.Popen(
        [*command, *args, "--minutes", "5"], cwd=lab.folder, env={**lab.environment, "PIECE": "256"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        wait_for(lambda: fills(lab) > 5)
        session = wait_for(lambda: session_of(lab.run().folder))
        processes = dict.fromkeys((session, process.pid))
        for one in processes:
            os.kill(one, signal.SIGSTOP)
        stopped_ns = time.time_ns()
        time.sleep(seconds)  # what is to be survived takes time
        woken_ns = time.time_ns()
        for one in processes:
            os.kill(one, signal.SIGCONT)
        wait_for(lambda: any(one > woken_ns for one in causes(lab.run())))
        assert session_of(lab.run().folder) == session
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
        assert (process.returncode, "starts again" in out) == (0, False), out
    check(lab.run(), stopped_ns, woken_ns)
    proved(lab)


def check(run: Any, stopped_ns: int, woken_ns: int) -> None:
    """Check that the standstill is told, and no entry was decided on a quote that was more than five seconds old."""
    steps = [body for _, _, body in run.rows("clock_stepped")]
    assert any("the process stood still" in str(body) for body in steps)
    caused = causes(run)
    old = [one for one in caused if stopped_ns + 10**8 < one < woken_ns - 52 * 10**8]
    assert not old, [(one - woken_ns) / 1e9 for one in old]


SUPERVISED: Final = [
    sys.executable, "-c",
    "import sys; from lab.supervision.supervisor import Supervisor; sys.exit(Supervisor(sys.argv[1:], print).run())",
]  # fmt: skip


@pytest.mark.behaviour("S2", "S4", "T2")
@pytest.mark.parametrize("seconds", [8.0, pytest.param(45.0, marks=pytest.mark.night)])
def test_a_supervised_session_that_stood_still_with_its_supervisor_decides_nothing_on_what_is_old(
    lab: Any, piped: None, seconds: float
) -> None:
    """As when a lid is closed: nobody takes it for a freeze."""
    stood_still(lab, SUPERVISED, seconds)
