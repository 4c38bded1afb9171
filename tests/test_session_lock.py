"""One live session a state directory, by a lock of the kernel's that is gone the moment its process is."""

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab.domain.control import Command
from lab.domain.events import OrderFilled
from lab.errors import JournalError
from lab.journal.reader import JournalReader

ARGS = ("run", "--provider", "mock", "--reporter", "none")


LINGERING = """
    import anyio
    from attrs import define
    from decimal import Decimal
    from lab import OrderRequest, Strategy, hookimpl
    from lab_mock.provider import MockProvider

    @define(kw_only=True, eq=False)
    class Lingering(MockProvider):
        async def stop(self):
            await anyio.sleep(1.5)

    @define(kw_only=True)
    class Holder(Strategy):
        def on_candle(self, candle, view):
            return []

        def on_quote(self, quote, view):
            if view.position(quote.symbol).quantity or list(view.orders(quote.symbol)):
                return []
            return [OrderRequest.buy(quote.symbol, Decimal("0.01"))]

    @hookimpl
    def lab_providers():
        return {"lingering": Lingering}

    @hookimpl
    def lab_strategies():
        return {"holder": Holder}
"""


@pytest.fixture
def session(lab: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A session that runs in the working folder."""
    process = subprocess.Popen(lab.command(*ARGS, "--minutes", "5"), cwd=lab.folder, env=lab.environment)
    until = time.monotonic() + 20
    while not list(lab.folder.glob("runs/2*/tape-0001.jsonl.zst")) and time.monotonic() < until:
        time.sleep(0.02)
    yield process
    process.kill()
    process.wait()


def _wait_for(lab: Any, kind: type) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        for path in lab.folder.glob("runs/2*"):
            with contextlib.suppress(JournalError), contextlib.closing(JournalReader.open(path)) as reader:
                if reader.has(kind):
                    return
        time.sleep(0.02)


@pytest.mark.behaviour("S5", "S8")
def test_a_second_session_in_a_state_directory_is_refused_with_75_and_leaves_nothing(
    lab: Any, one_line: Any, session: subprocess.Popen[bytes]
) -> None:
    before = lab.files()
    one_line(lab(*ARGS, "--minutes", "1"), 75, "runs: another session", "--state-dir")
    assert lab.files() == before
    assert session.poll() is None
    short = (*ARGS, "--speed", "max", "--minutes", "1")
    assert lab(*short, "--no-write").code == 0
    assert lab(*short, "--state-dir", "elsewhere").code == 0
    assert lab("backtest", "--provider", "mock", "--set", "mock.minutes=50").code == 0, "it trades with nobody"


@pytest.mark.behaviour("S8")
def test_a_state_directory_in_use_is_found_before_the_provider_is_asked(
    lab: Any, one_line: Any, session: subprocess.Popen[bytes]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        one_line(lab("run", "--set", f"bitunix.rest_url={url}", "--start-timeout", "4"), 75, "another session")
        assert time.monotonic() - began < 3
        silent.settimeout(0.1)
        with pytest.raises(TimeoutError):
            silent.accept()
    assert session.poll() is None


@pytest.mark.behaviour("S8")
def test_after_a_session_was_killed_the_next_starts_at_once(lab: Any, session: subprocess.Popen[bytes]) -> None:
    session.kill()
    session.wait()
    assert lab(*ARGS, "--speed", "max", "--minutes", "1").code == 0
    assert lab(*ARGS, "--speed", "max", "--minutes", "1").code == 0


@pytest.mark.behaviour("S8", "V1")
def test_a_session_cut_short_keeps_others_away_until_its_report_is_written(lab: Any, site: Any, one_line: Any) -> None:
    site.install("their_lingering", LINGERING)
    command = lab.command(
        "run", "--provider", "lingering", "--strategy", "holder", "--latency-ms", "1500", "--reporter", "none"
    )
    with subprocess.Popen(command, cwd=lab.folder, env={**lab.environment, **lab.see(site)}) as process:
        for kind in (OrderFilled, Command):  # it holds a position, and needs more than a second to close it
            _wait_for(lab, kind)
            process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert not list(lab.folder.glob("runs/2*/final_report.json"))
        one_line(lab(*ARGS, "--speed", "max", "--minutes", "1"), 75, "another session")
    assert list(lab.folder.glob("runs/2*/final_report.json"))
    assert not list(lab.folder.glob("runs/2*/running"))


def test_a_lock_that_cannot_be_opened_is_a_storage_problem(lab: Any, one_line: Any) -> None:
    (lab.folder / "runs" / ".lock").mkdir(parents=True)
    one_line(lab(*ARGS, "--speed", "max", "--minutes", "1"), 74, "runs", "--state-dir")


def test_the_lock_is_no_run(lab: Any, one_line: Any) -> None:
    assert lab(*ARGS, "--speed", "max", "--minutes", "1").code == 0
    assert Path(lab.folder / "runs" / ".lock").exists()
    assert len(lab("runs", "--json").json()["runs"]) == 1
    one_line(lab("report", "lock"), 78, "holds 1 runs")
