"""Recomputes a run from its journal and from what it was fed. It shares no code with lab: the standard library only.

The orders are taken from the journal. What they must meet in the market, what it costs, and what the books then hold
is computed anew, input by input, and compared row by row. ``check`` returns what differs, each a line with its row.
"""

import hashlib
import json
import re
import sqlite3
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from decimal import Context, Decimal, InvalidOperation, localcontext
from pathlib import Path
from typing import Any

from checker_inputs import Input
from checker_matching import ZERO, Book, Matching, Order, exact

D = Decimal
DAY_NS, MS = 86_400 * 10**9, 10**6
UNNAMED = {"timer", "command", "trading_state", "notice", "clock_stepped"}  # of no symbol
INPUTS = {"candle", "quote", "trade", "depth", "funding", "backfill"} | UNNAMED
MARKET = {"candle", "quote", "trade", "depth", "timer", "trading_state"}
NAMES = {"q": "quote", "t": "trade", "d": "depth"}
REPORTS = {"order_filled", "order_triggered", "order_amended", "order_ended"}
# What a row leaves out where it is as usual.
USUAL: dict[str, dict[str, Any]] = {
    "order_accepted": {
        "stop": None, "trail": None, "post_only": False, "time_in_force": "gtc", "expires_ns": None, "parent": "",
        "group": "", "limit": None, "reduce_only": False,
    },
    "order_filled": {"age_ns": 0, "displayed": None, "queue": None, "best": None, "worst": None, "spread": None},
}  # fmt: skip
ACCOUNTS = ("cash", "capital", "realised", "fees", "funding", "liquidation_fees", "insurance")


class Account:
    """A strategy's book: double entry, and signed quantity and cost of each position."""

    def __init__(self) -> None:
        self.balance: dict[str, D] = defaultdict(D)
        self.held: dict[str, list[D]] = defaultdict(lambda: [ZERO, ZERO])
        self.closing: dict[str, dict[str, Any]] = {}
        self.liquidated = False

    def post(self, **amounts: D) -> list[tuple[str, D]]:
        for account, amount in amounts.items():
            self.balance[account] += amount
        return list(amounts.items())

    def fill(self, symbol: str, quantity: D, worth: D, fee: D) -> list[tuple[str, D]]:
        held, cost = self.held[symbol]
        after = held + quantity
        if held * quantity >= 0:
            self.held[symbol] = [after, cost + quantity * worth]
            return self.post(cash=-fee, fees=fee)
        released = (cost * -quantity / held).quantize(D("1e-10"))  # of a part that is closed: its share of the cost
        kept = cost - released if after * held > 0 else after * worth
        loss = cost - kept + quantity * worth
        self.held[symbol] = [after, kept]
        return self.post(cash=-loss - fee, realised=loss, fees=fee)


class Checker:
    """Takes inputs in their order with the rows that each gave."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self.findings: list[str] = []
        self.where, self.checks, self.counts, self.now, self.newest = "the journal", 0, Counter[str](), 0, {}
        self.orders: dict[str, Order] = {}
        self.accounts: dict[str, Account] = {}
        self.arrived: dict[str, int] = defaultdict(int)
        self.rates: dict[str, dict[int, tuple[float, float]]] = defaultdict(dict)
        self.rules: dict[str, dict[str, D]] = defaultdict(lambda: defaultdict(D))
        self.band, self.day_end, self.day_start, self.peak, self.deepest = [ZERO, ZERO], 0, ZERO, ZERO, ZERO
        self.rows = deque(self.chained(rows))
        self.start = json.loads(rows[0][5])
        settings = self.start["broker"]["settings"]
        self.books = {symbol: Book(row) for symbol, row in self.start["instruments"].items()}
        self.market = Matching(settings, self.books)
        self.feed = settings["feed_ms"]
        self.cancel_ms = (
            settings["latency_ms"] if settings["cancel_latency_ms"] is None else settings["cancel_latency_ms"]
        )
        self.jitter = min(settings["jitter_ms"], settings["latency_ms"])
        self.latency, self.kinds = settings["latency_ms"], Counter[str]()
        self.step: deque[dict[str, Any]] = deque()

    # -- what differs --------------------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        self.findings.append(f"{self.where}: {text}")

    def expect(self, what: str, found: Any, wanted: Any) -> None:
        self.checks += 1
        try:
            same = found == wanted if not isinstance(wanted, D) or found is None else D(found) == wanted
        except (InvalidOperation, ValueError, TypeError):
            same = False
        if not same:
            self.note(f"{what} is {found}, it should be {wanted}")

    def true(self, said: str, holds: bool) -> None:
        self.checks += 1
        if not holds:
            self.note(said)

    def chained(self, rows: list[tuple[Any, ...]]) -> Iterable[dict[str, Any]]:
        """Check numbers, times, inputs, hashes and keys."""
        digest, keys, before = bytes(32), set[str](), (0, 0, 0)
        for seq, time_ns, input_n, kind, key, body, stored in rows:
            self.where = f"row {seq} ({kind})"
            self.expect("its number", seq, before[0] + 1)
            self.true("it goes back in time", time_ns >= before[1] or kind == "clock_stepped")
            self.true("it goes back in input", input_n >= before[2])
            digest = hashlib.sha256(
                digest + f"{seq}\n{time_ns}\n{input_n}\n{kind}\n{key or ''}\n{body}".encode()
            ).digest()
            self.expect("its hash", stored, digest)
            self.true(f"its key {key} was there before", key is None or key not in keys)
            keys.add(key)
            before, row = (seq, time_ns, input_n), json.loads(body)
            if kind == "order_filled":
                row["fill"] = USUAL[kind] | row["fill"]
            elif kind in USUAL:
                row = USUAL[kind] | row
            self.expect("its key", key, key_of(kind, row))
            yield {"where": self.where, "time": time_ns, "n": input_n, "kind": kind, "body": row}

    # -- one input -----------------------------------------------------------------------------------------------------

    def take(self, n: int, kind: str, fields: list[Any]) -> None:  # noqa: C901 - the order of a step, in one place
        """Take an input and the rows it gave."""
        self.n, self.kind, self.event, self.step = n, kind, fields, deque()
        while self.rows and self.rows[0]["n"] == n and self.rows[0]["kind"] != "run_ended":
            self.step.append(self.rows.popleft())
        self.kinds.update(row["kind"] for row in self.step)
        self.present = {row["kind"] for row in self.step}
        self.filled_now, self.liquidated_now = set[str](), set[str]()
        symbol = fields[0] if kind not in UNNAMED else ""
        time_ns = fields[1] if symbol else fields[0]
        book = self.books.get(symbol)
        live = kind in MARKET
        if kind == "candle":
            time_ns, live = fields[2], fields[8] != "backfilled" and self.in_line(book, fields)
            self.counts["candles"] += fields[8] != "backfilled"
        if kind in ("quote", "depth", "trade"):
            self.counts["quotes"] += kind == "quote"
            late = time_ns < self.newest.get((kind, symbol), 0) and kind != "trade"
            self.counts["late_quotes"] += late
            live = live and not late
            self.newest[kind, symbol] = max(time_ns, self.newest.get((kind, symbol), 0))
        while self.step and self.step[0]["kind"] in INPUTS | {"gap", "candle_ignored"} and kind != "backfill":
            self.input_row(self.step.popleft())
        stepped = kind == "clock_stepped" and fields[2] == "venue"
        if stepped:
            self.set_back(time_ns)
        if (live or kind == "command" or stepped) and kind != "trading_state" and time_ns > self.now:
            day_ns = fields[1] + self.start["interval_ns"] - 1 if kind == "candle" else time_ns
            if day_ns >= self.day_end:
                self.day_start, self.day_end = self.equity(), day_ns - day_ns % DAY_NS + DAY_NS
            self.now = time_ns
            self.pay_funding()
        if live and not (kind == "candle" and book.quote):  # where there are quotes, only they fill
            self.meet(kind, fields, n)
        if (kind == "candle" and live) or (kind == "candle" and fields[8] == "backfilled"):
            self.keep_candle(book, fields)
        for candle in fields[2] if kind == "backfill" else ():
            self.keep_candle(book, candle)
            self.now = max(self.now, candle[2])
        if kind == "funding" and fields[3] > self.now:
            kept = {at: one for at, one in self.rates[symbol].items() if not fields[1] < at < fields[3]}
            self.rates[symbol] = {**kept, fields[3]: (fields[2], fields[4])}
        self.look()
        spot = (self.step or self.rows or [{"where": "the end"}])[0]["where"]
        due = self.margin_calls() if live and not self.market_failed() else {}
        while self.step:
            row = self.step.popleft()
            self.where = row["where"]
            self.expect("its time", row["time"], self.now)
            getattr(self, f"on_{row['kind']}", self.other)(row["body"])
        self.where = f"input {n}, before {spot}"
        for name in due:
            self.true(f"{name} is not liquidated: {due[name]}", name in self.liquidated_now)
        for name, account in self.accounts.items():
            flat = [symbol for symbol in account.closing if not account.held[symbol][0]]
            self.true(f"the liquidation of {name} is not settled", not flat or len(account.closing) > len(flat))
        self.look()

    def set_back(self, time_ns: int) -> None:
        """The venue's clock stepped: no time of before counts, what is displayed is old, later candles are none yet."""
        self.newest.clear()
        self.arrived.clear()
        self.market.due.clear()
        before, self.now = self.now, time_ns
        for book in self.books.values():
            book.begin_anew(time_ns + 5 * 10**9 if time_ns < before else None, self.start["interval_ns"])
        while self.step and self.step[0]["kind"] == "order_ended":
            row = self.step.popleft()
            self.where = row["where"]
            self.on_order_ended(row["body"])
        self.now = min(time_ns, before)

    def market_failed(self) -> bool:
        return "broker_failed" in self.kinds

    def input_row(self, row: dict[str, Any]) -> None:
        self.where = row["where"]
        if row["kind"] in INPUTS:
            self.expect("its kind", row["kind"], self.kind)
            self.expect("what it says", row["body"], self.event)

    def in_line(self, book: Book, candle: list[Any]) -> bool:
        return not book.next_ns or (
            candle[1] >= book.next_ns and not (candle[1] - book.next_ns) % (candle[2] - candle[1])
        )

    def keep_candle(self, book: Book, candle: list[Any]) -> None:
        if candle[1] not in book.candles and (
            not book.next_ns or not (candle[1] - book.next_ns) % self.start["interval_ns"]
        ):
            book.candles[candle[1]] = candle[7]
            if candle[1] >= book.next_ns:
                book.last, book.next_ns = exact(candle[6]), candle[1] + self.start["interval_ns"]

    # -- the market ----------------------------------------------------------------------------------------------------

    def meet(self, kind: str, fields: list[Any], n: int) -> None:
        """Compare what the market makes of the orders with the rows."""
        if kind == "candle" and self.market.orders:
            self.books[fields[0]].has_volume |= bool(fields[7])
        for what, order, figures in self.market.observe(kind, fields, n):
            if not order.open:
                continue  # it ended at another report of this event
            if what == "order_filled" and order.reduce_only:
                held = self.accounts[order.strategy].held[order.symbol][0]
                most = max(-held if order.buys else held, ZERO)
                if most < figures["quantity"]:
                    self.clip(order, most, figures)
                    continue
            if not self.row(what, order, **figures):
                return

    def clip(self, order: Order, most: D, figures: dict[str, Any]) -> None:
        """A reduce-only order fills no more than is held, and ends."""
        self.market.drop(order)
        order.clipped = True
        if most:
            fee = self.books[order.symbol].notional(most, figures["price"]) * figures["fee_rate"]
            self.row("order_filled", order, **{**figures, "quantity": most, "fee": fee})
        else:
            self.idle(order)

    def idle(self, order: Order) -> None:
        """What has nothing left to reduce ends, and so does the entry that it guards."""
        self.withdraw(order)
        if order.parent and order.parent.open:
            order.parent.guarded = order.parent.quantity - order.parent.remaining
            self.withdraw(order.parent)

    def row(self, kind: str, order: Order, **figures: Any) -> bool:
        """Take the next row, which must be this report, and what follows of it."""
        row = self.step[0] if self.step else None
        place = row or (self.rows[0] if self.rows else {"where": "the end"})
        self.where = place["where"]
        self.checks += 1
        body = row["body"] if row else {}
        shown = body.get("fill", body)
        if row is None or row["kind"] != kind or shown["order_id"] != order.id:
            told = ", ".join(f"{name} {value}" for name, value in figures.items() if value is not None)
            self.note(f"before it {order.id} should be {kind.removeprefix('order_')}: {told}")
            return False
        self.step.popleft()
        self.expect("its time", row["time"], self.now)
        for name, value in figures.items():
            self.expect(f"its {name}", shown[name], value)
        getattr(self, f"on_{kind}")(body, expected=True)
        return True

    # -- the life of an order ------------------------------------------------------------------------------------------

    def on_order_accepted(self, row: dict[str, Any]) -> None:
        book, parent = self.books[row["symbol"]], self.orders.get(row["parent"])
        order = self.orders[row["order_id"]] = Order(row, parent, self.n)
        self.counts["orders"] += 1
        self.expect("when it was placed", row["placed_ns"], self.now)
        pattern = r"-([cqtdmx])(\d+)(\.\d+)?(\.[A-Z0-9]+)?-[^-/]+(/stop|/target)?"
        named = re.fullmatch(
            re.escape(f"{self.start['config_hash']}-{row['strategy']}-{row['symbol']}") + pattern, order.id
        )
        self.true(f"its id {order.id} names no decision", named is not None)
        if named and named[1] in "qtdmx":
            at = self.newest.get((NAMES.get(named[1]), order.symbol), self.now) if named[1] in NAMES else self.now
            self.expect("the time in its id", int(named[2]), at)
        self.true(
            f"its quantity {order.quantity} is not on the lot, or not above 0",
            order.quantity > 0 == order.quantity % book.lot,
        )
        for price in (order.limit, order.level, order.trail):
            self.true(f"its price {price} is not on the tick", price is None or not price % book.tick)
        if parent:
            self.true(
                "it is larger than its entry, or does not only reduce",
                order.quantity <= parent.quantity and order.reduce_only,
            )
            self.expect("its group", order.group, parent.id)
            self.expect("its arrival", order.eligible, parent.eligible)
            self.true("its entry does not work", parent.open)
        else:
            self.arrives("it", order, order.eligible, self.latency, self.jitter)
        if not (self.step and self.step[0]["kind"] == "order_ended" and self.step[0]["body"]["outcome"] == "rejected"):
            self.market.submit(order)

    def arrives(self, what: str, order: Order, at_ns: int, latency: int, jitter: int) -> None:
        """What one strategy sends arrives after its latency, and in the order it was sent."""
        low, high = (self.now + (self.feed + latency + part) * MS for part in (-jitter, jitter))
        before = self.arrived[order.strategy]
        said = f"{what} arrives at {at_ns}, it should from {low} to {high}, and not before {before}"
        self.true(said, max(low, before) <= at_ns <= max(high, before))
        self.arrived[order.strategy] = at_ns

    def working(self, row: dict[str, Any]) -> Order | None:
        order = self.orders.get(row["order_id"])
        self.true(f"order {row['order_id']} does not work", order is not None and order.open)
        if order is None or not order.open:
            return None
        for name in ("strategy", "symbol"):
            self.expect(f"its {name}", row.get(name, getattr(order, name)), getattr(order, name))
        return order

    def on_cancel_sent(self, row: dict[str, Any]) -> None:
        order = self.working(row)
        if order:
            self.true("a cancel is on its way already", not order.leaving)
            order.leaving = True
            self.arrives("the cancel", order, row["eligible_ns"], self.cancel_ms, 0)
            self.market.push(row["eligible_ns"], "cancel", order)

    def on_amend_sent(self, row: dict[str, Any]) -> None:
        asked, order = row["request"], self.working({**row, **row["request"]})
        if order:
            book = self.books[order.symbol]
            self.arrives("the amendment", order, row["eligible_ns"], self.cancel_ms, 0)
            figures = {"quantity": order.quantity + order.gone, "limit": order.limit, "stop": order.stop}
            figures = dict((order.asked or [figures])[-1])  # it builds on what is on its way
            for name in ("limit", "stop"):
                if asked[name] is not None:
                    figures[name] = book.off_tick(D(asked[name]), not order.buys)
            if asked["quantity"] is not None:
                figures["quantity"] = D(asked["quantity"]) // book.lot * book.lot + order.gone
            if row["eligible_ns"] > self.now:  # otherwise the row that follows has them
                order.asked.append(figures)
                self.market.push(row["eligible_ns"], "amend", order, figures)

    def on_order_triggered(self, row: dict[str, Any], *, expected: bool = False) -> None:
        order = self.working(row)
        self.true("nothing in the market triggers it", expected)
        if order:
            self.true("it was triggered before, or waits for nothing", order.stops and not order.triggered)
            order.triggered = True

    def on_order_amended(self, row: dict[str, Any], *, expected: bool = False) -> None:
        order = self.working(row)
        self.true("nothing amends it", expected or not self.cancel_ms + self.feed)
        if order:
            self.expect("what remains", row["remaining"], D(row["quantity"]) - (order.quantity - order.remaining))
            before, order.quantity, order.remaining = order.quantity, D(row["quantity"]), D(row["remaining"])
            if not expected:
                self.market.amend(
                    order, *(None if row[name] is None else D(row[name]) for name in ("quantity", "limit", "stop"))
                )
                self.market.push(self.now, "arrives", order)
            more = order.quantity - before
            for child in [one for one in order.children if one.open] if more else ():
                if child.remaining + more > 0:
                    self.row("order_amended", child, quantity=child.quantity + more)
                else:
                    self.withdraw(child)

    def on_order_filled(self, row: dict[str, Any], *, expected: bool = False) -> None:
        fill, order = row["fill"], self.working({**row, **row["fill"]})
        self.true("nothing in the market fills it", expected)
        if order is None:
            return
        account, book, symbol = self.accounts[order.strategy], self.books[order.symbol], order.symbol
        quantity, price, fee = D(fill["quantity"]), D(fill["price"]), D(fill["fee"])
        order.fills, order.remaining, order.filled = order.fills + 1, order.remaining - quantity, True
        self.true("it fills on the input it was decided on", self.n > order.n)
        self.true("its entry has not filled", order.parent is None or order.parent.filled)
        if order.parent and order.parent.open:
            order.parent.guarded += quantity
        self.expect("its side", row["side"], "buy" if order.buys else "sell")
        self.expect("its id", row["fill_id"], f"{order.id}.{order.fills}")
        self.expect("what remains", row["remaining"], order.remaining)
        self.true("more is filled than was ordered", order.remaining >= 0)
        held = account.held[symbol][0]
        own = account.fill(symbol, quantity if order.buys else -quantity, book.worth(price), fee)
        self.postings(row, own)
        after = account.held[symbol][0]
        self.expect("the position", row["position"], after)
        closed = held and after * held <= 0
        self.counts.update(fills=1, trades=bool(closed))
        tally, reference = self.rules[fill["rule"]], D(fill["reference"])
        for name, value in {"fills": 1, "fees": fee, "late": fill["age_ns"] < 0}.items():
            tally[name] += value
        tally["slippage"] += abs(book.notional(quantity, price) - book.notional(quantity, reference))
        for place, name in enumerate(("best", "worst")):
            if fill[name] is not None:
                other = abs(book.notional(quantity, reference) - book.notional(quantity, D(fill[name])))
                self.band[place] += other
        if symbol in account.closing:
            closing = account.closing[symbol]
            closing["result"] += own[0][1]
            closing["fee"] += book.notional(quantity, price) * D(book.row["liquidation_fee_rate"])
        order.open = bool(order.remaining)
        if order.clipped and order.open:
            self.idle(order)
        for other in list(self.orders.values()) if closed else ():
            guards = other.open and other.parent and other.parent.filled and not other.parent.open
            mine = (other.strategy, other.symbol) == (order.strategy, symbol)
            if guards and mine and other.group != order.group and other.parent is not order:
                self.withdraw(other)

    def on_order_ended(self, row: dict[str, Any], *, expected: bool = False) -> None:
        order = self.working(row)
        if order is None:
            return
        last = self.start["kind"] == "backtest" and bool(self.rows) and self.rows[0]["kind"] == "run_ended"
        stepped = "clock_stepped" in self.present
        why = {"command", "liquidated", "broker_failed", "clock_stepped"} & self.present
        why = why or not self.cancel_ms + self.feed or last
        rejected = row["outcome"] == "rejected" and order.n == self.n
        why = (why and row["outcome"] == "cancelled") or (stepped and row["outcome"] == "expired")
        self.true(f"nothing ends it: {row['outcome']}", bool(expected or rejected or why))
        self.true("it was rejected after it had filled", row["outcome"] != "rejected" or not order.fills)
        self.expect("what remains", row["remaining"], order.remaining)
        order.open = False
        self.market.drop(order)
        self.counts[row["outcome"]] += 1
        filled = order.quantity - order.remaining
        for child in [one for one in order.children if one.open]:  # they guard what is left of what it filled
            left = filled - order.guarded
            if left <= 0:
                self.withdraw(child)
            elif left < child.remaining:
                self.row("order_amended", child, quantity=child.quantity - child.remaining + left)

    def withdraw(self, order: Order) -> None:
        """The engine takes an order back at once."""
        self.market.drop(order)
        self.row("order_ended", order, outcome="cancelled")

    def other(self, row: dict[str, Any]) -> None:
        """Rows that are counted only."""

    def on_order_refused(self, row: dict[str, Any]) -> None:
        numbers = row["numbers"]
        if row["by"] == "max_daily_loss" and self.start["gates"]:
            loss, limit = D(numbers["loss"]), D(numbers["limit"])
            self.true(f"the loss {loss} is below the limit {limit}", loss >= limit)
            self.expect("the loss", loss, D(numbers["day_starting_equity"]) - D(numbers["equity"]))
        if row["by"] == "margin" and "margin" in numbers:
            figure = {name: D(value) for name, value in numbers.items()}
            account = self.accounts[row["strategy"]]
            self.expect("the cash", figure["cash"], account.balance["cash"])
            self.expect("the equity", figure["equity"], self.equity(row["strategy"]))
            self.true("the margin was there", figure["margin"] > figure["allowed"])
            self.expect("the margin", figure["margin"], figure["notional"] / figure["leverage"])

    # -- money ---------------------------------------------------------------------------------------------------------

    def postings(self, row: dict[str, Any], own: list[tuple[str, D]]) -> None:
        found = [(account, D(amount)) for account, amount in row["postings"]]
        self.expect("its postings", found, own)
        self.expect("the sum of its postings", sum(amount for _, amount in found), ZERO)

    def on_deposit(self, row: dict[str, Any]) -> None:
        account = self.accounts[row["strategy"]] = Account()
        self.expect("the deposit", row["amount"], D(self.start["equity"]))
        self.postings(row, account.post(cash=D(row["amount"]), capital=-D(row["amount"])))
        self.peak = self.day_start = self.equity()

    def pay_funding(self) -> None:
        """Every position pays once at each window for which a rate was fetched, before anything else at that time."""
        for symbol, rates in self.rates.items():
            for window in sorted(at for at in rates if at <= self.now):
                rate, mark = (exact(value).quantize(D("1e-12")) for value in rates.pop(window))
                for name, account in self.accounts.items():
                    held = account.held[symbol][0]
                    if held:
                        price = mark or self.mark(symbol)
                        amount = self.books[symbol].notional(held, price) * rate * (1 if held > 0 else -1)
                        self.funding(
                            name, symbol, rate=rate, mark=price, quantity=held, amount=amount, window_ns=window
                        )
        while self.step and self.step[0]["kind"] == "funding_skipped":
            row = self.step.popleft()["body"]
            self.counts["funding_skipped"] += row["windows"]
            self.expect("what is held", row["quantity"], self.accounts[row["strategy"]].held[row["symbol"]][0])
        self.look()

    def funding(self, name: str, symbol: str, **figures: Any) -> None:
        row = self.step[0] if self.step and self.step[0]["kind"] == "funding_paid" else None
        self.where = row["where"] if row else f"input {self.n}, before {(self.step or self.rows)[0]['where']}"
        self.true(f"{name} pays no funding at {figures['window_ns']}", row is not None)
        if row is not None:
            body = self.step.popleft()["body"]
            for what, value in {"strategy": name, "symbol": symbol, **figures}.items():
                self.expect(f"its {what}", body[what], value)
            self.postings(body, self.accounts[name].post(cash=-D(body["amount"]), funding=D(body["amount"])))

    def on_funding_paid(self, row: dict[str, Any]) -> None:
        self.note("no funding is due: not held, no rate for this window, or paid already")
        self.accounts[row["strategy"]].post(cash=-D(row["amount"]), funding=D(row["amount"]))

    def mark(self, symbol: str, side: int = 0) -> D:
        """Return the price that counts: a long's bid, a short's ask, of margin the middle; without quotes the close."""
        book = self.books[symbol]
        if not book.quote:
            return book.last
        bid, _, ask, _ = book.quote
        return (bid + ask) / 2 if not side else bid if side > 0 else ask

    def equity(self, only: str | None = None, *, margin: bool = False) -> D:
        total = ZERO
        for name, account in self.accounts.items():
            if only in (None, name):
                total += account.balance["cash"]
                for symbol, (held, cost) in account.held.items():
                    if held:
                        price = self.mark(symbol, 0 if margin else 1 if held > 0 else -1)
                        total += held * self.books[symbol].worth(price) - cost
        return total

    def look(self) -> None:
        """Follow the equity to its peak, and the deepest fall from one."""
        equity = self.equity()
        self.peak = max(self.peak, equity)
        self.deepest = max(self.deepest, self.peak - equity)

    def call(self, symbol: str, held: D) -> dict[str, Any]:
        book, mark = self.books[symbol], self.mark(symbol)
        notional = book.notional(held, mark)
        tier = [one for one in book.row["tiers"] if D(one["notional_from"]) <= notional][-1]
        maintenance = notional * D(tier["maintenance_rate"]) - D(tier["deduction"])
        return {"symbol": symbol, "quantity": held, "mark": mark, "notional": notional, "maintenance": maintenance}

    def margin(self, cost: D) -> D:
        """Return the margin of an isolated position: its notional at entry / leverage."""
        return (abs(cost) / D(self.start["leverage"])).quantize(D("1e-10"))

    def margin_calls(self) -> dict[str, str]:
        """Return the books with a balance down to the maintenance margin that nobody liquidates yet."""
        found = {}
        for name, account in self.accounts.items():
            held = {one: figures for one, figures in account.held.items() if figures[0] and one not in account.closing}
            calls = [self.call(symbol, quantity) for symbol, (quantity, _) in held.items()]
            needed = sum((one["maintenance"] for one in calls), ZERO)
            balance = self.equity(name, margin=True)
            if self.start["margin"] == "isolated":
                for call in calls:
                    quantity, cost = held[call["symbol"]]
                    own = self.margin(cost) + quantity * self.books[call["symbol"]].worth(call["mark"]) - cost
                    if own <= call["maintenance"]:
                        found[name] = f"{own} of {call['symbol']} is down to {call['maintenance']}"
                needed = ZERO
            if balance <= needed and calls:
                found[name] = f"its balance {balance} is down to {needed}"
        return found

    def on_liquidated(self, row: dict[str, Any]) -> None:
        account, name = self.accounts[row["strategy"]], row["strategy"]
        self.liquidated_now.add(name)
        self.counts["liquidations"] += 1
        calls, isolated = [], row["scope"] == "position"
        for found in row["positions"]:
            calls.append(self.call(found["symbol"], account.held[found["symbol"]][0]))
            for what, value in calls[-1].items():
                self.expect(f"the {what} of a position", found[what], value)
        needed = sum((one["maintenance"] for one in calls), ZERO)
        margin, balance = None, self.equity(name, margin=True)
        if isolated:
            quantity, cost = account.held[calls[0]["symbol"]]
            margin = self.margin(cost)
            balance = margin + quantity * self.books[calls[0]["symbol"]].worth(calls[0]["mark"]) - cost
        elif self.start["margin"] == "isolated":
            needed, closing = ZERO, set(account.closing)
            balance -= sum(
                (
                    account.held[one][0] * self.books[one].worth(self.mark(one)) - account.held[one][1]
                    for one in closing
                ),
                ZERO,
            )
        self.expect("its balance", row["balance"], balance)
        self.expect("its maintenance margin", row["maintenance"], needed)
        self.true(f"the balance {balance} is above the maintenance margin {needed}", balance <= needed)
        symbols = tuple(one["symbol"] for one in calls)
        closing = {"margin": margin, "result": ZERO, "fee": ZERO}  # one of all of them
        account.closing.update(dict.fromkeys(symbols, closing))

    def on_liquidation_settled(self, row: dict[str, Any]) -> None:
        account, symbols = self.accounts[row["strategy"]], row["symbols"]
        if not symbols and account.closing:
            self.on_paid_ahead(row, account)
            return
        closing: dict[str, Any] = {"margin": None, "result": ZERO, "fee": ZERO}
        for symbol in symbols:
            self.expect(f"the {symbol} held", account.held[symbol][0], ZERO)
            self.true(f"{symbol} is not being liquidated", symbol in account.closing)
            closing = account.closing.pop(symbol, closing)
        left = self.equity(row["strategy"]) if closing["margin"] is None else closing["margin"] + closing["result"]
        fee, insurance = min(closing["fee"], max(left, ZERO)), max(-left, ZERO)
        self.expect("its fee", row["fee"], fee)
        self.expect("its insurance", row["insurance"], insurance)
        self.postings(row, account.post(cash=insurance - fee, liquidation_fees=fee, insurance=-insurance))

    def on_paid_ahead(self, row: dict[str, Any], account: Account) -> None:
        """The run ends before a liquidation: the fund pays what one on its way has lost beyond its margin."""
        missing = {}
        for symbol, closing in account.closing.items():
            left = self.equity(row["strategy"])
            if closing["margin"] is not None:
                held, cost = account.held[symbol]
                profit = held * self.books[symbol].worth(self.mark(symbol, 1 if held > 0 else -1)) - cost if held else 0
                left = closing["margin"] + closing["result"] + profit
            missing[max(-left, ZERO)] = closing
        paid = D(row["insurance"])
        self.true(f"its insurance is {paid}, none of {list(map(str, missing))}", paid in missing and paid > 0)
        missing.get(paid, closing)["result"] += paid
        self.expect("its fee", row["fee"], ZERO)
        self.postings(row, account.post(cash=paid, liquidation_fees=ZERO, insurance=-paid))

    # -- the end -------------------------------------------------------------------------------------------------------

    def finish(self, tape: str | None, inputs: int) -> None:
        """Compare what was counted and booked with the last row."""
        row = self.rows.popleft() if self.rows else {"where": "the end", "kind": "", "body": {}}
        self.where = row["where"]
        self.true(
            "rows are left that no input gave, or the end is missing", not self.rows and row["kind"] == "run_ended"
        )
        if row["kind"] != "run_ended":
            return
        body, totals = row["body"], row["body"]["totals"]
        self.expect("tape_sha256", body["tape_sha256"], tape)
        self.expect("inputs", body["session"]["counters"]["inputs"], inputs)
        for name in (
            "orders",
            "fills",
            "trades",
            "cancelled",
            "expired",
            "rejected",
            "liquidations",
            "funding_skipped",
        ):
            self.expect(name, totals[name], self.counts[name])
        for name in ("quotes", "late_quotes", "candles"):
            self.expect(name, totals[name], self.counts[name])
        self.expect("signals", totals["signals"], self.kinds["signal"])
        self.expect("refusals", totals["refusals"], self.kinds["order_refused"] + self.kinds["amend_refused"])
        balance = {name: sum((one.balance[name] for one in self.accounts.values()), ZERO) for name in ACCOUNTS}
        money = {"fees_paid": "fees", "funding_paid": "funding", "liquidation_fees": "liquidation_fees"}
        for name, account in money.items():
            self.expect(name, totals[name], balance[account])
        self.expect("insurance_paid", totals["insurance_paid"], -balance["insurance"])
        self.expect("max_drawdown", totals["max_drawdown"], self.deepest)
        self.expect("peak_equity", totals["peak_equity"], self.peak)
        self.expect("gain_at_best", totals["gain_at_best"], self.band[0])
        self.expect("loss_at_worst", totals["loss_at_worst"], self.band[1])
        self.expect("equity", body["equity"], self.equity())
        self.expect(
            "day_starting_equity",
            body["day_starting_equity"],
            self.day_start + D(self.start["carried_loss"].get("lost", 0)),
        )
        self.expect("the rules", sorted(totals["fill_rules"]), sorted(self.rules))
        for rule, tally in self.rules.items():
            for name, value in tally.items():
                self.expect(f"{name} of {rule}", totals["fill_rules"].get(rule, {}).get(name), D(value))
        self.expect("the books", sorted(body["books"]), sorted(self.accounts))
        for name, account in self.accounts.items():
            self.finish_book(
                name, account, body["books"].get(name, {"cash": None, "equity": None, "balances": {}, "positions": {}})
            )
        for order in self.orders.values():
            self.true(f"order {order.id} has no end", not order.open)

    def flat(self) -> bool:
        """Return whether nothing is held."""
        return not any(held for account in self.accounts.values() for held, _ in account.held.values())

    def finish_book(self, name: str, account: Account, found: dict[str, Any]) -> None:
        self.expect(f"the cash of {name}", found["cash"], account.balance["cash"])
        self.expect(f"the equity of {name}", found["equity"], self.equity(name))
        own = {one: amount for one, amount in account.balance.items() if amount}
        self.expect(
            f"the balances of {name}", {one: D(amount) for one, amount in found["balances"].items() if D(amount)}, own
        )
        held = {symbol: figures for symbol, figures in account.held.items() if figures[0]}
        shown = {symbol: [D(one["quantity"]), D(one["cost"])] for symbol, one in found["positions"].items()}
        self.expect(f"the positions of {name}", shown, held)


def key_of(kind: str, row: Any) -> str | None:
    """Return the key of a row by the table of events."""
    names = {"order_accepted": "order:{order_id}", "order_filled": "fill:{fill_id}", "order_ended": "end:{order_id}",
             "deposit": "deposit:{strategy}", "funding_paid": "funding:{strategy}:{symbol}:{window_ns}",
             "order_refused": "order:{order_id}", "strategy_stopped": "stopped:{strategy}",
             "gate_failed": "failed:{gate}", "entries_halted": "halted:{strategy}:{gate}",
             "candle": "candle:{0[0]}:{0[1]}",
             "run_started": "run_started", "run_ended": "run_ended"}  # fmt: skip
    if kind not in names or (kind == "order_refused" and row["by"] == "duplicate"):
        return None
    return names[kind].format(row) if kind == "candle" else names[kind].format(**row)


def check(journal: Path, inputs: Iterable[Input], tape: str | None = None) -> tuple[list[str], int, int]:
    """Return what differs, and how many rows and figures were compared. ``tape`` is the SHA-256 of a tape's lines."""
    with sqlite3.connect(journal) as db, localcontext(Context(prec=100)):
        checker = Checker(
            list(db.execute("SELECT seq, time_ns, input_n, kind, key, body, hash FROM event ORDER BY seq"))
        )
        rows, n = len(checker.rows), 0
        checker.where = checker.rows.popleft()["where"]
        while checker.rows and not checker.rows[0]["n"] and checker.rows[0]["kind"] != "run_ended":
            row = checker.rows.popleft()
            checker.where = row["where"]
            getattr(checker, f"on_{row['kind']}", checker.other)(row["body"])
        for n, (kind, fields) in enumerate(inputs, 1):
            checker.take(n, kind, fields)
            last = checker.rows[0] if checker.rows else {"kind": ""}
            over = checker.kinds["equity_exhausted"] and last["kind"] == "run_ended" and checker.flat()
            if over and n >= last["body"]["session"]["counters"]["inputs"]:
                break  # nothing is left to trade with
        checker.finish(tape, n)
    return checker.findings, rows, checker.checks
