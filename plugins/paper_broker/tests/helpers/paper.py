"""A paper broker, orders for it and a market, for its tests. Times are milliseconds after `START`."""

from collections.abc import Callable, Sequence
from decimal import Decimal

from lab import Accepted, Candle, Depth, Ended, Fill, Order, OrderType, Quote, Side, Trade
from lab.domain.control import Timer
from lab.domain.inputs import Input
from lab.testing import instrument
from lab_paper_broker.broker import PaperBroker

D = Decimal
MS = 1_000_000
MINUTE = 60_000 * MS
START = 1_700_000_000_000 * MS
BTC = instrument()
BUY, SELL = Side.BUY, Side.SELL
Levels = Sequence[tuple[float, float]]


def broker(**settings: object) -> PaperBroker:
    """Return a broker that was opened; orders take 200 ms and cancels nothing, without jitter and slippage."""
    given = {"latency_ms": 200, "cancel_latency_ms": 0, "jitter_ms": 0, "slippage_bps": D(0), **settings}
    made = PaperBroker(**given)  # type: ignore[arg-type]
    made.open({"BTCUSDT": BTC, "ETHUSDT": BTC}, seed=7)
    return made


def order(
    side: Side = BUY,
    quantity: str = "1",
    *,
    oid: str = "o-1",
    kind: OrderType | None = None,
    limit: str | None = None,
    stop: str | None = None,
    trail: str | None = None,
    symbol: str = "BTCUSDT",
    reduce_only: bool = False,
    **more: object,
) -> Order:
    """Return an order of the type that its prices make, unless ``kind`` says another."""
    if kind is None:
        kind = OrderType.MARKET if limit is None else OrderType.LIMIT
        if stop is not None:
            kind = OrderType.STOP if limit is None else OrderType.STOP_LIMIT
        if trail is not None:
            kind = OrderType.TRAILING_STOP
    prices = [None if one is None else D(one) for one in (limit, stop, trail)]
    return Order(
        oid, "sma", symbol, side, D(quantity), kind, prices[0], reduce_only, START, D(quantity), stop=prices[1],
        trail=prices[2], **more,  # type: ignore[arg-type]
    )  # fmt: skip


def send(paper: PaperBroker, *orders: Order, at_ms: float = 0) -> int:
    """Submit orders and return from when the broker may fill the last."""
    eligible_ns = 0
    for one in orders:
        answer = paper.submit(one, at(at_ms))
        assert isinstance(answer, Accepted), answer
        eligible_ns = answer.eligible_ns
    return eligible_ns


def at(after_ms: float) -> int:
    return START + int(after_ms * MS)


def quote(
    after_ms: float,
    bid: float = 100.0,
    ask: float = 100.1,
    bid_size: float = 10.0,
    ask_size: float = 10.0,
    symbol: str = "BTCUSDT",
) -> Quote:
    return Quote(symbol, at(after_ms), bid, bid_size, ask, ask_size)


def depth(after_ms: float, bids: Levels = (), asks: Levels = (), symbol: str = "BTCUSDT") -> Depth:
    return Depth(symbol, at(after_ms), tuple(bids), tuple(asks))


def trade(after_ms: float, price: float, size: float, side: Side = SELL, symbol: str = "BTCUSDT") -> Trade:
    return Trade(symbol, at(after_ms), price, size, side)


def timer(after_ms: float) -> Timer:
    return Timer(at(after_ms))


def candle(
    open_after_ms: float,
    opened: float = 100.0,
    high: float = 110.0,
    low: float = 90.0,
    close: float = 105.0,
    volume: float = 50.0,
    symbol: str = "BTCUSDT",
) -> Candle:
    open_ns = at(open_after_ms)
    return Candle(symbol, open_ns, open_ns + MINUTE, opened, high, low, close, volume)


def works(paper: PaperBroker, oid: str = "o-1") -> bool:
    """Say whether the broker works on an order, without touching it."""
    return oid in paper._desk.working.orders  # noqa: SLF001 - to cancel it would end it


def only_fill(paper: PaperBroker, event: Input) -> Fill:
    (report,) = paper.observe(event)
    assert isinstance(report, Fill), report
    return report


def only_end(paper: PaperBroker, event: Input) -> Ended:
    (report,) = paper.observe(event)
    assert isinstance(report, Ended), report
    return report


def brief(reports: Sequence[object]) -> list[str]:
    """Return reports as ``o-1 fill 1 @ 100.1``, ``o-1 cancelled``, ``o-1 triggered``, ``o-1 amended 2``."""
    return [_BRIEF[type(one).__name__](one) for one in reports]


_BRIEF: dict[str, Callable[..., str]] = {
    "Fill": lambda one: f"{one.order_id} fill {one.quantity.normalize():f} @ {one.price.normalize():f}",
    "Ended": lambda one: f"{one.order_id} {one.outcome}",
    "Triggered": lambda one: f"{one.order_id} triggered",
    "Amended": lambda one: f"{one.order_id} amended {one.quantity.normalize():f}",
}


def seen(paper: PaperBroker, event: Input) -> list[str]:
    """Return what a broker reports on an event, in brief."""
    return brief(paper.observe(event))
