"""Plugins of the checker's test: a strategy that orders at random, and a market that holds what no recording does."""

FLOW = '''
"""Random orders of every type; the same seed gives the same."""
from decimal import Decimal
from random import Random

from attrs import define, field
from lab import AmendRequest, CancelRequest, OrderRequest, OrderType, Side, Strategy, TimeInForce, hookimpl

T, F = OrderType, TimeInForce
KINDS = (T.MARKET, T.LIMIT, T.STOP, T.STOP_LIMIT, T.TAKE_PROFIT, T.TRAILING_STOP)


@define(kw_only=True, eq=False)
class Flow(Strategy):
    """Orders, cancels and amends at random."""
    seed: int = field(default=1, metadata={"help": "of what is drawn"})
    every: int = field(default=1, metadata={"help": "acts on one event in so many"})
    coins: float = field(default=0.05, metadata={"help": "largest quantity"})
    width: float = field(default=0.0005, metadata={"help": "largest distance of a price, as a fraction"})
    takes: bool = field(default=False, metadata={"help": "market orders that end at once, and no others"})
    _random: Random = field(init=False, default=None)
    _number: int = field(init=False, default=0)

    @property
    def lookback(self):
        return 1

    def on_candle(self, candle, view):
        return () if candle.status == "backfilled" else self._act(candle.symbol, candle.close, view)

    def on_quote(self, quote, view):
        return self._act(quote.symbol, quote.bid, view)

    def on_depth(self, depth, view):
        return self._act(depth.symbol, depth.bids[0][0], view)

    def _act(self, symbol, price, view):
        draw = self._random = self._random or Random(self.seed)
        if draw.random() * self.every >= 1:
            return ()
        working = view.orders(symbol)
        if working and draw.random() < (0.3 if len(working) < 12 else 0.9):
            return [self._change(draw, draw.choice(working), view.now_ns)]
        return [self._order(draw, symbol, price, view)]

    def _change(self, draw, order, now_ns):
        if draw.random() < 0.5:
            return CancelRequest(order.id)
        near = Decimal(repr(round(1 + draw.uniform(-1, 1) * self.width / 4, 6)))
        figures = {name: getattr(order, name) * near for name in ("limit", "stop") if getattr(order, name) is not None}
        if draw.random() < 0.4 or not figures:
            figures["quantity"] = order.quantity * Decimal(repr(round(draw.uniform(0.3, 1.5), 2)))
        return AmendRequest(order.id, **figures)

    def _order(self, draw, symbol, price, view):
        self._number += 1
        at = lambda sign: Decimal(repr(round(price * (1 + sign * draw.uniform(0, self.width)), 2)))
        kind, side = T.MARKET if self.takes else draw.choice(KINDS), draw.choice((Side.BUY, Side.SELL))
        up = 1 if side is Side.BUY else -1
        held = view.position(symbol).quantity
        more = {"leg": f"n{self._number}", "reduce_only": bool(held) and (held > 0) is (up < 0) and draw.random() < 0.3}
        quantity = Decimal(repr(round(draw.uniform(0, self.coins) + 0.001, 4)))
        if kind in (T.LIMIT, T.STOP_LIMIT):
            more["limit"] = at(draw.choice((-up, -up, up)))
        if kind in (T.STOP, T.STOP_LIMIT):
            more["stop"] = at(up)
        if kind is T.TAKE_PROFIT:
            more["stop"] = at(-up)
        if kind is T.TRAILING_STOP:
            more["trail"] = max(Decimal(repr(round(price * draw.uniform(0, self.width), 2))), Decimal(1))
        way = draw.random()
        if kind in (T.MARKET, T.LIMIT) and (way < 0.25 or self.takes):
            more["time_in_force"] = draw.choice((F.IOC, F.FOK))
        elif way < 0.4:
            more |= {"time_in_force": F.GTD, "expires_ns": view.now_ns + draw.randrange(1, 600) * 10**9}
        if kind is T.LIMIT and "time_in_force" not in more and draw.random() < 0.3:
            more["post_only"] = True
        if self.takes:
            pass
        elif draw.random() < 0.25 and not more["reduce_only"]:
            more |= {"stop_loss": Decimal(repr(round(price * (1 - up * 1.2 * self.width), 2))),
                     "take_profit": Decimal(repr(round(price * (1 + up * 1.2 * self.width), 2)))}
        elif draw.random() < 0.3:
            more["group"] = f"g{self._number // 3}"
        return OrderRequest(symbol, side, quantity, kind, **more)


@hookimpl
def lab_strategies():
    return {"flow": Flow}
'''

MARKET = '''
"""A market with depth whose levels stand, and whose quotes fall silent for a while."""
from decimal import Decimal
from random import Random

from attrs import define, field
from lab import Candle, Channel, Depth, Funding, Instrument, Provider, Quote, Realm, hookimpl

S = 10**9
BEGIN = 1_704_067_200 * S


def events(seed, seconds):
    draw, tick, silent, prices, funded = Random(seed), 500_00, 0, [], False
    sizes = {}
    for second in range(seconds):
        now = BEGIN + second * S + draw.randrange(1, S // 2)
        if second and second % 60 == 0:
            minute = BEGIN + second * S
            figures = prices[0], max(prices), min(prices), prices[-1], 3.0
            yield Candle("BTCUSDT", minute - 60 * S, minute, *figures, "final")
            prices = []
        if second % 600 == 30:
            yield Funding("BTCUSDT", now, 0.0003, BEGIN + (second - second % 600 + 600) * S, 500.5)
        tick += draw.choice((-2, -1, -1, 0, 0, 0, 0, 1, 1, 2))
        silent = max(silent - 1, 0) or (draw.randrange(6, 12) if draw.random() < 0.02 else 0)
        bids, asks = ([tick + sign * n for n in range(first, first + 4)] for sign, first in ((-1, 1), (1, 1)))
        for level in (*bids, *asks):
            if level not in sizes or draw.random() < 0.3:
                sizes[level] = draw.choice((0.4, 0.7, 1.0, 1.5, 3.0))
        sizes = {level: size for level, size in sizes.items() if abs(level - tick) < 5}
        levels = [tuple((round(level / 100, 2), sizes[level]) for level in side) for side in (bids, asks)]
        prices.append(levels[0][0][0])
        if not silent:
            yield Quote("BTCUSDT", now, *levels[0][0], *levels[1][0])
        if draw.random() < 0.7:
            yield Depth("BTCUSDT", now + draw.randrange(S // 4), *levels)


@define(kw_only=True)
class Market(Provider):
    """One level of prices apart, a few coins each."""
    seed: int = field(default=1, metadata={"help": "of what is drawn"})
    seconds: int = field(default=3600, metadata={"help": "of data"})
    inverse: bool = field(default=False, metadata={"help": "an inverse contract"})

    def realm(self):
        return Realm.SYNTHETIC

    def channels(self):
        return frozenset({Channel.CANDLES, Channel.QUOTES, Channel.DEPTH, Channel.FUNDING})

    async def instrument(self, symbol):
        return self.batch_instrument(symbol)

    async def history(self, symbol, interval_ns, *, end_ns, count):
        return []

    async def stream(self, wanted, sink):
        raise NotImplementedError

    def batches(self, wanted, *, seed):
        yield from ([event] for event in events(self.seed, self.seconds))

    def batch_instrument(self, symbol):
        contract = {"contract": "inverse", "contract_value": Decimal(100)} if self.inverse else {}
        return Instrument(
            symbol=symbol, base="BTC", quote="USDT",
            tick=Decimal("0.01"), lot=Decimal("0.1"), quantity_min=Decimal("0.1"),
            maker_fee_rate=Decimal("0.0002"), taker_fee_rate=Decimal("0.0006"), liquidation_fee_rate=Decimal("0.002"),
            **contract,
        )

    def source(self):
        return {"seed": str(self.seed)}


@hookimpl
def lab_providers():
    return {"market": Market}
'''

ONCE = '''
from decimal import Decimal
from attrs import define, field
from lab import OrderRequest, Strategy, hookimpl

@define(kw_only=True, eq=False)
class Once(Strategy):
    """Takes a position and holds it."""
    coins: Decimal = field(default=Decimal(100), metadata={"help": "above 0 is long"})
    _done: bool = field(init=False, default=False)

    def on_candle(self, candle, view):
        if self._done:
            return ()
        self._done = True
        act = OrderRequest.buy if self.coins > 0 else OrderRequest.sell
        return [act(candle.symbol, abs(self.coins))]

@hookimpl
def lab_strategies():
    return {"once": Once}
'''
