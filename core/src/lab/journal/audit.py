"""Audits a journal: its rows against each other, without the engine that wrote them.

Beside `lab verify`, which lets the engine decide again: what is wrong in the engine itself is the same there, and is
found here.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field, frozen

from lab.domain.events import (
    AmendRefused,
    AmendSent,
    CancelSent,
    Deposited,
    FundingPaid,
    Liquidated,
    LiquidationSettled,
    OrderAccepted,
    OrderAmended,
    OrderEnded,
    OrderFilled,
    OrderRefused,
    OrderTriggered,
    Signal,
)
from lab.domain.ledger import EXACT, ZERO, Ledger, Posting
from lab.domain.life_cycle import OrderState, check_step
from lab.domain.margin import maintenance_margin
from lab.domain.orders import OrderType, Side
from lab.journal.chain import GENESIS, Row, key_of, row_hash
from lab.journal.codec import ROW_KINDS, RUN_STARTED, decode_as
from lab.journal.reader import JournalReader
from lab.records.run import BookState, RunEnded, RunStarted, RunState

if TYPE_CHECKING:
    from lab.domain.instrument import Instrument

Postings = tuple[Posting, ...]
_CLASSES: Final = {kind: cls for cls, kind in ROW_KINDS.items()}
_FOUND_MOST: Final = 100
_TRIGGERED: Final = (OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT, OrderType.TRAILING_STOP)
_OfAnOrder = OrderFilled | OrderEnded | OrderTriggered | OrderAmended | CancelSent | AmendSent


@frozen
class Audit:
    """What an audit came to. ``findings`` are the first hundred, each a line that begins with its row."""

    rows: int
    orders: int
    fills: int
    found: int
    findings: tuple[str, ...]


@define
class _Working:
    """An order between its acceptance and its end."""

    accepted: OrderAccepted
    input_n: int
    quantity: Decimal
    remaining: Decimal
    limit: Decimal | None
    stop: Decimal | None
    gone_ns: int = 2**63
    """When a cancel took effect."""
    guarded: Decimal = ZERO
    """How much of what it filled its guards took."""
    fills: int = 0
    state: OrderState = OrderState.WORKING


@define
class _Book:
    """A strategy's book, recomputed."""

    ledger: Ledger = field(factory=Ledger)
    trades: int = 0


def audit(reader: JournalReader) -> Audit:
    """Audit every row of a journal. Raises `lab.errors.JournalError` where it cannot be read at all."""
    with localcontext(EXACT):
        auditor = _Auditor()
        for row in reader.rows():
            auditor.take(row)
        auditor.finish(reader.run_ended() or reader.run_state(), ended=reader.run_ended() is not None)
    return Audit(
        auditor.rows, auditor.counts[OrderAccepted], auditor.counts[OrderFilled], auditor.found, tuple(auditor.findings)
    )


class _Auditor:
    """Takes the rows in order, and notes what does not agree."""

    def __init__(self) -> None:
        self.rows = self.found = 0
        self.findings: list[str] = []
        self.counts: Counter[type] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._where = ""
        self._seq = self._time_ns = self._input_n = 0
        self._previous = GENESIS
        self._keys: set[str] = set()
        self._books: dict[str, _Book] = {}
        self._working: dict[str, _Working] = {}
        self._filled_orders: set[str] = set()
        self._ended = False
        self._instruments: Mapping[str, Instrument] = {}
        self._started: RunStarted | None = None
        self._marks: dict[str, Decimal] = {}
        self._takers: dict[type, Callable[[Any], None]] = {
            RunStarted: self._run_started,
            Deposited: self._deposited,
            OrderAccepted: self._accepted,
            OrderFilled: self._filled,
            OrderEnded: self._end,
            OrderTriggered: self._triggered,
            OrderAmended: self._amended,
            CancelSent: self._sent,
            AmendSent: self._sent,
            FundingPaid: self._funding,
            Liquidated: self._liquidated,
            LiquidationSettled: self._settled,
        }

    def _note(self, text: str) -> None:
        self.found += 1
        if len(self.findings) < _FOUND_MOST:
            self.findings.append(f"{self._where}: {text}")

    def _expect(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            self._note(f"{what} is {_shown(found)}, it should be {_shown(expected)}")

    # -- every row ---------------------------------------------------------------------------------------------------

    def take(self, row: Row) -> None:
        """Check a row's place, hash and key, then what it says."""
        seq, time_ns, input_n, kind, key, body, digest = row
        self.rows += 1
        self._where = f"row {seq} ({kind})"
        if self._ended:
            self._note("it comes after the end of the run")
        self._expect("its number", seq, self._seq + 1)
        if time_ns < self._time_ns and kind != RUN_STARTED:
            self._note(f"its time {time_ns} is before that of the row above, {self._time_ns}")
        if input_n < self._input_n:
            self._note(f"its input {input_n} is before that of the row above, {self._input_n}")
        if row_hash(self._previous, *row[:6]) != digest:
            self._note("its hash does not follow from the row above and what it says: it was changed")
        self._seq, self._time_ns, self._input_n, self._previous = seq, time_ns, input_n, digest
        cls = _CLASSES.get(kind)
        if cls is None:
            self._note("rows of this kind are not known")
            return
        try:
            event: Any = decode_as(cls, body)
        except ValueError as error:
            self._note(f"it cannot be read: {error}")
            return
        self.counts[cls] += 1
        self._ended = cls is RunEnded
        self._expect("its key", key, kind if cls in (RunStarted, RunEnded) else key_of(event))
        if key is not None:
            if key in self._keys:
                self._note(f"its key {key} was there before: it happened twice")
            self._keys.add(key)
        taker = self._takers.get(cls)
        if taker is not None:
            taker(event)

    def _run_started(self, event: RunStarted) -> None:
        self._expect("its number", self._seq, 1)
        self._instruments = event.instruments
        self._started = event
        if event.account == "shared":
            self._books = {one.name: _Book() for one in event.strategies}

    def _deposited(self, event: Deposited) -> None:
        started = self._started
        if started is not None:
            self._expect("its amount", event.amount, started.equity)
            if started.account == "shared":
                self._expect("whose book has the deposit", event.strategy, started.strategies[0].name)
        book = self._books.setdefault(event.strategy, _Book())
        self._expect("its postings", event.postings, book.ledger.deposit(event.amount))

    # -- the life of an order ----------------------------------------------------------------------------------------

    def _accepted(self, event: OrderAccepted) -> None:
        if event.strategy not in self._books:
            self._note(f"strategy {event.strategy} has no deposit")
        if not event.quantity > ZERO:
            self._note(f"its quantity {event.quantity} is not above 0")
        if event.eligible_ns < event.placed_ns:
            self._note(f"it may fill from {event.eligible_ns} on, before it was placed at {event.placed_ns}")
        self._working[event.order_id] = _Working(
            event, self._input_n, event.quantity, event.quantity, event.limit, event.stop
        )

    def _find(self, order_id: str) -> _Working | None:
        order = self._working.get(order_id)
        if order is None:
            self._note(f"order {order_id} does not work: it was never accepted, or has ended")
        return order

    def _step(self, order: _Working, following: OrderState) -> None:
        try:
            check_step(order.accepted.order_id, order.state, following)
        except ValueError as error:
            self._note(str(error))
        order.state = following

    def _triggered(self, event: OrderTriggered) -> None:
        order = self._find(event.order_id)
        if order is None:
            return
        self._same_order(event, order.accepted)
        self._step(order, OrderState.TRIGGERED)
        rises = (order.accepted.side is Side.BUY) is not (order.accepted.type is OrderType.TAKE_PROFIT)
        if event.reference < event.level if rises else event.reference > event.level:
            self._note(f"the price {event.reference} had not reached the level {event.level}")
        if order.accepted.type not in _TRIGGERED:
            self._note(f"a {order.accepted.type} order has no level to reach")
        if order.stop is not None and float(event.level) != float(order.stop):
            self._note(f"its level is {event.level}, the stop of the order {order.stop}")

    def _amended(self, event: OrderAmended) -> None:
        order = self._find(event.order_id)
        if order is None:
            return
        self._same_order(event, order.accepted)
        self._expect("what remains", event.remaining, event.quantity - (order.quantity - order.remaining))
        if not event.remaining > ZERO:
            self._note(f"nothing remains of it: {event.remaining}")
        order.quantity, order.remaining = event.quantity, event.remaining
        order.limit, order.stop = event.limit, event.stop

    def _sent(self, event: CancelSent | AmendSent) -> None:
        order = self._find(event.order_id if isinstance(event, CancelSent) else event.request.order_id)
        if order is None:
            return
        self._same_order(event, order.accepted)
        if event.eligible_ns <= self._time_ns:
            self._note(f"it arrives at {event.eligible_ns}, and was sent at {self._time_ns}")
        if isinstance(event, CancelSent):
            order.gone_ns = event.eligible_ns

    def _filled(self, event: OrderFilled) -> None:
        fill = event.fill
        order = self._find(fill.order_id)
        if order is None:
            return
        accepted = order.accepted
        order.fills += 1
        order.remaining -= fill.quantity
        self._expect("its id", event.fill_id, f"{fill.order_id}.{order.fills}")
        self._same_order(event, accepted)
        self._expect("its side", event.side, accepted.side)
        self._expect("what remains", event.remaining, order.remaining)
        if order.remaining < ZERO:
            self._note(f"more is filled than was ordered: {order.quantity}")
        if accepted.parent:
            self._guards(accepted.parent, fill.quantity)
        if accepted.type in _TRIGGERED and order.state is OrderState.WORKING:
            self._note("it fills before the price reached its level")
        if fill.time_ns > order.gone_ns:
            self._note(f"it fills at {fill.time_ns}, its cancel took effect at {order.gone_ns}")
        self._step(order, OrderState.FILLED if not order.remaining else OrderState.PARTIALLY_FILLED)
        self._filled_orders.add(fill.order_id)
        if self._input_n <= order.input_n:
            self._note(f"it fills on input {self._input_n}, the order was decided on input {order.input_n}")
        if fill.time_ns < accepted.eligible_ns:
            self._note(f"it is stamped {fill.time_ns}, before the order arrived at {accepted.eligible_ns}")
        if fill.displayed is not None and fill.quantity > fill.displayed:
            self._note(f"it is larger than what was displayed: {fill.displayed}")
        if not accepted.eligible_ns <= self._time_ns:
            self._note(f"it fills at {self._time_ns}, the order arrives at {accepted.eligible_ns}")
        buys = accepted.side is Side.BUY
        limit = order.limit
        if limit is not None and (fill.price > limit if buys else fill.price < limit):
            self._note(f"its price {fill.price} is worse than the limit {limit}")
        self._expect("its fee", fill.fee, self._notional(event.symbol, fill.quantity, fill.price) * fill.fee_rate)
        distance = fill.price - fill.reference if buys else fill.reference - fill.price
        self._expect("its slippage", fill.slippage, abs(distance))
        self._book(event, fill.quantity if buys else -fill.quantity, reduce_only=accepted.reduce_only)
        if not order.remaining:
            del self._working[fill.order_id]

    def _guards(self, parent: str, quantity: Decimal) -> None:
        """Check that what guards an entry fills after it, and no more."""
        entry = self._working.get(parent)
        if entry is not None:
            entry.guarded += quantity
            filled = entry.quantity - entry.remaining
            if ZERO < filled < entry.guarded:
                self._note(f"its entry {parent} has filled {filled}, what guards it {entry.guarded}")
        if parent not in self._filled_orders:
            self._note(f"its entry {parent} has not filled")

    def _book(self, event: OrderFilled, quantity: Decimal, *, reduce_only: bool) -> None:
        book = self._books.setdefault(event.strategy, _Book())
        held = book.ledger.position(event.symbol).quantity
        postings = book.ledger.fill(event.symbol, quantity, self._worth(event.symbol, event.fill.price), event.fill.fee)
        after = book.ledger.position(event.symbol).quantity
        self._expect_postings(event.postings, postings)
        self._expect("the position after it", event.position, after)
        if reduce_only and (not held or abs(after) > abs(held) or after * held < ZERO):
            self._note(f"a reduce-only order took the position from {held} to {after}")
        if held and (not after or after * held < ZERO):
            book.trades += 1

    def _end(self, event: OrderEnded) -> None:
        order = self._find(event.order_id)
        self._outcomes[event.outcome] += 1
        if order is None:
            return
        del self._working[event.order_id]
        self._step(order, OrderState(event.outcome))
        self._same_order(event, order.accepted)
        self._expect("what remains", event.remaining, order.remaining)

    def _same_order(self, event: _OfAnOrder, accepted: OrderAccepted) -> None:
        self._expect("its strategy", event.strategy, accepted.strategy)
        self._expect("its symbol", event.symbol, accepted.symbol)

    # -- money beside orders -----------------------------------------------------------------------------------------

    def _worth(self, symbol: str, price: Decimal) -> Decimal:
        instrument = self._instruments.get(symbol)
        return price if instrument is None else instrument.worth(price)

    def _notional(self, symbol: str, quantity: Decimal, price: Decimal) -> Decimal:
        return abs(quantity * self._worth(symbol, price))

    def _expect_postings(self, found: Postings, expected: Postings) -> None:
        self._expect("its postings", found, expected)
        if sum(amount for _, amount in found):
            self._note("its postings do not sum to 0")

    def _funding(self, event: FundingPaid) -> None:
        ledger = self._books.setdefault(event.strategy, _Book()).ledger
        self._expect("what is held", event.quantity, ledger.position(event.symbol).quantity)
        notional = self._notional(event.symbol, event.quantity, event.mark)
        due = notional * event.rate
        self._expect("its amount", event.amount, due if event.quantity > ZERO else -due)
        self._expect_postings(event.postings, ledger.pay_funding(event.amount))
        if event.window_ns > self._time_ns:
            self._note(f"it is paid at {self._time_ns}, before it is due at {event.window_ns}")

    def _liquidated(self, event: Liquidated) -> None:
        ledger = self._books.setdefault(event.strategy, _Book()).ledger
        for call in event.positions:
            self._expect(f"the {call.symbol} held", call.quantity, ledger.position(call.symbol).quantity)
            self._expect("its notional", call.notional, self._notional(call.symbol, call.quantity, call.mark))
            instrument = self._instruments.get(call.symbol)
            if instrument is not None:
                self._expect(
                    "its maintenance margin", call.maintenance, maintenance_margin(instrument.tiers, call.notional)
                )
            self._marks[call.symbol] = call.mark
        if event.balance > event.maintenance and event.positions:
            self._note(f"the balance {event.balance} is above the maintenance margin {event.maintenance}")
        started = self._started
        if started is not None and started.margin == "cross":
            shared = started.account == "shared"
            if not shared or event.strategy == started.strategies[-1].name:  # the marks of all its books are known
                self._account(event, [one.ledger for one in self._books.values()] if shared else [ledger])

    def _account(self, event: Liquidated, ledgers: Sequence[Ledger]) -> None:
        """Compare a liquidation's figures with those of the account: its cash, and its positions netted."""
        balance, needed = sum((one.cash for one in ledgers), ZERO), ZERO
        net: dict[str, Decimal] = {}
        for ledger in ledgers:
            for symbol, held in ledger.positions.items():
                if held.quantity and symbol in self._marks:
                    net[symbol] = net.get(symbol, ZERO) + held.quantity
                    balance += held.quantity * self._worth(symbol, self._marks[symbol]) - held.cost
        for symbol, quantity in net.items():
            instrument = self._instruments.get(symbol)
            if instrument is not None:
                needed += maintenance_margin(instrument.tiers, self._notional(symbol, quantity, self._marks[symbol]))
        self._expect("the account's balance", event.balance, balance)
        self._expect("the account's maintenance margin", event.maintenance, needed)

    def _settled(self, event: LiquidationSettled) -> None:
        ledger = self._books.setdefault(event.strategy, _Book()).ledger
        if event.fee < ZERO or event.insurance < ZERO:
            self._note(f"its fee {event.fee} or insurance {event.insurance} is below 0")
        for symbol in event.symbols:
            self._expect(f"the {symbol} held", ledger.position(symbol).quantity, ZERO)
        self._expect_postings(event.postings, ledger.settle_liquidation(event.fee, event.insurance))

    # -- the end -----------------------------------------------------------------------------------------------------

    def finish(self, state: RunState | None, *, ended: bool) -> None:
        """Compare what was counted and booked with the state that the run recorded of itself."""
        self._where = "the end of the run" if ended else "the last state of the run"
        if not self.counts[RunStarted]:
            self._note("how the run was started is missing")
        for oid in self._working if ended else ():
            self._note(f"order {oid} has no end")
        if state is None:
            return
        for name, counted in self._counted():
            self._expect(name, getattr(state.totals, name), counted)
        self._expect("the books", sorted(state.books), sorted(self._books))
        for name, book in state.books.items():
            if name in self._books:
                self._compare(name, book, self._books[name].ledger)
        self._expect("the equity", state.equity, sum((book.equity for book in state.books.values()), ZERO))

    def _counted(self) -> Iterator[tuple[str, object]]:
        for name, cls in (
            ("orders", OrderAccepted), ("fills", OrderFilled), ("signals", Signal),
        ):  # fmt: skip
            yield name, self.counts[cls]
        yield "refusals", self.counts[OrderRefused] + self.counts[AmendRefused]
        for outcome in ("cancelled", "expired", "rejected"):
            yield outcome, self._outcomes[outcome]
        yield "trades", sum(book.trades for book in self._books.values())
        yield "liquidations", self.counts[Liquidated]
        ledgers = [book.ledger for book in self._books.values()]
        yield "fees_paid", sum((one.fees for one in ledgers), ZERO)
        yield "funding_paid", sum((one.funding for one in ledgers), ZERO)
        yield "liquidation_fees", sum((one.liquidation_fees for one in ledgers), ZERO)
        yield "insurance_paid", -sum((one.insurance for one in ledgers), ZERO)

    def _compare(self, name: str, state: BookState, ledger: Ledger) -> None:
        self._expect(f"the cash of {name}", state.cash, ledger.cash)
        held = {symbol: one for symbol, one in ledger.positions.items() if one.quantity}
        self._expect(f"what {name} holds", sorted(state.positions), sorted(held))
        equity = ledger.cash
        for symbol, position in held.items():
            shown = state.positions.get(symbol)
            if shown is not None:
                self._expect(f"the {symbol} of {name}", shown.quantity, position.quantity)
                self._expect(f"the cost of {symbol} of {name}", shown.cost, position.cost)
                equity += position.quantity * self._worth(symbol, shown.mark) - position.cost
        self._expect(f"the equity of {name}", state.equity, equity)


def _shown(value: object) -> str:
    if isinstance(value, tuple):  # postings
        return ", ".join(f"{account} {amount:f}" for account, amount in value)
    return format(value, "f") if isinstance(value, Decimal) else f"{value!s:.200}"
