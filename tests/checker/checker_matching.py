"""What the orders of a run must meet in the market, from the prose of the paper broker's documentation alone."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from heapq import heappop, heappush
from typing import Any

D = Decimal
ZERO = D(0)
HIDDEN_NS = 10 * 10**9
OPEN, INSIDE, CLOSE = 1, 2, 3  # where in a candle an entry filled


def exact(value: float) -> D:
    """Return the decimal of a float's shortest text."""
    return D(repr(value))


class Order:
    """A working order: ``left`` may fill now, ``remaining`` is what the journal says is not filled."""

    def __init__(self, row: dict[str, Any], entry: "Order | None", n: int) -> None:
        def figure(name: str) -> D | None:
            return None if row[name] is None else D(row[name])

        self.id, self.strategy, self.symbol, self.n = row["order_id"], row["strategy"], row["symbol"], n
        self.kind, self.tif, self.post_only = row["type"], row["time_in_force"], row["post_only"]
        self.reduce_only, self.group, self.parent = row["reduce_only"], row["group"], entry
        self.buys = row["side"] == "buy"
        self.placed, self.eligible, self.expires = row["placed_ns"], row["eligible_ns"], row["expires_ns"]
        self.limit, self.level, self.trail = figure("limit"), figure("stop"), figure("trail")
        self.total = self.quantity = self.remaining = D(row["quantity"])
        self.done, self.awake = ZERO, ZERO if entry else None  # of a child: what its entry's fills still allow
        self.takes = self.kind not in ("limit", "stop_limit")
        self.waits = self.kind not in ("market", "limit")
        self.stops = self.waits
        self.rises = self.buys is not (self.kind == "take_profit")
        self.first, self.arrived, self.open, self.live, self.leaving = True, entry is not None, True, True, False
        self.best = self.decided = self.ahead = self.queue = None
        self.age, self.fills, self.woke, self.woke_ns, self.seen, self.where = 0, 0, -1, -1, -1, 0
        self.unseen, self.gone, self.guarded, self.asked = False, ZERO, ZERO, list[dict[str, Any]]()
        self.entry_rises = bool(entry) and (entry.rises if entry.waits else not entry.buys)
        self.children: list[Order] = []
        self.filled = self.triggered = self.clipped = False
        self.crosses = False  # it was marketable when it came: what is left of it goes on taking

    @property
    def left(self) -> D:
        """Return what may fill now: of a child no more than its entry filled."""
        left = self.total - self.done
        return left if self.awake is None else max(min(left, self.awake), ZERO)

    @property
    def stop(self) -> D | None:
        """Return the price that triggers it, if it was given one."""
        return self.level if self.trail is None else None

    def shrink(self, quantity: D) -> None:
        """Become smaller, as will what amendments on their way make of it; below 0: larger."""
        self.total, self.gone = self.total - quantity, self.gone + quantity

    def within(self, price: D) -> bool:
        """Return whether a price is no worse than the limit."""
        return self.limit is None or (price <= self.limit if self.buys else price >= self.limit)

    def reaches(self, price: D, level: D) -> bool:
        """Return whether a price has come to a level, in the direction this order waits for."""
        rises = self.rises if self.waits else not self.buys
        return price >= level if rises else price <= level

    def follow(self, price: D) -> None:
        """Let a trailing stop follow the best price; it never goes back."""
        if self.best is None or (price < self.best if self.buys else price > self.best):
            self.best, self.level = price, price + self.trail if self.buys else price - self.trail


class Book:
    """The newest quote and depth of a symbol, what is left of each level that was taken of, and its candles."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.tick, self.lot = D(row["tick"]), D(row["lot"])
        self.value = D(row["contract_value"]) if row["contract"] == "inverse" else None
        self.maker, self.taker = D(row["maker_fee_rate"]), D(row["taker_fee_rate"])
        self.row, self.quote, self.quote_ns, self.depth, self.depth_ns = row, None, -1, None, -1
        self.taken: dict[tuple[bool, D], list[D]] = {}
        self.last, self.candles, self.has_volume, self.next_ns = ZERO, dict[int, float](), False, 0

    def begin_anew(self, until_ns: int | None, interval_ns: int) -> None:
        """The venue's clock stepped: what is displayed is in force no more, and candles that end later are none."""
        self.quote_ns, self.depth, self.depth_ns = -1, None, -1
        self.taken.clear()
        if until_ns is not None:
            self.candles = {one: volume for one, volume in self.candles.items() if one + interval_ns <= until_ns}
            self.next_ns = max(self.candles) + interval_ns if self.candles else 0

    def worth(self, price: D) -> D:
        """Return what a contract counts for at a price."""
        return price if self.value is None else -(self.value / price).quantize(D("1e-18"))

    def notional(self, quantity: D, price: D) -> D:
        """Return what a quantity is worth at a price."""
        return abs(quantity * self.worth(price))

    def levels(self, asks: bool) -> list[tuple[D, D]]:
        """Return what is displayed on one side, the touch of the quote first."""
        bid, bid_size, ask, ask_size = self.quote
        touch = (ask, ask_size) if asks else (bid, bid_size)
        if self.depth is None or self.depth_ns + 10**9 < self.quote_ns:
            return [touch]
        shown = self.depth[1 if asks else 0]
        deeper = [one for one in shown if (one[0] > touch[0] if asks else one[0] < touch[0])]
        gone = deeper == shown != [] and self.depth_ns > self.quote_ns  # a newer depth without the touch
        return deeper if gone else [touch, *deeper]

    def recount(self) -> None:
        """A level that shows more has that much more to give; one is forgotten that was passed, or hidden for 10 s."""
        for (asks, price), (before, left, since) in list(self.taken.items()) if self.quote else ():
            levels = self.levels(asks)
            size, last = dict(levels).get(price), levels[-1][0]
            hidden = size is None and (price > last if asks else price < last)
            if (not size and not hidden) or (since and self.quote_ns - since > HIDDEN_NS):
                del self.taken[asks, price]
            elif hidden:
                self.taken[asks, price][2] = since or self.quote_ns
            else:
                more = left + size - before
                self.taken[asks, price] = [size, more if size > before else min(left, size), 0]

    def displayed_at(self, price: D, asks: bool) -> D | None:
        """Return what rests at a price: nothing inside the spread or between levels, beyond them nobody knows."""
        levels = dict(self.levels(asks))
        last = list(levels)[-1]
        beyond = price > last if asks else price < last
        return None if beyond else levels.get(price, ZERO) or (None if price in levels else ZERO)

    def offer(self, asks: bool, price: D, size: D) -> D | None:
        """Return what a level still gives; no size is not known, and then there is no end to it."""
        return None if not size else self.taken.get((asks, price), [size, size])[1]

    def off_tick(self, price: D, up: bool) -> D:
        """Return a price on the tick, above or below."""
        down = price // self.tick * self.tick
        return down + self.tick if up and down != price else down


class Matching:
    """All working orders of a run. ``said`` gathers what must be reported on an event, in order."""

    def __init__(self, settings: dict[str, Any], books: dict[str, Book]) -> None:
        self.set, self.books, self.orders, self.said, self.due = settings, books, dict[str, Order](), [], []
        self.rates = {name: settings[f"{name}_fee"] for name in ("maker", "taker")}
        self.unlimited, self.n, self.pushed, self.dark = settings["liquidity"] == "unlimited", 0, 0, False

    def push(self, time_ns: int, what: str, order: Order, more: Any = None) -> None:
        """Let something fall due."""
        self.pushed += 1
        heappush(self.due, (time_ns, self.pushed, what, order, more))

    def submit(self, order: Order) -> None:
        """An order was accepted: it arrives, and it may expire."""
        self.orders[order.id] = order
        book = self.books[order.symbol]
        if order.parent:
            order.parent.children.append(order)
            return
        book.recount()
        if book.quote:
            order.decided = book.quote[2 if order.buys else 0]
            self.push(order.eligible, "arrives", order)
        if order.kind == "market":
            self.push(order.eligible + self.set["expire_ms"] * 10**6, "late", order)
        if order.expires is not None:
            self.push(order.expires - 1, "expires", order)

    def recount(self, book: Book) -> None:
        """Follow the levels while an order works; the next one looks again when it is sent."""
        if self.shown:
            book.recount()

    def say(self, kind: str, order: Order, **figures: Any) -> None:
        self.said.append((kind, order, figures))

    def end(self, order: Order, outcome: str, *, settled: bool = True) -> None:
        """Report an end."""
        self.say("order_ended", order, outcome=outcome)
        if settled:
            self.drop(order)
        order.live = False

    def drop(self, order: Order) -> None:
        """Forget an order."""
        order.live = False
        if self.orders.pop(order.id, None):
            for child in order.children:  # they work on for what it filled
                child.shrink(max(child.total - child.done - max(child.awake, ZERO), ZERO))
                if child.live and child.total <= child.done:
                    self.drop(child)

    def observe(self, kind: str, fields: list[Any], n: int) -> list[tuple[str, Order, dict[str, Any]]]:
        """Return what must be reported on an event. The books have it already; ``quote`` came into force with it."""
        self.said, self.n, self.shown = [], n, bool(self.orders)
        at = {"candle": 2, "timer": 0, "trading_state": 0}.get(kind, 1)
        symbol, time_ns = fields[0] if at else "", fields[at]
        book = self.books.get(symbol)
        self.catch_up(time_ns, *(symbol, [exact(one) for one in fields[2:]]) if kind == "quote" else ("", []))
        if kind == "quote":
            if not book.quote:  # what is on its way meets the one in force at its arrival
                for order in self.orders.values():
                    if order.symbol == symbol and not order.arrived and order.eligible > time_ns:
                        self.push(order.eligible, "arrives", order)
            book.quote, book.quote_ns = tuple(exact(one) for one in fields[2:]), time_ns
            self.recount(book)
        elif kind == "depth":
            book.depth = [[(exact(price), exact(size)) for price, size in side] for side in fields[2:]]
            book.depth_ns = time_ns
            self.recount(book)
        elif kind == "trading_state":
            self.dark = bool(fields[1])
        if kind == "trade":
            self.trade(fields)
        elif kind == "candle" and not book.quote:
            self.candle(book, fields)
        elif book and book.quote and (kind == "quote" or (kind == "depth" and self.fresh(book, time_ns))):
            self.meet_all(symbol, book, time_ns)
        return self.said

    def meet_all(self, symbol: str, book: Book, time_ns: int) -> None:
        """Show the book to the orders that have arrived, in the order in which they were sent."""
        for order in list(self.orders.values()):
            if order.symbol != symbol or not order.live or (not order.arrived and order.eligible > time_ns):
                continue
            if order.arrived and (not order.left or order.woke == self.n):
                continue
            order.age = (time_ns if order.arrived else order.eligible) - book.quote_ns
            order.arrived = True
            self.meet(order, book, time_ns, None, self.n)

    def fresh(self, book: Book, time_ns: int) -> bool:
        """Return whether the newest quote is in force."""
        return time_ns - book.quote_ns <= self.set["stale_ms"] * 10**6

    def catch_up(self, time_ns: int, symbol: str, following: Sequence[D]) -> None:
        """Do what fell due before an event: nothing at its own time comes before its fills."""
        while self.due and self.due[0][0] < time_ns:
            at_ns, _, what, order, more = heappop(self.due)
            book = self.books[order.symbol]
            if not order.live:
                continue
            if what == "cancel":
                self.end(order, "cancelled")
            elif what == "expires":
                self.end(order, "expired")
            elif what == "late":
                if order.first and (book.quote or not book.candles):
                    self.end(order, "expired")
            elif what == "amend":
                order.asked.remove(more)
                more = {**more, "quantity": more["quantity"] - order.gone}
                if more["quantity"] <= order.done:
                    self.end(order, "cancelled")
                else:
                    self.amend(order, **more)
                    self.say("order_amended", order, quantity=order.total, limit=order.limit, stop=more["stop"])
            if what not in ("arrives", "amend") or not order.live or not book.quote or self.dark:
                continue
            new = order.first and at_ns > order.placed and order.woke_ns != at_ns
            if new and order.left and self.fresh(book, at_ns):
                order.arrived, order.age = True, at_ns - book.quote_ns
                later = following[2 if order.buys else 0] if symbol == order.symbol else None
                self.meet(order, book, at_ns, later, -1)

    def amend(self, order: Order, quantity: D, limit: D | None, stop: D | None) -> None:
        """Change an order: another price or a larger quantity goes to the end of the queue."""
        if limit != order.limit or quantity > order.total:
            order.ahead, order.first = None, order.first or limit != order.limit
        for child in order.children:
            child.shrink(order.total - quantity)
        order.total, order.limit = quantity, limit
        order.level = order.level if order.trail is not None else stop

    # -- quotes, depth, trades -----------------------------------------------------------------------------------------

    def meet(self, order: Order, book: Book, time_ns: int, later: D | None, n: int) -> None:
        touch, before = book.quote[2 if order.buys else 0], order.done
        if order.waits:
            if order.trail is not None:
                order.follow(touch)
            if not order.reaches(touch, order.level):
                return
            order.waits = False
            self.say("order_triggered", order, level=order.level, reference=touch)
        crosses = order.takes or order.within(touch)
        order.crosses = crosses and (order.first or order.crosses)
        levels = [(price, size) for price, size in book.levels(order.buys) if order.within(price)]
        if order.crosses and order.post_only:
            self.end(order, "cancelled" if order.done else "rejected", settled=False)
        elif order.takes or order.crosses:
            offers = [self.offered(order, book, *level)[0] for level in levels]
            for price, size in levels if order.tif != "fok" or sum(offers) >= order.left else ():
                self.take_level(order, book, price, size, time_ns, later)
        elif crosses:
            for price, size in levels[:1]:  # none where a newer depth says that the touch is gone
                quantity, shown = self.offered(order, book, price, size)
                self.fill(order, book, quantity, order.limit, "limit_touched", time_ns, maker=True, displayed=shown)
                self.took(order, book, price, size, quantity)
        else:
            if order.ahead is None:  # behind all that is displayed at the limit
                shown = book.displayed_at(order.limit, not order.buys)
                order.ahead, order.queue, order.unseen = shown or ZERO, shown, shown is None
            elif (own := book.quote[0 if order.buys else 2 :][:2])[0] == order.limit and own[1]:
                order.ahead = own[1] if order.unseen else min(order.ahead, own[1])
                order.queue, order.unseen = own[1] if order.unseen else order.queue, False
        if order.tif in ("ioc", "fok") and order.left and order.live:
            self.end(order, "cancelled", settled=False)
        order.first = False
        self.settle(order, before, n, 0, time_ns)

    def offered(self, order: Order, book: Book, price: D, size: D) -> tuple[D, D | None]:
        shown = None if self.unlimited else book.offer(order.buys, price, size)
        if shown is None or shown >= order.left:
            return order.left, shown
        return shown // book.lot * book.lot, shown

    def took(self, order: Order, book: Book, price: D, size: D, quantity: D) -> None:
        if size and quantity and not self.unlimited:
            book.taken[order.buys, price] = [size, book.offer(order.buys, price, size) - quantity, 0]

    def take_level(self, order: Order, book: Book, price: D, size: D, time_ns: int, later: D | None) -> None:
        quantity, shown = self.offered(order, book, price, size)
        decided, sign = order.decided if order.first and not order.stops else None, 1 if order.buys else -1
        best = decided if decided is not None and (price - decided) * sign > 0 else None
        worst = later if later is not None and (later - price) * sign > 0 else None
        self.took(order, book, price, size, quantity)
        rule = "stop" if order.stops else "quote"
        self.fill(order, book, quantity, price, rule, time_ns, typical=shown, displayed=shown, best=best, worst=worst)

    def trade(self, fields: list[Any]) -> None:
        """Resting orders on the maker's side: a trade at the limit shortens the queue, one beyond it ends it."""
        symbol, time_ns, price, size, side = fields
        price, left, book = exact(price), exact(size), self.books[symbol]
        for order in list(self.orders.values()):
            if order.symbol != symbol or order.ahead is None or order.buys is not (side == "sell") or not order.live:
                continue
            if (price > order.limit if order.buys else price < order.limit) or time_ns < order.eligible:
                continue
            if price == order.limit and order.unseen:
                continue  # nobody knows the queue
            order.unseen = False
            used = min(order.ahead, left) if price == order.limit else ZERO
            order.ahead = order.ahead - used if price == order.limit else ZERO
            before, offered = order.done, left - used
            quantity = order.left if offered >= order.left else offered // book.lot * book.lot
            left -= quantity
            shown = exact(size)
            self.fill(order, book, quantity, order.limit, "limit_traded", time_ns, maker=True, displayed=shown)
            self.settle(order, before, self.n, 0, time_ns)

    def fill(
        self, order: Order, book: Book, quantity: D, reference: D, rule: str, time_ns: int,
        *, maker: bool = False, typical: D | None = None, at: D | None = None, **figures: Any,
    ) -> None:  # fmt: skip
        """Report a fill: at the reference, worse by the slippage, on the tick, never beyond the limit."""
        if not quantity:
            return
        sign, price, quoted = 1 if order.buys else -1, reference, bool(book.quote)
        slip = D(self.set["quote_slippage_bps" if quoted else "slippage_bps"]) / 10_000
        if typical:
            slip *= min(D(3), (1 + quantity / typical / 2).quantize(D("0.0001")))
        if at is None and not maker:
            price = max(book.off_tick(reference * (1 + sign * slip), order.buys), book.tick)
            if order.limit is not None:
                price = min(price, order.limit) if order.buys else max(price, order.limit)
        price = price if at is None else at
        own = self.rates["maker" if maker else "taker"]
        rate = (book.maker if maker else book.taker) if own is None else D(own)
        order.done += quantity
        if order.awake is not None:
            order.awake -= quantity
        spread = book.quote[2] - book.quote[0] if quoted and rule != "limit_traded" else None
        self.say("order_filled", order, **{
            "quantity": quantity, "price": price, "fee": book.notional(quantity, price) * rate, "fee_rate": rate,
            "liquidity": "maker" if maker else "taker", "rule": rule, "reference": reference, "spread": spread,
            "slippage": abs(price - reference), "time_ns": time_ns, "age_ns": 0 if maker else order.age,
            "displayed": None, "queue": order.queue if maker else None, "best": None, "worst": None, **figures,
        })  # fmt: skip

    def settle(self, order: Order, before: D, woke: int, where: int, time_ns: int) -> None:
        """Wake the children for what filled, and take it from the others of the group."""
        filled = order.done - before
        for child in order.children if filled else ():
            if child.live:
                if not (child.takes and child.left):  # a stop goes on guarding what filled before
                    child.woke, child.where, child.woke_ns = woke, where, time_ns
                child.awake += filled
        for other in list(self.mates(order)) if filled else ():
            if not other.reduce_only or other.total - other.done <= filled:
                self.end(other, "cancelled")
            else:
                other.shrink(filled)
                if other.awake is not None:
                    other.awake = max(other.awake - filled, ZERO)
                self.say("order_amended", other, quantity=other.total, limit=other.limit, stop=other.stop)
        if order.done == order.total or not order.live:
            self.drop(order)

    def mates(self, order: Order) -> Iterator[Order]:
        """Return the other working orders of an order's group."""
        return (one for one in self.orders.values() if order.group and one.group == order.group and one is not order)

    # -- candles -------------------------------------------------------------------------------------------------------

    def candle(self, book: Book, fields: list[Any]) -> None:
        """Orders share a candle's volume, in the order they came; of a group a stop comes first."""
        opened, closed, volume = fields[1], fields[2], exact(fields[7])
        prices = tuple(exact(one) for one in fields[3:7])
        most = volume * D(self.set["candle_share"]) if book.has_volume and not self.unlimited else None
        newest = [book.candles[at] for at in sorted(book.candles)[-10:]] or [0.0]
        typical = exact(round(sum(newest) / len(newest), 8) or fields[7])
        for order in [one for one in self.orders.values() if one.symbol == fields[0]]:
            if order.seen == self.n:
                continue  # it came before another one of its group
            before = (
                one
                for one in list(self.mates(order))
                if one.seen != self.n and self.precedes(one, order, prices[0], opened, closed)
            )
            for one in [*before, order]:
                if one.seen == self.n or not one.live:
                    continue
                one.seen, done = self.n, one.done
                late = closed - one.eligible
                if late < 0 or not one.left or (one.expires is not None and one.expires <= closed):
                    continue
                if one.first and one.kind == "market" and late > 2 * (closed - opened):
                    self.end(one, "expired")
                    continue
                where = self.meet_candle(one, book, opened, closed, prices, most, typical or None)
                self.settle(one, done, opened, where, closed)
                most = None if most is None else most - (one.done - done)

    @staticmethod
    def whole(order: Order, opened: int, closed: int) -> bool:
        """Return whether all of a candle counts for an order."""
        way = order.eligible - order.placed
        return opened >= order.eligible or (opened >= order.placed and way < closed - opened)

    def precedes(self, other: Order, order: Order, price: D, opened: int, closed: int) -> bool:
        if other.waits is order.waits:
            return False
        stop, limit = (other, order) if other.waits else (order, other)
        here = limit.woke == opened
        whole = limit.where == OPEN or not here if limit.where else self.whole(limit, opened, closed)
        return (limit if whole and limit.left and (limit.takes or limit.within(price)) else stop) is other

    def meet_candle(  # noqa: C901 - each rule is a branch
        self, order: Order, book: Book, opened: int, closed: int, prices: tuple[D, ...], most: D | None,
        typical: D | None,
    ) -> int:  # fmt: skip
        """Let an order meet a candle, and return where in it it filled."""
        first, high, low, last = prices
        where = order.where if order.woke == opened else 0
        if where == CLOSE:
            return 0
        inside, assumed, before = where == INSIDE, self.set["fills"], order.done
        whole = not inside and (where == OPEN or self.whole(order, opened, closed))
        quantity = order.left if most is None or most >= order.left else most // book.lot * book.lot
        enough = quantity if order.tif != "fok" or quantity == order.left else ZERO
        arrives = max(opened, order.eligible)
        worse = max(first, last) if order.buys else min(first, last)
        better = min(first, last) if order.buys else max(first, last)
        met = {"expected": first, "pessimistic": worse, "optimistic": better}[assumed]
        extreme, found = (high if (order.rises if order.waits else not order.buys) else low), OPEN

        def after_entry(level: D) -> bool:  # reached after the entry filled inside this candle
            rises = order.rises if order.waits else not order.buys
            sure = rises is order.entry_rises or order.reaches(last, level)
            return order.reaches(extreme, level) and (
                sure or assumed == ("pessimistic" if order.waits else "optimistic")
            )

        if order.waits:
            if order.trail is not None and order.best is None:
                order.follow(first if whole else last)
            level, sign = order.level, 1 if order.buys else -1
            if whole and order.reaches(first, level):
                price, rule, found, time_ns = first, "stop_open", OPEN, arrives
            elif (whole and order.reaches(extreme, level)) or (inside and after_entry(level)):
                price, rule, found, time_ns = level, "stop_level", INSIDE, closed
                if level < low if order.rises else level > high:  # passed before its entry filled
                    price, rule, found = last, "stop_close", CLOSE
            elif not whole and not inside and order.reaches(last, level):
                price, rule, found, time_ns = last, "stop_close", CLOSE, closed
            else:
                rule = ""
            if rule:
                order.waits = False
                self.say("order_triggered", order, level=level, reference=price)
                worst = last if (last - price) * sign > 0 else None
                if order.takes or order.within(price):
                    self.fill(order, book, quantity, price, rule, time_ns, typical=typical, worst=worst)
        elif order.takes:
            if whole and order.first:
                band = {"best": better if better != met else None, "worst": worse if worse != met else None}
                self.fill(order, book, enough, met, "candle_open", arrives, typical=typical, **band)
            elif whole:
                self.fill(order, book, enough, first, "candle_open", opened, typical=typical)
            else:
                self.fill(order, book, enough, last, "candle_close", closed, typical=typical)
                found = CLOSE
        elif (order.first or order.crosses) and not inside and order.within(first if whole else last):
            order.crosses = True
            if order.post_only:
                self.end(order, "cancelled" if order.done else "rejected", settled=False)
            elif whole:
                met = min(met, order.limit) if order.buys else max(met, order.limit)
                self.fill(order, book, enough, met, "candle_open", arrives, typical=typical)
            else:
                self.fill(order, book, enough, last, "candle_close", closed, at=order.limit)
                found = CLOSE
        else:
            order.crosses, found = False, INSIDE
            rests = order.tif not in ("ioc", "fok")
            through = rests and order.within(extreme) and (extreme != order.limit or assumed == "optimistic")
            if through and (whole or (inside and after_entry(order.limit))):
                self.fill(order, book, quantity, order.limit, "candle_through", closed, maker=True)
        if order.tif in ("ioc", "fok") and order.left and order.live:
            self.end(order, "cancelled", settled=False)
        order.first = False
        if order.trail is not None and order.waits:
            order.follow((low if order.buys else high) if whole else last)
        return found if order.done != before else 0
