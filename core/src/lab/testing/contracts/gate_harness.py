"""Runs a gate and traders under a real engine, and notes the gate's reviews and answers."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal
from typing import Any, Final

from attrs import define, field, frozen
from msgspec.structs import replace

from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.market import Candle
from lab.domain.orders import PASS, OrderRequest, Shrink, Verdict
from lab.domain.time import SECOND_NS
from lab.engine.protocols import overridden
from lab.engine.view import View
from lab.ports import RiskGate, Strategy
from lab.testing.contracts.venues import LimitsPositions
from lab.testing.harness import ScriptedStrategy, StrategyHarness

Around = Callable[[View], AbstractContextManager[object]]

_LEARNS: Final = ("on_fill", "on_end", "on_timer")


@frozen
class Review:
    """One question and its answer: the place of the input, whose order, the request and the verdict as it was given.

    ``changed`` is the request as the gate left it, ``None`` where it left it alone.
    """

    place: int
    strategy: str
    request: OrderRequest
    verdict: Verdict
    changed: OrderRequest | None = None


class GateHarness:
    """Runs a trader's orders through a gate, under a real engine, and notes every review.

    The broker keeps positions under ``most_held`` coins, so that no trader loses all there is and the run goes on.
    ``beside`` are further traders, each with its name and deposit. ``around`` gives a context manager that is open
    while the gate's code runs.
    """

    def __init__(
        self,
        gate: RiskGate,
        trader: Strategy,
        *,
        instrument: Instrument,
        deposit: Decimal,
        leverage: Decimal,
        most_held: Decimal,
        around: Around | None = None,
        beside: Sequence[tuple[str, Strategy, Decimal]] = (),
    ) -> None:
        self.gate = gate
        self.reviews: list[Review] = []
        self.learned: list[str] = []
        self.halts: list[tuple[int, str]] = []
        """Wherever the gate's ``tripped`` was not empty for the first trader: the input's place, and what it said."""
        self._around = around
        self._error: BaseException | None = None
        self._harness = StrategyHarness(
            trader,
            instruments=[instrument],
            deposit=deposit,
            leverage=leverage,
            broker=LimitsPositions(most=most_held),
            gates=[("gate", _spy(self, gate))],
            beside=beside,
        )

    @property
    def view(self) -> View:
        """The first trader's window on the run."""
        return self._harness.view

    def feed(self, events: Iterable[Input]) -> "GateHarness":
        """Step events and return the harness; raises what the gate raised, with the input as a note."""
        for event in events:
            self._harness.feed([event])
            if self._error is not None:
                self._error.add_note(f"at input {self._harness.place}: {event}")
                raise self._error
            if overridden(self.gate, "tripped") is not None:
                said = self.gate.tripped(self.view)
                if said != "":
                    self.halts.append((self._harness.place, said))
        return self

    def feed_restarting(self, events: Iterable[Input], make: Callable[[], RiskGate]) -> "GateHarness":
        """Step events, and put a new gate with the old one's memory in its place whenever nothing is held or works."""
        for event in events:
            self.feed([event])
            if all(strategy.book.idle for strategy in self._harness.engine.strategies):
                memory = dict(self.gate.snapshot())
                self.gate = make()
                self.gate.restore(memory)
        return self

    def review(self, request: OrderRequest, view: View) -> Verdict:
        """Pass the engine's question on and note the answer; a malformed one goes no further."""
        asked = replace(request)
        verdict: Verdict = self.call("review", request, view)
        changed = None if request == asked else request
        self.reviews.append(Review(self._harness.place, view.strategy, asked, verdict, changed))
        if isinstance(verdict, Shrink) and not isinstance(verdict.quantity, Decimal):
            return PASS
        return verdict

    def call(self, name: str, what: Any, view: View) -> Any:
        """Call one of the gate's methods, and keep what it raises."""
        if name in _LEARNS:
            self.learned.append(name)
        try:
            with nullcontext() if self._around is None else self._around(view):
                return getattr(self.gate, name)(what, view)
        except BaseException as error:
            self._error = error
            raise


class _Spy:
    """A stand-in for the gate that hands each call on to it."""

    def __init__(self, harness: GateHarness) -> None:
        self._harness = harness
        self.review = harness.review

    @property
    def timer_ns(self) -> int:
        return self._harness.gate.timer_ns


def _spy(harness: GateHarness, gate: RiskGate) -> _Spy:
    """Return a spy with those optional methods that the gate has: the engine calls no others."""

    def passing(name: str) -> Callable[..., object]:
        return lambda self, what, view: harness.call(name, what, view)

    methods = {name: passing(name) for name in _LEARNS if overridden(gate, name) is not None}
    made: _Spy = type("Spy", (_Spy,), methods)(harness)
    return made


@define(eq=False)
class Reckless(Strategy):
    """Orders every size in turn, several candles to the same side, without regard to what is held or lost."""

    sizes: Sequence[Decimal]
    late: int = 0
    seen: int = 0

    def on_candle(self, candle: Candle, view: View) -> list[OrderRequest]:
        """Ask for the next size."""
        self.seen += 1
        turn = self.seen - self.late
        if turn < 0:
            return []
        size = self.sizes[turn % len(self.sizes)]
        ask = OrderRequest.sell if turn // 23 % 2 else OrderRequest.buy
        return [ask(candle.symbol, size, decided_ns=candle.open_ns - SECOND_NS)]


@define(eq=False)
class Loser(Strategy):
    """Buys what it may, leaves after five candles, whatever it lost, and then asks for the least on every candle."""

    sizes: Sequence[Decimal]
    seen: int = 0
    left: bool = False

    def on_candle(self, candle: Candle, view: View) -> list[OrderRequest]:
        """Buy the largest size that passes, leave, and go on asking."""
        self.seen += 1
        held = view.position(candle.symbol).quantity
        if self.left:
            held_back = held and [OrderRequest.sell(candle.symbol, held, reduce_only=True)]
            return held_back or [OrderRequest.buy(candle.symbol, view.instrument(candle.symbol).quantity_min)]
        if held:
            self.left = self.seen >= len(self.sizes) + 5
            return [OrderRequest.sell(candle.symbol, held, reduce_only=True)] if self.left else []
        size = self.sizes[min(self.seen, len(self.sizes)) - 1]
        return [OrderRequest.buy(candle.symbol, size)]


@define(eq=False)
class Steady(Strategy):
    """Buys the least there is on one candle and sells it on the next."""

    _kept: None = field(init=False, default=None)

    def on_candle(self, candle: Candle, view: View) -> list[OrderRequest]:
        """Buy while flat, sell while long."""
        held = view.position(candle.symbol).quantity
        if held:
            return [OrderRequest.sell(candle.symbol, held, reduce_only=True)]
        return [OrderRequest.buy(candle.symbol, view.instrument(candle.symbol).quantity_min)]


def idle() -> Strategy:
    """Return a trader that asks for nothing."""
    return ScriptedStrategy()
