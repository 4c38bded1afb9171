"""A run that never was: rows as the journal holds them, and a `RunInfo` around them."""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from lab.domain.control import Command, CommandAction, Notice, Timer, TradingState
from lab.domain.events import (
    CandleIgnored,
    Deposited,
    EntriesHalted,
    Fill,
    GapFound,
    OrderAccepted,
    OrderEnded,
    OrderFilled,
    OrderRefused,
    Signal,
    StrategyStopped,
)
from lab.domain.market import Candle, Funding, Quote
from lab.domain.orders import OrderRequest, OrderType, Side
from lab.ports import Header, Holding, Record, Reporter, RunInfo, Status
from lab.records.report import Setting
from lab.records.run import Totals
from lab.testing.builders import instrument
from lab.testing.sample_runs import sample_run
from msgspec.structs import replace

MINUTE = 60 * 10**9
START = 1_800_000_000 * 10**9  # 2027-01-15T08:00:00Z
D = Decimal


class Rows:
    """Builds rows with ascending numbers."""

    def __init__(self) -> None:
        self.rows: list[Record] = []

    def add(self, kind: str, body: object, time_ns: int | None = None) -> None:
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        when = START + len(self.rows) * 10**9 if time_ns is None else time_ns
        self.rows.append(Record(seq=len(self.rows) + 1, time_ns=when, kind=kind, body=raw))

    def candle(self, minute: int, close: float, *, symbol: str = "BTCUSDT") -> None:
        opened = START + minute * MINUTE
        body = Candle(symbol, opened, opened + MINUTE, close - 3, close + 5, close - 6, close, 1.5)
        self.add("candle", body, opened + MINUTE)

    def fill(self, minute: int, side: Side, price: str, position: str, realised: str = "0", fee: str = "0.26") -> None:
        when = START + minute * MINUTE + 5
        fill = Fill(
            f"o{minute}", D("0.01"), D(price), D(fee), D("0.0006"), "taker", "ask", D(price), D("0.1"), D(0), when
        )
        postings = (("cash", D(realised) - D(fee)), ("realised", -D(realised)), ("fees", D(fee)))
        body = OrderFilled(f"o{minute}.1", "sma", "BTCUSDT", side, D(0), D(position), fill, postings)
        self.add("order_filled", body, when)

    def refusal(self, reason: str = "daily loss reached") -> None:
        request = OrderRequest.buy("BTCUSDT", D("0.01"), reason="fast crossed above slow")
        body = OrderRefused("o9", "sma", request, "max_daily_loss", reason, {"loss": "501.20 USD", "limit": "500 USD"})
        self.add("order_refused", body)

    def everything(self) -> None:
        """One row at least of each kind there is."""
        self.add("run_started", {"seed": 1})
        self.add("deposit", Deposited("sma", D(10000), (("cash", D(10000)), ("capital", D(-10000)))))
        self.add("notice", Notice(START, "feed", {"state": "live", "detail": "first quote"}))
        self.add("trading_state", TradingState(START, ("no quote yet", "seed_incomplete 37/100")))
        self.add("trading_state", TradingState(START, ()))
        for minute in range(30):
            self.candle(minute, 43000.0 + minute * 7 % 50)
        self.add("quote", Quote("BTCUSDT", START, 43000.0, 1.0, 43000.1, 2.0))
        self.add("funding", Funding("BTCUSDT", START, 0.0001, START + MINUTE, 43000.0))
        self.add("timer", Timer(START))
        request = OrderRequest.sell("BTCUSDT", D("0.01"), type=OrderType.LIMIT, limit=D("43100.5"))
        self.add("signal", Signal("sma", request, "gate: no quote yet"))
        order = (
            "o1",
            "sma",
            "BTCUSDT",
            Side.BUY,
            OrderType.MARKET,
            D("0.01"),
            None,
            False,
            "crossed",
            D("0.012"),
            1,
            2,
        )
        self.add("order_accepted", OrderAccepted(*order))
        self.fill(3, Side.BUY, "43010.5", "0.01")
        self.fill(20, Side.SELL, "43030.5", "0", realised="0.2")
        self.refusal()
        self.add("order_ended", OrderEnded("o3", "sma", "BTCUSDT", "expired", "time in force over", D("0.01")))
        self.add("gap", GapFound("BTCUSDT", START, START + MINUTE, 2))
        self.add("candle_ignored", CandleIgnored("BTCUSDT", START, "differs from what was seen"))
        self.add("entries_halted", EntriesHalted("sma", "max_daily_loss", "the day's loss reached the limit"))
        self.add("strategy_stopped", StrategyStopped("sma", "ZeroDivisionError: division by zero"))
        self.add("command", Command(START, CommandAction.KILL, "session", "duration over"))
        self.add("run_ended", {"reason": "duration over", "exit_code": 0, "error": "", "body": {}})

    def malformed(self) -> None:
        """Rows nobody should ever write, and somebody will."""
        for body in (b"", b"{", b"null", b"[]", b"7", b'"x"', b"\xff\xfe", b'{"a":1}', b"[" * 3000, b'["B",1]'):
            for kind in (
                "candle",
                "order_filled",
                "order_refused",
                "trading_state",
                "notice",
                "deposit",
                "command",
                "signal",
                "?",
            ):
                self.add(kind, body)
        good = msgspec.json.decode(next(row.body for row in self.rows if row.kind == "order_filled"))
        for name in ("price", "quantity", "fee", "slippage"):
            for bad in ("NaN", "sNaN", "-Infinity", "1e999999", None, "x"):
                self.add("order_filled", {**good, "fill": {**good["fill"], name: bad}})
        self.add("candle", ["BTCUSDT", 2**62, 2**62, 1e308, 1e308, 1e-308, 1e308, 1.0, "final"])
        self.add("candle", ["BTCUSDT", -(10**30), 1, 1.0, 1.0, 1.0, 1.0, 1.0, "final"])
        self.add("trading_state", TradingState(START, ()), time_ns=10**40)
        self.add("deposit", {"strategy": "sma", "amount": "sNaN", "postings": []})


@pytest.fixture
def rows() -> Rows:
    return Rows()


class FakeRun:
    """Makes a `RunInfo`, and counts how often its status is asked for."""

    def __init__(self) -> None:
        self.asked = 0
        self.equity = D("10012.34")
        self.header = Header(
            run_id="r-1", kind="run", version="0.1.0", provider="bitunix", venue="fapi.bitunix.com", realm="real",
            strategies=("sma",), symbol="BTCUSDT", interval="1m", instrument=instrument(), starting_equity=D(10000),
            fees={"maker": "0.02 %", "taker": "0.06 %"}, gates=("max_daily_loss", "margin"),
            limits={"max_daily_loss": {"limit": "500 USD"}},
            settings=(
                Setting(component="run", key="equity", value="10000", origin="default", changed=False),
                Setting(component="sma", key="fast", value="7", origin="--set", changed=True),
                Setting(component="sma", key="slow", value="21", origin="default", changed=False),
                Setting(component="paper", key="latency_ms", value="50", origin="lab.toml", changed=True),
            ),
            speed="1", seconds=600.0, no_orders=False, directory="runs/r-1",
        )  # fmt: skip
        self.report = replace(
            sample_run().report, run_id="r-1", status="completed", exit_code=0, reason="duration over",
            duration_seconds=600.2, candles=10, quotes=1200, decisions=10, orders=2, fills=2, trades=1, refusals=1,
            fees_paid=D("0.52"), starting_equity=D(10000), ending_equity=D("10012.34"), pnl_absolute=D("12.34"),
            max_drawdown=D("3.1"), degradations=(), no_trade_reason=None,
        )  # fmt: skip
        self.candles: Sequence[Candle] = ()

    def status(self) -> Status:
        self.asked += 1
        return Status(
            seconds_left=432.0 - self.asked,
            price=43210.5,
            feed="live",
            why_not_trading=("seed_incomplete 37/100",),
            equity=self.equity,
            starting_equity=D(10000),
            positions=(Holding(strategy="sma", symbol="BTCUSDT", quantity=D("0.010"), price=D("43100.25")),),
            totals=Totals(candles=7, quotes=2412),
        )

    def info(self, directory: Path | None = None, *, quiet: bool = False) -> RunInfo:
        return RunInfo(
            run_id="r-1",
            header=self.header,
            directory=directory,
            quiet=quiet,
            status=self.status,
            report=lambda: self.report,
            candles=lambda: self.candles,
        )


@pytest.fixture
def run() -> FakeRun:
    return FakeRun()


Drive = Callable[..., Any]


@pytest.fixture
def drive() -> Drive:
    """Hand rows to a reporter over a memory stream, with pauses (seconds) where a number stands among the rows."""

    async def give(reporter: Reporter, info: RunInfo, rows: Iterable[Record | float]) -> None:
        send, receive = anyio.create_memory_object_stream[Record](10)
        async with receive, anyio.create_task_group() as tasks:
            tasks.start_soon(reporter.report, info, receive)
            async with send:
                for row in rows:
                    if isinstance(row, Record):
                        await send.send(row)
                    else:
                        await anyio.sleep(row)

    return give
