"""The broker ``paper``: orders arrive after a latency and fill at real prices. Same orders and data, same fills."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final
from zlib import crc32

from attrs import Attribute, define, field, setters, validators
from lab import Accepted, Broker, Candle, Ended, Fill, Instrument, Order, OrderType, Quote, Rejected
from lab.domain.control import Timer
from lab.domain.inputs import Input
from lab.domain.time import MILLISECOND_NS, format_time

from lab_paper_broker.rules import Terms, limit_on_candle, limit_on_quote, market_on_candle, market_on_quote

# Python 3.11 looks an enum's member up in 90 ns.
_MARKET: Final = OrderType.MARKET
_LIMIT: Final = OrderType.LIMIT
_BPS: Final = Decimal(10_000)
_PLACES: Final = 18
_CANDLES_TO_EXPIRE: Final = 2
_ZERO: Final = Decimal(0)

Report = Fill | Ended


@define
class _Resting:
    """A working order, when it may fill, its limit as float, and whether it still waits for a fresh price."""

    order: Order
    eligible_ns: int
    limit: float
    first: bool = True


def _fee(instance: Any, attribute: "Attribute[Decimal | None]", value: Decimal | None) -> None:
    lowest = Decimal("-0.05") if attribute.name == "maker_fee" else Decimal(0)
    if value is not None and not lowest <= value < Decimal("0.05"):
        raise ValueError(
            f"{attribute.name} must be a fraction from {lowest} to under 0.05 (0.0006 is 0.06 %), not {value}"
        )
    _check_places(attribute.name, value)


def _bps(instance: Any, attribute: "Attribute[Decimal]", value: Decimal) -> None:
    if not 0 <= value < 1_000:
        raise ValueError(f"{attribute.name} must be from 0 to under 1000 basis points (1 is 0.01 %), not {value}")
    _check_places(attribute.name, value)


def _check_places(name: str, value: Decimal | None) -> None:
    """Refuse more decimals than money is kept with: a fee would be rounded, and the books would not balance."""
    places = value.as_tuple().exponent if value is not None else 0
    if isinstance(places, int) and places < -_PLACES:
        raise ValueError(f"{name} must have at most {_PLACES} decimals, not {-places}")


# NO_OP: attrs would otherwise validate in Python on every assignment of state, which costs more than the broker does.
@define(kw_only=True, on_setattr=setters.NO_OP)
class PaperBroker(Broker):
    """Fills whole orders on real prices; the rules are in `lab_paper_broker.rules`.

    An order arrives ``latency_ms`` ± jitter after it was sent; a strategy's orders arrive in the order they were sent.
    The first fresh price at or after the arrival counts. A market order whose first fresh quote comes more than
    ``expire_ms`` after the arrival (without quotes: whose first candle closes more than two candles after it) expires.
    Limit orders work until cancelled.

    Candles count only for symbols of which this broker never saw a quote.
    """

    latency_ms: int = field(
        default=200, validator=validators.ge(0), metadata={"help": "milliseconds from order to arrival at the venue"}
    )
    jitter_ms: int = field(
        default=20,
        validator=validators.ge(0),
        metadata={"help": "latency varies by up to this much either way, seeded; at most the latency itself"},
    )
    maker_fee: Decimal | None = field(
        default=None,
        validator=_fee,
        metadata={"help": "fraction of the notional, 0 = free; not set = the venue's rate"},
    )
    taker_fee: Decimal | None = field(
        default=None,
        validator=_fee,
        metadata={"help": "fraction of the notional, 0 = free; not set = the venue's rate"},
    )
    slippage_bps: Decimal = field(
        default=Decimal(1),
        validator=_bps,
        metadata={"help": "basis points lost on a candle's price, where there are no quotes"},
    )
    quote_slippage_bps: Decimal = field(
        default=Decimal(0), validator=_bps, metadata={"help": "basis points lost beyond the touch of a quote"}
    )
    expire_ms: int = field(
        default=5_000,
        validator=validators.gt(0),
        metadata={"help": "a market order expires when its first fresh quote comes later than this after its arrival"},
    )

    _resting: dict[str, _Resting] = field(init=False, factory=dict)  # in the order they were submitted
    _arrivals: dict[str, int] = field(init=False, factory=dict)  # strategy -> arrival of its newest order
    _quoted: dict[str, bool] = field(
        init=False, factory=dict
    )  # symbol -> whether a quote of it was seen, or only candles

    def __attrs_post_init__(self) -> None:
        jitter_ns = min(self.jitter_ms, self.latency_ms) * MILLISECOND_NS
        self._soonest_ns = self.latency_ms * MILLISECOND_NS - jitter_ns
        self._spread_ns = 2 * jitter_ns + 1
        self._expire_ns = self.expire_ms * MILLISECOND_NS
        self._seed = 0
        self._terms: dict[str, Terms] = {}

    def order_types(self) -> frozenset[OrderType]:
        """Market and limit orders."""
        return frozenset({_MARKET, _LIMIT})

    def open(self, instruments: Mapping[str, Instrument], seed: int) -> None:
        """Learn the instruments and the seed of the jitter."""
        self._seed = seed & 0xFFFFFFFF
        self._terms = {symbol: self._terms_of(instrument) for symbol, instrument in instruments.items()}

    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        """Take an order; reject an unknown symbol or type, an id that works already, a limit order without a limit."""
        oid, resting = order.id, self._resting
        if order.symbol not in self._terms:
            known = ", ".join(self._terms) or "none"
            return Rejected(f"the paper broker does not know {order.symbol!r}; it was opened with {known}")
        if oid in resting:
            return Rejected(f"an order with the id {oid} works already")
        limit = 0.0
        if order.type is _LIMIT:
            if order.limit is None:
                return Rejected("a limit order needs a limit")
            limit = float(order.limit)
        elif order.type is not _MARKET:
            return Rejected(f"the paper broker takes market and limit orders, not {order.type}")
        eligible_ns = now_ns + self._soonest_ns + (crc32(oid.encode(), self._seed) * self._spread_ns >> 32)
        arrivals, strategy = self._arrivals, order.strategy
        newest_ns = arrivals.get(strategy, 0)
        if eligible_ns < newest_ns:
            # One connection: what is sent later arrives no earlier, so an exit stays ahead of the entry behind it.
            eligible_ns = newest_ns
        arrivals[strategy] = eligible_ns
        resting[oid] = _Resting(order, eligible_ns, limit)
        return Accepted(eligible_ns)

    def cancel(self, order_id: str) -> bool:
        """Forget a working order; ``False`` when there is none of that id."""
        return self._resting.pop(order_id, None) is not None

    def observe(self, event: Input) -> Sequence[Report]:
        """Apply a quote, a candle or a timer to the working orders, in the order they were submitted."""
        kind = event.__class__
        if kind is Quote:
            reports = self._quote(event)  # type: ignore[arg-type]  # mypy does not narrow by class
        elif kind is Candle:
            reports = self._candle(event)  # type: ignore[arg-type]
        elif kind is Timer:
            reports = self._timer(event.time_ns)
        else:
            return ()
        for report in reports:
            del self._resting[report.order_id]  # fills are whole here
        return reports

    def describe(self, instrument: Instrument) -> Mapping[str, str]:
        """Return the effective fee rates, latency, slippage and expiry as text."""
        terms = self._terms_of(instrument)
        jitter_ms = min(self.jitter_ms, self.latency_ms)
        return {
            "taker": _percent(terms.taker),
            "maker": _percent(terms.maker),
            "latency": f"{self.latency_ms} ms ± {jitter_ms} ms",
            "slippage": f"{self.quote_slippage_bps} bps beyond the touch, {self.slippage_bps} bps on candle prices",
            "without quotes": "the open of the first candle after the arrival, or the close of the one under way at it",
            "expiry": f"market orders {self.expire_ms} ms after arrival, {_CANDLES_TO_EXPIRE} candles without quotes",
        }

    # -- meeting the market ------------------------------------------------------------------------------------------

    def _quote(self, quote: Quote) -> list[Report]:
        symbol, time_ns = quote[0], quote[1]
        self._quoted[symbol] = True
        reports: list[Report] = []
        for resting in self._resting.values():
            order, eligible_ns = resting.order, resting.eligible_ns
            if time_ns < eligible_ns or order.symbol != symbol:
                continue
            terms = self._terms[symbol]
            if order.type is _MARKET:
                if time_ns - eligible_ns > self._expire_ns:
                    reports.append(self._too_late(resting, time_ns, "its first fresh quote came"))
                else:
                    reports.append(market_on_quote(order, quote, terms))
            else:
                fill = limit_on_quote(order, resting.limit, resting.first, quote, terms)
                resting.first = False
                if fill is not None:
                    reports.append(fill)
        return reports

    def _candle(self, candle: Candle) -> list[Report]:
        symbol, open_ns, time_ns, _, _, _, _, _, _ = candle
        reports: list[Report] = []
        if self._quoted.setdefault(symbol, False):
            return reports
        for resting in self._resting.values():
            order, eligible_ns = resting.order, resting.eligible_ns
            late_ns = time_ns - eligible_ns
            if late_ns < 0 or order.symbol != symbol:
                continue
            terms = self._terms[symbol]
            if order.type is _MARKET:
                allowed_ns = _CANDLES_TO_EXPIRE * (time_ns - open_ns)
                if late_ns > allowed_ns:
                    text = (
                        f"its first candle closed {late_ns // MILLISECOND_NS} ms after its arrival at "
                        f"{format_time(eligible_ns)}, later than {_CANDLES_TO_EXPIRE} candles "
                        f"({allowed_ns // MILLISECOND_NS} ms)"
                    )
                    reports.append(Ended(order.id, "expired", text))
                else:
                    reports.append(market_on_candle(order, eligible_ns, candle, terms))
            else:
                fill = limit_on_candle(order, eligible_ns, resting.limit, resting.first, candle, terms)
                resting.first = False
                if fill is not None:
                    reports.append(fill)
        return reports

    def _timer(self, time_ns: int) -> list[Report]:
        """Expire market orders that quotes never reached. A symbol with candles only waits for its next candle."""
        return [
            self._too_late(resting, time_ns, "no quote came and it is now")
            for resting in self._resting.values()
            if resting.order.type is _MARKET
            and time_ns - resting.eligible_ns > self._expire_ns
            and self._quoted.get(resting.order.symbol, True)
        ]

    def _too_late(self, resting: _Resting, time_ns: int, what: str) -> Ended:
        late_ms = (time_ns - resting.eligible_ns) // MILLISECOND_NS
        return Ended(
            resting.order.id,
            "expired",
            f"{what} {late_ms} ms after its arrival at {format_time(resting.eligible_ns)}, "
            f"later than {self.expire_ms} ms (expire_ms)",
        )

    def _terms_of(self, instrument: Instrument) -> Terms:
        return Terms(
            instrument,
            instrument.maker_fee_rate if self.maker_fee is None else self.maker_fee,
            instrument.taker_fee_rate if self.taker_fee is None else self.taker_fee,
            self.slippage_bps / _BPS,
            self.quote_slippage_bps / _BPS,
        )


def _percent(rate: Decimal) -> str:
    """Return a fraction as percent, with four decimals or as many as it has."""
    percent = (rate * 100).normalize()
    exponent = percent.as_tuple().exponent
    digits = max(4, -exponent) if isinstance(exponent, int) else 4
    return f"{percent:.{digits}f} %"
