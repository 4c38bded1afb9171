"""The smallest broker that keeps the contract: whole fills at the quote or the close, a fixed latency, no slippage."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from attrs import define, field, validators

from lab.domain.events import Fill
from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.market import Candle, Quote
from lab.domain.orders import Accepted, Ended, Order, OrderType, Rejected, Side
from lab.domain.time import MILLISECOND_NS
from lab.ports import Broker


@define(kw_only=True)
class SimpleBroker(Broker):
    """Fills a whole order at once: at the ask or bid of the first quote that counts, or at a candle's close.

    For tests, and for harnesses of strategies and gates. A limit order fills at the market once that is no worse than
    its limit.
    """

    latency_ms: int = field(
        default=200, validator=validators.ge(0), metadata={"help": "time until an order meets the market, in ms"}
    )
    _working: dict[str, tuple[Order, int]] = field(init=False, factory=dict)  # with eligible_ns, oldest first
    _instruments: dict[str, Instrument] = field(init=False, factory=dict)

    def order_types(self) -> frozenset[OrderType]:
        """Market and limit orders."""
        return frozenset({OrderType.MARKET, OrderType.LIMIT})

    def open(self, instruments: Mapping[str, Instrument], seed: int) -> None:
        """Learn the instruments; nothing here is random."""
        self._instruments = dict(instruments)

    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        """Take every order of a known symbol."""
        if order.symbol not in self._instruments:
            return Rejected(f"unknown symbol {order.symbol!r}")
        if order.type not in self.order_types():
            return Rejected(f"{order.type} orders are not taken")
        eligible_ns = now_ns + self.latency_ms * MILLISECOND_NS
        self._working[order.id] = order, eligible_ns
        return Accepted(eligible_ns)

    def cancel(self, order_id: str, now_ns: int) -> Accepted | Rejected:
        """Forget a working order at once."""
        if self._working.pop(order_id, None) is None:
            return Rejected("no such order")
        return Accepted(now_ns)

    def observe(self, event: Input) -> Sequence[Fill | Ended]:
        """Fill whatever the event's price allows, oldest order first."""
        if not isinstance(event, Quote | Candle):
            return ()
        fills = []
        for order, eligible_ns in list(self._working.values()):
            if order.symbol == event.symbol and event.time_ns >= eligible_ns:
                fill = self.fill_of(order, event)
                if fill is not None:
                    fills.append(fill)
                    del self._working[order.id]
        return fills

    def fill_of(self, order: Order, event: Quote | Candle) -> Fill | None:
        """Return the fill of the whole order at the event's price, ``None`` where its limit forbids it."""
        instrument = self._instruments[order.symbol]
        buys = order.side is Side.BUY
        spread = None
        if isinstance(event, Quote):
            price = instrument.price(event.ask if buys else event.bid)
            spread = instrument.price(event.ask) - instrument.price(event.bid)
        else:
            price = instrument.price(event.close)
        limit = order.limit if order.type is OrderType.LIMIT else None
        if limit is not None and (price > limit if buys else price < limit):
            return None
        rate = instrument.taker_fee_rate
        fee = instrument.notional(order.quantity, price) * rate
        return Fill(
            order.id, order.quantity, price, fee, rate, "taker", "simple", price, spread, Decimal(0), event.time_ns
        )
