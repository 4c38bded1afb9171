"""The market that orders meet: what is displayed, what is left of it, and what a fill may take."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

from checker_money import ZERO, D, Money

MS, S = 10**6, 10**9
MAKER = {"limit_touched", "limit_traded", "candle_through"}


class Market(Money):
    """The newest quote, depth and candle; of a level that was taken of its size, what is left and since when hidden."""

    def __init__(self, start: dict[str, Any]) -> None:
        super().__init__(start)
        self.taken, self.depth, self.depth_ns, self.quote_ns = {}, [[], []], -1, -1
        self.before, self.before_ns, self.shown_n, self.shown_ns = [], -1, -1, -1
        self.orders, self.working, self.tick, self.lot = {}, [], self.row["tick"], self.row["lot"]

    def apply(self, kind: str, fields: list[Any]) -> None:
        """Let an input be in force. A level that shows more has that much more to give."""
        if kind == "funding" and fields[3] > self.now:
            self.rates = {at: one for at, one in self.rates.items() if not fields[1] < at < fields[3]}
            self.rates[fields[3]] = (fields[2], fields[4])
        elif kind == "backfill":
            self.now = max([self.now, *(one[2] for one in fields[2])])
        elif kind == "candle":
            self.prices, self.last, self.most = fields[3:7], fields[6], fields[7] * self.set["candle_share"]
        elif kind == "trade":
            self.most = fields[3]
        elif kind == "quote" and self.live:
            self.before, self.before_ns, self.quote, self.quote_ns = self.quote, self.quote_ns, fields[2:], self.time
        elif kind == "depth" and self.live:
            self.depth, self.depth_ns = fields[2:], self.time
        if kind in ("quote", "depth") and self.live and self.fresh(self.time, self.quote_ns):
            self.shown_n, self.shown_ns = self.n, self.time
        for (sign, price), (before, left, since) in list(self.taken.items()) if kind in ("quote", "depth") else ():
            levels = self.levels(sign)
            size, hidden = levels.get(price, ZERO), price not in levels and (price - list(levels)[-1]) * sign > 0
            more = [size, min(size, left + max(size - before, ZERO)), 0]
            self.taken[sign, price] = [before, left, since or self.quote_ns] if hidden else more
            if (not size and not hidden) or (since and self.quote_ns - since > 10 * S):
                del self.taken[sign, price]

    def set_clock(self) -> None:
        """The venue's clock stepped: no time of before counts any more, and no quote is in force."""
        self.newest, self.sent, self.taken = Counter(), Counter(), {}
        self.quote_ns, self.depth, self.depth_ns = -1, [[], []], -1
        if self.time > self.now:
            self.pass_time(self.time)
        self.now = self.time

    def levels(self, sign: int) -> dict[D, D]:
        """Return price and size of what is displayed for a buyer or a seller, the touch of the quote first."""
        touch, shown = self.quote[sign + 1 :][:2], self.depth[sign > 0] if self.depth_ns + S >= self.quote_ns else []
        deeper = [one for one in shown if (one[0] - touch[0]) * sign > 0]
        gone = shown and deeper == shown and self.depth_ns > self.quote_ns  # a newer depth without the touch
        return dict(deeper if gone else [touch, *deeper])

    def fresh(self, at_ns: int, quote_ns: int) -> bool:
        """Return whether a quote is in force."""
        return quote_ns > -1 and at_ns - quote_ns <= self.set["stale_ms"] * MS

    def within(self, order: SimpleNamespace, price: D) -> bool:
        """Return whether a price is no worse than the limit."""
        return order.limit is None or (order.limit - price) * order.sign >= 0

    def show(self) -> None:
        """Look at the orders that met the quote before this input: it had nothing more for them, or they rest."""
        unfilled = []
        for order in self.working if self.quote else ():
            touch, size = self.quote[order.sign + 1 :][:2]
            fits, at_ns = self.within(order, touch), max(order.arrivals[-1], self.quote_ns)
            came = order.eligible_ns < self.time and (order.placed_ns < order.eligible_ns or order.n < self.shown_n)
            awake = not order.entry or (order.entry.done and order.woke < self.shown_n)
            if came and awake and not order.waits and self.fresh(at_ns, self.quote_ns):
                order.rested |= not fits
            if order.eligible_ns <= self.shown_ns and max(order.n, order.changed) < self.shown_n and not order.entry:
                at_once = order.time_in_force in ("ioc", "fok") or (order.post_only and not order.rested)
                offers = size and fits and not order.reduce_only and (order.sign, touch) not in self.taken
                reached = order.waits and not order.trail and (touch - order.stop) * order.rises >= 0
                more = not order.waits and (at_once or (offers and touch in self.levels(order.sign)))
                unfilled += [order.order_id] if reached or more else []
        self.same({"unfilled": unfilled}, unfilled=[])

    def of_quote(self, order: SimpleNamespace, fill: dict[str, Any]) -> None:
        """It takes the best level within its limit that has something left, at its arrival or later."""
        sign, shown, levels, left = order.sign, fill["displayed"], self.levels(order.sign), order.quantity - order.done
        level = next(iter(levels)) if order.rested else fill["reference"]
        size, at_ns = levels.get(level, ZERO), order.arrivals[-1] if fill["time_ns"] < self.time else self.time
        most = left if shown is None else min(left, shown // self.lot * self.lot)
        gets = min(most, max(-self.accounts[order.strategy].held * sign, ZERO)) if order.reduce_only else most
        ages = [0] if order.rested else [one - self.quote_ns for one in (at_ns, order.eligible_ns)]
        self.hold(
            displayed=level in levels and (shown is None or shown <= self.taken.get((sign, level), [size, size])[1]),
            the_best_displayed=all((level - one) * sign <= 0 or (sign, one) in self.taken for one in levels),
            for_all_that_it_could=fill["quantity"] == gets or (order.entry and 0 < fill["quantity"] < gets),
            of_that_age=fill["age_ns"] in ages,
            best_as_decided=fill["best"] in (None, order.best),
        )
        if shown is not None:
            self.taken[sign, level] = [size, shown - fill["quantity"], 0]
        rule = "limit_touched" if order.rested else "stop" if order.stops else "quote"
        reference, spread = order.limit if order.rested else level, self.quote[2] - self.quote[0]
        self.same(fill, rule=rule, reference=reference, spread=spread, time_ns=at_ns)

    def of_rest(self, order: SimpleNamespace, fill: dict[str, Any]) -> None:
        """A trade or a candle reaches it, and has so much left."""
        rule, trade = fill["rule"], self.kind == "trade"
        first, high, low, last = [self.fields[2]] * 4 if trade else self.prices
        fair = {"candle_open": [first, last, order.limit], "candle_close": [last]}
        fair = fair.get(rule, [order.limit if rule in MAKER else order.met])
        limited = trade or (self.fields[7] and self.set["liquidity"] == "displayed")  # 0 is not known
        self.hold(
            reached=rule not in MAKER or self.within(order, low if order.sign > 0 else high),
            of_the_other_side=not trade or self.fields[4] == ("sell" if order.sign > 0 else "buy"),
            after_its_arrival=order.eligible_ns <= self.time,
            within_what_is_left=not limited or fill["quantity"] <= self.most,
        )
        reference = fill["reference"] if fill["reference"] in fair else fair[0]
        at_ns = max(self.fields[1], order.eligible_ns) if rule.endswith("open") else self.time
        self.same(fill, reference=reference, time_ns=at_ns)
        self.most -= fill["quantity"]
