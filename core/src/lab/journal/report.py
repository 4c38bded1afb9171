"""The final report: a pure function of the journal."""

from collections.abc import Iterable, Mapping
from decimal import Context, Decimal, localcontext
from typing import Any, Final, Literal

from lab.domain.control import TradingState
from lab.domain.events import (
    DayEnded,
    EntriesHalted,
    FundingPaid,
    OrderEnded,
    OrderFilled,
    OrderRefused,
    Signal,
    StrategyStopped,
)
from lab.domain.ledger import ZERO
from lab.domain.time import SECOND_NS, format_time
from lab.errors import JournalError
from lab.exit_codes import EndReason
from lab.journal.band import profit_band
from lab.journal.degradations import degradations
from lab.journal.reader import JournalReader
from lab.records.base import exact
from lab.records.report import REPORT_SCHEMA_VERSION, Report
from lab.records.run import RunStarted, RunState, SessionState, Totals
from lab.statistics.run import RunStatistics

RUN_SETTINGS: Final = (
    "provider", "strategies", "broker", "gates", "symbol", "interval", "equity", "account", "leverage", "margin",
    "seed", "no_orders",
)  # fmt: skip
"""The settings of ``[run]`` that decide how a run comes out; the others say how long, how fast and where to."""
_HUNDREDTH_OF_A_PERCENT: Final = Decimal("0.0001")


def build_report(reader: JournalReader, statistics: RunStatistics | None = None) -> Report:
    """Return the report of a journal, finished or not. A run without its end is ``failed``, reason ``unfinished``.

    ``statistics`` took the run's rows while they were written; without it they are read. The report is the same.
    Raises `lab.errors.JournalError` where the journal cannot be read or holds no run.
    """
    try:
        with localcontext(Context()):  # the one in force may be a component's
            return _build(reader, statistics)
    except (ValueError, ArithmeticError) as error:
        raise JournalError(f"{reader.name}: not the journal of a run: {type(error).__name__}: {error}") from None


def _build(reader: JournalReader, statistics: RunStatistics | None) -> Report:
    labels = reader.labels()
    started = reader.run_started()
    ended = reader.run_ended()
    known: RunState | None = ended or reader.run_state()
    end = known or empty_state(started)
    totals, session = end.totals, end.session
    starting = starting_equity(started)
    code = ended.reason if ended else "unfinished"
    reporters = reader.reporter_degradations() if ended else ()
    reason = next((r for r in EndReason if r.code == code), EndReason.UNKNOWN)
    settings = settings_in_force(started)
    filled = totals.fills or reader.has(OrderFilled)  # a backtest without an end has rows and no state
    several = len(started.symbols) > 1
    first_ns, last_ns = session.first_ns or _time(reader, "ASC"), _time(reader, "DESC")
    return Report(
        schema_version=REPORT_SCHEMA_VERSION,
        kind=started.kind,
        run_id=labels.get("run_id", ""),
        status=reason.status if ended else "failed",
        reason=code,
        exit_code=reason.exit_code,
        error=ended.error if ended else "the run has no end in its journal",
        error_count=session.errors + len(reporters) + (1 if reason.status == "failed" else 0),
        started=labels.get("started", ""),
        duration_seconds=session.duration_seconds,
        provider=started.provider.type,
        venue=started.venue,
        realm=started.realm,
        strategy=", ".join(entry.name for entry in started.strategies),
        symbol=", ".join(started.symbols),
        interval=started.interval,
        instrument=started.instruments.get(started.symbols[0]),
        instruments=started.instruments if several else {},
        settings=settings,
        changed=_changed(started.changed, settings),
        candles=totals.candles,
        backfilled=totals.backfilled,
        quotes=totals.quotes,
        decisions=totals.decisions,
        signals=totals.signals,
        orders=totals.orders,
        fills=totals.fills,
        trades=totals.trades,
        refusals=totals.refusals,
        amended=totals.amended,
        amendments_refused=totals.amendments_refused,
        cancelled=totals.cancelled,
        expired=totals.expired,
        rejected=totals.rejected,
        starting_equity=exact(starting),
        account=started.account,
        ending_equity=exact(end.equity),
        pnl_absolute=exact(end.equity - starting),
        pnl_percent=exact(((end.equity - starting) / starting * 100).quantize(_HUNDREDTH_OF_A_PERCENT)),
        pnl_band=profit_band(reader, started, end, starting),
        fees_paid=exact(totals.fees_paid),
        fill_rules=totals.fill_rules,
        funding_paid=exact(totals.funding_paid),
        liquidations=totals.liquidations,
        liquidation_fees=exact(totals.liquidation_fees),
        insurance_paid=exact(totals.insurance_paid),
        max_drawdown=exact(totals.max_drawdown),
        statistics=(statistics or _taken(reader, started)).finish(known, first_ns, last_ns),
        books=end.books,
        limits=session.limits,
        fee_rates=session.fees,
        gates=tuple(entry.name for entry in started.gates),
        degradations=(*degradations(started, end, reader, finished=ended is not None), *reporters),
        counters=session.counters,
        contacted_hosts=session.contacted_hosts,
        first_event=_stamp(first_ns),
        last_event=_stamp(last_ns),
        data_seconds=max(0, last_ns - first_ns) / SECOND_NS if first_ns and last_ns else 0.0,
        no_trade_reason=None if filled else _why_no_trade(started, totals, session, reader),
    )


def _taken(reader: JournalReader, started: RunStarted) -> RunStatistics:
    statistics = RunStatistics(started, starting_equity(started))
    statistics.take(reader.events(OrderFilled, FundingPaid, DayEnded))
    return statistics


def deposits(started: RunStarted) -> tuple[Decimal, ...]:
    """Return each strategy's deposit, in their order. That of a shared account is in the book of the first."""
    following = started.equity if started.account == "separate" else ZERO
    return tuple(following if place else started.equity for place in range(len(started.strategies)))


def starting_equity(started: RunStarted) -> Decimal:
    """Return the deposits of all books."""
    return sum(deposits(started), ZERO)


def empty_state(started: RunStarted) -> RunState:
    """Return the state of a run before anything happened."""
    equity = starting_equity(started)
    return RunState(totals=Totals(), equity=equity, day_starting_equity=equity, books={}, session=SessionState())


def settings_in_force(started: RunStarted) -> dict[str, dict[str, str]]:
    """Return every setting that decides how a run comes out, as text: component, key, value."""
    components = (started.provider, *started.strategies, *started.gates, started.broker)
    run = {
        "provider": started.provider.type,
        "strategies": [_named(entry.name, entry.type) for entry in started.strategies],
        "broker": started.broker.type,
        "gates": [entry.type for entry in started.gates],
        "symbol": started.symbol,
        "interval": started.interval,
        "equity": started.equity,
        "account": started.account,
        "leverage": started.leverage,
        "margin": started.margin,
        "seed": started.seed,
        "no_orders": started.no_orders,
    }
    tables: dict[str, Mapping[str, Any]] = {"run": run} | {entry.name: entry.settings for entry in components}
    return {name: {key: setting_text(value) for key, value in table.items()} for name, table in tables.items()}


def setting_text(value: object) -> str:
    """Return a setting's value as one would write it after ``--set name.key=``."""
    if value.__class__ is str or value.__class__ is int:
        return str(value)
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(exact(value), "f")
    if isinstance(value, list | tuple):
        return ",".join(map(setting_text, value)) or "none"
    return str(value)


def _named(name: str, kind: str) -> str:
    return name if name == kind else f"{name}={kind}"


def _changed(dotted_names: Iterable[str], tables: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    found = {}
    for dotted in dotted_names:
        table, _, key = dotted.partition(".")
        if key in tables.get(table, {}):
            found[dotted] = tables[table][key]
    return found


def _time(reader: JournalReader, order: Literal["ASC", "DESC"]) -> int:
    return next(iter(reader.times(order)), 0)


def _stamp(time_ns: int) -> str | None:
    return format_time(time_ns) if time_ns > SECOND_NS else None


def _why_no_trade(started: RunStarted, totals: Totals, session: SessionState, reader: JournalReader) -> str:
    """Return why nothing was traded: the last obstacle."""
    if started.no_orders:
        return f"orders were switched off (no_orders); {totals.signals} signals were recorded"
    halted = next(iter(reader.events(EntriesHalted)), None)
    if halted is not None and not totals.refusals:
        return f"entries were halted by {halted.gate}: {halted.reason}"
    if not totals.decisions:
        return f"the strategy never decided on a live candle: {_why_no_decision(started, totals, session, reader)}"
    if totals.refusals or totals.expired or totals.rejected or totals.cancelled:
        return _why_no_fill(totals, reader)
    if totals.signals:
        whys = {signal.why for signal in reader.events(Signal)} - {"backfilled"}
        if whys:
            return f"signals came while trading was not allowed: {max(whys)}"
    if totals.orders:
        return "orders were placed and none filled"
    stopped = next(iter(reader.events(StrategyStopped)), None)
    if stopped is not None:
        return f"the strategy failed: {stopped.error}"
    return f"the strategy asked for nothing on {totals.decisions} candle{'s' if totals.decisions > 1 else ''}"


def _why_no_decision(started: RunStarted, totals: Totals, session: SessionState, reader: JournalReader) -> str:
    if not totals.candles:
        return "none closed" if totals.quotes else "no market data came"
    if session.warm:
        return session.warm
    halted = [state.halted_by for state in reader.events(TradingState) if state.halted_by]
    if halted:
        return "; ".join(halted[-1])
    return cold(totals.candles + totals.backfilled, started.lookback)


def cold(have: int, need: int) -> str:
    """Return in words that the candles of the warm-up are not all there."""
    return f"it needs {need} candle{'s' if need > 1 else ''} before it decides and {have} came"


def _why_no_fill(totals: Totals, reader: JournalReader) -> str:
    counts = {
        "refused": totals.refusals,
        "expired": totals.expired,
        "rejected by the broker": totals.rejected,
        "cancelled before they filled": totals.cancelled,
    }
    ends = {outcome: number for outcome, number in counts.items() if number}
    last = _last(reader.events(OrderEnded)) if totals.refusals != sum(ends.values()) else None
    why = last.reason if last is not None else "its row is missing"
    if last is None and (refused := _last(reader.events(OrderRefused))) is not None:
        why = f"{refused.reason} ({refused.by})"
    if len(ends) == 1:
        outcome = next(iter(ends)).replace("they", "it")
        return f"every order {'' if outcome == 'expired' else 'was '}{outcome}: {why}"
    return f"no order filled: {', '.join(f'{number} {outcome}' for outcome, number in ends.items())}; the last: {why}"


def _last(events: Iterable[Any]) -> Any:
    last = None
    for last in events:  # noqa: B007 - only the last one counts
        pass
    return last
