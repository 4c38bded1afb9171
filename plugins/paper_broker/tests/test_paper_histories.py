"""A thousand seeded histories on quotes, depth and trades, and as many on candles, checked by books of their own."""

from decimal import Decimal

import pytest
from lab import Candle, Depth, Fill, OrderType, Quote, TimeInForce, Trade
from lab.domain.control import Timer
from paper import BUY, MINUTE, MS, SELL
from paper_histories import Desk, Known

HISTORIES, STEPS, PARTS = 1_000, 50, 10
SIZES = (0.3, 1.0, 2.5, 6.0)
DEPTH_COUNTS_NS = 1_000 * MS
HIDDEN_COUNTS_NS = 10_000 * MS


class Level:
    """What one displayed level still gives, counted from every event, taken of or not."""

    def __init__(self, size: Decimal) -> None:
        self.size = self.left = size
        self.hidden_ns = 0  # since when

    def show(self, size: Decimal) -> None:
        self.left = self.left + size - self.size if size > self.size else min(self.left, size)
        self.size, self.hidden_ns = size, 0


class Quotes(Desk):
    """A market of quotes, depth and trades."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.mid = 1_000  # ticks
        self.quotes: list[Quote] = []
        self.depth: Depth | None = None
        self.levels: dict[tuple[bool, Decimal], Level] = {}  # (asks, price)
        self.trade_left = Decimal(0)

    def price(self) -> str:
        return str(Decimal(self.mid + self.random.randrange(-8, 9)) / 10)

    def step(self) -> None:
        random = self.random
        turn = random.random()
        if turn < 0.22:
            self.send()
        elif turn < 0.27:
            self.cancel()
        elif turn < 0.35:
            self.amend()
        else:
            self.now_ns += random.choice((0, 1, 40, 120, 300, 900, 6_000)) * MS + random.choice((0, 1))
            self.market(turn)

    def market(self, turn: float) -> None:
        random = self.random
        self.mid += random.choice((-3, -1, 0, 0, 1, 3))
        bid = (self.mid - random.choice((0, 1, 2))) / 10
        ask = (self.mid + random.choice((1, 2))) / 10
        if turn < 0.75:
            quote = Quote("BTCUSDT", self.now_ns, bid, random.choice(SIZES), ask, random.choice(SIZES))
            self.observe(quote, lambda: self.show(quote), self.taken)
        elif turn < 0.83:
            sizes = [random.choice(SIZES) for _ in range(6)]
            bids = tuple((round(bid - n / 10, 1), sizes[n]) for n in range(3))
            asks = tuple((round(ask + n / 10, 1), sizes[n + 3]) for n in range(3))
            depth = Depth("BTCUSDT", self.now_ns, bids, asks)
            self.observe(depth, lambda: self.show(depth), self.taken)
        elif turn < 0.95:
            limits = [float(one.limit) for one in self.working() if one.limit is not None]
            price = random.choice((bid, ask, round(bid - 0.2, 1), *limits, *limits))
            trade = Trade("BTCUSDT", self.now_ns, price, random.choice(SIZES), random.choice((BUY, SELL)))
            self.trade_left = Decimal(repr(trade.size))
            self.observe(trade, lambda: None, lambda one, fill: self.traded(one, fill, trade))
        else:
            self.observe(Timer(self.now_ns), lambda: None, self.taken)

    # -- the independent count ---------------------------------------------------------------------------------------

    def displayed(self, asks: bool) -> dict[Decimal, Decimal]:
        """Return the levels that are displayed on one side now."""
        quote, depth = self.quotes[-1], self.depth
        touch, size = (quote.ask, quote.ask_size) if asks else (quote.bid, quote.bid_size)
        found = {touch: size}
        if depth is not None and depth.time_ns + DEPTH_COUNTS_NS >= quote.time_ns:
            side = depth.asks if asks else depth.bids
            if depth.time_ns > quote.time_ns and (side[0][0] > touch if asks else side[0][0] < touch):
                found = {}
            found.update({price: size for price, size in side if (price > touch if asks else price < touch)})
        return {Decimal(repr(price)): Decimal(repr(size)) for price, size in found.items()}

    def show(self, event: Quote | Depth) -> None:
        if isinstance(event, Quote):
            self.quotes.append(event)
        else:
            self.depth = event
        if not self.quotes:
            return
        now_ns = self.quotes[-1].time_ns
        for asks in (True, False):
            shown = self.displayed(asks)
            last = max(shown) if asks else min(shown)
            for key in [one for one in self.levels if one[0] is asks and one[1] not in shown]:
                level = self.levels[key]
                level.hidden_ns = level.hidden_ns or now_ns
                hidden = key[1] > last if asks else key[1] < last
                if not hidden or now_ns - level.hidden_ns > HIDDEN_COUNTS_NS:
                    del self.levels[key]
            for price, size in shown.items():
                found = self.levels.get((asks, price))
                if found is not None and found.hidden_ns and now_ns - found.hidden_ns > HIDDEN_COUNTS_NS:
                    found = None
                if found is None:
                    self.levels[asks, price] = Level(size)
                else:
                    found.show(size)

    def touches(self, buys: bool, time_ns: int) -> list[Decimal]:
        """Return the touches in force at a time: of the newest quote before it, and of those at it."""
        before = [one for one in self.quotes if one.time_ns < time_ns][-1:]
        found = before + [one for one in self.quotes if one.time_ns == time_ns]
        return [Decimal(repr(one.ask if buys else one.bid)) for one in found]

    def taken(self, one: Known, fill: Fill) -> None:
        """Check a fill against what was displayed."""
        buys = one.order.side is BUY
        touches = self.touches(buys, fill.time_ns)
        best = min(touches) if buys else max(touches)
        quote = self.quotes[-1]
        if fill.liquidity == "taker":
            assert fill.price >= best if buys else fill.price <= best, f"{fill} is better than {best}"
            level = fill.reference
            if fill.age_ns >= 0 and fill.time_ns == one.eligible_ns:
                assert fill.age_ns == fill.time_ns - quote.time_ns <= 1_000 * MS
        else:
            assert fill.rule == "limit_touched"
            assert fill.price == one.limit
            level = min(self.displayed(True)) if buys else max(self.displayed(False))
            assert level <= one.limit if buys else level >= one.limit
        shown = self.levels[buys, level]
        assert fill.quantity <= shown.left, f"{fill} took of {shown.left}"
        shown.left -= fill.quantity

    def traded(self, one: Known, fill: Fill, trade: Trade) -> None:
        if fill.rule != "limit_traded":
            self.taken(one, fill)
            return
        buys, price = one.order.side is BUY, Decimal(repr(trade.price))
        assert trade.side is (SELL if buys else BUY)
        assert price <= fill.price if buys else price >= fill.price
        assert (fill.price, fill.liquidity) == (one.limit, "maker")
        self.trade_left -= fill.quantity
        assert self.trade_left >= 0, "more was filled than was traded"

    def check_all(self, event: object) -> None:
        super().check_all(event)  # type: ignore[arg-type]
        if not isinstance(event, Quote):
            return
        for one in self.working():  # each has met this quote, if it has arrived
            if one.eligible_ns <= event.time_ns and not one.order.parent and one.event_n < self.event_n:
                assert one.order.time_in_force not in {TimeInForce.IOC, TimeInForce.FOK}, f"{one.order.id} rests"
                touch = Decimal(repr(event.ask if one.order.side is BUY else event.bid))
                level = one.order.stop
                if level is not None and not one.triggered:
                    rises = (one.order.side is BUY) is (one.order.type is not OrderType.TAKE_PROFIT)
                    assert touch < level if rises else touch > level, f"{one.order.id} slept through {touch}"


class Candles(Desk):
    """A market of candles with volume."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, fills=("pessimistic", "expected", "optimistic")[seed % 3])
        self.mid = 1_000
        self.opens_ns = self.now_ns
        self.volume = Decimal(0)
        self.candle: Candle | None = None

    def price(self) -> str:
        return str(Decimal(self.mid + self.random.randrange(-25, 26)) / 10)

    def belongs_to(self, fill: Fill, event: object) -> bool:
        return True

    def came_before(self, entry: tuple[int, int], fill: Fill) -> bool:
        return entry[1] <= fill.time_ns  # an entry and its child may share a candle

    def step(self) -> None:
        random = self.random
        turn = random.random()
        if turn < 0.25:
            self.send()
        elif turn < 0.3:
            self.cancel()
        elif turn < 0.4:
            self.amend()
        elif turn < 0.5 and self.now_ns + 20_000 * MS < self.opens_ns + MINUTE:
            self.now_ns += random.choice((50, 20_000)) * MS
            self.observe(Timer(self.now_ns), lambda: None, self.filled)
        else:
            opened = self.mid + random.choice((0, 0, 0, -12, 12))
            self.mid = close = opened + random.randrange(-15, 16)
            high, low = max(opened, close) + random.randrange(12), min(opened, close) - random.randrange(12)
            prices = [value / 10 for value in (opened, high, low, close)]
            size = random.choice((0.0, 0.4, 3.0, 20.0, 100.0))
            candle = Candle("BTCUSDT", self.opens_ns, self.opens_ns + MINUTE, *prices, size)
            self.opens_ns += MINUTE
            self.volume, self.candle = Decimal(repr(size)), candle
            self.observe(candle, lambda: None, self.filled)

    def filled(self, one: Known, fill: Fill) -> None:
        candle = self.candle
        assert candle is not None
        assert self.now_ns == candle.time_ns, "a timer filled"
        made, buys = one.order, one.order.side is BUY
        low, high = (Decimal(repr(value)) for value in (candle.low, candle.high))
        assert fill.price >= low if buys else fill.price <= high, f"{fill} is outside {candle}"
        self.volume -= fill.quantity
        if self.had_volume:
            assert self.volume >= 0, "more was filled than the candle's volume"
        whole = candle.open_ns >= made.placed_ns and one.eligible_ns - made.placed_ns < MINUTE
        if not whole and candle.open_ns < one.eligible_ns and not made.parent:
            assert fill.rule in {"candle_close", "stop_close"}, f"{fill} used a candle that was under way"
        if fill.rule == "candle_through":
            assert (fill.price, fill.liquidity) == (one.limit, "maker")
            beyond = low < fill.price if buys else high > fill.price
            touched = self.settings["fills"] == "optimistic" and fill.price in {low, high}
            assert beyond or touched
        elif fill.rule == "candle_open" and self.settings["fills"] == "expected":
            assert fill.reference == Decimal(repr(candle.open))

    @property
    def had_volume(self) -> bool:
        """Say whether a candle had a volume so far; where none had, the volume is not known."""
        return any(isinstance(one, Candle) and one.volume for _, (one, *_) in self.calls)


def play(desk: Quotes | Candles) -> dict[str, int]:
    """Play one history and return how often each rule filled and each end came."""
    try:
        for _ in range(STEPS):
            desk.step()
        desk.check_replay()
    except AssertionError as error:
        raise AssertionError(f"seed {desk.seed}, after {len(desk.calls)} calls: {error}") from error
    seen: dict[str, int] = {}
    for answer in desk.answers:
        for report in answer if isinstance(answer, list) else ():
            name = report.rule if isinstance(report, Fill) else getattr(report, "outcome", type(report).__name__)
            seen[name] = seen.get(name, 0) + 1
    return seen


def total(market: type[Quotes] | type[Candles], part: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for seed in range(part, HISTORIES, PARTS):
        for name, count in play(market(seed)).items():
            found[name] = found.get(name, 0) + count
    return found


@pytest.mark.behaviour("O1", "O5", "O6", "O7", "O16")
@pytest.mark.parametrize("part", range(PARTS))
def test_no_history_on_quotes_depth_and_trades_breaks_what_a_venue_keeps(part: int) -> None:
    found = total(Quotes, part)
    for name in ("quote", "stop", "limit_touched", "limit_traded", "Triggered", "Amended", *ENDS):
        assert found[name] > 10, f"{name} hardly came: {found}"


@pytest.mark.behaviour("O1", "O5", "O6", "O7")
@pytest.mark.parametrize("part", range(PARTS))
def test_no_history_on_candles_breaks_what_a_venue_keeps(part: int) -> None:
    found = total(Candles, part)
    rules = ("candle_open", "candle_close", "candle_through", "stop_open", "stop_level", "stop_close")
    for name in (*rules, "Triggered", "Amended", *ENDS):
        assert found[name] > 10, f"{name} hardly came: {found}"


ENDS = ("cancelled", "expired", "rejected")
