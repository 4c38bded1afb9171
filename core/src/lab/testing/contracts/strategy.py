"""The contract of strategies: S1 to S13."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from decimal import Decimal
from typing import Any, ClassVar

from attrs import define

from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.time import DAY_NS, MINUTE_NS
from lab.engine.view import View
from lab.ports import Strategy
from lab.testing.builders import START_NS, instrument, tape, waves
from lab.testing.contracts.base import Contract, rule
from lab.testing.contracts.markets import hard_markets, hard_venues
from lab.testing.contracts.other_processes import check_same_in_other_processes
from lab.testing.contracts.purity import calls_outside, unchanged
from lab.testing.contracts.shared import SETTINGS_CURE, SETTINGS_WHY, check_same, check_settings
from lab.testing.harness import ScriptedStrategy, StrategyHarness, run_strategy, trouble_of, trouble_of_classes

Make = Callable[[], Strategy]


class StrategyContract(Contract):
    """What lab relies on in every strategy. Inherit it, give the fixture ``make``, and run pytest.

        class TestMine(StrategyContract):
            @pytest.fixture
            def make(self):
                return lambda: Mine(fast=2, slow=5)

    ``make`` gives a fresh instance each time; short windows keep the suite fast. The strategy trades under a real
    engine on `closes`: override it where another market is needed to make the strategy trade.
    """

    time_limit_s: ClassVar[float | None] = 60.0
    symbol = "BTCUSDT"
    interval_ns = MINUTE_NS

    def closes(self, lookback: int) -> Sequence[float]:
        """Return the closes of the market to trade on: by default waves of at least twice the look-back."""
        period = max(24, 2 * lookback)
        return waves(lookback + max(200, 4 * period), period=period)

    def events(self, closes: Sequence[float], start_ns: int = START_NS) -> list[Input]:
        """Return what the strategy is given for these closes: candles, and two quotes behind each."""
        return tape(closes, symbol=self.symbol, start_ns=start_ns, interval_ns=self.interval_ns)

    def harness(self, strategy: Strategy, **settings: Any) -> StrategyHarness:
        """Return a real engine with the strategy under test."""
        settings = {"interval_ns": self.interval_ns, **settings}
        return StrategyHarness(strategy, instruments=[instrument(self.symbol)], **settings)

    def run(self, strategy: Strategy, inputs: Iterable[Input], **settings: Any) -> list[tuple[int, tuple[Any, ...]]]:
        """Return (place of the input, actions) wherever the strategy asks for something."""
        harness = self.harness(strategy, **settings)
        harness.feed(inputs)
        return harness.actions()

    @rule("S1", SETTINGS_WHY, SETTINGS_CURE)
    def test_settings_have_defaults_and_help(self, make: Make) -> None:
        check_settings(make(), Strategy)

    @rule(
        "S2",
        "a run must be repeatable: lab verify and recovery feed the recorded inputs through a new instance.",
        "decide on the event, the view and the instance's own state only; draw no random number, iterate over no set.",
    )
    def test_same_tape_same_requests(self, make: Make) -> None:
        inputs = self.events(self.closes(make().lookback))
        check_same(self.run(make(), inputs), self.run(make(), inputs), "one instance", "another")

    @rule(
        "S3",
        "the engine asks for the look-back once and keeps history by it.",
        "return an int of 0 or more that depends on settings only.",
    )
    def test_lookback_is_a_constant_whole_number(self, make: Make) -> None:
        strategy = make()
        before = strategy.lookback
        assert type(before) is int, f"lookback is {before!r} ({type(before).__name__}), not an int"
        assert before >= 0, f"lookback is {before}, below 0"
        self.run(strategy, self.events(self.closes(before)))
        after = strategy.lookback
        assert after == before, f"lookback was {before} at the start and is {after} after a run"
        assert make().lookback == before, f"two instances say {before} and {make().lookback}"

    @rule(
        "S4",
        "a strategy that knows what comes next earns money in a backtest and nowhere else.",
        "take prices from the event and the view only; keep nothing on the class, in the module or in a file.",
    )
    def test_the_future_changes_no_past_decision(self, make: Make) -> None:
        lookback = make().lookback
        closes = list(self.closes(lookback))
        cut = lookback + (len(closes) - lookback) // 2
        turned = closes[:cut] + [round(max(2 * closes[cut - 1] - close, 1.0), 1) for close in closes[cut:]]
        start_ns = START_NS + 366 * DAY_NS  # no other rule uses this time, so a memory of it can only come from here
        past = self.events(closes[:cut], start_ns)
        alone = self.run(make(), past)
        for future, name in ((closes, "one future"), (turned, "another future")):
            known = [one for one in self.run(make(), self.events(future, start_ns)) if one[0] < len(past)]
            check_same(known, alone, f"decisions before {name}", "decisions without a future")

    @rule(
        "S5",
        "what a clock, a random number or a file said cannot be recorded, so the run could not be repeated.",
        "take the time from view.now_ns or the candle and all else from settings; leave output to reporters.",
    )
    def test_no_clock_no_randomness_no_input_or_output(self, make: Make) -> None:
        inputs = self.events(self.closes(make().lookback))
        self.run(make(), inputs)  # what is imported at first use is imported now
        found: set[str] = set()
        self.run(make(), inputs, around=lambda _: calls_outside(found))
        assert not found, f"while deciding it used {', '.join(sorted(found))}"

    @rule(
        "S6",
        "money is exact, on the instrument's steps: a float quantity or a misspelt symbol is an order lost.",
        "return a sequence of requests, (request,) for one and () for none; make a quantity a Decimal, from text.",
    )
    def test_requests_are_well_formed(self, make: Make) -> None:
        for answer in self._answers(make):
            given = f"{type(answer.result).__name__} at input {answer.place}"
            assert isinstance(answer.result, Iterable), f"it returned {given}, which is not iterable"
            assert len(answer.actions) <= 100, f"at input {answer.place} it returned more than 100 requests"
            for action in answer.actions:
                trouble = trouble_of(action, (self.symbol,))
                assert trouble is None, f"at input {answer.place}: {trouble}"

    @rule(
        "S7",
        'a value of another class may look equal and is refused: "buy" is not Side.BUY, 1 is not True.',
        "give Side.BUY, OrderType.LIMIT, True, text, whole nanoseconds; a leg has 1 to 32 letters, digits, _ . : + -.",
    )
    def test_fields_of_requests_have_their_classes(self, make: Make) -> None:
        for answer in self._answers(make):
            for action in answer.actions:
                if trouble_of(action, (self.symbol,)) is None:
                    trouble = trouble_of_classes(action)
                    assert trouble is None, f"at input {answer.place}: {trouble}"

    @rule(
        "S8",
        "the order of a set of text, hash() of text and memory addresses differ from process to process.",
        "iterate over lists, tuples, dicts or sorted(a_set); use zlib.crc32 or hashlib instead of hash().",
    )
    def test_another_process_decides_the_same(self, make: Make) -> None:
        strategy = make()
        inputs = self.events(self.closes(strategy.lookback))
        check_same_in_other_processes(strategy, decisions, inputs, [instrument(self.symbol)], self.interval_ns)

    @rule(
        "S9",
        "two strategies of one class may share a session, each with its own settings, book and decisions.",
        "make mutable state with field(init=False, factory=...); keep nothing on the class or in the module.",
    )
    def test_state_belongs_to_the_instance(self, make: Make) -> None:
        closes = self.closes(make().lookback)
        mirrored = [round(max(2 * closes[0] - close, 1.0), 1) for close in closes]
        tapes = [self.events(closes), self.events(mirrored)]
        alone = [self.run(make(), inputs) for inputs in tapes]
        together = [self.harness(make()), self.harness(make())]
        for pair in zip(*tapes, strict=True):
            for harness, event in zip(together, pair, strict=True):
                harness.feed([event])
        for harness, decided in zip(together, alone, strict=True):
            check_same(harness.actions(), decided, "a run beside another instance", "the same run alone")

    @rule(
        "S10",
        "markets stand still, candles get lost or come late, orders expire: a strategy that raises is stopped.",
        "guard divisions, count on no order being filled, and declare all the first decision needs as lookback.",
        about_raising=True,
    )
    def test_survives_gaps_flat_prices_and_orders_not_filled(self, make: Make) -> None:
        lookback = make().lookback
        closes = self.closes(lookback)
        events = self.events(closes)
        for market, inputs in hard_markets(
            events, closes, lookback, self.symbol, self.interval_ns, self.events
        ).items():
            self._survive(make, market, inputs)
        for venue, broker in hard_venues().items():
            self._survive(make, venue, events, broker=broker)
        longer = tape(closes, symbol=self.symbol, interval_ns=5 * self.interval_ns)
        self._survive(make, "candles of another interval", longer, interval_ns=5 * self.interval_ns)
        self._survive(make, "no order is placed (--no-orders)", events, no_orders=True)
        self._survive(make, "no money", events, deposit=Decimal("0.01"))

    @rule(
        "S11",
        "what the view shows is shared by all; whoever gets around its being read only falsifies the run.",
        "copy before you sort, append or assign: list(view.candles(symbol)); leave names that begin with _ alone.",
    )
    def test_candles_and_view_are_left_as_they_are(self, make: Make) -> None:
        inputs = self.events(self.closes(make().lookback))
        self.run(make(), inputs, around=self._watched)

    @rule(
        "S12",
        "a contract passed without one request has shown nothing.",
        "give make shorter windows, or override closes() with a market on which the strategy trades.",
    )
    def test_the_market_makes_it_trade(self, make: Make) -> None:
        strategy = make()
        closes = self.closes(strategy.lookback)
        actions = self.run(strategy, self.events(closes))
        assert actions, f"no request on {len(closes)} candles with a look-back of {strategy.lookback}"

    @rule(
        "S13",
        "the engine keeps more candles when another strategy of the run looks further back.",
        "read by negative index, view.candles(symbol)[-n], for n up to lookback; use neither len() nor the oldest one.",
    )
    def test_decisions_need_no_more_history_than_the_lookback(self, make: Make) -> None:
        lookback = make().lookback
        closes = self.closes(lookback)
        inputs = self.events([*closes, *closes] if len(closes) < 400 else closes)
        kept = max(64, -(-3 * lookback // 2))
        other = _LooksBack(candles=2 * kept)
        check_same(
            self.run(make(), inputs, beside=[("other", other, Decimal(0))]), self.run(make(), inputs),
            f"a run that keeps {3 * kept} candles or more", f"one that keeps {kept} or more",
        )  # fmt: skip

    def _answers(self, make: Make) -> Sequence[Any]:
        strategy = make()
        harness = self.harness(strategy)
        harness.feed(self.events(self.closes(strategy.lookback)))
        return harness.answers

    def _watched(self, view: View) -> Any:
        return unchanged(view, self.symbol) if view.candles(self.symbol) else nullcontext()

    def _survive(self, make: Make, market: str, inputs: Sequence[Input], **settings: Any) -> None:
        try:
            self.run(make(), inputs, **settings)
        except Exception as error:
            error.add_note(f"market: {market}")
            raise


@define(kw_only=True)
class _LooksBack(ScriptedStrategy):
    """A strategy that asks for nothing and keeps much history."""

    candles: int

    @property
    def lookback(self) -> int:
        return self.candles


def decisions(make: Make, inputs: Sequence[Input], instruments: Sequence[Instrument], interval_ns: int) -> list[str]:
    """Return a strategy's decisions as lines, for comparing processes."""
    found = run_strategy(make(), inputs, instruments=instruments, interval_ns=interval_ns)
    return [f"input {place}: {actions}" for place, actions in found]
