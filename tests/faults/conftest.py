"""A venue in a process of its own, for sessions that stand still or are slow while it goes on."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

import pytest

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
                *lines, rest = (rest + await stream.receive(int(os.environ.get("PIECE", "65536")))).split(b"\\n")
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
