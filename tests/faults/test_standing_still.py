"""A machine that stands still and wakes: nobody is aborted, and nothing is decided on what waited meanwhile."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest
from steady import RUN, causes, fills, proved, session_of, wait_for

FEEDER: Final = """
import socket, sys, time
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    while True:
        client, _ = server.accept()
        with client:
            try:
                while True:
                    client.sendall(b"%d\\n" % time.time_ns())
                    time.sleep(0.004)
            except OSError:
                pass
"""
"""A venue in a process of its own: what it says waits in the socket while the session stands still."""

PIPED: Final = '''
import os
import anyio
from attrs import define
from lab import FeedState, Quote, hookimpl
from their_steady import STEP_NS, Steady, price

@define(kw_only=True, eq=False)
class Piped(Steady):
    """The steady provider's prices, at the times that another process says."""

    async def stream(self, wanted, sink):
        async with await anyio.connect_tcp("127.0.0.1", int(os.environ["FEEDER"])) as stream:
            sink.feed(FeedState.LIVE)
            rest = b""
            while True:
                *lines, rest = (rest + await stream.receive(256)).split(b"\\n")
                for line in lines:
                    now = int(line)
                    bid = price(now // STEP_NS * STEP_NS)
                    sink.put(Quote(wanted[0].symbol, now, bid, 50.0, bid + 0.1, 50.0))

@hookimpl
def lab_providers():
    return {"piped": Piped}
'''


@pytest.fixture
def piped(lab: Any, steady: Any) -> Iterator[None]:
    """A provider ``piped`` is installed, and its venue runs."""
    steady.install("their_piped", PIPED)
    with subprocess.Popen([sys.executable, "-c", FEEDER], stdout=subprocess.PIPE, text=True) as venue:
        assert venue.stdout is not None
        lab.environment["FEEDER"] = venue.stdout.readline().strip()
        yield
        venue.kill()


def stood_still(lab: Any, command: list[str], seconds: float) -> None:
    args = [one if one != "steady" else "piped" for one in RUN[1:]]
    with subprocess.Popen(
        [*command, *args, "--minutes", "5"], cwd=lab.folder, env=lab.environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
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
