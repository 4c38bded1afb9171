"""The model of the page, gathered row by row."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from attrs import define, field
from lab.domain.control import ClockStepped, Command, Notice, SymbolState, TradingState
from lab.domain.events import (
    BrokerFailed,
    CandleIgnored,
    Deposited,
    EntriesHalted,
    EquityExhausted,
    FundingPaid,
    FundingSkipped,
    GapFound,
    GateFailed,
    Liquidated,
    LiquidationSettled,
    OrderEnded,
    OrderFilled,
    OrderRefused,
    Signal,
    StrategyStopped,
)
from lab.domain.instrument import Instrument
from lab.domain.market import Candle
from lab.domain.time import MINUTE_NS
from lab.ports import Record
from lab.statistics.round_trips import RoundTrips

from lab_reporters import text
from lab_reporters.decoding import event_of, moment_of
from lab_reporters.lines import describe_request, line_of
from lab_reporters.series import Candles, Fills, Moves
from lab_reporters.trades import Cells, packed, packed_cells

_SYMBOLS_MAX: Final = 8


@define
class Rows:
    """The newest rows of a table, and how many there were. Only those that are shown become text, by ``cells``.

    They are kept as bytes: decoded, a fill takes ten times the memory, for days.
    """

    cells: Callable[[Any], Cells]
    newest: deque[Any]
    total: int = 0

    def add(self, row: Any) -> None:
        """Take a row; the oldest goes when there are too many."""
        self.total += 1
        self.newest.append(row)


@define(kw_only=True)
class PageModel:
    """The model of the page, gathered row by row in bounded memory."""

    candles_max: int
    rows_max: int
    interval_ns: int = MINUTE_NS
    instrument: Instrument | None = None
    candles: dict[str, Candles] = field(init=False, factory=dict)
    fills: dict[str, Fills] = field(init=False, factory=dict)
    deposits: float = field(init=False, default=0.0)
    moves: Moves = field(init=False, factory=Moves)
    tables: dict[str, Rows] = field(init=False, factory=dict)
    reasons: Counter[tuple[str, str]] = field(init=False, factory=Counter)
    _trips: RoundTrips = field(init=False, factory=RoundTrips)

    def _add(self, name: str, row: Any) -> None:
        """Take a row of the table of that name."""
        found = self.tables.get(name)
        if found is None:
            found = self.tables[name] = Rows(_CELLS[name], deque(maxlen=self.rows_max))
        found.add(row)

    def shown(self, name: str) -> tuple[list[Cells], int]:
        """Return the newest rows of a table, oldest first, and how many there were."""
        found = self.tables.get(name)
        return ([], 0) if found is None else ([found.cells(row) for row in found.newest], found.total)

    def take(self, record: Record) -> None:
        """Take a row. A malformed one leaves a debug line."""
        event = event_of(record)
        match event:
            case Candle():
                self.take_candles((event,))
            case OrderFilled():
                self.fills.setdefault(event.symbol, Fills()).add(event)
                self._add("fills", record)
                self._follow(event)
            case OrderRefused():
                self.reasons[event.by, event.reason[:80]] += 1
                self._bound_reasons()
                self._add("refusals", record)
            case Signal():
                self._add("signals", record)
            case FundingPaid() | LiquidationSettled():
                if isinstance(event, FundingPaid):
                    self._trips.pay(event)
                self.moves.add(record.time_ns, event.postings[0][1])
                self._add("margin", record)
            case FundingSkipped() | Liquidated():
                self._add("margin", record)
            case Deposited():
                self.deposits += float(event.amount)
            case (
                TradingState()
                | SymbolState()
                | Notice()
                | GapFound()
                | StrategyStopped()
                | GateFailed()
                | EntriesHalted()
                | BrokerFailed()
                | EquityExhausted()
                | OrderEnded()
                | Command()
                | ClockStepped()
                | CandleIgnored()
            ):
                self._add("incidents", record)

    def take_candles(self, candles: Iterable[Candle]) -> None:
        """Take candles for the charts; of very many symbols only the first eight are drawn."""
        for candle in candles:
            found = self.candles.get(candle.symbol)
            if found is None:
                if len(self.candles) >= _SYMBOLS_MAX:
                    continue
                found = self.candles[candle.symbol] = Candles(self.candles_max, self.interval_ns)
            found.add(candle)

    def _follow(self, event: OrderFilled) -> None:
        """Add a fill to the trade of its strategy and symbol; one that is closed by it becomes a row."""
        traded = self.instrument
        closed = self._trips.take(event, traded if traded is not None and traded.symbol == event.symbol else None)
        if closed is not None:
            self._add("trades", packed(closed))

    def _bound_reasons(self) -> None:
        if len(self.reasons) > 200:  # reasons with figures in them would otherwise grow without end
            self.reasons = Counter(dict(self.reasons.most_common(100)))


def _fill(record: Record, event: OrderFilled) -> Cells:
    fill = event.fill
    realised = -sum((amount for account, amount in event.postings if account == "realised"), start=fill.fee * 0)
    return (
        text.second(record.time_ns), event.strategy, event.side, text.exact(fill.quantity), event.symbol,
        text.exact(fill.price), text.money(fill.fee), fill.liquidity, text.money(realised, signed=True),
        text.exact(event.position), "–" if fill.spread is None else text.exact(fill.spread),
        text.exact(fill.slippage), fill.rule,
    )  # fmt: skip


def _refusal(record: Record, event: OrderRefused) -> Cells:
    asked, figures = describe_request(event.request), text.joined(event.numbers)
    return text.second(record.time_ns), event.strategy, event.by, asked, event.reason, figures


def _signal(record: Record, event: Signal) -> Cells:
    return text.second(record.time_ns), event.strategy, describe_request(event.request), event.why, event.request.reason


def _margin(record: Record, event: FundingPaid | FundingSkipped | Liquidated | LiquidationSettled) -> Cells:
    moved = (
        text.money(event.postings[0][1], signed=True) if isinstance(event, (FundingPaid, LiquidationSettled)) else "–"
    )
    *_, said = _incident(record, event)
    return text.second(moment_of(record, event)), record.kind.replace("_", " "), event.strategy, said, moved


def _incident(record: Record, event: Any) -> Cells:
    if isinstance(event, CandleIgnored):
        said = f"candle of {event.symbol} {text.second(event.open_ns)} ignored: {event.why}"
    else:
        line = line_of(record)
        said = line.text if line is not None else ""
    return text.second(moment_of(record, event)), record.kind.replace("_", " "), said


def _decoding(cells: Callable[[Record, Any], Cells]) -> Callable[[Record], Cells]:
    return lambda record: cells(record, event_of(record))


_CELLS: Final[Mapping[str, Callable[[Any], Cells]]] = {
    "fills": _decoding(_fill),
    "incidents": _decoding(_incident),
    "margin": _decoding(_margin),
    "refusals": _decoding(_refusal),
    "signals": _decoding(_signal),
    "trades": packed_cells,
}
"""What makes the row of a table, by its name."""
