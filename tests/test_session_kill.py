"""The kill switch: a file, a signal or ``lab stop --kill`` closes positions at a fresh price and ends with 99."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from lab.domain.control import Command
from lab.domain.events import OrderFilled
from lab.domain.time import SECOND_NS
from lab.errors import JournalError
from lab.exit_codes import EndReason
from lab.journal.reader import JournalReader
from lab.live.outcome import EndCause
from lab.runs.failures import FailureLog

PLUGINS = '''
"""A strategy that holds a position within seconds and would buy again, and a provider that goes dark and kills."""
import os
from decimal import Decimal
from pathlib import Path

from attrs import define, field
from lab import FeedState, OrderRequest, OrderType, Quote, Strategy, hookimpl
from lab_mock.provider import MockProvider

@define(kw_only=True)
class Eager(Strategy):
    need: int = field(default=0, metadata={"help": "candles wanted first"})
    rests: bool = field(default=False, metadata={"help": "places an order that rests on every quote instead"})

    @property
    def lookback(self):
        return self.need

    def on_candle(self, candle, view):
        return []

    def on_quote(self, quote, view):
        if self.rests:
            kind = {"type": OrderType.LIMIT, "limit": Decimal(1)}
            return [OrderRequest.buy(quote.symbol, Decimal("0.01"), **kind)]
        if view.position(quote.symbol).quantity or list(view.orders(quote.symbol)):
            return []
        return [OrderRequest.buy(quote.symbol, Decimal("0.01"))]

@define(kw_only=True, eq=False)
class Dark(MockProvider):
    """Gives quotes until second 20, none for `dark` more, and throws the kill switch in the second `kill_at`."""
    dark: int = field(default=0, metadata={"help": "seconds without quotes"})
    kill_at: int = field(default=22, metadata={"help": "second of the kill"})
    place: str = field(default="runs/latest/kill", metadata={"help": "the file that is made"})

    async def stream(self, wanted, sink):
        provider = self
        class Failing:
            seen = 0
            def __getattr__(self, name):
                return getattr(sink, name)
            def put(self, event):
                if isinstance(event, Quote):
                    Failing.seen += 1
                    if Failing.seen == provider.kill_at:
                        for place in provider.place.split():
                            Path(place).write_text("too\\x07 much\\nand more", encoding="utf-8")
                    if provider.dark and Failing.seen == 20:
                        sink.feed(FeedState.DOWN)
                    if 20 <= Failing.seen < 20 + provider.dark:
                        return
                    if provider.dark and Failing.seen == 20 + provider.dark:
                        sink.feed(FeedState.LIVE)
                sink.put(event)
        await super().stream(wanted, Failing())

@hookimpl
def lab_strategies():
    return {"eager": Eager}

@hookimpl
def lab_providers():
    return {"dark": Dark}
'''


@pytest.fixture
def plugins(lab: Any, site: Any) -> None:
    site.install("their_kill", PLUGINS)
    lab.environment.update(lab.see(site))


def dark(lab: Any, *args: str) -> Any:
    """Run a session of the provider that throws the kill switch itself, in virtual time."""
    result = lab("run", "--provider", "dark", "--strategy", "eager", "--speed", "max", "--minutes", "3", *args)
    assert "Traceback" not in result.err
    return result


def commands(run: Any) -> list[tuple[str, str]]:
    return [(action, who) for _, _, (_, action, who, _) in run.rows("command")]


def closing(run: Any) -> Any:
    """Return the body of the fill that closed the position; there must be one entry and one exit."""
    entry, exit_ = (body for _, _, body in run.rows("order_filled"))
    assert (entry["side"], exit_["side"], Decimal(exit_["position"])) == ("buy", "sell", 0)
    return exit_


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("R5", "S5")
@pytest.mark.parametrize("place", ["runs/latest/kill", "runs/kill", "runs/kill runs/latest/kill runs/latest/stop"])
def test_a_file_kills_within_a_second_closes_the_position_and_asks_no_strategy_again(
    lab: Any, plugins: None, place: str
) -> None:
    result = dark(lab, "--set", f"dark.place={place}", "--set", "run.close_on_stop=false")
    run, report = lab.run(), lab.run().report()
    assert (result.code, report["exit_code"], report["reason"], report["status"]) == (99, 99, "kill_switch", "failed")
    who = "the kill file of this run" if place == "runs/latest/kill" else "the kill file of all runs"
    assert report["error"] == f"killed by {who}: too? much"
    assert commands(run) == [("kill", who)]
    assert report["orders"] == report["fills"] == 2
    [command] = [body for _, _, body in run.rows("command")]
    exit_ = closing(run)
    assert command[0] < exit_["fill"]["time_ns"] < command[0] + 2 * SECOND_NS
    assert report["duration_seconds"] < 26
    assert report["books"]["eager"]["positions"] == {}
    assert "position_left_open" not in str(report["degradations"])
    assert lab("verify").code == 0
    assert lab("audit").code == 0
    assert f"kill by {who}: too? much" in result.out


@pytest.mark.behaviour("R5")
def test_a_quote_that_waits_when_the_switch_is_thrown_is_shown_to_no_strategy(lab: Any, plugins: None) -> None:
    """A quote comes in the moment in which the file is found. What rests is cancelled, every one of it."""
    assert dark(lab, "--set", "eager.rests=true").code == 99
    run, report = lab.run(), lab.run().report()
    thrown = run.rows("command")[0][2][0]
    placed = [body["placed_ns"] for _, _, body in run.rows("order_accepted")]
    assert report["quotes"] > len(placed) > 15
    assert max(placed) < thrown
    assert report["cancelled"] == len(placed)
    ends = {(body["outcome"], body["reason"]) for _, _, body in run.rows("order_ended")}
    assert ends == {("cancelled", "kill by the kill file of this run: too? much")}


@pytest.mark.behaviour("R5")
def test_a_stop_file_ends_in_order_with_0(lab: Any, plugins: None) -> None:
    assert dark(lab, "--set", "dark.place=runs/latest/stop").code == 0
    report = lab.run().report()
    assert (report["reason"], report["exit_code"], report["fills"]) == ("stopped", 0, 2)
    assert commands(lab.run()) == [("stop", "session"), ("flatten", "session")]


@pytest.mark.behaviour("R5", "S3")
@pytest.mark.parametrize(("place", "code"), [("latest/stop", 0), ("latest/kill", 99), ("kill", 99)])
def test_a_named_pipe_in_place_of_the_file_does_the_same_and_holds_nothing_up(
    lab: Any, session: Any, place: str, code: int
) -> None:
    process, _ = session()
    os.mkfifo(lab.folder / "runs" / place)
    exit_code, err = end(process)
    assert (exit_code, "kill file" in err) == (code, code == 99)


@pytest.mark.behaviour("R5", "S5")
@pytest.mark.parametrize(("place", "code"), [("kill", 99), (".lock", 74)])
def test_a_named_pipe_holds_no_start_up(lab: Any, one_line: Any, place: str, code: int) -> None:
    (lab.folder / "runs").mkdir()
    os.mkfifo(lab.folder / "runs" / place)
    one_line(lab.mock(), code, "runs")


@pytest.mark.behaviour("R5")
def test_while_the_switch_of_all_runs_is_on_no_session_begins(lab: Any, plugins: None, one_line: Any) -> None:
    assert dark(lab, "--set", "dark.place=runs/kill").code == 99
    before = lab.files()
    one_line(dark(lab), 99, "runs/kill", "too? much", "remove the file")
    one_line(dark(lab, "--no-write"), 99, "runs/kill")
    assert lab.files() == before
    assert lab("backtest", "--provider", "mock", "--set", "mock.minutes=5").code == 0, "it trades with nobody"
    assert len(lab("runs", "--json").json()["runs"]) == 2
    (lab.folder / "runs" / "kill").unlink()
    (lab.folder / "runs" / "kill").symlink_to("nowhere")
    one_line(dark(lab), 99, "runs/kill")


@pytest.mark.behaviour("R5")
def test_under_no_write_the_switch_of_all_runs_ends_the_session_too(lab: Any, plugins: None) -> None:
    (lab.folder / "runs").mkdir()
    result = dark(lab, "--no-write", "--set", "dark.place=runs/kill", "--json")
    assert (result.code, result.json()["reason"], result.json()["fills"]) == (99, "kill_switch", 2)


@pytest.mark.behaviour("R5")
@pytest.mark.parametrize(
    ("expire_ms", "kills"), [(60_000, 1), (2_000, 2)], ids=["the order waits", "the order expired"]
)
def test_killed_while_the_feed_is_down_the_position_is_closed_at_the_first_quote_after_it(
    lab: Any, plugins: None, expire_ms: int, kills: int
) -> None:
    """A quote from before, however it looks, closes nothing; an order that expired meanwhile is placed again."""
    assert dark(lab, "--set", "dark.dark=6", "--set", f"paper.expire_ms={expire_ms}").code == 99
    run = lab.run()
    assert commands(run) == [("kill", "the kill file of this run")] * kills
    thrown = run.rows("command")[0][2][0]
    quotes = [body[1] for _, _, body in run.rows("quote") if body[1] > thrown]
    filled = closing(run)["fill"]["time_ns"]
    assert filled - thrown > 2 * SECOND_NS, "it was dark for so long"
    assert filled in quotes
    assert run.report()["books"]["eager"]["positions"] == {}
    assert lab("verify").code == 0


@pytest.mark.behaviour("R5")
def test_where_no_fresh_price_comes_the_end_waits_ten_seconds_and_says_what_is_left_open(
    lab: Any, plugins: None
) -> None:
    assert dark(lab, "--set", "dark.dark=100").code == 99
    report = lab.run().report()
    assert "position_left_open eager 0.01 BTCUSDT" in report["degradations"]
    assert 30 < report["duration_seconds"] < 36
    assert (report["fills"], report["orders"], report["cancelled"]) == (1, 2, 1)
    assert lab("verify").code == 0


@pytest.mark.behaviour("R5")
def test_killed_while_trading_is_halted_and_during_the_warm_up_it_ends_at_once(lab: Any, plugins: None) -> None:
    assert dark(lab, "--set", "eager.need=5000", "--set", "dark.kill_at=3").code == 99
    report = lab.run().report()
    assert (report["reason"], report["decisions"]) == ("kill_switch", 0)
    assert report["duration_seconds"] < 6
    halted = [body[1] for _, _, body in lab.run().rows("trading_state")]
    assert "warming" in str(halted[-1])
    assert lab("verify").code == 0


LATE = """
    from pathlib import Path
    from attrs import define
    from lab import ProviderUnavailable, hookimpl
    from lab_mock.provider import MockProvider

    @define(kw_only=True, eq=False)
    class Late(MockProvider):
        async def instrument(self, symbol):
            for path in Path("runs").glob("2*"):
                (path / "kill").touch()
            raise ProviderUnavailable("not now")

    @hookimpl
    def lab_providers():
        return {"late": Late}
"""


@pytest.mark.behaviour("R5")
def test_killed_while_the_provider_is_out_of_reach_it_ends_with_a_report(lab: Any, site: Any) -> None:
    site.install("their_late", LATE)
    result = lab("run", "--provider", "late", "--speed", "max", "--minutes", "3", "--start-timeout", "0")
    report = lab.run().report()
    assert (result.code, report["reason"], report["orders"]) == (99, "kill_switch", 0)
    assert report["error"] == "killed by the kill file of this run: a file kill"
    assert report["duration_seconds"] < 60
    assert lab("verify").code == 0


CANDLES = """
    from attrs import define
    from decimal import Decimal
    from pathlib import Path
    from lab import Candle, OrderRequest, PriceSource, Quote, Strategy, hookimpl
    from lab_mock.provider import MockProvider

    @define(kw_only=True, eq=False)
    class Candles(MockProvider):
        def price_source(self):
            return PriceSource.CANDLE

        async def stream(self, wanted, sink):
            class Only:
                seen = 0
                def __getattr__(self, name):
                    return getattr(sink, name)
                def put(self, event):
                    if isinstance(event, Candle):
                        Only.seen += 1
                        sink.put(event)
                        if Only.seen == 3:
                            Path("runs/latest/kill").touch()
            await super().stream(wanted, Only())

    @hookimpl
    def lab_providers():
        return {"candles": Candles}
"""


@pytest.mark.behaviour("R5")
def test_where_prices_are_candles_a_kill_waits_for_the_next_one(lab: Any, site: Any, holder: Any) -> None:
    site.install("their_candles", CANDLES)
    args = ("run", "--provider", "candles", "--strategy", "holder", "--speed", "max", "--minutes", "10")
    result = lab(*args)
    report = lab.run().report()
    assert (result.code, report["reason"]) == (99, "kill_switch"), result
    assert closing(lab.run())["fill"]["time_ns"] > lab.run().rows("command")[0][2][0]
    assert 180 < report["duration_seconds"] < 260
    assert lab("verify").code == 0


@pytest.mark.behaviour("R5", "S5")
def test_a_kill_counts_for_more_than_an_end_that_was_asked_for_and_less_than_a_failure() -> None:
    async def reasons(*calls: tuple[EndReason, str] | None) -> tuple[EndReason | None, str, object]:
        woken: list[int] = []
        end = EndCause(FailureLog(), lambda: woken.append(1))
        for call in calls:
            if call is None:
                end.kill("me", "enough")
                end.kill("another", "too")
            else:
                end.stop(*call)
        assert woken
        assert end.asked.is_set()
        return end.reason, end.detail, end.killed

    thrown = (EndReason.KILLED, "killed by me: enough", ("me", "enough"))
    assert anyio.run(reasons, None) == thrown
    assert anyio.run(reasons, (EndReason.STOPPED, "SIGINT"), None) == thrown
    assert anyio.run(reasons, None, (EndReason.STOPPED, "SIGINT"), (EndReason.INTERRUPTED, "again")) == thrown
    failed = (EndReason.RISK_HALT, "the equity is exhausted")
    assert anyio.run(reasons, failed, None) == (*failed, ("me", "enough")), "positions are closed all the same"


# -- signals and lab stop, to real processes ---------------------------------------------------------------------------


@pytest.fixture
def session(lab: Any, plugins: None) -> Iterator[Any]:
    """Give a function that starts a session which holds a position, and returns its process and folder."""
    started: list[subprocess.Popen[str]] = []

    def begin(*args: str) -> tuple[subprocess.Popen[str], Path]:
        command = lab.command("run", "--provider", "mock", "--strategy", "eager", "--minutes", "60", *args)
        process = subprocess.Popen(
            [*command, "--reporter", "none"], cwd=lab.folder, env=lab.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
        return process, wait_for(lab, OrderFilled)

    yield begin
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def wait_for(lab: Any, kind: type, count: int = 1) -> Path:
    """Wait until the running session has so many rows of a kind; return its folder."""
    until = time.monotonic() + 40
    while time.monotonic() < until:
        for path in lab.folder.glob("runs/2*"):
            with contextlib.suppress(JournalError), contextlib.closing(JournalReader.open(path)) as reader:
                if len(list(reader.events(kind))) >= count:
                    return Path(path)
        time.sleep(0.02)
    raise AssertionError(f"no {kind.__name__} in {lab.files()}")


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end of a session that would go on for minutes; return exit code and standard error."""
    _, err = process.communicate(timeout=40)
    assert "Traceback" not in err
    return process.returncode, err


@pytest.mark.behaviour("R5", "S5")
@pytest.mark.parametrize("times", [1, 2])
def test_sigusr1_kills_once_however_often_it_comes(lab: Any, session: Any, times: int) -> None:
    process, _ = session()
    sent_ns = time.time_ns()
    for _ in range(times):
        process.send_signal(signal.SIGUSR1)
        time.sleep(0.1)
    code, err = end(process)
    assert (code, lab.run().report()["exit_code"]) == (99, 99), err
    assert commands(lab.run()) == [("kill", "SIGUSR1")]
    assert closing(lab.run())["fill"]["time_ns"] - sent_ns < 5 * SECOND_NS
    assert "kill_switch: killed by SIGUSR1: a signal" in err
    assert lab("verify").code == 0


@pytest.mark.behaviour("R5", "S3")
@pytest.mark.parametrize("first", ["kill", "interrupt"])
def test_a_kill_and_an_interrupt_together_are_a_kill(lab: Any, session: Any, first: str) -> None:
    """Closing takes two seconds here, so that the second of them comes while the first is obeyed."""
    numbers = [signal.SIGUSR1, signal.SIGINT]
    process, _ = session("--latency-ms", "2000")
    process.send_signal(numbers[first == "interrupt"])
    wait_for(lab, Command)
    process.send_signal(numbers[first == "kill"])
    code, err = end(process)
    assert (code, lab.run().report()["reason"]) == (99, "kill_switch"), err
    assert commands(lab.run())[-1] == ("kill", "SIGUSR1")
    closing(lab.run())
    assert lab("verify").code == 0


@pytest.mark.behaviour("R5", "S3")
def test_a_second_interrupt_cuts_a_kill_short_and_the_code_stays_99(lab: Any, session: Any) -> None:
    process, _ = session("--latency-ms", "9900", "--speed", "4")
    process.send_signal(signal.SIGUSR1)
    wait_for(lab, Command)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    assert end(process)[0] == 99
    report = lab.run().report()
    assert report["reason"] == "kill_switch"
    assert "position_left_open eager 0.01 BTCUSDT" in report["degradations"]


AT_ONCE = """
    import os, signal, sys
    from lab import hookimpl

    if "run" in sys.argv:
        os.kill(os.getpid(), signal.SIGUSR1)

    @hookimpl
    def lab_strategies():
        return {}
"""


@pytest.mark.behaviour("R5", "S5")
def test_a_kill_before_anything_has_begun_is_answered_in_one_line(lab: Any, site: Any) -> None:
    site.install("their_signals", AT_ONCE)
    result = lab.process("run", "--provider", "mock", "--minutes", "5", env=lab.see(site))
    assert (result.code, result.err) == (99, "lab: killed before the run began; nothing was written\n")
    assert lab.files() == []


@pytest.mark.behaviour("R5")
@pytest.mark.parametrize("named", [True, False], ids=["by its id", "the one that runs"])
def test_lab_stop_ends_the_running_session_in_order_and_waits_for_it(lab: Any, session: Any, named: bool) -> None:
    process, folder = session()
    assert lab("backtest", "--provider", "mock", "--set", "mock.minutes=5").code == 0, "which is the newest run now"
    result = lab("stop", *([folder.name] if named else []), "--json")
    assert result.code == 0, result
    assert result.json() == {
        "schema_version": 1, "kind": "stop", "run": folder.name, "ended": True, "reason": "stopped", "exit_code": 0,
        "error": "", "left_open": [],
    }  # fmt: skip
    assert end(process)[0] == 0
    assert (folder / "final_report.json").exists()


@pytest.mark.behaviour("R5", "S5")
def test_lab_stop_kill_closes_the_position_and_says_how_it_ended(lab: Any, session: Any) -> None:
    process, folder = session()
    result = lab("stop", "--kill")
    assert (result.code, result.out) == (0, f"{folder.name}: ended: kill_switch, exit code 99\n"), result
    assert end(process)[0] == 99
    assert commands(lab.run()) == [("kill", "the kill file of this run")]
    closing(lab.run())
    assert lab("verify").code == 0


@pytest.mark.behaviour("R5")
def test_lab_stop_kill_ends_with_1_where_a_position_is_left_open(lab: Any, session: Any) -> None:
    process, folder = session("--latency-ms", "12000", "--speed", "20")
    result = lab("stop", "--kill")
    assert result.code == 1
    assert result.out == (f"{folder.name}: ended: kill_switch, exit code 99\n  position_left_open eager 0.01 BTCUSDT\n")
    assert end(process)[0] == 99


@pytest.mark.behaviour("R5")
def test_lab_stop_waits_no_longer_than_it_is_told_to(lab: Any, session: Any, one_line: Any) -> None:
    process, folder = session()
    process.send_signal(signal.SIGSTOP)
    one_line(lab("stop", "--timeout", "0.3"), 1, folder.name, "has not within 0.3 s", str(process.pid))
    assert lab("stop", "--timeout", "0", "--json").json()["ended"] is False
    process.send_signal(signal.SIGCONT)
    assert end(process)[0] == 0


@pytest.mark.behaviour("R5")
def test_lab_stop_refuses_what_it_cannot_stop_and_names_the_cure(lab: Any, session: Any, one_line: Any) -> None:
    one_line(lab("stop"), 78, "no session runs", "--state-dir")
    one_line(lab("stop", "nobody"), 78, "nobody", "lab runs")
    process, folder = session()
    with sqlite3.connect(folder / "journal.db") as db:
        db.execute("UPDATE meta SET value = 'elsewhere' WHERE key = 'host'")
    db.close()
    one_line(lab("stop"), 78, folder.name, "runs on elsewhere", f"process {process.pid}", "give the command there")
    process.kill()
    process.wait()
    with sqlite3.connect(folder / "journal.db") as db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'host'", (os.uname().nodename,))
    db.close()
    one_line(lab("stop", folder.name), 78, folder.name, f"process {process.pid} is gone", "--write")
    assert lab.mock("--reporter", "none", minutes=1).code == 0
    one_line(lab("stop", "latest"), 78, "has ended already (completed)", "lab report")
    assert lab("backtest", "--provider", "mock", "--set", "mock.minutes=5").code == 0
    one_line(lab("stop", "latest"), 78, "is a backtest or a replay", "Ctrl-C")
    assert not list(lab.folder.glob("runs/*/stop"))


@pytest.mark.behaviour("R5")
def test_lab_stop_of_a_session_that_dies_meanwhile_says_so(lab: Any, session: Any, one_line: Any) -> None:
    process, folder = session()
    process.send_signal(signal.SIGSTOP)
    waiting = subprocess.Popen(
        lab.command("stop", "--kill"), cwd=lab.folder, env=lab.environment, text=True, stderr=subprocess.PIPE
    )
    until = time.monotonic() + 20
    while not (folder / "kill").exists() and time.monotonic() < until:
        time.sleep(0.02)
    process.kill()
    process.wait()
    _, err = waiting.communicate(timeout=20)
    assert waiting.returncode == 1
    assert (
        err == f"lab: {folder.name} was cut off before its end; `lab report {folder.name} --write` writes its report\n"
    )
