"""The engine and the paper broker agree on every working order, whatever a strategy sends and the market does."""

from collections.abc import Iterable
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from attrs import define
from lab import (
    AmendRequest,
    CancelRequest,
    Candle,
    Depth,
    OrderRequest,
    OrderType,
    Quote,
    Strategy,
    TimeInForce,
    Trade,
    View,
)
from lab.domain.control import Timer
from lab.domain.events import BrokerFailed, OrderAmended, OrderFilled, StrategyStopped
from lab.testing import engine_with, only
from lab_paper_broker.broker import PaperBroker
from paper import BUY, MINUTE, MS, SELL, START, D, depth, quote, trade

SIZES = (0.3, 1.0, 2.5, 6.0)
Action = OrderRequest | CancelRequest | AmendRequest


class Anything(Strategy):
    """Sends, cancels and amends anything at all."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.mid = 1_000  # ticks

    def price(self) -> Decimal:
        return D(self.mid + self.random.randrange(-10, 11)) / 10

    def on_candle(self, candle: Candle, view: View) -> Iterable[Action]:
        return self.act(view)

    def on_quote(self, quote: Quote, view: View) -> Iterable[Action]:
        return self.act(view)

    def act(self, view: View) -> Iterable[Action]:
        random = self.random
        if random.random() < 0.35:
            for _ in range(random.choice((1, 1, 2, 3))):
                yield self.request(view.now_ns)
        orders = list(view.orders())
        if orders and random.random() < 0.15:
            yield CancelRequest(random.choice(orders).id)
        if orders and random.random() < 0.25:
            order = random.choice(orders)
            yield AmendRequest(
                order.id,
                random.choice((None, order.quantity * random.choice((D("0.5"), D(2), D("0.9"))))),
                random.choice((None, self.price())) if order.limit is not None else None,
                random.choice((None, self.price())) if order.stop is not None else None,
            )

    def request(self, now_ns: int) -> OrderRequest:
        random = self.random
        side, kind = random.choice((BUY, SELL)), random.choice([*OrderType, OrderType.MARKET, OrderType.LIMIT])
        terms: dict[str, Any] = {"type": kind}
        if kind in {OrderType.LIMIT, OrderType.STOP_LIMIT}:
            terms["limit"] = self.price()
        if kind in {OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT}:
            terms["stop"] = self.price()
        if kind is OrderType.TRAILING_STOP:
            terms["trail"] = D(random.choice(("0.1", "0.5", "1")))
        turn = random.random()
        if turn < 0.3 and kind in {OrderType.MARKET, OrderType.LIMIT}:
            terms["time_in_force"] = random.choice((TimeInForce.IOC, TimeInForce.FOK))
        elif turn < 0.4:
            terms |= {"time_in_force": TimeInForce.GTD, "expires_ns": now_ns + random.choice((1, 5_000, 90_000)) * MS}
        elif turn < 0.5 and kind is OrderType.LIMIT:
            terms["post_only"] = True
        if random.random() < 0.4:
            price, sign = terms.get("limit") or terms.get("stop") or D(self.mid) / 10, 1 if side is BUY else -1
            terms["stop_loss"] = price - sign * D(random.randrange(3, 25)) / 10
            terms["take_profit"] = price + sign * D(random.randrange(3, 25)) / 10
        elif random.random() < 0.3:
            terms |= {"group": random.choice("ab"), "reduce_only": random.random() < 0.5}
        return OrderRequest("BTCUSDT", side, D(random.choice(("0.01", "0.5", "2", "5"))), **terms)


def events(random: Random, strategy: Anything, on_candles: bool) -> Iterable[Any]:
    now_ns = opens_ns = START
    for _ in range(100):
        strategy.mid += random.choice((-3, -1, 0, 0, 1, 3))
        if on_candles:
            opened = strategy.mid
            strategy.mid = close = opened + random.randrange(-12, 13)
            high, low = max(opened, close) + random.randrange(9), min(opened, close) - random.randrange(9)
            prices = [value / 10 for value in (opened, high, low, close)]
            yield Candle("BTCUSDT", opens_ns, opens_ns + MINUTE, *prices, random.choice((0.0, 0.5, 3.0, 50.0)))
            opens_ns += MINUTE
            continue
        now_ns += random.choice((0, 1, 40, 120, 300, 900, 6_000)) * MS
        bid, ask = strategy.mid / 10, (strategy.mid + random.choice((1, 2))) / 10
        turn, sizes = random.random(), [random.choice(SIZES) for _ in range(6)]
        if turn < 0.6:
            yield Quote("BTCUSDT", now_ns, bid, sizes[0], ask, sizes[1])
        elif turn < 0.72:
            bids = tuple((round(bid - n / 10, 1), sizes[n]) for n in range(3))
            yield Depth("BTCUSDT", now_ns, bids, tuple((round(ask + n / 10, 1), sizes[n + 3]) for n in range(3)))
        elif turn < 0.92:
            yield Trade("BTCUSDT", now_ns, random.choice((bid, ask)), sizes[0], random.choice((BUY, SELL)))
        else:
            yield Timer(now_ns)


@pytest.mark.behaviour("O6", "O13", "O16")
@pytest.mark.parametrize("on_candles", [False, True])
def test_the_engine_and_the_broker_agree_on_every_working_order(on_candles: bool) -> None:
    fills, count = ("pessimistic", "expected", "optimistic"), 0
    for seed in range(100):
        random = Random(seed)
        strategy = Anything(random)
        paper = PaperBroker(
            latency_ms=random.choice((0, 100)),
            cancel_latency_ms=random.choice((0, 100)),
            stale_ms=1_000,
            expire_ms=5_000,
            fills=fills[seed % 3],
        )
        engine = engine_with([strategy], broker=paper, deposit=D(1_000_000))
        apart: set[tuple[str, Decimal]] = set()
        for event in events(random, strategy, on_candles):
            outputs = engine.step(event)
            assert not only(BrokerFailed, outputs) + only(StrategyStopped, outputs), f"seed {seed}: {outputs}"
            count += len(only(OrderFilled, outputs)) + len(only(OrderAmended, outputs))
            working, resting = engine.state.working, paper._desk.working.orders  # noqa: SLF001 - what it keeps is not seen outside
            assert working.keys() == resting.keys(), f"seed {seed}: {working.keys() ^ resting.keys()} after {event}"
            now_apart = {
                (oid, open_.remaining)
                for oid, open_ in working.items()
                if open_.remaining != resting[oid].total - resting[oid].done
            }
            # An entry that was cancelled at once may leave its children to be told with the next event, and no longer.
            assert not apart & now_apart, f"seed {seed}: {apart & now_apart} after {event}"
            apart = now_apart
    assert count > 1_000


class Calm(Anything):
    """Acts seldom and far from the market, so that its orders rest."""

    def price(self) -> Decimal:
        return D(self.mid + self.random.randrange(-40, 41)) / 10

    def act(self, view: View) -> Iterable[Action]:
        return super().act(view) if self.random.random() < 0.06 else ()


class Mover(Calm):
    """Lets few orders rest far from the market, and moves them to it."""

    def act(self, view: View) -> Iterable[Action]:
        orders, random = list(view.orders()), self.random
        if len(orders) < 3 and random.random() < 0.3:
            side, price = random.choice((BUY, SELL)), D(self.mid) / 10
            away = D(random.randrange(5, 40)) / 10 * (1 if side is BUY else -1)
            terms: dict[str, Any] = random.choice(
                ({"type": OrderType.LIMIT, "limit": price - away}, {"type": OrderType.STOP, "stop": price + away})
            )
            yield OrderRequest("BTCUSDT", side, D(random.choice(("0.2", "2"))), **terms)
        elif orders and random.random() < 0.25:
            order, price = random.choice(orders), D(self.mid + random.randrange(-8, 9)) / 10
            prices = {"limit": price} if order.limit is not None else {"stop": price}
            yield AmendRequest(order.id, **prices)
        elif len(orders) > 1 and random.random() < 0.05:
            yield CancelRequest(random.choice(orders).id)


@define(kw_only=True)
class Wakeful(PaperBroker):
    """Wants to see every event."""

    def idle(self, symbol: str) -> None:
        return None


@pytest.mark.parametrize("strategy_class", [Calm, Mover])
@pytest.mark.parametrize("on_candles", [False, True])
def test_a_broker_that_is_shown_everything_and_one_that_may_sleep_fill_alike(
    on_candles: bool, strategy_class: type[Calm]
) -> None:
    hidden = 0
    for seed in range(60):
        settings = {
            "latency_ms": (0, 100)[seed % 2], "cancel_latency_ms": (100, 0, 700)[seed % 3], "stale_ms": 5_000,
            "expire_ms": 5_000,
            "fills": ("pessimistic", "expected", "optimistic")[seed % 3],
            "liquidity": ("unlimited", "displayed")[seed // 3 % 2],
        }  # fmt: skip
        found, seen = [], []
        for cls in (PaperBroker, Wakeful):
            strategy = strategy_class(Random(seed))
            paper = cls(**settings)  # type: ignore[arg-type]
            engine = engine_with([strategy], broker=paper, deposit=D(1_000_000))
            outputs = [str(out) for event in events(Random(seed), strategy, on_candles) for out in engine.step(event)]
            found.append(outputs)
            seen.append(paper._desk._event_n)  # noqa: SLF001 - how often it was asked is not seen outside
        assert found[0] == found[1], f"seed {seed}"
        hidden += seen[1] - seen[0]
    assert hidden > (500 if on_candles else 30)


def test_a_depth_lets_what_a_trade_woke_meet_the_newest_quote_and_not_the_last_that_was_shown() -> None:
    """The bid of 104 is what the broker saw last: while the entry rested, the one of 101 was nothing to it."""

    class Once(Strategy):
        def on_quote(self, quote: Quote, view: View) -> Iterable[Action]:
            if quote.time_ns == START:
                yield OrderRequest.buy("BTCUSDT", D(1), type=OrderType.LIMIT, limit=D(100), take_profit=D(103))

        def on_candle(self, candle: Candle, view: View) -> Iterable[Action]:
            return ()

    engine = engine_with([Once()], broker=PaperBroker(liquidity="unlimited"), deposit=D(1_000_000))
    for event in [quote(0, 100.5, 100.6), quote(1_000, 104.0, 104.1), quote(1_500, 101.0, 101.1)]:
        engine.step(event)
    assert len(only(OrderFilled, engine.step(trade(2_100, 99.9, 50.0)))) == 1
    assert not only(OrderFilled, engine.step(depth(2_200, [(101.0, 1.0)], [(101.1, 1.0)])))
    assert [open_.order.limit for open_ in engine.state.working.values()] == [103]
