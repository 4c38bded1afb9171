"""The rows of a result's tables, made of a journal."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from lab.domain.events import (
    Deposited,
    FundingPaid,
    LiquidationSettled,
    OrderAccepted,
    OrderAmended,
    OrderEnded,
    OrderFilled,
)
from lab.domain.inputs import Input
from lab.domain.ledger import ZERO, exact_context
from lab.domain.market import Backfill, Candle
from lab.domain.orders import Side
from lab.domain.time import parse_time
from lab.journal.codec import ROW_KINDS
from lab.journal.reader import JournalReader
from lab.records.report import Report
from lab.statistics.round_trips import RoundTrips

_WIDE = exact_context()


class FillRow(NamedTuple):
    """A fill. ``position`` is what was held after it; ``reference`` and ``rule`` say how its price was made.

    ``slippage`` is what the price lost against the reference, a coin.
    """

    time_ns: int
    strategy: str
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    liquidity: str
    rule: str
    reference: Decimal
    slippage: Decimal
    position: Decimal
    order_id: str


class OrderRow(NamedTuple):
    """An order. ``outcome`` is ``filled``, ``cancelled``, ``expired``, ``rejected`` or ``working``."""

    placed_ns: int
    order_id: str
    strategy: str
    symbol: str
    side: str
    type: str
    quantity: Decimal
    limit: Decimal | None
    stop: Decimal | None
    filled: Decimal
    average_price: Decimal | None
    outcome: str
    reason: str


class Trade(NamedTuple):
    """A closed round trip. ``held_ns`` is how long it was open, ``funding`` what was paid of it meanwhile.

    ``fees``, ``funding`` and ``slippage`` are money, of all its fills; ``profit`` is after them.
    """

    entry_ns: int
    exit_ns: int
    held_ns: int
    strategy: str
    symbol: str
    side: str
    quantity: Decimal
    entry_price: Decimal
    exit_price: Decimal
    fees: Decimal
    funding: Decimal
    slippage: Decimal
    profit: Decimal


class Equity(NamedTuple):
    """The equity at a time, and the drawdown from the highest one before, as a fraction of that."""

    time_ns: int
    equity: float
    drawdown: float


class PriceRow(NamedTuple):
    """A candle: ``time_ns`` is when it opened, ``known_ns`` when the run learned of it. ``lab backtest`` reads them."""

    time_ns: int
    symbol: str
    open: float
    high: float
    low: float
    close: float
    volume: float
    status: str
    known_ns: int


def prices_of(inputs: Iterable[Input]) -> list[PriceRow]:
    """Return the candles among a run's inputs, those of back-fills in their place."""
    parts = (part for event in inputs for part in (event.candles if isinstance(event, Backfill) else (event,)))
    return [
        PriceRow(one.open_ns, one.symbol, *one[3:8], one.status, one.time_ns)
        for one in parts
        if isinstance(one, Candle)
    ]


def fills_of(reader: JournalReader) -> Iterator[FillRow]:
    """Yield the fills of a journal, in order."""
    for event in reader.events(OrderFilled):
        fill = event.fill
        yield FillRow(
            fill.time_ns, event.strategy, event.symbol, event.side.value, fill.quantity, fill.price, fill.fee,
            fill.liquidity, fill.rule, fill.reference, fill.slippage, event.position, fill.order_id,
        )  # fmt: skip


def orders_of(reader: JournalReader) -> Iterator[OrderRow]:
    """Yield the orders of a journal in the order of their acceptance, as they were in the end."""
    found = reader.gathered(OrderAccepted, OrderAmended, OrderFilled, OrderEnded)
    amended = {one.order_id: one for one in found[OrderAmended]}
    ends = {one.order_id: one for one in found[OrderEnded]}
    filled: dict[str, tuple[Decimal, Decimal]] = {}
    left: dict[str, Decimal] = {}
    for event in found[OrderFilled]:
        fill = event.fill
        quantity, paid = filled.get(fill.order_id, (ZERO, ZERO))
        worth = _WIDE.multiply(fill.quantity, fill.price)
        filled[fill.order_id] = (_WIDE.add(quantity, fill.quantity), _WIDE.add(paid, worth))
        left[fill.order_id] = event.remaining
    for order in found[OrderAccepted]:
        now = amended.get(order.order_id, order)
        quantity, paid = filled.get(order.order_id, (ZERO, ZERO))
        end = ends.get(order.order_id)
        done = "filled" if left.get(order.order_id) == ZERO else "working"
        yield OrderRow(
            order.placed_ns, order.order_id, order.strategy, order.symbol, order.side.value, order.type.value,
            now.quantity, now.limit, now.stop, quantity, paid / quantity if quantity else None,
            end.outcome if end is not None else done, end.reason if end is not None else order.reason,
        )  # fmt: skip


def trades_of(reader: JournalReader) -> Iterator[Trade]:
    """Yield the closed round trips of a journal, in the order in which they closed."""
    instruments, trips = reader.run_started().instruments, RoundTrips()
    for _, event in _events(reader, OrderFilled, FundingPaid):
        if isinstance(event, FundingPaid):
            trips.pay(event)
        elif (trip := trips.take(event, instruments.get(event.symbol))) is not None:
            yield Trade(
                trip.entry_ns, trip.exit_ns, trip.exit_ns - trip.entry_ns, trip.strategy, trip.symbol,
                "long" if trip.long else "short", trip.quantity, trip.entry_price, trip.exit_price, trip.fees,
                trip.funding, trip.slippage, trip.profit,
            )  # fmt: skip


def equity_of(report: Report, inputs: Iterable[Input], reader: JournalReader) -> Iterator[Equity]:
    """Yield the equity after each candle among a run's inputs, and at its end."""
    instruments = reader.run_started().instruments
    rows = _events(reader, Deposited, OrderFilled, FundingPaid, LiquidationSettled)
    row = next(rows, None)
    cash, peak = 0.0, 0.0
    held, marks = dict.fromkeys(instruments, 0.0), dict.fromkeys(instruments, 0.0)
    worth = {
        symbol: (0.0 if one.contract == "linear" else float(one.contract_value)) for symbol, one in instruments.items()
    }
    last: Equity | None = None
    for number, candle in enumerate(inputs, 1):
        if not isinstance(candle, Candle):
            continue
        while row is not None and row[0] <= number:
            event = row[1]
            if isinstance(event, OrderFilled):
                quantity, price = float(event.fill.quantity), float(event.fill.price)
                quantity = quantity if event.side is Side.BUY else -quantity
                value = worth[event.symbol]
                held[event.symbol] += quantity
                cash -= quantity * (-value / price if value else price) + float(event.fill.fee)
            elif isinstance(event, LiquidationSettled):
                cash += float(event.insurance) - float(event.fee)
            else:
                cash += float(event.amount) * (1 if isinstance(event, Deposited) else -1)
            row = next(rows, None)
        marks[candle.symbol] = candle.close
        equity = cash
        for symbol, quantity in held.items():
            if quantity and marks[symbol]:
                equity += quantity * (-worth[symbol] / marks[symbol] if worth[symbol] else marks[symbol])
        if last is not None and candle.time_ns > last.time_ns:  # of several symbols the last one has them all
            yield last
        peak = max(peak, equity)
        last = Equity(candle.time_ns, equity, _fall(equity, peak))
    ended = float(report.ending_equity)
    time_ns = parse_time(report.last_event) if report.last_event else 0
    if last is not None and time_ns > last.time_ns:
        yield last
        last = Equity(time_ns, ended, 0.0)
    if last is not None:
        yield Equity(last.time_ns, ended, _fall(ended, max(peak, ended)))


def _fall(equity: float, peak: float) -> float:
    return equity / peak - 1.0 if peak > 0.0 else 0.0


def _events(reader: JournalReader, *classes: type) -> Iterator[tuple[int, Any]]:
    """Yield the bodies of the rows of some classes, each with the number of the input that caused it, in order."""
    kinds = {ROW_KINDS[cls]: cls for cls in classes}
    for seq, _, input_n, kind, _, body, _ in reader.rows():
        if kind in kinds:
            yield input_n, reader.decoded(kinds[kind], seq, body)
