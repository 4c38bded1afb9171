"""A short run with events of every kind, made by the real engine and journal, for tests of reporters."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from msgspec.structs import replace

from lab.domain.control import Command, CommandAction, Notice, SymbolState, TradingState
from lab.domain.market import BACKFILLED, Candle, Funding
from lab.domain.orders import OrderRequest, OrderType
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.exit_codes import EndReason
from lab.journal.report import build_report
from lab.journal.schema import SCHEMA_VERSION
from lab.journal.state import end_state, ended, totals_of
from lab.journal.store import Journal
from lab.ports import Header, Holding, Record, Report, RunInfo, Status
from lab.records.report import Setting
from lab.records.run import ComponentRecord, RunStarted, SessionState
from lab.testing.builders import START_NS, instrument, tape, waves
from lab.testing.harness import ScriptedStrategy, StrategyHarness

_SYMBOL = "BTCUSDT"


def _part(name: str) -> ComponentRecord:
    return ComponentRecord(name=name, type=name, distribution="lab-trading", version="0", settings={})


_BTC: Final = instrument(_SYMBOL)
_STARTED: Final = RunStarted(
    schema_version=SCHEMA_VERSION, kind="run", lab="0", config_hash="harness", provider=_part("sample"), venue="seed 0",
    realm="synthetic", strategies=(_part("tested"),), gates=(), broker=_part("simple"), symbol=_SYMBOL,
    interval="1m", interval_ns=MINUTE_NS, minutes=30.0, equity=Decimal(10_000), leverage=Decimal(5), seed=0, speed="1",
    no_orders=False, lookback=1, instruments={_SYMBOL: _BTC}, source={},
)  # fmt: skip
_HEADER: Final = Header(
    run_id="sample-run", kind="run", version="0", provider="sample", venue="seed 0", realm="synthetic",
    strategies=("tested",), symbol=_SYMBOL, interval="1m", instrument=_BTC, starting_equity=Decimal(10_000),
    fees={"taker": "0.06 %", "maker": "0.02 %"}, gates=(), limits={},
    settings=(Setting(component="tested", key="quantity", value="0.01", origin="--set", changed=True),),
    speed="1", seconds=1800.0, no_orders=False, directory=None,
)  # fmt: skip


def run_started(**changes: Any) -> RunStarted:
    """Return how the sample run was started; ``changes`` replace fields."""
    return replace(_STARTED, **changes)


@frozen(kw_only=True)
class SampleRun:
    """A finished run: its journal rows, and the other values that a reporter is given."""

    records: Sequence[Record]
    report: Report
    candles: Sequence[Candle]
    status: Status
    header: Header = _HEADER

    def info(self, directory: Path | None, *, quiet: bool = False) -> RunInfo:
        """Return what a reporter of this run gets."""
        return RunInfo(
            run_id="sample-run",
            header=replace(self.header, directory=None if directory is None else str(directory)),
            directory=directory,
            quiet=quiet,
            status=lambda: self.status,
            report=lambda: self.report,
            candles=lambda: self.candles,
        )


def sample_run() -> SampleRun:
    """Return a run of half an hour with fills, a refusal, a cancelled order, a signal, a gap and a shut gate."""
    low = Decimal(40_000)
    plan = {
        0: [OrderRequest.buy(_SYMBOL, Decimal("0.01"), reason="on history")],
        2: [OrderRequest.buy(_SYMBOL, Decimal("0.01"), reason="first entry")],
        5: [OrderRequest.sell(_SYMBOL, Decimal("0.02"), reason="turn")],
        9: [OrderRequest.buy(_SYMBOL, Decimal("0.000001"), reason="too small")],
        12: [OrderRequest.buy(_SYMBOL, Decimal("0.01"), type=OrderType.LIMIT, limit=low, reason="far below")],
        16: [OrderRequest.buy(_SYMBOL, Decimal("0.02"), reason="another turn")],
    }
    harness = StrategyHarness(ScriptedStrategy(plan=plan))
    engine = harness.engine
    journal = Journal(None, durable=False, labels={"run_id": "sample-run", "started": "2024-01-01T00:00:00Z"})
    journal.append_record(_STARTED, 0, 0)
    journal.append(harness.begun, 0, 0)
    for number, event in enumerate(_events(), start=1):
        journal.append(harness.feed([event]), engine.state.now_ns, number)
    session = SessionState(duration_seconds=1800.0, first_ns=START_NS, degradations=("feed_down 1",))
    journal.append_record(ended(end_state(engine, session), EndReason.COMPLETED, ""), engine.state.now_ns, 0)
    journal.commit()
    return SampleRun(
        records=journal.since(0, 10_000),
        report=build_report(journal.reader()),
        candles=list(engine.state.markets[_SYMBOL].history.candles),
        status=Status(
            seconds_left=432.0,
            price=50_000.0,
            feed="live",
            why_not_trading=(),
            equity=engine.valuation.equity(),
            starting_equity=engine.valuation.starting_equity,
            positions=(Holding(strategy="tested", symbol=_SYMBOL, quantity=Decimal("0.01"), price=Decimal(50_000)),),
            totals=totals_of(engine),
        ),
    )


def _events() -> list[Any]:
    events: list[Any] = tape(waves(30))
    events[0] = events[0]._replace(status=BACKFILLED)
    del events[21 * 3 : 23 * 3]
    shut_ns = START_NS + 10 * MINUTE_NS
    events[31:31] = [
        Notice(shut_ns, "feed", {"state": "down", "detail": "connection reset"}),
        TradingState(shut_ns, ("feed is down",)),
        TradingState(shut_ns + SECOND_NS, ()),
        SymbolState(shut_ns + SECOND_NS, _SYMBOL, ("quote stale",)),
        SymbolState(shut_ns + SECOND_NS, _SYMBOL, ()),
        Funding(_SYMBOL, shut_ns + SECOND_NS, 0.0001, START_NS + 480 * MINUTE_NS, 50_000.0),
    ]
    return [*events, Command(START_NS + 31 * MINUTE_NS, CommandAction.KILL, "session", "completed")]
