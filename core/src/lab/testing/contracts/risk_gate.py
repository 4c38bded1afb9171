"""The contract of risk gates: G1 to G12."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal

from attrs import define, frozen

from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.market import Candle
from lab.domain.orders import PASS, OrderRequest, Pass, Refuse, Shrink, Verdict
from lab.domain.time import SECOND_NS
from lab.engine.view import View
from lab.ports import RiskGate, Strategy
from lab.testing.builders import instrument, tape, waves
from lab.testing.contracts.base import Contract, rule
from lab.testing.contracts.purity import calls_outside, unchanged
from lab.testing.contracts.shared import (
    SETTINGS_CURE,
    SETTINGS_WHY,
    check_numbers,
    check_same,
    check_settings,
)
from lab.testing.harness import StrategyHarness

Make = Callable[[], RiskGate]
Around = Callable[[View], AbstractContextManager[object]]


@frozen
class Review:
    """One question and its answer."""

    place: int
    request: OrderRequest
    verdict: Verdict


class RiskGateContract(Contract):
    """What lab relies on in every risk gate. Inherit it, give the fixture ``make``, and run pytest.

        class TestMyLimit(RiskGateContract):
            @pytest.fixture
            def make(self):
                return lambda: MyLimit(max_usd=500)

    ``make`` gives a fresh instance each time. The gate reviews the orders of a reckless trader on a falling and rising
    market, under a real engine, with `deposit` and `leverage`. Override `sizes` or `closes` where it takes more.
    """

    deposit = Decimal(10_000)
    leverage = Decimal(5)
    sizes: Sequence[Decimal] = tuple(Decimal(size) for size in ("0.0001", "0.01", "0.2", "0.5", "3", "40"))
    symbol = "BTCUSDT"

    def instrument(self) -> Instrument:
        """Return what is traded."""
        return instrument(self.symbol)

    def closes(self) -> Sequence[float]:
        """Return the closes of the market: waves of 20 %, each of 40 candles."""
        return waves(160, period=40, amplitude=0.2)

    def review_all(self, make: Make, *, around: Around | None = None) -> list[Review]:
        """Return every review of the reckless trader's orders."""
        desk = _Desk(self, make(), around)
        desk.feed(tape(self.closes(), symbol=self.symbol))
        return desk.reviews

    @rule(
        "G1",
        SETTINGS_WHY,
        SETTINGS_CURE,
    )
    def test_settings_have_defaults_and_help(self, make: Make) -> None:
        check_settings(make(), RiskGate)

    @rule(
        "G2",
        "the engine takes anything but a verdict for a refusal, so a forgotten return blocks all trading.",
        "return PASS, Shrink(...) or Refuse(...) on every path, and raise nothing.",
    )
    def test_answers_with_a_verdict(self, make: Make) -> None:
        for one in self.review_all(make):
            fine = isinstance(one.verdict, Pass | Shrink | Refuse)
            assert fine, f"{one.verdict!r} ({type(one.verdict).__name__}) is no verdict; asked for {_said(one)}"

    @rule(
        "G3",
        "a gate only ever lowers risk: one that enlarges an order is a second strategy nobody configured.",
        "return Shrink with a Decimal above 0 and below request.quantity; PASS to leave it, Refuse for nothing at all.",
    )
    def test_never_enlarges(self, make: Make) -> None:
        for one in self.review_all(make):
            if isinstance(one.verdict, Shrink):
                quantity = one.verdict.quantity
                assert isinstance(quantity, Decimal), f"Shrink to {quantity!r} ({type(quantity).__name__}), not Decimal"
                smaller = quantity.is_finite() and 0 < quantity < one.request.quantity
                assert smaller, f"Shrink to {quantity}; asked for {_said(one)}"

    @rule(
        "G4",
        "a refusal without figures cannot be argued with: the journal and the report show them.",
        'give a reason and numbers={"limit": str(limit), "now": str(value)} with every Shrink and Refuse.',
    )
    def test_a_refusal_has_its_reason_and_numbers(self, make: Make) -> None:
        for one in self.review_all(make):
            verdict = one.verdict
            if isinstance(verdict, Shrink | Refuse):
                name = type(verdict).__name__
                reasoned = isinstance(verdict.reason, str) and verdict.reason.strip()
                assert reasoned, f"{name} without a reason: {verdict}"
                assert verdict.numbers, f"{name} without numbers: {verdict}"
                check_numbers(verdict.numbers, f"{name}.numbers")

    @rule(
        "G5",
        "a run must be repeatable: lab verify puts the recorded inputs before a new instance.",
        "judge by the request, the view and the instance's own state only.",
    )
    def test_same_orders_same_verdicts(self, make: Make) -> None:
        check_same(self.review_all(make), self.review_all(make), "one instance", "another")

    @rule(
        "G6",
        "what a clock, a random number or a file said cannot be recorded, so the run could not be repeated.",
        "take the time from view.now_ns and everything else from the view and settings.",
    )
    def test_no_clock_no_randomness_no_input_or_output(self, make: Make) -> None:
        self.review_all(make)  # what is imported at first use is imported now
        found: set[str] = set()
        self.review_all(make, around=lambda _: calls_outside(found))
        assert not found, f"while reviewing it used {', '.join(sorted(found))}"

    @rule(
        "G7",
        "the view is the engine's own state, shared by all: changing it falsifies the run.",
        "copy before you sort, append or assign: list(view.candles(symbol)).",
    )
    def test_the_view_is_left_as_it_is(self, make: Make) -> None:
        self.review_all(make, around=lambda view: unchanged(view, self.symbol))

    @rule(
        "G10",
        "two gates of one class may stand in one run, each with its own limits and state.",
        "make mutable state with field(init=False, factory=...); keep nothing on the class or in the module.",
    )
    def test_state_belongs_to_the_instance(self, make: Make) -> None:
        events = tape(self.closes(), symbol=self.symbol)
        desks = [_Desk(self, make(), None), _Desk(self, make(), None, late=len(events) // 9)]
        alone = [_Desk(self, make(), None), _Desk(self, make(), None, late=len(events) // 9)]
        for desk in alone:
            desk.feed(events)
        for event in events:
            for desk in desks:
                desk.feed([event])
        for desk, other in zip(desks, alone, strict=True):
            check_same(desk.reviews, other.reviews, "a gate beside another instance", "the same gate alone")

    @rule(
        "G11",
        "the limits in force stand in the run's header, before the first price came, and in its report.",
        "let describe() return text by text, with the unit, from settings and what the view already knows.",
    )
    def test_describes_its_limits_at_any_moment(self, make: Make) -> None:
        desk = _Desk(self, make(), None)
        described = dict(desk.gate.describe(desk.view))
        check_numbers(described, "describe() before the first price")
        assert described, "describe() says nothing: the header would not show that the gate stands"
        desk.feed(tape(self.closes(), symbol=self.symbol))
        check_numbers(desk.gate.describe(desk.view), "describe() after a run")

    @rule(
        "G12",
        "a gate that never refuses protects nobody, and one that always refuses stops all trading.",
        "check the direction of its comparison; or give make tighter limits, or override sizes and closes.",
    )
    def test_passes_the_harmless_and_stops_the_reckless(self, make: Make) -> None:
        desk = _Desk(self, make(), None)
        desk.feed(tape(self.closes()[:2], symbol=self.symbol))
        request = OrderRequest.buy(self.symbol, self.instrument().quantity_min)
        verdict = make().review(request, desk.view)
        assert isinstance(verdict, Pass), f"the smallest order on a whole book gets {verdict}"
        reviews = self.review_all(make)
        stopped = [one for one in reviews if not isinstance(one.verdict, Pass)]
        assert stopped, f"it passed all {len(reviews)} orders, up to {max(self.sizes)} on a deposit of {self.deposit}"


class _Desk:
    """A reckless trader under a real engine, and the gate that reviews its orders; it can be changed on the way."""

    def __init__(self, contract: RiskGateContract, gate: RiskGate, around: Around | None, late: int = 0) -> None:
        self.gate = gate
        self.reviews: list[Review] = []
        self._around = around
        self._error: Exception | None = None
        self._rehearsal = StrategyHarness(
            _Reckless(contract.sizes, late),
            instruments=[contract.instrument()],
            deposit=contract.deposit,
            leverage=contract.leverage,
            gates=[("gate", self)],
        )

    @property
    def view(self) -> View:
        return self._rehearsal.view

    def feed(self, events: Iterable[Input]) -> None:
        """Step events; raises what the gate raised."""
        for event in events:
            self._rehearsal.feed([event])
            if self._error is not None:
                self._error.add_note(f"at input {self._rehearsal.place}: {event}")
                raise self._error

    def review(self, request: OrderRequest, view: View) -> Verdict:
        """Pass the engine's question on and note the answer; a malformed one goes no further."""
        try:
            with nullcontext() if self._around is None else self._around(view):
                verdict = self.gate.review(request, view)
        except Exception as error:
            self._error = error
            raise
        self.reviews.append(Review(self._rehearsal.place, request, verdict))
        if isinstance(verdict, Shrink) and not isinstance(verdict.quantity, Decimal):
            return PASS
        return verdict


@define(eq=False)
class _Reckless(Strategy):
    """Orders every size in turn, several candles to the same side, without regard to what is held or lost."""

    sizes: Sequence[Decimal]
    late: int
    seen: int = 0

    def on_candle(self, candle: Candle, view: View) -> list[OrderRequest]:
        self.seen += 1
        turn = self.seen - self.late
        if turn < 0:
            return []
        size = self.sizes[turn % len(self.sizes)]
        ask = OrderRequest.sell if turn // 23 % 2 else OrderRequest.buy
        return [
            ask(candle.symbol, size, planned_exit=Decimal(repr(candle.close)), decided_ns=candle.open_ns - SECOND_NS)
        ]


def _said(one: Review) -> str:
    return f"{one.request.side} {one.request.quantity} at input {one.place}"
