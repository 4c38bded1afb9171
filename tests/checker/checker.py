"""Recomputes a run from its journal and from what it was fed. It shares no code with lab: the standard library only.

The orders are the journal's. What each row says must fit the market in force and the rows before it, and the books are
computed anew. ``check`` returns what differs, each a line with its row.
"""

import hashlib
import json
import sqlite3
from collections import Counter, defaultdict
from decimal import Context, localcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from checker_money import ZERO, D, Money, plain

MS, S, NEVER = 10**6, 10**9, D("Infinity")
MARKET = {"candle", "quote", "trade", "depth", "timer"}
BARE = {"timer", "command", "trading_state", "notice", "clock_stepped"}  # their time comes first
MAKER = {"limit_touched", "limit_traded", "candle_through"}
RISES = {"stop": 1, "stop_limit": 1, "trailing_stop": 1, "take_profit": -1}  # to its level, if it buys
FRESH = {"stop": None, "trail": None, "time_in_force": "gtc", "expires_ns": NEVER, "group": "", "met": None,
         "open": True, "rested": False, "done": ZERO, "fills": 0, "filled_n": NEVER}  # fmt: skip


class Checker(Money):
    """Takes inputs in their order with the rows that each gave, and holds the market in force and the orders."""

    def __init__(self, rows: list[tuple[Any, ...]], tape: str | None) -> None:
        """Check numbers, times and hashes of the rows."""
        super().__init__(plain(rows[0][5]))
        self.tick, self.lot, self.stale_ns = self.row["tick"], self.row["lot"], self.set["stale_ms"] * MS
        self.tape, self.n, self.orders, self.working, self.before = tape, 0, {}, [], []
        self.forget()
        self.steps, digest, last = defaultdict(list), bytes(32), (0, 0, 0)
        for seq, time_ns, n, kind, key, body, stored in rows:
            self.where = f"row {seq} ({kind})"
            digest = hashlib.sha256(digest + f"{seq}\n{time_ns}\n{n}\n{kind}\n{key or ''}\n{body}".encode()).digest()
            ordered = n >= last[2] and (time_ns >= last[1] or kind == "clock_stepped")
            self.expect({"number": seq, "hash": stored}, number=last[0] + 1, hash=digest, in_order=ordered)
            last = seq, time_ns, n
            self.steps[n].append(SimpleNamespace(where=self.where, time=time_ns, kind=kind, body=plain(body)))
        self.end = self.steps[n].pop()

    def forget(self) -> None:
        self.sent, self.taken = Counter(), {}  # of a level that was taken of: size, what is left, since when hidden
        self.depth, self.depth_ns, self.quote_ns = [[], []], -NEVER, -NEVER

    def take(self, n: int, kind: str, fields: list[Any]) -> None:
        """Take an input and its rows: what came before it met the market of before, the rest meets this one."""
        self.n, self.kind, self.fields, step = n, kind, fields, self.steps.pop(n, [])
        self.time = fields[0 if kind in BARE else 2 if kind == "candle" else 1]
        newest = {"quote": self.quote_ns, "depth": self.depth_ns}.get(kind, ZERO)
        self.live = kind in MARKET and fields[-1] != "backfilled" and self.time >= newest
        self.working = [one for one in self.working if one.open]
        acts = {"command": True, "trading_state": self.working, "clock_stepped": "venue" in fields}.get(kind)
        inside, close = kind == "candle" and not self.quote, self.last
        paid = next((place for place, row in enumerate(step) if inside and row.kind == "funding_paid"), 0)
        if self.live or (acts and self.time > self.now):
            ended = [row.body for row in step if row.kind == "day_ended"]
            self.pass_day(fields[1] + self.start["interval_ns"] - 1 if kind == "candle" else self.time, ended)
        if (self.live or acts) and self.time > self.now and not paid:
            self.pass_time(self.time)
        fills = [(i, row.body["fill"]["time_ns"]) for i, row in enumerate(step, 1) if row.kind == "order_filled"]
        early = max((i for i, at_ns in fills if kind != "candle" and at_ns < self.time), default=0)
        self.read(step[:early])
        self.apply(kind, fields)
        if paid:  # what filled at a candle's open was held when funding fell due inside it
            self.now = self.time
            self.read(step[:paid])
            self.pass_time(self.time, close)
        self.read(step[early or paid :])
        self.where = f"input {n}"
        self.finish()

    def read(self, rows: list[SimpleNamespace]) -> None:
        for row in rows:
            kind, body, self.where = row.kind, row.body, row.where
            self.counts[kind] += 1
            if isinstance(body, list):
                self.expect({}, the_input_that_came=kind != self.kind or body == self.fields)
                continue
            self.expect({"time": row.time}, time=self.now)
            order = self.orders.get({**body, **body.get("request", {}), **body.get("fill", {})}.get("order_id"))
            try:
                if order:
                    self.expect(body, of_an_order_that_works=order.open, strategy=order.strategy, symbol=order.symbol)
                getattr(self, f"on_{kind}", lambda *_: None)(body, *([order] if order else []))
            except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as problem:
                self.expect({"row": repr(problem)}, row="one that can be")

    def apply(self, kind: str, fields: list[Any]) -> None:
        """Let an input be in force. A level that shows more has that much more to give."""
        if kind == "clock_stepped" and fields[2] == "venue":
            self.pass_time(self.time)
            self.forget()
        elif kind == "funding" and (due := (fields[3] + 30 * 10**9) // (60 * 10**9) * 60 * 10**9) > self.now:
            self.rates = {at: one for at, one in self.rates.items() if not fields[1] < at < due}
            self.rates[due] = (fields[2], fields[4])
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
        for (sign, price), (before, left, since) in list(self.taken.items()) if kind in ("quote", "depth") else ():
            levels = self.levels(sign)
            size, hidden = levels.get(price, ZERO), price not in levels and (price - list(levels)[-1]) * sign > 0
            more = size, min(size, left + max(size - before, ZERO)), 0
            self.taken[sign, price] = (before, left, since or self.quote_ns) if hidden else more
            if (not size and not hidden) or (since and self.quote_ns - since > 10 * S):
                del self.taken[sign, price]

    def levels(self, sign: int) -> dict[D, D]:
        """Return price and size of what is displayed for a buyer or a seller, the touch of the quote first."""
        touch, shown = self.quote[sign + 1 :][:2], self.depth[sign > 0] if self.depth_ns + S >= self.quote_ns else []
        deeper = [one for one in shown if (one[0] - touch[0]) * sign > 0]
        gone = shown and deeper == shown and self.depth_ns > self.quote_ns  # a newer depth without the touch
        return dict(deeper if gone else [touch, *deeper])

    def within(self, order: SimpleNamespace, price: D) -> bool:
        return order.limit is None or (order.limit - price) * order.sign >= 0

    def finish(self) -> None:
        """Nothing is left that should have happened (no candle fills where quotes are). What does not fit rests."""
        self.expect({}, paid_all_funding=not self.owed)
        for account in self.accounts.values() if self.live and not self.counts["broker_failed"] else ():
            self.expect({}, liquidated=not self.calls(account), settled=account.held != 0 or not account.closing)
        works = [one for one in self.working if one.open and self.live and not (self.quote and self.kind == "candle")]
        late = [one.order_id for one in works if min([one.expires_ns - 1, *one.asked]) < self.time]
        groups = {one.group for one in self.working if one.filled_n == self.n} - {""}
        uncut = [one.order_id for one in works if one.group in groups and self.n not in (one.filled_n, one.changed_n)]
        self.expect({"late": late, "uncut": uncut}, late=[], uncut=[])
        for one in works if self.kind in ("quote", "depth") and self.time - self.quote_ns <= self.stale_ns else ():
            awake = (one.met or not one.rises) and (not one.entry or one.entry.filled_n < self.n)
            one.rested |= bool(awake) and one.arrived_ns < self.time and not self.within(one, self.quote[one.sign + 1])

    def on_order_accepted(self, row: dict[str, Any]) -> None:
        order = self.orders[row["order_id"]] = SimpleNamespace(**FRESH | row, n=self.n, changed_n=self.n)
        order.entry, order.sign = self.orders.get(row.get("parent")), {"buy": 1, "sell": -1}[row["side"]]
        order.rises, order.arrived_ns, order.asked = RISES.get(order.type, 0) * order.sign, order.eligible_ns, []
        self.working.append(order)
        own = order.order_id.startswith(f"{self.start['config_hash']}-{order.strategy}-{order.symbol}-")
        on_tick = not any((price or ZERO) % self.tick for price in (order.limit, order.stop, order.trail))
        self.expect(row, of_this_run=own, on_tick=on_tick, on_lot=order.quantity > 0 == order.quantity % self.lot)
        self.expect(row, placed_ns=self.now, within_its_entry=order.quantity <= (order.entry or order).quantity)
        if not order.entry:
            self.arrives(order, order.eligible_ns, self.set["latency_ms"], self.set["jitter_ms"])

    def arrives(self, order: SimpleNamespace, at_ns: int, latency: int, jitter: int = 0) -> None:
        """What one strategy sends arrives after its latency, and in the order it was sent."""
        ways = (latency + self.set["feed_ms"] + part for part in (-min(jitter, latency), min(jitter, latency)))
        low, high = (max(self.now + way * MS, self.sent[order.strategy]) for way in ways)
        self.expect({"eligible_ns": at_ns}, eligible_ns=min(max(at_ns, low), high))
        self.sent[order.strategy] = at_ns

    def on_cancel_sent(self, row: dict[str, Any], order: SimpleNamespace) -> None:
        latency = self.set["cancel_latency_ms"]
        order.asked.append(row["eligible_ns"])
        self.arrives(order, row["eligible_ns"], self.set["latency_ms"] if latency is None else latency)

    on_amend_sent = on_cancel_sent

    def on_order_amended(self, row: dict[str, Any], order: SimpleNamespace) -> None:
        """What arrived first of what was asked, or its group or its entry, changed it."""
        self.expect(row, remaining=row["quantity"] - order.done)
        order.rested, order.changed_n = order.rested and row["limit"] == order.limit, self.n
        order.limit, order.stop, order.quantity = row["limit"], row["stop"], row["quantity"]
        if order.asked and order.asked[0] <= self.time:
            order.arrived_ns = order.asked.pop(0)

    def on_order_triggered(self, row: dict[str, Any], order: SimpleNamespace) -> None:
        level, met = row["level"], row["reference"]
        prices = [one[order.sign + 1] for one in (self.quote, self.before) if one] or [level, *self.prices]
        self.expect(row, level=level if order.trail else order.stop, waiting=order.met is None)
        self.expect(row, in_force=met in prices, at_its_level=(met - level) * order.rises >= 0)
        order.met = met

    def on_order_ended(self, row: dict[str, Any], order: SimpleNamespace) -> None:
        """What did not fill of it remains: all of it or nothing, if it says so."""
        whole = order.time_in_force != "fok" or not order.done or order.reduce_only
        self.expect(row, filled_whole_or_not_at_all=whole, remaining=order.quantity - order.done)
        order.open = False
        self.counts[row["outcome"]] += 1

    def on_order_filled(self, row: dict[str, Any], order: SimpleNamespace) -> None:
        """It fills at the price, and for as much, as the market in force has for it."""
        fill, account, sign = {"displayed": None} | row["fill"], self.accounts[order.strategy], order.sign
        rule, quantity, price, reference = (fill[name] for name in ("rule", "quantity", "price", "reference"))
        (self.of_quote if self.quote and rule != "limit_traded" else self.of_rest)(order, fill)
        slip = self.set["quote_slippage_bps" if self.quote else "slippage_bps"] / 10_000 * reference
        role, least, most = ("maker", ZERO, ZERO) if rule in MAKER else ("taker", slip, 3 * slip + self.tick)
        order.done, order.fills = order.done + quantity, order.fills + 1
        left, number = order.quantity - order.done, f"{order.order_id}.{order.fills}"
        self.expect(row, after_its_decision=self.n > order.n, after_its_trigger=bool(order.met or not order.rises))
        self.expect(row, within_its_quantity=left >= 0, within_its_limit=self.within(order, price))
        fair = price == order.limit or least <= (price - reference) * sign <= most
        self.expect(row, at_what_the_market_gives=fair, after_its_entry=order.done <= (order.entry or order).done)
        own, worth = self.set[f"{role}_fee"], abs(self.worth(quantity, price))
        rate = self.row[f"{role}_fee_rate"] if own is None else own
        self.expect(fill, liquidity=role, fee_rate=rate, fee=worth * rate, slippage=abs(price - reference))
        postings = self.book_fill(account, quantity * sign, price, fill["fee"])
        self.expect(row, fill_id=number, side=order.side, remaining=left, position=account.held, postings=postings)
        order.open, order.filled_n = left > 0, self.n
        account.fee += worth * self.row["liquidation_fee_rate"]

    def of_quote(self, order: SimpleNamespace, fill: dict[str, Any]) -> None:
        """It takes the best level within its limit that has something left, at its arrival or later."""
        sign, shown, levels, most = order.sign, fill["displayed"], self.levels(order.sign), order.quantity - order.done
        rested = order.rested or (fill["rule"] in MAKER and fill["time_ns"] == self.time)  # on its arrival it takes
        level = next(iter(levels)) if rested else fill["reference"]
        size, left, _ = self.taken.get((sign, level), [levels.get(level, ZERO)] * 3)
        self.expect(fill, displayed=level in levels and (shown is None or shown <= left))
        if shown is not None:
            self.taken[sign, level] = size, shown - fill["quantity"], 0
            most = min(most, shown // self.lot * self.lot)
        most = min(most, max(-self.accounts[order.strategy].held * sign, ZERO)) if order.reduce_only else most
        all_of_it = fill["quantity"] == most or (bool(order.entry) and 0 < fill["quantity"] < most)
        best = all((level - one) * sign <= 0 or (sign, one) in self.taken for one in levels)
        self.expect(fill, the_best_displayed=best, for_all_that_it_could=all_of_it)
        rule = "limit_touched" if rested else "stop" if order.rises else "quote"
        at_ns = order.arrived_ns if fill["time_ns"] < self.time else self.time
        self.expect(fill, rule=rule, reference=order.limit if rested else level, time_ns=at_ns)

    def of_rest(self, order: SimpleNamespace, fill: dict[str, Any]) -> None:
        """A trade or a candle reaches it, and has so much left."""
        rule, trade, ends = fill["rule"], self.kind == "trade", order.expires_ns <= self.time
        first, high, low, last = [self.fields[2]] * 4 if trade else self.prices
        fair = {"candle_open": [first, last, order.limit], "candle_close": [last]}
        fair = fair.get(rule, [order.limit if rule in MAKER else order.met])
        most = self.most if trade or (self.fields[7] and self.set["liquidity"] == "displayed") else NEVER
        self.expect(fill, reference=fill["reference"] if fill["reference"] in fair else fair[0])
        self.expect(fill, reached=rule not in MAKER or self.within(order, [first, low, high][not ends and order.sign]))
        self.expect(fill, of_the_other_side=not trade or (self.fields[4] == "sell") == (order.sign > 0))
        self.expect(fill, of_what_is_left=fill["quantity"] <= most, after_its_arrival=order.eligible_ns <= self.time)
        self.expect(fill, time_ns=max(self.fields[1], order.eligible_ns) if ends or "_open" in rule else self.time)
        self.most -= fill["quantity"]


def check(journal: Path, inputs: list[Any], tape: str | None = None) -> tuple[list[str], int, int]:
    """Return what differs, and how many rows and figures were compared. ``tape`` is the SHA-256 of a tape's lines."""
    with sqlite3.connect(journal) as db, localcontext(Context(prec=100)):
        rows = list(db.execute("SELECT seq, time_ns, input_n, kind, key, body, hash FROM event ORDER BY seq"))
        checker = Checker(rows, tape)
        checker.read(checker.steps.pop(0, []))
        for n, (kind, fields) in enumerate(inputs, 1):
            checker.take(n, kind, plain(json.dumps(fields, separators=(",", ":"))))
            if checker.counts["equity_exhausted"] and n == rows[-1][2]:
                break  # nothing is left to trade with
        checker.read([checker.end])
        checker.expect({}, the_end_of_every_order=not any(one.open for one in checker.orders.values()))
        checker.expect({}, all_rows_and_an_end=checker.end.kind == "run_ended" and not any(checker.steps.values()))
    return checker.findings, len(rows), checker.checks
