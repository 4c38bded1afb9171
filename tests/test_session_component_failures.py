"""Whatever a component raises, at whatever call, is that component's failure: named, in order, with its traceback."""

import sys
from typing import Any

import pytest

FAULTY = """
    import asyncio
    from attrs import define, field
    from lab import Candle, Provider, hookimpl
    from lab.ports import Realm
    from lab_mock.provider import MockProvider

    ERRORS = {
        "value": ValueError("what was this"), "os": OSError(28, "No space left on device"), "exit": SystemExit(3),
        "interrupt": KeyboardInterrupt("mine"), "cancelled": asyncio.CancelledError("mine"),
        "base": BaseException("mine"),
    }

    @define(kw_only=True, eq=False)
    class Faulty(MockProvider):
        where: str = field(default="", metadata={"help": "call that fails"})
        what: str = field(default="value", metadata={"help": "with which exception"})
        _runtime: object = field(init=False, default=None)
        _asked: int = field(init=False, default=0)

        def _fail(self, where):
            if self.where == where:
                raise ERRORS[self.what]

        async def start(self, runtime):
            self._runtime = runtime
            self._fail("start")
            await super().start(runtime)

        async def stop(self):
            self._fail("stop")

        async def instrument(self, symbol):
            self._fail("instrument")
            return await super().instrument(symbol)

        async def history(self, *args, **kwargs):
            self._asked += 1
            self._fail("history" if self._asked == 1 else "fill")
            return await super().history(*args, **kwargs)

        async def stream(self, wanted, sink):
            faulty = self

            class Holed:
                def __getattr__(self, name):
                    return getattr(sink, name)

                def put(self, candle):
                    if not isinstance(candle, Candle):
                        return sink.put(candle)
                    minute = (candle.open_ns - 1_704_067_200 * 10**9) // (60 * 10**9)
                    if minute == 5 and faulty.where == "stream":
                        raise ERRORS[faulty.what]
                    if minute == 5 and faulty.where == "task":
                        faulty._runtime.tasks.start_soon(faulty._own)
                    if minute == 5 and faulty.where == "return":
                        raise StopIteration
                    if not 3 <= minute <= 4:
                        sink.put(candle)

            try:
                await super().stream(wanted, Holed())
            except (StopIteration, RuntimeError):
                return

        async def _own(self):
            raise ERRORS[self.what]

        def batches(self, wanted, *, seed):
            self._fail("batches")
            return self._read(super().batches(wanted, seed=seed))

        def _read(self, batches):
            for number, events in enumerate(batches):
                if number == 1:
                    self._fail("reading")
                yield events

        def source(self):
            self._fail("source")
            return super().source()

    @define(kw_only=True, eq=False)
    class Real(Faulty):
        def realm(self):
            return Realm.REAL

    @hookimpl
    def lab_providers():
        return {"faulty": Faulty, "real": Real}
"""

WHERE = (("stream", "stream"), ("task", "one of its tasks"))
WHAT = ("value", "os", "exit", "interrupt", "cancelled", "base")
# A task that raises CancelledError has ended without an error, as asyncio sees it.
FAILURES = [(*where, what) for where in WHERE for what in WHAT if (where[0], what) != ("task", "cancelled")]


@pytest.fixture
def faulty(trader: Any) -> Any:
    trader.install("their_faulty", FAULTY)
    return trader


def live(lab: Any, where: str, what: str = "value", *args: str, provider: str = "faulty") -> Any:
    return lab(
        "run", "--provider", provider, "--speed", "max", "--minutes", "9", "--strategy", "trader",
        "--set", "trader.need=1", "--set", f"{provider}.where={where}", "--set", f"{provider}.what={what}", *args,
    )  # fmt: skip


@pytest.mark.behaviour("P6", "V1")
@pytest.mark.parametrize(("where", "call", "what"), FAILURES)
def test_what_a_provider_raises_ends_the_run_in_order_as_its_failure(
    lab: Any, faulty: Any, where: str, call: str, what: str
) -> None:
    result = live(lab, where, what)
    report = lab.run().report()
    assert result.code == report["exit_code"] == 69, result.err
    assert (report["status"], report["reason"]) == ("failed", "plugin_refused")
    assert report["error"].startswith(f"provider faulty failed in {call}: ")
    assert "Traceback (most recent call last)" in result.err
    assert "defect in lab" not in result.err
    log = (lab.run().folder / "errors.log").read_text(encoding="utf-8")
    assert f"provider faulty failed in {call}: " in log
    assert "their_faulty.py" in log
    left_open = any(text.startswith("position_left_open trader") for text in report["degradations"])
    assert bool(report["books"]["trader"]["positions"]) == left_open == (where == "stream"), "no price, no closing"
    accepted = len(lab.run().rows("order_accepted"))
    assert accepted == len(lab.run().rows("order_filled", "order_ended"))
    assert (lab.run().folder / "summary.html").is_file()
    assert lab("verify").code == 0


@pytest.mark.behaviour("P7")
@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("where", ["history", "fill"])
def test_history_that_raises_anything_leaves_its_traceback_and_the_run_goes_on(
    lab: Any, faulty: Any, where: str, what: str
) -> None:
    result = live(lab, where, what)
    report = lab.run().report()
    assert result.code == report["exit_code"] == 0, result.err
    assert result.err.startswith("lab: provider faulty failed in history: ")
    assert "their_faulty.py" in (lab.run().folder / "errors.log").read_text(encoding="utf-8")
    refused = [text for text in report["degradations"] if text.startswith("history_refused: history() failed: ")]
    assert len(refused) == (where == "history")
    assert report["error_count"] >= 1
    assert report["candles"] >= 6
    assert lab("verify").code == 0


@pytest.mark.parametrize("what", ["value", "exit", "base"])
@pytest.mark.parametrize("where", ["start", "instrument"])
def test_a_provider_that_fails_before_the_run_begins_is_named_with_its_traceback(
    lab: Any, faulty: Any, where: str, what: str
) -> None:
    result = live(lab, where, what)
    assert result.code == 69
    assert "Traceback (most recent call last)" in result.err
    assert result.err.splitlines()[-1].startswith(f"lab: provider faulty failed in {where}: ")
    assert lab.files() == []


def test_a_provider_that_fails_to_stop_changes_no_end(lab: Any, faulty: Any) -> None:
    result = live(lab, "stop")
    assert result.code == lab.run().report()["exit_code"] == 0
    assert result.err.startswith("lab: provider faulty failed in stop: ValueError: what was this\nTraceback")


def test_a_real_venues_stream_that_returns_before_the_time_is_up_has_given_up(lab: Any, faulty: Any) -> None:
    result = live(lab, "return", provider="real")
    report = lab.run().report()
    assert result.code == report["exit_code"] == 69
    assert report["error"] == "provider real: its stream returned; a real venue's data has no end"
    result = live(lab, "return")
    assert result.code == lab.run().report()["exit_code"] == 0, "the data of a synthetic or recorded source may end"
    assert lab.run().report()["status"] == "completed"


@pytest.mark.behaviour("V1")
@pytest.mark.parametrize("what", ["value", "os", "exit", "interrupt", "base"])
@pytest.mark.parametrize("where", ["batches", "source"])
def test_a_backtest_whose_provider_fails_before_the_first_input_ends_with_69_and_names_it(
    lab: Any, faulty: Any, where: str, what: str
) -> None:
    result = lab("backtest", "--provider", "faulty", "--set", f"faulty.where={where}", "--set", f"faulty.what={what}")
    assert result.code == 69
    assert result.err.splitlines()[-1].startswith(f"lab: provider faulty failed in {where}: ")
    assert result.err.count("Traceback (most recent call last)") == 1
    assert lab.files() == []


@pytest.mark.behaviour("V1")
@pytest.mark.parametrize("what", ["value", "os", "exit", "interrupt", "base"])
def test_a_backtest_whose_provider_fails_half_way_ends_in_order_with_report_and_page(
    lab: Any, faulty: Any, what: str
) -> None:
    result = lab(
        "backtest", "--provider", "faulty", "--set", "faulty.where=reading", "--set", f"faulty.what={what}",
        "--strategy", "trader", "--reporter", "html",
    )  # fmt: skip
    report = lab.run().report()
    assert result.code == report["exit_code"] == 69
    assert report["reason"] == "plugin_refused"
    assert report["error"].startswith("provider faulty failed in batches: ")
    assert report["candles"] > 0
    assert (lab.run().folder / "summary.html").is_file()
    assert "their_faulty.py" in (lab.run().folder / "errors.log").read_text(encoding="utf-8")
    assert lab("verify").code in {0, 69}


BROKER = """
    from attrs import define, field
    from lab import hookimpl
    from lab_paper_broker.broker import PaperBroker

    @define(kw_only=True, eq=False)
    class Fragile(PaperBroker):
        taken: int = field(init=False, default=0)

        def submit(self, order, now_ns):
            self.taken += 1
            if self.taken == 4:
                raise KeyboardInterrupt("mine")
            return super().submit(order, now_ns)

    @hookimpl
    def lab_brokers():
        return {"fragile": Fragile}
"""


@pytest.mark.behaviour("P6", "V1", "O13")
def test_a_broker_that_raises_ends_the_run_in_order_as_its_failure_and_every_order_has_an_end(
    lab: Any, trader: Any
) -> None:
    trader.install("their_broker", BROKER)
    result = lab.mock("--strategy", "trader", "--broker", "fragile", "--latency-ms", "0")
    report = lab.run().report()
    assert result.code == report["exit_code"] == 69
    assert report["error"].startswith("broker fragile failed in submit: KeyboardInterrupt: mine")
    assert "their_broker.py" in (lab.run().folder / "errors.log").read_text(encoding="utf-8")
    assert result.err.count("Traceback (most recent call last)") == 1
    assert len(lab.run().rows("order_accepted")) == len(lab.run().rows("order_filled", "order_ended"))
    assert (lab.run().folder / "summary.html").is_file()
    assert lab("verify").code == 0


@pytest.mark.behaviour("P6", "V1")
def test_a_broker_that_fails_while_a_run_whose_time_is_up_closes_is_the_reason_of_its_end(
    lab: Any, trader: Any
) -> None:
    trader.install("their_broker", BROKER.replace("if self.taken == 4:", "if order.reduce_only:"))
    command = ("run", "--provider", "mock", "--speed", "max", "--minutes", "1.5", "--strategy", "trader")
    result = lab(*command, "--broker", "fragile", "--latency-ms", "0", "--reporter", "none")
    report = lab.run().report()
    assert len(lab.run().rows("order_filled")) == 1
    assert (result.code, report["exit_code"], report["reason"]) == (69, 69, "plugin_refused")
    assert report["duration_seconds"] >= 90, "the time was up: a failure is the more serious reason"


@pytest.mark.behaviour("P6")
def test_a_strategys_exception_leaves_its_traceback_on_standard_error_and_in_the_runs_folder(
    lab: Any, trader: Any
) -> None:
    trader.install(
        "their_bomb",
        """
        from attrs import define
        from lab import Strategy, hookimpl

        @define(kw_only=True)
        class Bomb(Strategy):
            def on_candle(self, candle, view):
                return self.helper({})

            def helper(self, found):
                return found["missing"]

        @hookimpl
        def lab_strategies():
            return {"bomb": Bomb}
        """,
    )
    for args in (("run", "--speed", "max", "--minutes", "3"), ("backtest", "--set", "mock.minutes=3")):
        result = lab(*args, "--provider", "mock", "--strategy", "bomb", "--strategy", "trader", "--reporter", "none")
        assert result.code == 0, result
        log = (lab.run().folder / "errors.log").read_text(encoding="utf-8")
        for said in (result.err, log):
            assert "strategy bomb failed in on_candle: KeyError: 'missing'\n" in said
            assert "in on_candle\n" in said
            assert "in helper\n" in said
            assert said.count("Traceback (most recent call last)") == 1


HOARDER = """
    import weakref
    from attrs import define, field
    from lab import Strategy, hookimpl

    MADE, ALIVE = [], []

    @define(kw_only=True, eq=False, slots=False)
    class Hoarder(Strategy):
        lookback = 0
        kept: list = field(init=False, factory=list)

        def on_quote(self, quote, view):
            self.kept.append(bytearray(1 << 20))
            if len(self.kept) == 5:
                MADE.append(weakref.ref(self))
                raise MemoryError

        def on_candle(self, candle, view):
            return []

        on_fill = on_end = on_trade = on_depth = on_timer = lambda self, *args: None

        def on_history(self, view):
            pass

    @define(kw_only=True)
    class Looker(Strategy):
        lookback = 0

        def on_candle(self, candle, view):
            ALIVE.extend(one() is not None for one in MADE)
            return []

    @hookimpl
    def lab_strategies():
        return {"hoarder": Hoarder, "looker": Looker}
"""


@pytest.mark.behaviour("P7")
def test_what_a_stopped_strategy_held_in_memory_is_given_back(lab: Any, site: Any) -> None:
    site.install("their_hoarder", HOARDER)
    args = ("--strategy", "hoarder", "--strategy", "looker", "--gate", "none", "--reporter", "none")
    result = lab.mock(*args, minutes=3)
    assert (result.code, "MemoryError" in result.err) == (0, True), result
    module = sys.modules["their_hoarder"]
    assert len(module.MADE) == 1
    assert module.ALIVE
    assert not any(module.ALIVE)
