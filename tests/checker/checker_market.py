"""The market that orders meet: what is displayed, what is left of it, and what a fill may take."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

from checker_money import ZERO, D, Money

MS, S = 10**6, 10**9
MAKER = {"limit_touched", "limit_traded", "candle_through"}


class Market(Money):
    """The newest quote, depth and candle, and of each level that was taken of its size and what is left."""

    def __init__(self, start: dict[str, Any]) -> None:
        super().__init__(start)
        self.before, self.before_ns, self.shown_n, self.orders, self.working = [], -1, -1, {}, []
        self.tick, self.lot = self.row["tick"], self.row["lot"]
        self.forget()

    def forget(self) -> None:
        """No quote is in force, and no time of before counts."""
        self.newest, self.sent, self.taken = Counter(), Counter(), {}
        self.depth, self.depth_ns, self.quote_ns = [[], []], -1, -1

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
            self.before, self.quote, self.quote_ns = self.quote, fields[2:], self.time
        elif kind == "depth" and self.live:
            self.depth, self.depth_ns = fields[2:], self.time
        if kind in ("quote", "depth") and self.live and self.fresh(self.time):
            self.shown_n = self.n
        known, self.taken = self.taken, {} if kind in ("quote", "depth") else self.taken
        for (sign, price), (before, left, seen_ns) in known.items() if self.taken is not known else ():
            size = self.levels(sign).get(price, ZERO)
            seen_ns = self.time if size else seen_ns
            if self.time - seen_ns < 60 * S:
                self.taken[sign, price] = size, min(size, left + max(size - before, ZERO)), seen_ns

    def levels(self, sign: int) -> dict[D, D]:
        """Return price and size of what is displayed for a buyer or a seller, the touch of the quote first."""
        touch, shown = self.quote[sign + 1 :][:2], self.depth[sign > 0] if self.depth_ns + S >= self.quote_ns else []
        deeper = [one for one in shown if (one[0] - touch[0]) * sign > 0]
        gone = shown and deeper == shown and self.depth_ns > self.quote_ns  # a newer depth without the touch
        return dict(deeper if gone else [touch, *deeper])

    def fresh(self, at_ns: int) -> bool:
        """Return whether the quote is in force at a time."""
        return self.quote_ns > -1 and at_ns - self.quote_ns <= self.set["stale_ms"] * MS

    def within(self, order: SimpleNamespace, price: D) -> bool:
        """Return whether a price is no worse than the limit."""
        return order.limit is None or (order.limit - price) * order.sign >= 0

    def meet(self) -> None:
        """Let the orders rest that met the quote in force before this input, and did not fit."""
        for order in self.working if self.quote else ():
            came = order.eligible_ns < self.time and (order.placed_ns < order.eligible_ns or order.n < self.shown_n)
            awake = not order.entry or (order.entry.done and order.woke < self.shown_n)
            if came and awake and not order.waits and self.fresh(max(order.arrived_ns, self.quote_ns)):
                order.rested |= not self.within(order, self.quote[order.sign + 1])

    def of_quote(self, order: SimpleNamespace, fill: dict[str, Any]) -> None:
        """It takes the best level within its limit that has something left, at its arrival or later."""
        sign, shown, levels, most = order.sign, fill["displayed"], self.levels(order.sign), order.quantity - order.done
        rested = fill["rule"] in MAKER if order.amended == self.n else order.rested  # it may have met two quotes
        level = next(iter(levels)) if rested else fill["reference"]
        size = levels.get(level, ZERO)
        if shown is not None:
            self.hold(displayed=shown <= self.taken.get((sign, level), [size, size])[1])
            self.taken[sign, level] = size, shown - fill["quantity"], self.time
            most = min(most, shown // self.lot * self.lot)
        if order.reduce_only:
            most = min(most, max(-self.accounts[order.strategy].held * sign, ZERO))
        self.hold(
            the_best_displayed=all((level - one) * sign <= 0 or (sign, one) in self.taken for one in levels),
            for_all_that_it_could=fill["quantity"] == most or (order.entry and 0 < fill["quantity"] < most),
        )
        rule = "limit_touched" if rested else "stop" if order.rises else "quote"
        reference, spread = order.limit if rested else level, self.quote[2] - self.quote[0]
        at_ns = order.arrived_ns if fill["time_ns"] < self.time else self.time
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
