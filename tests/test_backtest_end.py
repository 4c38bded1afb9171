"""How a backtest ends: every order has an end, a failing component is named, and the proof still holds."""

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

EAGER = '''
from attrs import define, field
from decimal import Decimal
from lab import OrderRequest, OrderType, Strategy, hookimpl

@define(kw_only=True)
class Eager(Strategy):
    """Asks for the same order on every candle."""
    quantity: Decimal = field(default=Decimal("0.01"), metadata={"help": "size in coins"})
    limit: str = field(default="", metadata={"help": "a limit order's limit; empty for a market order"})
    once: bool = field(default=False, metadata={"help": "on the first live candle only"})
    most: int = field(default=10_000, metadata={"help": "how many orders it asks for"})
    asked: int = field(init=False, default=0)

    def on_candle(self, candle, view):
        if self.asked == self.most or (self.once and (self.asked or candle.status == "backfilled")):
            return ()
        self.asked += 1
        if self.limit:
            return [OrderRequest.buy(candle.symbol, self.quantity, type=OrderType.LIMIT, limit=Decimal(self.limit))]
        return [OrderRequest.buy(candle.symbol, self.quantity)]

@hookimpl
def lab_strategies():
    return {"eager": Eager}
'''

FAILING_BROKER = '''
from attrs import define, field
from lab import hookimpl
from lab_paper_broker.broker import PaperBroker

@define(kw_only=True)
class Failing(PaperBroker):
    """Fails after some orders, as its setting says."""
    how: str = field(default="KeyError", metadata={"help": "the exception, or 'twice' to report a fill twice"})
    seen: int = field(init=False, default=0)

    def observe(self, event):
        self.seen += 1
        if self.seen < 5:
            return ()
        if self.how == "twice":
            return [report for report in super().observe(event) for _ in range(2)]
        raise {"KeyError": KeyError, "SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt,
               "GeneratorExit": GeneratorExit, "BaseException": BaseException}[self.how]("broken")

@hookimpl
def lab_brokers():
    return {"failing": Failing}
'''


@pytest.fixture
def eager(site: Any) -> Any:
    site.install("their_eager", EAGER)
    return site


def ends_of(run: Any) -> dict[str, list[str]]:
    """Return what ended each accepted order: ``filled`` where nothing remained, else the outcome."""
    found: dict[str, list[str]] = {body["order_id"]: [] for _, _, body in run.rows("order_accepted")}
    for _, kind, body in run.rows("order_filled", "order_ended"):
        if kind == "order_ended":
            found[body["order_id"]].append(body["outcome"])
        elif float(body["remaining"]) == 0:
            found[body["fill"]["order_id"]].append("filled")
    return found


@pytest.mark.behaviour("O13")
@pytest.mark.parametrize(
    "arguments",
    [
        ("--set", "eager.limit=1000", "--gate", "none"),
        ("--latency-ms", "99999999", "--gate", "none"),
        ("--gate", "none"),
        (),
    ],
    ids=["limits that rest", "orders that never arrive", "an order on the last candle", "with gates"],
)
def test_every_order_of_a_backtest_has_exactly_one_end(lab: Any, eager: Any, arguments: tuple[str, ...]) -> None:
    assert lab("backtest", "btcusd-1m", "--strategy", "eager", *arguments).code == 0
    ends = ends_of(lab.run())
    assert len(ends) > 10
    assert {order: found for order, found in ends.items() if len(found) != 1} == {}
    report = lab.run().report()
    filled = sum(found == ["filled"] for found in ends.values())
    total = filled + sum(report[name] for name in ("cancelled", "expired", "rejected"))
    assert report["orders"] == total == len(ends)
    assert lab("verify").code == 0


@pytest.mark.behaviour("O13")
def test_an_order_that_never_arrives_is_told_as_cancelled_and_not_as_refused(lab: Any, eager: Any) -> None:
    # No more than may work at once: a further one is refused.
    arguments = ("--strategy", "eager", "--set", "eager.most=1000", "--latency-ms", "99999999", "--gate", "none")
    assert lab("backtest", "btcusd-1m", *arguments).code == 0
    report = lab.run().report()
    assert report["cancelled"] == report["orders"] == 1000
    assert report["refusals"] == 0
    assert "cancelled" in report["no_trade_reason"]
    reasons = {body["reason"] for _, _, body in lab.run().rows("order_ended")}
    assert reasons == {"stop by backtest: the data ended"}


@pytest.mark.behaviour("P7", "O13")
@pytest.mark.parametrize(
    "how", ["KeyError", "SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException", "twice"]
)
@pytest.mark.parametrize("command", ["backtest", "run"])
def test_a_broker_that_fails_ends_the_run_as_its_own_failure_with_a_report(
    lab: Any, eager: Any, how: str, command: str
) -> None:
    eager.install("their_broker", FAILING_BROKER)
    source = ("btcusd-1m",) if command == "backtest" else ("--provider", "mock", "--speed", "max", "--minutes", "20")
    settings = ("--strategy", "eager", "--broker", "failing", "--set", f"failing.how={how}", "--gate", "none")
    result = lab(command, *source, *settings, "--reporter", "none")
    assert result.code == 69, result
    assert "defect in lab" not in result.err + result.out
    report = lab.run().report()
    assert (report["status"], report["reason"], report["exit_code"]) == ("failed", "plugin_refused", 69)
    assert "broker failing" in report["error"]
    ends = ends_of(lab.run())
    assert ends
    assert {order: found for order, found in ends.items() if len(found) != 1} == {}
    assert lab("verify").code == 0


@pytest.mark.behaviour("O11")
def test_equity_that_reaches_nothing_ends_the_run_with_a_risk_halt_and_never_recovers(
    lab: Any, eager: Any, tmp_path: Path
) -> None:
    prices = [10_000] * 3 + [9_000] * 5 + [10_500] * 5
    lines = [f"{1_704_067_200 + 60 * n},{p},{p},{p},{p},500" for n, p in enumerate(prices)]
    (lab.folder / "fall.csv").write_text("\n".join(["time,open,high,low,close,volume", *lines]) + "\n")
    settings = ("--strategy", "eager", "--set", "eager.once=true", "--set", "eager.quantity=12", "--leverage", "20")
    result = lab("backtest", "fall.csv", *settings, "--set", "paper.slippage_bps=0")
    assert result.code == 2, result
    report = lab.run().report()
    assert (report["reason"], report["error"]) == ("risk_halt", "every book was liquidated")
    [(_, _, body)] = lab.run().rows("equity_exhausted")
    assert float(body["equity"]) < 0
    assert float(report["ending_equity"]) == 0
    assert float(report["insurance_paid"]) > 2_000
    assert report["books"]["eager"]["positions"] == {}
    assert [body["side"] for _, _, body in lab.run().rows("order_filled")] == ["buy", "sell"]
    assert lab("verify").code == 0


INTERRUPTED = """
    import os, signal
    from attrs import define
    from lab import Strategy, hookimpl

    @define(kw_only=True)
    class Interrupted(Strategy):
        def on_candle(self, candle, view):
            if os.environ.get("INTERRUPTED"):
                signal.raise_signal(signal.SIGINT)
            raise ValueError("no more")

    @hookimpl
    def lab_strategies():
        return {"interrupted": Interrupted}
"""


@pytest.mark.behaviour("J6")
def test_a_backtest_that_a_signal_stops_after_its_strategy_failed_is_proved_as_far_as_it_went(
    lab: Any, site: Any
) -> None:
    site.install("their_interrupted", INTERRUPTED)
    arguments = ("backtest", "--provider", "mock", "--strategy", "interrupted")
    result = lab.process(*arguments, env={**lab.see(site), "INTERRUPTED": "yes"})
    report = lab.run().report()
    assert result.code == report["exit_code"] == 69, result
    assert report["error"] == "every strategy has failed"
    assert report["counters"]["inputs"] < 1_000
    assert lab("verify").code == 0


@pytest.mark.behaviour("O11", "O13")
def test_the_order_that_closes_a_ruined_book_has_an_end_though_the_data_ends_before_it_fills(
    lab: Any, eager: Any
) -> None:
    prices = [10_000] * 3 + [9_000]
    lines = [f"{1_704_067_200 + 60 * n},{p},{p},{p},{p},500" for n, p in enumerate(prices)]
    (lab.folder / "fall.csv").write_text("\n".join(["time,open,high,low,close,volume", *lines]) + "\n")
    settings = ("--strategy", "eager", "--set", "eager.once=true", "--set", "eager.quantity=12", "--leverage", "20")
    assert lab("backtest", "fall.csv", *settings).code == 2
    report = lab.run().report()
    assert (report["orders"], report["fills"], report["cancelled"]) == (2, 1, 1)
    assert lab("verify").code == 0


@pytest.mark.behaviour("O11", "S5")
def test_a_session_whose_equity_reaches_nothing_ends_with_a_risk_halt_and_closes_what_is_held(
    lab: Any, eager: Any
) -> None:
    settings = ("--strategy", "eager", "--set", "eager.once=true", "--set", "eager.quantity=400", "--gate", "none")
    settings += ("--set", "paper.liquidity=unlimited")
    result = lab.mock(*settings, minutes=600)
    assert result.code == 2, result
    report = lab.run().report()
    assert (report["reason"], report["error"]) == ("risk_halt", "every book was liquidated")
    assert report["books"]["eager"]["positions"] == {}
    assert len(lab.run().rows("equity_exhausted")) == 1
    orders = [body["order_id"].rpartition("-")[2] for _, _, body in lab.run().rows("order_accepted")]
    assert orders.count("close") == 1  # the end of the session neither cancels it nor sends it again
    assert report["cancelled"] == 0
    assert report["duration_seconds"] < 36_000
    assert lab("verify").code == 0


@pytest.mark.behaviour("O11")
@pytest.mark.parametrize(
    "command",
    [
        ("run", "--set", "bitunix.venue=local", "--speed", "max"),
        ("run", "--set", "bitunix.venue=local", "--speed", "max", "--no-write"),
    ],
    ids=["files", "no files"],
)
def test_a_leverage_above_the_instruments_is_refused_before_anything_is_written(
    lab: Any, one_line: Any, command: tuple[str, ...]
) -> None:
    result = lab(*command, "--leverage", "1000", "--reporter", "none")
    one_line(result, 78, "leverage = 1000", "BTCUSDT has at most", "--leverage 125")
    assert "runs/20" not in " ".join(lab.files())


@pytest.mark.behaviour("J6")
def test_a_backtest_that_a_signal_stopped_is_verified_as_far_as_it_went(lab: Any, tmp_path: Path) -> None:
    settings = ("backtest", "--provider", "mock", "--set", "mock.minutes=2000000", "--reporter", "none")
    process = subprocess.Popen(lab.command(*settings), cwd=lab.folder, env=lab.environment, stdout=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 30
        while not list(lab.folder.glob("runs/*/journal.db")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0
    report = lab.run().report()
    assert (report["reason"], report["kind"]) == ("stopped", "backtest")
    assert 0 < report["candles"] < 2_000_000
    assert lab("verify").code == 0


@pytest.mark.behaviour("P6")
def test_why_nothing_was_traded_names_the_strategys_own_failure(lab: Any, site: Any) -> None:
    site.install(
        "their_text_side",
        """
        from decimal import Decimal
        from attrs import define
        from lab import OrderRequest, Strategy, hookimpl

        @define(kw_only=True)
        class TextSide(Strategy):
            def on_candle(self, candle, view):
                return [OrderRequest(candle.symbol, "buy", Decimal("0.1"))]

        @hookimpl
        def lab_strategies():
            return {"textside": TextSide}
        """,
    )
    assert lab("backtest", "btcusd-1m", "--strategy", "textside").code == 69
    report = lab.run().report()
    assert report["no_trade_reason"].startswith("the strategy failed: TypeError: OrderRequest.side is 'buy'")
    assert (report["orders"], report["fills"]) == (0, 0)


@pytest.mark.behaviour("J6")
def test_a_backtest_that_was_killed_is_proved_as_far_as_its_rows_go(lab: Any) -> None:
    settings = ("--set", "mock.minutes=8000", "--set", "sma.fast=2", "--set", "sma.slow=3", "--reporter", "none")
    command = lab.command("backtest", "--provider", "mock", "--set", "sma.confirmation=1", *settings)
    process = subprocess.Popen(command, cwd=lab.folder, env=lab.environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            journal = next(iter(lab.folder.glob("runs/*/journal.db")), None)
            if journal is not None and journal.stat().st_size > 300_000:
                break
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    before = len(lab.run().rows())
    assert before > 100
    result = lab("verify")
    assert (result.code, f"identical: {before} rows" in result.out) == (0, True), result


FAILS = """
    from attrs import define, field
    from lab import Candle, Instrument, Provider, ProviderError, Realm, hookimpl
    from lab.testing.builders import candles, instrument
    import os

    @define(kw_only=True, eq=False)
    class Breaks(Provider):
        def realm(self):
            return Realm.SYNTHETIC

        def channels(self):
            from lab import Channel
            return frozenset({Channel.CANDLES})

        async def start(self, runtime):
            pass

        async def instrument(self, symbol):
            return instrument(symbol)

        def batch_instrument(self, symbol):
            return instrument(symbol)

        async def history(self, symbol, interval_ns, *, end_ns, count):
            return []

        async def stream(self, wanted, sink):
            pass

        def batches(self, wanted, *, seed):
            all_ = candles([100.0 + n % 7 for n in range(400)])
            yield all_[:200]
            if os.environ.get("BREAKS"):
                raise ProviderError(os.environ["BREAKS"])
            yield all_[200:]

    @hookimpl
    def lab_providers():
        return {"breaks": Breaks}
"""


@pytest.mark.behaviour("J6")
def test_a_backtest_whose_provider_failed_is_proved_and_one_whose_provider_fails_now_proves_nothing(
    lab: Any, site: Any
) -> None:
    site.install("their_breaks", FAILS)
    settings = ("--set", "sma.fast=2", "--set", "sma.slow=3", "--set", "sma.confirmation=1", "--reporter", "none")
    backtest = ("backtest", "--provider", "breaks", "--strategy", "sma", *settings)
    broken = {**lab.see(site), "BREAKS": "the disk went away"}
    result = lab.process(*backtest, env=broken)
    # The newest candle waits for what follows it.
    assert (result.code, lab.run().report()["counters"]["inputs"]) == (69, 199), (
        result
    )  # the newest waits for what follows
    verdict = lab.process("verify", env=lab.see(site))
    assert (verdict.code, "identical" in verdict.out) == (0, True), verdict

    assert lab.process(*backtest, env=lab.see(site)).code == 0
    verdict = lab.process("verify", env=broken)
    assert (verdict.code, verdict.out) == (69, "")
    assert "the disk went away; nothing is proved" in verdict.err
    assert lab.process("verify", env=lab.see(site)).code == 0
