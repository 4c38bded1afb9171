"""Ctrl-C and SIGTERM, to the real process, at the moments they may come: an orderly end, a report, no traceback."""

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import define

BOOT = """
import sys
from lab.live.signals import Interrupts
from lab_command import main

def install_and_say(interrupts, noted=(), install=Interrupts.install):
    install(interrupts, noted)
    print("up", *(one for one in ("anyio", "attrs", "click", "msgspec", "pluggy") if one in sys.modules), flush=True)

Interrupts.install = install_and_say
main()
"""
"""What the console script does; once it has its handlers it says so, and what it had imported before."""


@define
class Live:
    """A running session."""

    lab: Any
    process: subprocess.Popen[str]
    start_s: float = 0.0
    """How long it took to have its handlers: a measure of how busy the machine is."""

    def send(self, number: int) -> None:
        """Send a signal; a process that has just ended does not mind."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def end(self, within_s: float) -> tuple[int, str, str]:
        """Wait for the end and return exit code and output; too late is a failure, on a busy machine later."""
        began = time.monotonic()
        out, err = self.process.communicate(timeout=60)
        took = time.monotonic() - began
        assert took < within_s + 10 * self.start_s, f"took {took:.2f} s\n{out}\n{err}"
        return self.process.returncode, out, err

    def wait_for(self, text: str) -> str:
        """Return the next line of standard output that holds the text; who stays silent for 40 s is killed."""
        assert self.process.stdout is not None
        patience = threading.Timer(40.0, self.process.kill)
        patience.start()
        try:
            for line in self.process.stdout:
                if text in line:
                    return line
        finally:
            patience.cancel()
        raise AssertionError(f"never said {text!r}")


@pytest.fixture
def start(lab: Any) -> Iterator[Any]:
    running: list[subprocess.Popen[str]] = []

    def begin(*args: str) -> Live:
        command = lab.command("run", "--provider", "mock", "--minutes", "60", *args)
        command[2] = BOOT
        process = subprocess.Popen(
            command, cwd=lab.folder, env={**lab.environment, "PYTHONUNBUFFERED": "1"}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        running.append(process)
        live, began = Live(lab, process), time.monotonic()
        assert live.wait_for("up") == "up\n", "the handlers are there before anything that takes long to import"
        live.start_s = time.monotonic() - began
        return live

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.mark.behaviour("S3", "V1")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_at_any_moment_of_the_start_ends_in_order_and_is_never_lost(
    lab: Any, start: Any, number: signal.Signals
) -> None:
    moments = random.Random(int(number))
    for low, high in ((0.02, 0.1), (0.1, 0.25), (0.25, 0.45), (0.45, 0.7)):
        live = start("--speed", "20")
        delay = moments.uniform(low, high)
        time.sleep(delay)
        live.send(number)
        code, out, err = live.end(within_s=5.0)
        assert "Traceback" not in out + err, (delay, err)
        runs = list(lab.folder.glob("runs/2*"))
        if not runs:
            assert code in {0, 130}, (delay, code, err)
            continue
        assert code == 0, (delay, code, err)
        report = lab.run().report()
        assert (report["reason"], report["exit_code"]) == ("stopped", 0), delay
        assert report["duration_seconds"] < 3500
        assert len(list(runs[0].glob("final_report.json"))) == 1
        for path in sorted(lab.folder.rglob("*"), reverse=True):
            path.unlink() if path.is_symlink() or path.is_file() else path.rmdir()


@pytest.mark.behaviour("S3", "S5")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_in_the_middle_closes_the_position_and_writes_the_report(
    lab: Any, start: Any, holder: Any, number: signal.Signals
) -> None:
    lab.environment.update(lab.see(holder))
    live = start("--speed", "60", "--strategy", "holder")
    live.wait_for("fill    buy 0.01")
    live.send(number)
    code, _, err = live.end(within_s=5.0)
    assert (code, err) == (0, "")
    report = lab.run().report()
    assert (report["status"], report["reason"], report["exit_code"]) == ("stopped", "stopped", 0)
    assert [body["side"] for _, _, body in lab.run().rows("order_filled")] == ["buy", "sell"]
    assert report["books"]["holder"]["positions"] == {}
    assert report["fills"] == 2
    commands = [(action, who) for _, _, (_, action, who, _) in lab.run().rows("command")]
    assert commands == [("stop", "session"), ("flatten", "session")]
    assert lab("report", "--json").json() == report


@pytest.mark.behaviour("S3", "S5")
def test_a_signal_before_the_warm_up_is_complete_is_an_end_that_was_asked_for(lab: Any, start: Any) -> None:
    live = start("--set", "sma.slow=5000")
    live.wait_for("history for the warm-up is there")
    live.send(signal.SIGTERM)
    code, out, err = live.end(within_s=7.0)
    report = lab.run().report()
    assert (code, report["reason"], report["error"]) == (0, "stopped", ""), (out, err)
    assert any(text.startswith("seed_incomplete 1000/") for text in report["degradations"])


EAGER = """
    import anyio
    from attrs import define, field
    from decimal import Decimal
    from lab import OrderRequest, Reporter, Strategy, hookimpl

    @define(kw_only=True)
    class Eager(Strategy):
        quantity: Decimal = field(default=Decimal("0.01"), metadata={"help": "size in coins"})

        def on_candle(self, candle, view):
            return []

        def on_quote(self, quote, view):
            if view.position(quote.symbol).quantity or list(view.orders(quote.symbol)):
                return []
            return [OrderRequest.buy(quote.symbol, self.quantity)]

    @define(kw_only=True)
    class Slow(Reporter):
        async def report(self, run, records):
            async for record in records:
                if record.kind == "command":
                    await anyio.sleep(30)

    @hookimpl
    def lab_strategies():
        return {"eager": Eager}

    @hookimpl
    def lab_reporters():
        return {"slow": Slow}
"""


@pytest.fixture
def eager(lab: Any, site: Any) -> None:
    """A strategy that holds a position within seconds, and a reporter that does not come to an end."""
    site.install("their_eager", EAGER)
    lab.environment.update(lab.see(site))


@pytest.mark.behaviour("S3", "S5")
def test_a_second_interrupt_cuts_the_end_short_within_a_second_with_130_and_still_a_report(
    lab: Any, start: Any, eager: None
) -> None:
    live = start("--strategy", "eager", "--latency-ms", "2000")  # closing takes two seconds more than patience has
    live.wait_for("fill    buy 0.01")
    live.send(signal.SIGINT)
    live.wait_for("flatten by session")
    live.send(signal.SIGINT)
    code, out, err = live.end(within_s=1.0)
    assert "Traceback" not in out + err
    report = lab.run().report()
    assert code == report["exit_code"] == 130, (out, err)
    assert report["reason"] == "interrupted"
    assert "position_left_open eager 0.01 BTCUSDT" in report["degradations"]


@pytest.mark.behaviour("S3", "O13")
def test_interrupts_that_cut_the_end_of_a_ruined_run_short_leave_no_order_without_an_end(
    lab: Any, start: Any, eager: None
) -> None:
    size = (
        "--set",
        "eager.quantity=9999",
        "--set",
        "paper.liquidity=unlimited",
        "--gate",
        "none",
    )  # the fee alone is more than there is
    live = start("--strategy", "eager", "--latency-ms", "2000", *size)
    live.wait_for("the equity is")
    live.send(signal.SIGINT)
    time.sleep(0.2)
    live.send(signal.SIGINT)
    code, out, err = live.end(within_s=1.0)
    report = lab.run().report()
    assert code == report["exit_code"] == 2, (out, err)
    assert report["reason"] == "risk_halt"
    assert (report["orders"], report["fills"], report["cancelled"]) == (2, 1, 1)
    assert lab("verify").code == 0


@pytest.mark.behaviour("S3", "V6")
def test_a_reporter_that_never_ends_holds_the_end_up_for_five_seconds_at_most_and_a_second_interrupt_ends_it_at_once(
    lab: Any, start: Any, eager: None
) -> None:
    args = ("--speed", "20", "--reporter", "terminal", "--reporter", "slow")
    live = start(*args)
    live.wait_for("trading open")
    live.send(signal.SIGINT)
    code, out, err = live.end(within_s=7.0)  # five seconds of real time, whatever the speed
    assert (code, lab.run().report()["exit_code"]) == (0, 0), (out, err)
    assert "lab: reporter slow was not done 5 s after the end and was abandoned\n" in err
    live = start("--reporter", "terminal", "--reporter", "slow")
    live.wait_for("trading open")
    live.send(signal.SIGINT)
    live.wait_for("stop by session")
    live.send(signal.SIGINT)
    code, out, err = live.end(within_s=1.0)
    assert "Traceback" not in out + err
    assert "was not done when a second signal came" in err
    assert code == lab.run().report()["exit_code"] in {0, 130}


def test_an_interrupted_backtest_ends_in_order(lab: Any, start: Any) -> None:
    command = lab.command("backtest", "--provider", "mock", "--set", "mock.minutes=200000")
    command[2] = BOOT
    process = subprocess.Popen(
        command, cwd=lab.folder, env=lab.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        deadline = time.monotonic() + 40
        while not list(lab.folder.glob("runs/latest/journal.db")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, ""), out
    assert lab.run().report()["reason"] == "stopped"


@pytest.mark.behaviour("S3")
def test_an_interrupted_proof_ends_in_order_and_proves_nothing(lab: Any) -> None:
    assert lab.process("backtest", "--provider", "mock", "--set", "mock.minutes=20000").code == 0
    command = lab.command("verify")
    command[2] = BOOT
    with subprocess.Popen(
        command, cwd=lab.folder, env={**lab.environment, "PYTHONUNBUFFERED": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        Live(lab, process).wait_for("up")
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == f"lab: {lab.run().folder.name}: interrupted; nothing is proved\n"


def test_output_into_a_closed_pipe_is_no_traceback(lab: Any) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        lab.command("plugins"), cwd=lab.folder, env=lab.environment, stdout=writing, stderr=subprocess.PIPE,
        text=True, timeout=30, check=False,
    )  # fmt: skip
    os.close(writing)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


STUCK = """
    import sys
    from attrs import define
    from lab import Strategy, hookimpl

    @define(kw_only=True)
    class Stuck(Strategy):
        def on_candle(self, candle, view):
            return []

        def on_quote(self, quote, view):
            print("stuck", flush=True)
            while True:
                pass

    @hookimpl
    def lab_strategies():
        return {"stuck": Stuck}
"""

SELF_MADE = """
    import atexit, os, signal, sys
    from lab import hookimpl

    def send(times):
        for _ in range(int(times or 0)):
            os.kill(os.getpid(), signal.SIGINT)

    if "run" in sys.argv:
        send(os.environ.get("SEND_AT_ONCE"))
        atexit.register(send, os.environ.get("SEND_AT_LAST"))

    @hookimpl
    def lab_strategies():
        return {}
"""


@pytest.mark.behaviour("S3")
def test_a_third_interrupt_ends_even_a_session_whose_strategy_never_comes_back(lab: Any, start: Any, site: Any) -> None:
    site.install("their_stuck", STUCK)
    lab.environment.update(lab.see(site))
    live = start("--strategy", "stuck", "--speed", "20", "--reporter", "none")
    live.wait_for("stuck")
    for _ in range(3):
        live.send(signal.SIGINT)
        time.sleep(0.05)  # signals of one number that wait are one
    code, _, err = live.end(within_s=1.0)
    assert (code, err) == (130, "lab: interrupted\n")


@pytest.mark.behaviour("S3", "S5")
@pytest.mark.parametrize(
    ("times", "code", "said"),
    [(1, 0, "lab: stopped before the run began; nothing was written\n"), (2, 130, "lab: interrupted\n")],
)
def test_interrupts_before_anything_has_begun_are_answered_in_one_line(
    lab: Any, site: Any, times: int, code: int, said: str
) -> None:
    site.install("their_signals", SELF_MADE)
    args = ("run", "--provider", "mock", "--minutes", "5")
    result = lab.process(*args, env={**lab.see(site), "SEND_AT_ONCE": str(times)})
    assert (result.code, result.err, lab.files()) == (code, said, [])


@pytest.mark.behaviour("S3", "S5")
def test_interrupts_after_the_end_change_nothing_any_more(lab: Any, site: Any) -> None:
    site.install("their_signals", SELF_MADE)
    args = ("run", "--provider", "mock", "--speed", "max", "--minutes", "1", "--reporter", "none")
    result = lab.process(*args, env={**lab.see(site), "SEND_AT_LAST": "3"})
    assert (result.code, result.err) == (0, "")
    assert lab.run().report()["reason"] == "completed"
