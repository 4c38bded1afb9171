"""Seeded histories of orders for the paper broker, and books of their own that say what may not have happened.

`Desk` sends random orders, cancels and amendments and checks every report by what it counted itself; what the market
does is added by `Quotes` and by `Candles`.
"""

from collections.abc import Callable
from decimal import Decimal
from random import Random

from lab import Accepted, Amended, Ended, Fill, Order, OrderType, Rejected, Side, TimeInForce, Triggered
from lab.domain.inputs import Input
from lab_paper_broker.broker import PaperBroker
from msgspec.structs import replace
from paper import BTC, BUY, MS, SELL, START, order

TICK = Decimal("0.1")
_GTC, _IOC, _FOK, _GTD = TimeInForce
QUANTITIES = ("0.0001", "0.5", "1", "2.5", "7")


class Known:
    """What the desk knows of one order."""

    def __init__(self, one: Order, eligible_ns: int, event_n: int) -> None:
        self.order = one
        self.eligible_ns = eligible_ns
        self.event_n = event_n
        self.quantity = self.sent = one.quantity
        self.limit = one.limit
        self.filled = Decimal(0)
        self.fills: list[tuple[int, int]] = []  # event number and time of each
        self.ended = ""
        self.triggered = False


class Desk:
    """Sends a seeded history to a broker and checks what comes back. A failed check names the seed and the step."""

    def __init__(self, seed: int, **settings: object) -> None:
        self.random = random = Random(seed)
        self.settings = {
            "latency_ms": random.choice((0, 100, 200)),
            "jitter_ms": random.choice((0, 50)),
            "cancel_latency_ms": random.choice((0, 0, 100)),
            "stale_ms": 1_000,
            "expire_ms": 5_000,
            "slippage_bps": Decimal(0),
            **settings,
        }
        self.seed = seed
        self.paper = self.fresh()
        self.now_ns = START
        self.event_n = 0
        self.known: dict[str, Known] = {}
        self.held: dict[str, Decimal] = {}  # by strategy, once one of its fills made a position
        self.calls: list[tuple[str, tuple[object, ...]]] = []
        self.answers: list[object] = []

    def fresh(self) -> PaperBroker:
        made = PaperBroker(**self.settings)  # type: ignore[arg-type]
        made.open({"BTCUSDT": BTC}, self.seed)
        return made

    # -- what is sent ------------------------------------------------------------------------------------------------

    def call(self, name: str, *values: object) -> object:
        self.calls.append((name, values))
        answer = getattr(self.paper, name)(*values)
        self.answers.append(list(answer) if name == "observe" else answer)
        return answer

    def price(self) -> str:
        """Return a price near the market, on the tick."""
        raise NotImplementedError

    def send(self) -> None:
        """Send an order, a bracket or a group."""
        random = self.random
        turn = random.random()
        if turn < 0.6:
            self.submit(self.some_order())
        elif turn < 0.8:
            self.bracket()
        else:
            side, quantity, strategy = random.choice((BUY, SELL)), random.choice(QUANTITIES), random.choice("ab")
            name, reduces = f"group-{len(self.known)}", random.random() < 0.6
            held = self.held.get(strategy)
            if reduces and held and random.random() < 0.9:
                side = SELL if held > 0 else BUY
            for _ in range(random.choice((2, 3))):
                made = self.some_order(side, quantity, group=name, reduce_only=reduces, grouped=True)
                self.submit(replace(made, strategy=strategy))

    def some_order(
        self, side: Side | None = None, quantity: str = "", *, grouped: bool = False, **more: object
    ) -> Order:
        random = self.random
        kind = random.choice([*OrderType, OrderType.LIMIT, OrderType.MARKET])
        if grouped and kind is OrderType.MARKET:
            kind = OrderType.STOP
        prices: dict[str, str] = {}
        if kind in {OrderType.LIMIT, OrderType.STOP_LIMIT}:
            prices["limit"] = self.price()
        if kind in {OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT}:
            prices["stop"] = self.price()
        if kind is OrderType.TRAILING_STOP:
            prices["trail"] = random.choice(("0.1", "0.3", "1"))
        if kind in {OrderType.MARKET, OrderType.LIMIT}:
            more["time_in_force"] = random.choice((_GTC, _GTC, _IOC, _FOK, _GTD))
        elif random.random() < 0.2:
            more["time_in_force"] = _GTD
        if more.get("time_in_force") is _GTD:
            more["expires_ns"] = self.now_ns + random.choice((1, 100, 700, 70_000)) * MS
        if kind is OrderType.LIMIT and more["time_in_force"] in {_GTC, _GTD}:
            more["post_only"] = random.random() < 0.3
        side = side or random.choice((BUY, SELL))
        made = order(
            side, quantity or random.choice(QUANTITIES), oid=f"o-{len(self.known)}", kind=kind, **prices,  # type: ignore[arg-type]
            **more,  # type: ignore[arg-type]
        )  # fmt: skip
        return replace(made, placed_ns=self.now_ns, strategy=self.random.choice(("a", "b")))

    def bracket(self) -> None:
        random = self.random
        entry = self.some_order()
        self.submit(entry)
        guards = SELL if entry.side is BUY else BUY
        for name, price in (("stop", {"stop": self.price()}), ("target", {"limit": self.price()})):
            if random.random() < 0.8:
                child = order(
                    guards, str(entry.quantity), oid=f"{entry.id}/{name}", parent=entry.id, group=entry.id,
                    reduce_only=True, **price,  # type: ignore[arg-type]
                )  # fmt: skip
                self.submit(replace(child, placed_ns=self.now_ns, strategy=entry.strategy))

    def submit(self, one: Order) -> None:
        answer = self.call("submit", one, self.now_ns)
        assert isinstance(answer, Accepted), answer
        assert answer.eligible_ns >= self.now_ns or one.parent
        self.known[one.id] = Known(one, answer.eligible_ns, self.event_n)

    def working(self) -> list[Known]:
        return [one for one in self.known.values() if not one.ended]

    def cancel(self) -> None:
        working = self.working()
        oid = self.random.choice(working).order.id if working else "nobody"
        answer = self.call("cancel", oid, self.now_ns)
        if not working:
            assert isinstance(answer, Rejected)
        elif isinstance(answer, Accepted) and answer.eligible_ns <= self.now_ns:
            self.end(self.known[oid], "cancelled")

    def children(self, entry: Known) -> list[Known]:
        return [one for one in self.working() if one.order.parent == entry.order.id]

    def end(self, one: Known, outcome: str) -> None:
        """Note an end. The engine has it that children then guard what is left of what their entry filled, or end."""
        one.ended = outcome
        left = one.filled - sum(
            self.known[oid].filled for oid in self.known if self.known[oid].order.parent == one.order.id
        )
        for child in self.children(one):
            if left <= 0:
                child.ended = "with its entry"
            else:
                child.quantity = min(child.quantity, child.filled + left)

    def resize(self, one: Known, quantity: Decimal) -> None:
        """Note another quantity; the engine has it that children follow their entry."""
        for child in self.children(one):
            child.quantity += quantity - one.quantity
        one.quantity = quantity

    def amend(self) -> None:
        random = self.random
        working = self.working()
        if not working:
            return
        one = random.choice(working)
        quantity = one.quantity
        follows = one.order.parent and not self.known[one.order.parent].ended
        if random.random() < 0.5 and not follows:
            factor = random.choice((Decimal("0.5"), Decimal(2)) if not one.order.group else (1,))
            quantity = max(BTC.floor_quantity(quantity * factor), one.filled + BTC.lot)
            if one.order.group and not one.order.parent:
                quantity = min(quantity, one.quantity)
        limit, stop = one.limit, one.order.stop
        if limit is not None and random.random() < 0.6:
            limit = Decimal(self.price())
        if stop is not None and not one.triggered and random.random() < 0.6:
            stop = Decimal(self.price())
        changed = replace(one.order, quantity=quantity, limit=limit, stop=stop, remaining=quantity - one.filled)
        answer = self.call("amend", changed, self.now_ns)
        if isinstance(answer, Accepted) and answer.eligible_ns <= self.now_ns:
            self.resize(one, quantity)
            one.limit, one.order = limit, changed

    # -- what is reported --------------------------------------------------------------------------------------------

    def observe(self, event: Input, shown: Callable[[], None], fill_of: Callable[[Known, Fill], None]) -> None:
        """Show an event and check the reports; ``shown`` is called when it has come to the market."""
        self.event_n += 1
        self.now_ns = event.time_ns
        reports = self.call("observe", event)
        before = True
        for report in reports:  # type: ignore[attr-defined]
            if before and isinstance(report, Fill) and self.belongs_to(report, event):
                before = False
                shown()
            self.check(report, event, fill_of)
        if before:
            shown()
        self.check_all(event)

    def belongs_to(self, fill: Fill, event: Input) -> bool:
        """Return whether a fill was made by the event itself, not by an arrival before it."""
        return fill.time_ns == event.time_ns

    def check(self, report: Fill | Ended | Triggered | Amended, event: Input, fill_of: Callable[..., None]) -> None:
        one = self.known[report.order_id]
        assert not one.ended, f"it was {one.ended}, and then came {report}"
        if isinstance(report, Ended):
            assert report.reason
            self.end(one, report.outcome)
        elif isinstance(report, Triggered):
            assert not one.triggered, f"triggered twice: {report}"
            assert one.order.type not in {OrderType.MARKET, OrderType.LIMIT}
            assert one.order.stop in {None, report.level}
            one.triggered = True
            rises = (one.order.side is BUY) is (one.order.type is not OrderType.TAKE_PROFIT)
            near = report.reference >= report.level if rises else report.reference <= report.level
            assert near, f"{report.reference} did not reach {report.level}"
        elif isinstance(report, Amended):
            assert report.quantity > one.filled
            self.resize(one, report.quantity)
            one.limit = report.limit
            one.order = replace(one.order, quantity=report.quantity, limit=report.limit, stop=report.stop)
        else:
            self.check_fill(one, report, event)
            fill_of(one, report)

    def check_fill(self, one: Known, fill: Fill, event: Input) -> None:
        """Check what holds in every market, and count the fill."""
        made, buys = one.order, one.order.side is BUY
        assert fill.quantity > 0
        assert fill.quantity % BTC.lot == 0
        assert fill.price % BTC.tick == 0
        assert one.event_n < self.event_n
        assert one.eligible_ns <= fill.time_ns <= event.time_ns
        assert made.expires_ns is None or fill.time_ns < made.expires_ns
        assert one.limit is None or (fill.price <= one.limit if buys else fill.price >= one.limit)
        assert one.triggered or made.type in {OrderType.MARKET, OrderType.LIMIT}
        assert not (made.post_only and fill.liquidity == "taker")
        assert fill.fee == fill.price * fill.quantity * fill.fee_rate
        if made.parent:
            entry = self.known[made.parent]
            assert any(self.came_before(when, fill) for when in entry.fills), f"{made.id} filled before its entry"
        held = self.held.get(made.strategy)
        if held is not None or not made.reduce_only:
            after = self.held[made.strategy] = (held or Decimal(0)) + (fill.quantity if buys else -fill.quantity)
            cut = held is not None and abs(after) == abs(held) - fill.quantity
            assert cut or not made.reduce_only, f"{made.id} reduces {held} by {fill.quantity}"
        one.filled += fill.quantity
        one.fills.append((self.event_n, fill.time_ns))
        assert one.filled <= one.quantity, f"{made.id} filled {one.filled} of {one.quantity}"
        if one.filled == one.quantity:
            one.ended = "filled"

    def came_before(self, entry: tuple[int, int], fill: Fill) -> bool:
        """Return whether an entry's fill, by event and time, was before one of its child."""
        return entry[0] < self.event_n or entry[1] < fill.time_ns

    def check_all(self, event: Input) -> None:
        """Check what holds for all orders together after an event."""
        groups: dict[str, list[Known]] = {}
        for one in self.known.values():
            made = one.order
            if made.group:
                groups.setdefault(made.group, []).append(one)
            if made.parent:
                assert one.filled <= self.known[made.parent].filled, f"{made.id} filled more than its entry"
            if made.time_in_force in {_IOC, _FOK} and one.fills:
                assert one.ended, f"{made.id} rests"
                assert len({number for number, _ in one.fills}) == 1
            if made.time_in_force is _FOK and one.filled and not made.reduce_only:
                assert one.filled == one.quantity
            if made.expires_ns is not None and event.time_ns >= made.expires_ns:
                assert one.ended, f"{made.id} works after its time"
        for name, members in groups.items():
            filled = [one for one in members if one.filled]
            if members[0].order.parent:
                most = self.known[members[0].order.parent].filled
            elif members[0].order.reduce_only:
                most = max(one.sent for one in members)
            else:
                assert len(filled) <= 1, f"two of {name} filled"
                assert not filled or all(one.ended or one is filled[0] for one in members)
                continue
            total = sum((one.filled for one in members), Decimal(0))
            assert total <= most, f"{name} filled {total}, allowed {most}"

    def check_replay(self) -> None:
        """Check that the same history in a new instance gives the same answers."""
        other = self.fresh()
        for (name, values), answer in zip(self.calls, self.answers, strict=True):
            found = getattr(other, name)(*values)
            assert (list(found) if name == "observe" else found) == answer
