"""Recomputes a run from its journal and from what it was fed. It shares no code with lab: the standard library only.

The orders are taken from the journal. What each row says of them must fit the market in force and the rows before it,
and the books are computed anew. ``check`` returns what differs, each a line with its row.
"""

import hashlib
import json
import sqlite3
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from decimal import Context, localcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from checker_market import MAKER, MS, Market
from checker_money import ZERO, D, plain

STOPS = {"command", "liquidated", "broker_failed", "clock_stepped"}
MARKET = {"candle", "quote", "trade", "depth", "timer"}
BARE = {"timer", "command", "trading_state", "notice", "clock_stepped"}  # their time comes first
INPUTS = MARKET | BARE | {"funding", "backfill", "gap", "candle_ignored"}
FRESH = {"stop": None, "trail": None, "post_only": False, "time_in_force": "gtc", "expires_ns": D("Infinity"),
         "group": "", "open": True, "rested": False, "cut": False, "done": ZERO, "fills": 0, "woke": -1,
         "changed": -1}  # fmt: skip


class Checker(Market):
    """Takes inputs in their order with the rows that each gave."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        super().__init__(plain(rows[0][5]))
        self.rows, self.sent, self.newest = deque(self.chained(rows)), Counter(), Counter()
        self.accepted, self.closed = [], -1
        self.hash, cancel_ms = json.loads(rows[0][5])["config_hash"], self.set["cancel_latency_ms"]
        self.cancel_ms = self.set["latency_ms"] if cancel_ms is None else cancel_ms
        self.instant = not self.cancel_ms + self.set["feed_ms"]

    def chained(self, rows: list[tuple[Any, ...]]) -> Iterator[SimpleNamespace]:
        """Check numbers, times, inputs and hashes."""
        digest, last = bytes(32), (0, 0, 0)
        for seq, time_ns, n, kind, key, body, stored in rows:
            self.where = f"row {seq} ({kind})"
            digest = hashlib.sha256(digest + f"{seq}\n{time_ns}\n{n}\n{kind}\n{key or ''}\n{body}".encode()).digest()
            self.same({"number": seq, "hash": stored}, number=last[0] + 1, hash=digest)
            self.hold(in_order=n >= last[2] and (time_ns >= last[1] or kind == "clock_stepped"))
            last = seq, time_ns, n
            yield SimpleNamespace(where=self.where, time=time_ns, n=n, kind=kind, body=plain(body))

    def take(self, n: int, kind: str, fields: list[Any]) -> None:
        """Take an input and its rows: what came before it met the market of before, the rest meets this one."""
        self.n, self.kind, self.fields, step, early = n, kind, fields, [], 0
        self.time, self.live = fields[0 if kind in BARE else 2 if kind == "candle" else 1], kind in MARKET
        if kind in ("quote", "depth"):
            self.live, self.newest[kind] = self.time >= self.newest[kind], max(self.time, self.newest[kind])
        self.live, self.working = self.live and fields[-1] != "backfilled", [one for one in self.working if one.open]
        self.working, self.accepted = self.working + self.accepted, []
        if kind == "clock_stepped" and fields[2] == "venue":
            self.set_clock()
        elif (self.live or kind == "command") and self.time > self.now:
            self.pass_time(self.time)
        while self.rows and self.rows[0].n == n and self.rows[0].kind != "run_ended":
            step.append(self.rows.popleft())
            if kind != "candle" and step[-1].kind == "order_filled" and step[-1].body["fill"]["time_ns"] < self.time:
                early = len(step)
        self.present = {row.kind for row in step}
        self.show()
        for row in step[:early]:
            self.read(row)
        self.apply(kind, fields)
        for row in step[early:]:
            self.read(row)
        self.where = f"input {n}, before {self.rows[0].where if self.rows else 'the end'}"
        self.finish()

    def read(self, row: SimpleNamespace) -> None:
        """Take a row of this input."""
        kind, body, self.where = row.kind, row.body, row.where
        self.counts[kind] += body.get("windows", 1) if isinstance(body, dict) else 1
        if kind in INPUTS:
            self.hold(the_input_that_came=kind != self.kind or body == self.fields)
            return
        self.same({"time": row.time}, time=self.now)
        order = self.orders.get({**body, **body.get("request", {}), **body.get("fill", {})}.get("order_id"))
        try:
            if order:
                self.hold(of_an_order_that_works=order.open)
                self.same(body, strategy=order.strategy, symbol=order.symbol)
            getattr(self, f"on_{kind}", lambda *_: None)(body, *([order] if order else []))
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as problem:
            self.same({"row": repr(problem)}, row="one that can be")

    def finish(self) -> None:
        """Nothing is left that should have happened on this input."""
        self.hold(paid_all_funding=not self.owed)
        self.owed.clear()
        for name, account in self.accounts.items() if self.live and not self.counts["broker_failed"] else ():
            self.hold(liquidated=not self.call(name), settled=account.held or not account.closing)
        # Where there are quotes, no candle fills.
        works = [one for one in self.working if one.open and self.live and not (self.quote and self.kind == "candle")]
        late = [one for one in works if one.expires_ns <= self.time or any(at < self.time for at, _ in one.asked)]
        found = {"late": [one.order_id for one in late], "uncut": [one.order_id for one in works if one.cut]}
        self.same(found, late=[], uncut=[])
        self.look()

    def family(self, order: SimpleNamespace) -> bool:
        """Return whether an order of its group or its bracket changed or ended on this input."""
        near = [one for one in self.working if one.entry is order or (order.group and one.group == order.group)]
        return order.cut or any(one and one.changed == self.n for one in (order.entry, *near))

    def on_order_accepted(self, row: dict[str, Any]) -> None:
        """It is on lot and tick, and arrives after its latency."""
        entry, sign = self.orders.get(row.get("parent")), {"buy": 1, "sell": -1}[row["side"]]
        rises, stops = -sign if row["type"] == "take_profit" else sign, row["type"] not in ("market", "limit")
        more = {"entry": entry, "sign": sign, "rises": rises, "stops": stops, "waits": stops, "asked": [], "n": self.n}
        order = self.orders[row["order_id"]] = SimpleNamespace(**FRESH | row | more, arrivals=[row["eligible_ns"]])
        order.best, order.met = self.quote[sign + 1] if self.quote else None, None
        self.accepted.append(order)
        self.hold(
            on_lot=order.quantity > 0 == order.quantity % self.lot,
            on_tick=not any((price or ZERO) % self.tick for price in (order.limit, order.stop, order.trail)),
            of_this_run=order.order_id.startswith(f"{self.hash}-{order.strategy}-{order.symbol}-"),
            within_its_entry=not entry or order.quantity <= entry.quantity,
        )
        self.same(row, placed_ns=self.now, eligible_ns=entry.eligible_ns if entry else order.eligible_ns)
        if not entry:
            self.arrives(order, order.eligible_ns, self.set["latency_ms"], self.set["jitter_ms"])

    def arrives(self, order: SimpleNamespace, at_ns: int, latency: int, jitter: int = 0) -> None:
        """What one strategy sends arrives after its latency, and in the order it was sent."""
        ways = (latency + self.set["feed_ms"] + part for part in (-min(jitter, latency), min(jitter, latency)))
        low, high = (max(self.now + way * MS, self.sent[order.strategy]) for way in ways)
        self.hold(**{f"from_{low}_to_{high}_but_{at_ns}": low <= at_ns <= high})
        self.sent[order.strategy] = at_ns

    def on_cancel_sent(self, row: dict[str, Any], order: SimpleNamespace) -> None:
        """It arrives after its latency."""
        order.asked.append((row["eligible_ns"], row.get("request")))
        self.arrives(order, row["eligible_ns"], self.cancel_ms)

    on_amend_sent = on_cancel_sent

    def on_order_amended(self, row: dict[str, Any], order: SimpleNamespace) -> None:
        """An amendment arrived, on lot and tick; or its group or its entry changed."""
        steps = {"limit": self.tick * order.sign, "stop": self.tick * order.sign, "quantity": self.lot}
        came = next((one for one in order.asked if one[1] and one[0] < self.time + self.instant), (self.now, {}))
        wanted = {name: one for name, one in came[1].items() if name in steps and one is not None}
        far = [name for name, one in wanted.items() if not 0 <= (one - row[name]) / steps[name] < 1]
        less = order.group and far == ["quantity"] and row["quantity"] < wanted["quantity"]  # its group filled
        asked = came in order.asked and (not far or less)
        kept = all(row[name] == getattr(order, name) for name in ("limit", "stop"))
        self.hold(amended_as_asked_or_by_its_family=asked or (kept and self.family(order)))
        self.same(row, remaining=row["quantity"] - order.done)
        order.rested, order.cut, order.changed = order.rested and row["limit"] == order.limit, False, self.n
        order.limit, order.stop, order.quantity = (row[name] for name in steps)
        if asked:
            order.asked.remove(came)
            order.arrivals.append(came[0])
            late = self.kind == "quote" and self.shown_n == self.n  # another one was in force when it came
            quote, at_ns = (self.before, self.before_ns) if late else (self.quote, self.quote_ns)
            if self.fresh(came[0], at_ns) and not order.waits and (not order.entry or order.entry.done):
                order.rested |= not self.within(order, quote[order.sign + 1])

    def on_order_triggered(self, row: dict[str, Any], order: SimpleNamespace) -> None:
        """The market in force reached its level."""
        level, met = row["level"], row["reference"]
        prices = [one[order.sign + 1] for one in (self.quote, self.before) if one] or [level, *self.prices]
        self.hold(waiting=order.waits, in_force=met in prices, at_its_level=(met - level) * order.rises >= 0)
        self.same(row, level=level if order.trail else order.stop)
        order.waits, order.met = False, met
        order.rested = order.limit is not None and not (self.quote and self.within(order, met))

    def on_order_ended(self, row: dict[str, Any], order: SimpleNamespace) -> None:
        """Its time or a cancel came, or it could not go on."""
        outcome, met, sign = row["outcome"], order.eligible_ns <= self.time, order.sign
        late_ns = order.eligible_ns + min(self.set["expire_ms"] * MS, 2 * self.start["interval_ns"])
        flat = order.reduce_only and (self.accounts[order.strategy].held * sign >= 0 or self.closed == self.n)
        stopped = self.instant or self.present & STOPS or (self.rows and self.rows[0].kind == "run_ended")
        at_once = met and (order.post_only or order.time_in_force in ("ioc", "fok"))
        why = {
            "expired": "clock_stepped" in self.present
            or order.expires_ns <= self.time
            or (order.type == "market" and late_ns < self.time),
            "rejected": not order.done and (order.n == self.n or (order.post_only and met)),
            "cancelled": self.family(order)
            or stopped
            or at_once
            or flat
            or any(at < self.time for at, _ in order.asked),
        }
        parts = order.time_in_force == "fok" and order.done and not order.reduce_only
        self.hold(**{f"{outcome}_for_a_reason": why.get(outcome)}, filled_whole_or_not_at_all=not parts)
        self.same(row, remaining=order.quantity - order.done)
        order.open, order.changed = False, self.n
        self.counts[outcome] += 1
        for price, size in self.levels(sign).items() if self.quote and order.reduce_only else ():
            self.taken.setdefault((sign, price), [size, size, 0])  # it may have taken before its position was closed

    def on_order_filled(self, row: dict[str, Any], order: SimpleNamespace) -> None:
        """It fills at the price, and for as much, as the market in force has for it."""
        fill = {"age_ns": 0, "displayed": None, "best": None, "worst": None} | row["fill"]
        rule, quantity, price, reference = (fill[name] for name in ("rule", "quantity", "price", "reference"))
        account, sign, role = self.accounts[order.strategy], order.sign, "maker" if rule in MAKER else "taker"
        (self.of_quote if self.quote and rule != "limit_traded" else self.of_rest)(order, fill)
        slip = self.set["quote_slippage_bps" if self.quote else "slippage_bps"] / 10_000 * reference
        least, most = (ZERO, ZERO) if role == "maker" else (slip, 3 * slip + self.tick)
        held, order.done, order.fills = account.held, order.done + quantity, order.fills + 1
        self.hold(
            after_its_decision=self.n > order.n,
            after_its_trigger=not order.waits,
            after_its_entry=not order.entry or order.done <= order.entry.done,
            within_its_quantity=order.done <= order.quantity,
            within_its_limit=self.within(order, price),
            at_what_the_market_gives=price == order.limit or least <= (price - reference) * sign <= most,
        )
        own, worth, meant = self.set[f"{role}_fee"], *(abs(self.worth(quantity, one)) for one in (price, reference))
        rate = self.row[f"{role}_fee_rate"] if own is None else own
        self.same(fill, liquidity=role, fee_rate=rate, fee=worth * rate, slippage=abs(price - reference))
        postings = self.book_fill(order.strategy, quantity * sign, price, fill["fee"])
        left, number = order.quantity - order.done, f"{order.order_id}.{order.fills}"
        self.same(row, fill_id=number, side=order.side, remaining=left, position=account.held, postings=postings)
        order.open, order.changed = left > 0, order.changed if left > 0 else self.n
        if held and held * account.held <= 0:
            self.counts["trades"], self.closed = self.counts["trades"] + 1, self.n
        if account.closing:
            account.closing["result"] += postings[0][1]
            account.closing["fee"] += worth * self.row["liquidation_fee_rate"]
        for mate in self.working:
            mate.cut |= bool(order.group) and mate.group == order.group and mate is not order
            mate.woke = self.n if mate.entry is order else mate.woke
        tally = {"fills": 1, "late": fill["age_ns"] < 0, "fees": fill["fee"], "slippage": abs(worth - meant)}
        self.rules[rule] = {name: self.rules[rule][name] + amount for name, amount in tally.items()}
        best, worst = (reference if fill[name] is None else fill[name] for name in ("best", "worst"))
        self.gain_at_best += abs(meant - abs(self.worth(quantity, best)))
        self.loss_at_worst += abs(meant - abs(self.worth(quantity, worst)))


def check(journal: Path, inputs: Iterable[Any], tape: str | None = None) -> tuple[list[str], int, int]:
    """Return what differs, and how many rows and figures were compared. ``tape`` is the SHA-256 of a tape's lines."""
    with sqlite3.connect(journal) as db, localcontext(Context(prec=100)):
        rows, n = list(db.execute("SELECT seq, time_ns, input_n, kind, key, body, hash FROM event ORDER BY seq")), 0
        checker, end = Checker(rows), plain(rows[-1][5])
        last = end["session"]["counters"]["inputs"] if rows[-1][3] == "run_ended" else None
        while checker.rows and not checker.rows[0].n and checker.rows[0].kind != "run_ended":
            checker.read(checker.rows.popleft())
        for n, (kind, fields) in enumerate(inputs, 1):
            checker.take(n, kind, plain(json.dumps(fields, separators=(",", ":"))))
            if checker.counts["equity_exhausted"] and n == last and len(checker.rows) == 1:
                break  # nothing is left to trade with
        checker.where = checker.rows[0].where if checker.rows else "the end"
        checker.hold(the_last_row_and_all_that_the_inputs_gave=[row.kind for row in checker.rows] == ["run_ended"])
        if last is not None:
            checker.same(end | {"inputs": last}, tape_sha256=tape, inputs=n)
            checker.hold(the_end_of_every_order=not any(one.open for one in checker.orders.values()))
            checker.on_run_ended(end)
    return checker.findings, len(rows), checker.checks
