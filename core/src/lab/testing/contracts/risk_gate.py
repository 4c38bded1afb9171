"""The contract of risk gates: G1 to G15."""

from collections.abc import Callable, Iterable, Sequence
from decimal import ROUND_FLOOR, Decimal
from typing import Any, ClassVar

from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.orders import OrderRequest, Pass, Refuse, Shrink
from lab.domain.time import DAY_NS, MINUTE_NS
from lab.engine.protocols import overridden
from lab.ports import RiskGate, Strategy
from lab.testing.builders import START_NS, instrument, tape, waves
from lab.testing.contracts.base import Contract, rule
from lab.testing.contracts.gate_harness import Around, GateHarness, Loser, Reckless, Review, Steady, idle
from lab.testing.contracts.other_processes import check_same_in_other_processes
from lab.testing.contracts.purity import calls_outside, unchanged
from lab.testing.contracts.shared import SETTINGS_CURE, SETTINGS_WHY, check_numbers, check_same, check_settings

Make = Callable[[], RiskGate]


class RiskGateContract(Contract):
    """What lab relies on in every risk gate. Inherit it, give the fixture ``make``, and run pytest.

        class TestMyLimit(RiskGateContract):
            @pytest.fixture
            def make(self):
                return lambda: MyLimit(max_usd=500)

    ``make`` gives a fresh instance each time. The gate reviews the orders of a reckless trader on a falling and rising
    market, under a real engine, with `deposit` and `leverage`. Override `sizes` or `closes` where it takes more. Set
    ``over_all_books`` where its limit is one for all strategies of a run together.
    """

    time_limit_s: ClassVar[float | None] = 60.0
    deposit = Decimal(10_000)
    leverage = Decimal(5)
    sizes: Sequence[Decimal] = tuple(Decimal(size) for size in ("0.0001", "0.01", "0.2", "0.5", "3", "40"))
    symbol = "BTCUSDT"
    over_all_books = False

    def instrument(self) -> Instrument:
        """Return what is traded."""
        return instrument(self.symbol)

    def closes(self) -> Sequence[float]:
        """Return the closes of the market: waves of 20 %, each of 40 candles."""
        return waves(160, period=40, amplitude=0.2)

    def harness(self, gate: RiskGate, trader: Strategy | None = None, **settings: Any) -> GateHarness:
        """Return a real engine with the gate and a trader, the reckless one unless another is given."""
        first = Decimal(repr(self.closes()[0]))
        most = (self.deposit * min(self.leverage, Decimal(1)) * Decimal("0.8") / first).quantize(
            self.instrument().quantity_min, ROUND_FLOOR
        )
        return GateHarness(
            gate,
            Reckless(self.sizes) if trader is None else trader,
            instrument=self.instrument(),
            deposit=self.deposit,
            leverage=self.leverage,
            most_held=max(most, self.instrument().quantity_min),
            **settings,
        )

    def events(self, closes: Sequence[float] | None = None) -> list[Input]:
        """Return candles with two quotes behind each."""
        return tape(self.closes() if closes is None else closes, symbol=self.symbol)

    def review_all(self, make: Make, *, around: Around | None = None) -> list[Review]:
        """Return every review of the reckless trader's orders."""
        return self.harness(make(), around=around).feed(self.events()).reviews

    @rule("G1", SETTINGS_WHY, SETTINGS_CURE)
    def test_settings_have_defaults_and_help(self, make: Make) -> None:
        check_settings(make(), RiskGate)

    @rule(
        "G2",
        "the engine takes anything but a verdict for a refusal, so a forgotten return blocks all trading.",
        "return PASS, Shrink(...) or Refuse(...) on every path, and raise nothing.",
        about_raising=True,
    )
    def test_answers_with_a_verdict(self, make: Make) -> None:
        _check_verdicts(self.review_all(make))

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
        _check_reasons(self.review_all(make))

    @rule(
        "G5",
        "a run must be repeatable: lab verify puts the recorded inputs before a new instance.",
        "judge by the request, the view and the instance's own state only; go by no order of a set and no hash().",
    )
    def test_same_orders_same_verdicts(self, make: Make) -> None:
        check_same(self.review_all(make), self.review_all(make), "one instance", "another")
        check_same_in_other_processes(make(), reviews, type(self).sizes, self.harness_settings(), self.events())

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
        "what the view shows is shared by all; whoever gets around its being read only falsifies the run.",
        "copy before you sort, append or assign: list(view.candles(symbol)); leave names that begin with _ alone.",
    )
    def test_the_view_is_left_as_it_is(self, make: Make) -> None:
        self.review_all(make, around=lambda view: unchanged(view, self.symbol))

    @rule(
        "G8",
        "a gate whose memory raises refuses everything from then on.",
        "expect fills in any order, ends of every kind, a flat book after a loss, and timers while nothing happens.",
        about_raising=True,
    )
    def test_its_memory_lives_through_fills_a_loss_and_a_long_wait(self, make: Make) -> None:
        first, second = (
            self.harness(make(), Loser(self._falling_sizes())).feed(self._fall_and_night()) for _ in range(2)
        )
        assert first.reviews, "it was asked nothing"
        _check_verdicts(first.reviews)
        _check_reasons(first.reviews)
        check_same(first.reviews, second.reviews, "one instance", "another")
        self.harness(make()).feed(self.events())

    @rule(
        "G9",
        "a gate reviews the orders of all strategies of a run: what one lost must not stop another by mistake.",
        "keep memory by view.strategy, in a dict; or set over_all_books = True on the test where one limit is for all.",
    )
    def test_one_books_memory_does_not_reach_another(self, make: Make) -> None:
        events = [*self._fall(START_NS - 60 * MINUTE_NS), *self.events()]
        told = []
        for other in (Loser(self._falling_sizes()), Reckless(self.sizes), idle()):
            harness = self.harness(make(), Steady(), beside=[("other", other, self.deposit)]).feed(events)
            _check_verdicts(harness.reviews)
            told.append([one for one in harness.reviews if one.strategy != "other"])
        if not self.over_all_books:
            for busy in told[:-1]:
                check_same(busy, told[-1], "a book beside one that loses", "the same beside one that does nothing")

    @rule(
        "G10",
        "two gates of one class may stand in one run, each with its own limits and state.",
        "make mutable state with field(init=False, factory=...); keep nothing on the class or in the module.",
    )
    def test_state_belongs_to_the_instance(self, make: Make) -> None:
        events = self.events()
        late = len(events) // 9
        together, alone = ([self.harness(make()), self.harness(make(), Reckless(self.sizes, late))] for _ in range(2))
        for harness in alone:
            harness.feed(events)
        for event in events:
            for harness in together:
                harness.feed([event])
        for harness, other in zip(together, alone, strict=True):
            check_same(harness.reviews, other.reviews, "a gate beside another instance", "the same gate alone")

    @rule(
        "G11",
        "the limits in force stand in the run's header, before the first price came, and in its report.",
        "let describe() return text by text, with the unit, from settings and what the view already knows.",
    )
    def test_describes_its_limits_at_any_moment(self, make: Make) -> None:
        harness = self.harness(make())
        described = dict(harness.gate.describe(harness.view))
        check_numbers(described, "describe() before the first price")
        assert described, "describe() says nothing: the header would not show that the gate is in force"
        harness.feed(self.events())
        check_numbers(harness.gate.describe(harness.view), "describe() after a run")

    @rule(
        "G12",
        "a gate that never refuses protects nobody, and one that always refuses stops all trading.",
        "check the direction of its comparison. If it refuses the smallest order, let make give looser limits; if it "
        "passes everything, tighter ones, or override sizes and closes with what it stops. For a gate that goes by "
        'neither size nor price, by hours say: excused = {"G12": "the reason"}.',
    )
    def test_passes_the_harmless_and_stops_the_reckless(self, make: Make) -> None:
        harness = self.harness(make()).feed(self.events(self.closes()[:2]))
        request = OrderRequest.buy(self.symbol, self.instrument().quantity_min)
        verdict = make().review(request, harness.view)
        assert isinstance(verdict, Pass), f"the smallest order on a whole book gets {verdict}"
        reviews = self.review_all(make)
        stopped = [one for one in reviews if not isinstance(one.verdict, Pass)]
        assert stopped, f"it passed all {len(reviews)} orders, up to {max(self.sizes)} on a deposit of {self.deposit}"

    @rule(
        "G13",
        "a request is what the strategy asked for: one that is changed is another order under its name.",
        "answer Shrink(quantity, reason, numbers) to lower it; change no field of the request by any means.",
    )
    def test_the_request_is_left_as_it_is(self, make: Make) -> None:
        for one in self.review_all(make):
            assert one.changed is None, f"at input {one.place} it changed {one.request} to {one.changed}"

    @rule(
        "G14",
        "a session that was cut off is restarted, and what its gates had learned must not be forgotten by that.",
        "let snapshot() return all that a verdict depends on and the view does not show, text by text; let restore() "
        "take exactly that, and raise ValueError for anything else. A gate without a memory has neither of them.",
    )
    def test_its_memory_survives_a_restart(self, make: Make) -> None:
        has = [overridden(make(), name) is not None for name in ("snapshot", "restore")]
        assert has[0] is has[1], "snapshot and restore belong together: it has one of them"
        if not has[0]:
            return
        for trader in (Steady, lambda: Loser(self._falling_sizes())):
            whole = self.harness(make(), trader()).feed(self._fall_and_night())
            restarted = self.harness(make(), trader()).feed_restarting(self._fall_and_night(), make)
            check_same(whole.reviews, restarted.reviews, "one gate", "gates that were told what it knew")
            memory = restarted.gate.snapshot()
            check_numbers(memory, "snapshot()")
            assert memory == restarted.gate.snapshot(), "a second snapshot differs from the first"
        try:
            make().restore({"no such": "memory"})
        except ValueError:
            return
        raise AssertionError("restore() took {'no such': 'memory'}")

    @rule(
        "G15",
        "who trips is believed: the strategy sees it, and once it holds nothing it is asked no more in the whole run.",
        "return text from tripped() only where review() refuses every entry of that strategy from now on, for good.",
    )
    def test_once_tripped_it_refuses_every_entry(self, make: Make) -> None:
        if overridden(make(), "tripped") is None:
            return
        for trader in (Reckless(self.sizes), Loser(self._falling_sizes())):
            harness = self.harness(make(), trader).feed(self._fall_and_night())
            if not harness.halts:
                continue
            since, said = harness.halts[0]
            assert all(isinstance(text, str) for _, text in harness.halts), f"tripped() gave {said!r}, expected text"
            last = harness.halts[-1][0]
            assert len(harness.halts) == last - since + 1, f"tripped at input {since}, it was not at a later one"
            for one in harness.reviews:
                assert one.place <= since or isinstance(one.verdict, Refuse), (
                    f"tripped at input {since} ({said}), and {_said(one)} gets {one.verdict}"
                )

    def harness_settings(self) -> dict[str, Any]:
        """Return what the harness of another process needs."""
        return {"instrument": self.instrument(), "deposit": self.deposit, "leverage": self.leverage}

    def _falling_sizes(self) -> list[Decimal]:
        return sorted(self.sizes, reverse=True)

    def _fall(self, start_ns: int) -> list[Input]:
        """Return an hour in which the market falls by a fifth and then goes nowhere."""
        top = self.closes()[0]
        fall = [round(top * (1 - number / 100), 1) for number in range(20)]
        still = [round(top * 0.8 + number % 2 / 10, 1) for number in range(40)]
        return tape([*fall, *still], symbol=self.symbol, start_ns=start_ns)

    def _fall_and_night(self) -> list[Input]:
        """Return a fall and, after a night of silence, another."""
        return [*self._fall(START_NS), *self._fall(START_NS + DAY_NS)]


def reviews(make: Make, sizes: Sequence[Decimal], settings: dict[str, Any], events: Iterable[Input]) -> list[str]:
    """Return the reviews of the reckless trader's orders as lines, for comparing processes."""
    harness = GateHarness(make(), Reckless(sizes), most_held=settings["instrument"].quantity_min * 1000, **settings)
    return [str(one) for one in harness.feed(events).reviews]


def _check_verdicts(found: Sequence[Review]) -> None:
    for one in found:
        fine = isinstance(one.verdict, Pass | Shrink | Refuse)
        assert fine, f"{one.verdict!r} ({type(one.verdict).__name__}) is no verdict; asked for {_said(one)}"


def _check_reasons(found: Sequence[Review]) -> None:
    for one in found:
        verdict = one.verdict
        if isinstance(verdict, Shrink | Refuse):
            name = type(verdict).__name__
            reasoned = isinstance(verdict.reason, str) and verdict.reason.strip()
            assert reasoned, f"{name} without a reason: {verdict}"
            assert verdict.numbers, f"{name} without numbers: {verdict}"
            check_numbers(verdict.numbers, f"{name}.numbers")


def _said(one: Review) -> str:
    return f"{one.request.side} {one.request.quantity} at input {one.place}"
