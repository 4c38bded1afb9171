"""A reporter cannot slow, stop or alter a run: whatever it does, decisions, end and exit code are those without it."""

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from steady import wait_for

REPORTERS = """
    import asyncio, sys, time
    import anyio
    from attrs import define, field
    from lab import Reporter, hookimpl
    from msgspec.structs import force_setattr

    ERRORS = {
        "error": KeyError("no such colour"), "exit": SystemExit(7), "interrupt": KeyboardInterrupt("mine"),
        "cancelled": asyncio.CancelledError("mine"), "generator": GeneratorExit("mine"), "base": BaseException("mine"),
    }

    @define(kw_only=True)
    class Raises(Reporter):
        what: str = field(default="error", metadata={"help": "which exception"})

        async def report(self, run, records):
            async for record in records:
                if record.kind == "candle":
                    raise ERRORS[self.what]

    @define(kw_only=True)
    class AwaitsCancelled(Reporter):
        async def report(self, run, records):
            child = asyncio.ensure_future(asyncio.sleep(60))
            child.cancel()
            await child

    @define(kw_only=True)
    class Sleepy(Reporter):
        async def report(self, run, records):
            async for _ in records:
                time.sleep(12)

    @define(kw_only=True)
    class Blocked(Reporter):
        async def report(self, run, records):
            print("blocked", flush=True)
            time.sleep(3600)

    @define(kw_only=True)
    class Spins(Reporter):
        async def report(self, run, records):
            while True:
                pass

    @define(kw_only=True)
    class Swallows(Reporter):
        async def report(self, run, records):
            while True:
                try:
                    await anyio.sleep(3600)
                except BaseException:
                    pass

    @define(kw_only=True)
    class Printing(Reporter):
        async def report(self, run, records):
            while True:
                print("again")

    @define(kw_only=True)
    class Worker(Reporter):
        async def report(self, run, records):
            await anyio.to_thread.run_sync(time.sleep, 3600)

    @define(kw_only=True)
    class Vandal(Reporter):
        async def report(self, run, records):
            force_setattr(run.header, "symbol", "CHANGED")
            run.header.limits.clear()
            async for record in records:
                for change in (setattr, object.__setattr__):
                    try:
                        change(record, "body", b"CHANGED")
                    except AttributeError:
                        pass
                record.data().clear() if isinstance(record.data(), (dict, list)) else None
                force_setattr(run.status(), "feed", "CHANGED")
                run.candles().clear()
            force_setattr(run.report(), "status", "CHANGED")
            run.report().limits.clear()

    @define(kw_only=True)
    class Looks(Reporter):
        async def report(self, run, records):
            seen = 0
            async for record in records:
                assert record.seq == seen + 1
                seen = record.seq
                status = run.status()
            print("looked", seen, run.header.symbol, run.status().feed, len(run.header.limits), len(run.candles()),
                  run.report().status, len(run.report().limits))

    @define(kw_only=True)
    class Early(Reporter):
        async def report(self, run, records):
            print("at first", "; ".join(run.status().why_not_trading) or "trading")

    @hookimpl
    def lab_reporters():
        return {"raises": Raises, "awaits_cancelled": AwaitsCancelled, "sleepy": Sleepy, "blocked": Blocked,
                "spins": Spins, "swallows": Swallows, "printing": Printing, "worker": Worker, "vandal": Vandal,
                "looks": Looks, "early": Early}
"""
UNDISTURBED = ("--reporter", "none")


@pytest.fixture
def reporters(trader: Any) -> Any:
    """The reporters above are installed, and a strategy that trades on every candle."""
    trader.install("their_reporters", REPORTERS)
    return trader


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reporters get half a second after the end."""
    monkeypatch.setattr("lab.reporting.host.END_S", 0.5)


def trade(lab: Any, *args: str, minutes: int = 5) -> Any:
    return lab.mock("--strategy", "trader", *args, minutes=minutes)


@pytest.mark.behaviour("V6", "P7")
@pytest.mark.parametrize("what", ["error", "exit", "interrupt", "cancelled", "generator", "base"])
def test_whatever_a_reporter_raises_is_its_failure_alone_and_changes_no_row(
    lab: Any, reporters: Any, what: str
) -> None:
    assert trade(lab, *UNDISTURBED).code == 0
    before, earlier = lab.run().raw(), lab.run().report()
    result = trade(lab, "--reporter", "raises", "--set", f"raises.what={what}", "--reporter", "jsonl")
    run, report = lab.run(), lab.run().report()
    assert result.code == report["exit_code"] == 0
    assert run.raw() == before
    kind = {
        "error": "KeyError", "exit": "SystemExit", "interrupt": "KeyboardInterrupt", "cancelled": "CancelledError",
        "generator": "GeneratorExit", "base": "BaseException",
    }[what]  # fmt: skip
    (said,) = report["degradations"]
    assert said.startswith(f"reporter_failed raises: {kind}: ")
    assert result.err.startswith(f"lab: reporter raises failed in report: {kind}: ")
    assert "in report\n" in result.err, "the traceback names the place"
    log = (run.folder / "errors.log").read_text(encoding="utf-8")
    assert "Traceback" in log
    assert f"reporter raises failed in report: {kind}: " in log.splitlines()[0]
    assert len((run.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()) == 1 + len(before)
    assert report["error_count"] == 1
    same = set(report) - {"run_id", "started", "degradations", "error_count"}
    assert {key: report[key] for key in same} == {key: earlier[key] for key in same}
    assert lab("report", "--json").json() == report
    assert lab("verify").code == 0


@pytest.mark.behaviour("V6", "P7")
def test_a_reporter_that_lets_a_cancellation_out_ends_only_itself(lab: Any, reporters: Any) -> None:
    result = trade(lab, "--reporter", "awaits_cancelled")
    assert result.code == 0
    assert lab.run().report()["degradations"] == ["reporter_failed awaits_cancelled: CancelledError: "]
    assert lab.run().report()["books"]["trader"]["positions"] == {}


@pytest.mark.behaviour("V6", "P7")
@pytest.mark.parametrize("name", ["swallows", "sleepy", "worker"])
def test_a_reporter_that_does_not_come_to_an_end_is_abandoned_and_named(
    lab: Any, reporters: Any, hasty: None, name: str
) -> None:
    assert trade(lab, *UNDISTURBED).code == 0
    before = lab.run().raw()
    result = trade(lab, "--reporter", name, "--reporter", "jsonl")
    assert (result.code, lab.run().raw()) == (0, before)
    (said,) = lab.run().report()["degradations"]
    assert said.startswith(f"reporter_unfinished {name}: not done 0.5 s after the end, after ")
    assert result.err == f"lab: reporter {name} was not done 0.5 s after the end and was abandoned\n"
    assert (lab.run().folder / "events.jsonl").is_file()
    assert lab("report", "--json").json() == lab.run().report()


@pytest.mark.behaviour("V6", "P7")
@pytest.mark.parametrize("name", ["blocked", "spins", "printing"])
def test_a_process_leaves_in_time_with_the_same_rows_though_a_reporter_blocks_for_ever(
    lab: Any, reporters: Any, name: str
) -> None:
    args = ("run", "--provider", "mock", "--speed", "max", "--minutes", "3", "--strategy", "trader")
    assert lab(*args, *UNDISTURBED).code == 0
    before = lab.run().raw()
    command = lab.command(*args, "--reporter", name, "--reporter", "jsonl")
    command[2] = f"import lab.reporting.host; lab.reporting.host.END_S = 1\n{command[2]}"
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=lab.folder, env={**lab.environment, **lab.see(reporters)}, capture_output=True, text=True,
        timeout=30, check=False,
    )  # fmt: skip
    assert time.monotonic() - began < 25
    assert done.returncode == 0, done.stderr
    assert lab.run().raw() == before
    assert done.stderr == f"lab: reporter {name} was not done 1 s after the end and was abandoned\n"
    assert (lab.run().folder / "events.jsonl").is_file()
    assert f"reporter_unfinished {name}: not done 1 s after the end, after " in lab.run().report()["degradations"][0]
    assert [path.name for path in lab.run().folder.glob("journal.db*")] == ["journal.db"]


@pytest.mark.behaviour("V6", "P7", "S3")
def test_two_signals_end_a_run_within_a_second_while_a_reporter_sleeps_twelve_seconds_a_row(
    lab: Any, reporters: Any
) -> None:
    command = lab.command(
        "run", "--provider", "mock", "--minutes", "5", "--reporter", "blocked", "--reporter", "sleepy"
    )
    environment = {**lab.environment, **lab.see(reporters), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=lab.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "blocked\n"
        wait_for(lambda: list(lab.folder.glob("runs/latest/journal.db")))
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: list(lab.folder.glob("runs/latest/final_report.json")))
        assert lab.run().report()["reason"] == "stopped", "the report is written before anybody waits for them"
        assert process.poll() is None, "reporters have five seconds"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=40)
    assert process.returncode == 0, (out, err)
    report = lab.run().report()
    assert (report["reason"], report["exit_code"]) == ("stopped", 0)
    assert [text.partition(",")[0] for text in report["degradations"] if text.startswith("reporter")] == [
        "reporter_unfinished blocked: not done when a second signal came",
        "reporter_unfinished sleepy: not done when a second signal came",
    ]
    assert "Traceback" not in err


@pytest.mark.behaviour("P7")
def test_what_a_reporter_is_given_it_cannot_change_for_anybody_else(lab: Any, reporters: Any) -> None:
    assert trade(lab, *UNDISTURBED).code == 0
    before = lab.run().raw()
    result = trade(lab, "--reporter", "vandal", "--reporter", "jsonl", "--reporter", "looks")
    assert (result.code, result.err) == (0, "")
    assert lab.run().raw() == before
    assert "CHANGED" not in (lab.run().folder / "events.jsonl").read_text(encoding="utf-8")
    assert f"looked {len(before)} BTCUSDT " in result.out
    assert " completed 2\n" in result.out
    assert "CHANGED" not in result.out


def test_a_reporter_sees_all_rows_the_status_and_the_report_without_files_too(lab: Any, reporters: Any) -> None:
    result = trade(lab, "--reporter", "looks", "--no-write")
    assert result.code == 0, result
    assert "looked" in result.out
    assert lab("backtest", "btcusd-1m", "--reporter", "looks", "--no-write").code == 0
    backtest = lab("backtest", "btcusd-1m", "--reporter", "looks")
    assert (backtest.code, backtest.err) == (0, "")
    assert backtest.out.startswith("looked ")


def test_the_first_status_is_not_that_of_a_session_that_trades_already(lab: Any, reporters: Any) -> None:
    result = lab.mock("--set", "sma.slow=5000", "--reporter", "early", "--no-write", minutes=3)
    assert result.out.startswith("at first ")
    assert "warming " in result.out.splitlines()[0]


@pytest.mark.behaviour("V6", "P7")
def test_reporters_of_a_backtest_fail_by_the_same_rules(lab: Any, reporters: Any, hasty: None) -> None:
    args = ("backtest", "btcusd-1m", "--strategy", "trader")
    assert lab(*args).code == 0
    before = lab.run().raw()[:-1]  # the last row says how long it took
    result = lab(*args, "--reporter", "raises", "--set", "raises.what=exit", "--reporter", "swallows")
    assert result.code == 0
    assert lab.run().raw()[:-1] == before
    degradations = [text for text in lab.run().report()["degradations"] if text.startswith("reporter")]
    assert degradations[-1].startswith("reporter_unfinished swallows: not done 0.5 s after the end")
    assert lab("report", "--json").json() == lab.run().report()
    assert lab("verify").code == 0


class _Taker(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        size = int(self.headers["content-length"])
        self.server.taken.append(self.rfile.read(size))  # type: ignore[attr-defined]
        time.sleep(0.01)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def webhook() -> Iterator[Any]:
    """A real HTTP server on a real port, which keeps what is posted."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Taker)
    server.taken = []
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    yield server
    server.shutdown()
    server.server_close()
    serving.join()


WEBHOOK = """
    import anyio, httpx
    from attrs import define, field
    from lab import Reporter, hookimpl

    @define(kw_only=True)
    class Webhook(Reporter):
        port: int = field(default=0, metadata={"help": "port of the server"})

        async def report(self, run, records):
            async with httpx.AsyncClient(timeout=1.0, trust_env=False) as client:
                async for record in records:
                    if record.kind == "order_filled":
                        await client.post(f"http://127.0.0.1:{self.port}/", content=record.body)
            host = await anyio.to_thread.run_sync(lambda: "a thread")
            print("posted from", host)

    @hookimpl
    def lab_reporters():
        return {"webhook": Webhook}
"""


@pytest.mark.behaviour("P7")
@pytest.mark.parametrize(("speed", "minutes"), [("max", "10"), ("60", "4")])
def test_the_real_network_real_time_outs_and_threads_work_in_a_reporter_at_every_speed(
    lab: Any, trader: Any, webhook: Any, speed: str, minutes: str
) -> None:
    trader.install("their_webhook", WEBHOOK)
    args = ("run", "--provider", "mock", "--strategy", "trader", "--speed", speed, "--minutes", minutes)
    result = lab(*args, "--reporter", "webhook", "--set", f"webhook.port={webhook.server_port}")
    assert (result.code, result.err) == (0, "")
    bodies = [row[5] for row in lab.run().raw() if row[3] == "order_filled"]
    assert len(bodies) >= 4
    assert webhook.taken == bodies
    assert "posted from a thread\n" in result.out
    assert not [text for text in lab.run().report()["degradations"] if text.startswith("reporter")]


def test_a_reporter_that_is_behind_reads_old_rows_from_the_file(
    lab: Any, reporters: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.reporting.rows.KEPT_BESIDE_A_FILE", 10)
    monkeypatch.setattr("lab.reporting.rows.PAGE", 7)
    result = trade(lab, "--reporter", "looks", "--reporter", "jsonl", minutes=20)
    assert (result.code, result.err) == (0, "")
    assert f"looked {len(lab.run().raw())} " in result.out
    assert len((lab.run().folder / "events.jsonl").read_text(encoding="utf-8").splitlines()) == 1 + len(lab.run().raw())


def test_without_a_file_a_reporter_that_is_too_far_behind_misses_rows_and_the_report_says_how_many(
    lab: Any, trader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.reporting.rows.KEPT_WITHOUT", 10)
    trader.install(
        "their_late",
        """
        import time
        from attrs import define
        from lab import Reporter, hookimpl

        @define(kw_only=True)
        class Late(Reporter):
            async def report(self, run, records):
                taken = 0
                async for record in records:
                    if not taken:
                        time.sleep(1.0)
                    taken += 1
                print("missed", record.seq - taken)

        @hookimpl
        def lab_reporters():
            return {"late": Late}
        """,
    )
    result = trade(lab, "--reporter", "late", "--no-write", "--json", minutes=3)
    said, _, document = result.out.partition("\n")
    missed = int(said.removeprefix("missed "))
    assert missed > 0
    assert f'"reporter_missed_rows late: {missed} rows' in document


@pytest.mark.behaviour("V6", "S5")
def test_where_no_further_thread_can_be_started_the_run_goes_on_without_its_reporters(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(thread: threading.Thread, start: Any = threading.Thread.start) -> None:
        if thread.name.startswith("lab "):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", none_left)
    result = lab("run", "--provider", "mock", "--speed", "60", "--minutes", "0.2", "--reporter", "jsonl")
    assert result.code == 0
    assert result.err.splitlines()[0].startswith("lab: reporter jsonl is left out: no further thread can be started")
    assert "Traceback" not in result.err
    assert "reporter_failed jsonl: no thread was left for it" in lab.run().report()["degradations"]
