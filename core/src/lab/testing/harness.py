"""A real engine with one strategy under test. The view a strategy or gate gets is the engine's own."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal
from itertools import islice
from typing import Any, Final

from attrs import define, field, frozen

from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.market import Candle
from lab.domain.orders import PRICE_FIELDS, AmendRequest, CancelRequest, OrderRequest, OrderType
from lab.domain.time import MINUTE_NS
from lab.engine.checks import validated_actions
from lab.engine.engine import Engine
from lab.engine.protocols import RiskGateProtocol
from lab.engine.view import View
from lab.ports import Broker, Strategy
from lab.testing.builders import instrument
from lab.testing.simple_broker import SimpleBroker

Action = OrderRequest | CancelRequest | AmendRequest
Around = Callable[[View], AbstractContextManager[object]]

_ASKED: Final = ("on_candle", "on_quote", "on_trade", "on_depth", "on_timer")
_TOLD: Final = ("on_fill", "on_end", "on_history")
_MOST: Final = 101  # actions noted of one decision: one more than the engine takes


@frozen
class Answer:
    """What a strategy returned when asked: the input's place on the tape, the input, and the result as it was given.

    ``actions`` are its first 101 items; empty for what cannot be iterated over.
    """

    place: int
    event: object
    result: object
    actions: tuple[Any, ...]


class StrategyHarness:
    """Steps inputs through an `Engine` with one strategy, and notes every answer the strategy gives.

    A malformed action is noted and goes no further, so that one mistake does not look like many.
    ``around`` gives a context manager that is open while the strategy's code runs. ``beside`` are further strategies,
    each with its name and deposit. The broker is opened here.
    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        instruments: Sequence[Instrument] = (),
        interval_ns: int = MINUTE_NS,
        deposit: Decimal = Decimal(10_000),
        leverage: Decimal = Decimal(5),
        broker: Broker | None = None,
        gates: Sequence[tuple[str, RiskGateProtocol]] = (),
        no_orders: bool = False,
        around: Around | None = None,
        beside: Sequence[tuple[str, Strategy, Decimal]] = (),
    ) -> None:
        known = {one.symbol: one for one in instruments or (instrument(),)}
        broker = SimpleBroker() if broker is None else broker
        broker.open(known, 0)
        self.answers: list[Answer] = []
        self.place = -1
        self._around = around
        self._error: BaseException | None = None
        self._strategy = strategy
        self.engine = Engine(
            known,
            interval_ns,
            broker,
            gates,
            [("tested", _spy(self, strategy), deposit), *beside],
            config_hash="harness",
            leverage=leverage,
            no_orders=no_orders,
        )
        self.begun = self.engine.begin()

    @property
    def view(self) -> View:
        """The strategy's window on the run at this moment."""
        return self.engine.strategies[0].view

    @property
    def strategy(self) -> Strategy:
        """The strategy that is asked now."""
        return self._strategy

    def feed(self, inputs: Iterable[Input]) -> list[object]:
        """Step every input and return the outputs. Raises what the strategy raised, with the input as a note."""
        outputs: list[object] = []
        for event in inputs:
            self.place += 1
            outputs += self.engine.step(event)
            if self._error is not None:
                self._error.add_note(f"at input {self.place}: {event}")
                raise self._error
        return outputs

    def actions(self) -> list[tuple[int, tuple[Any, ...]]]:
        """Return (place of the input, actions) wherever the strategy asked for something."""
        return [(answer.place, answer.actions) for answer in self.answers if answer.actions]

    def call(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        """Call the strategy's method and note its answer. The engine calls this through the spy it was given."""
        try:
            with nullcontext() if self._around is None else self._around(self.view):
                result = getattr(self._strategy, name)(*arguments)
                items = name in _ASKED and isinstance(result, Iterable)
                drawn = tuple(islice(result, _MOST)) if items else ()
        except BaseException as error:
            self._error = error
            raise
        if name in _ASKED:
            self.answers.append(Answer(self.place, arguments[0], result, drawn))
        known = self.engine.state.markets
        sound = [one for one in drawn if trouble_of(one, known) is None and trouble_of_classes(one) is None]
        return tuple(sound[: _MOST - 1])


def run_strategy(strategy: Strategy, inputs: Iterable[Input], **settings: Any) -> list[tuple[int, tuple[Action, ...]]]:
    """Return (place of the input, actions) wherever the strategy asks for something, under a real engine and broker.

    ``settings`` are those of `StrategyHarness`. Raises what the strategy raises.
    """
    harness = StrategyHarness(strategy, **settings)
    harness.feed(inputs)
    return harness.actions()


@define(kw_only=True, eq=False)
class ScriptedStrategy(Strategy):
    """Asks for what its plan says: actions by the number of the candle, counted from 0."""

    plan: Mapping[int, Sequence[Action]] = field(factory=dict, metadata={"help": "actions by candle number"})
    _seen: int = field(init=False, default=0)

    def on_candle(self, candle: Candle, view: View) -> Sequence[Action]:
        """Return the plan's actions of this candle."""
        self._seen += 1
        return self.plan.get(self._seen - 1, ())


def trouble_of(action: object, symbols: Container[str]) -> str | None:
    """Return what is wrong with the form of one action, ``None`` for nothing."""
    if isinstance(action, CancelRequest | AmendRequest):
        return None if isinstance(action.order_id, str) else f"order_id {action.order_id!r} is not text"
    if not isinstance(action, OrderRequest):
        return f"{action!r} ({type(action).__name__}) is neither OrderRequest nor CancelRequest nor AmendRequest"
    if action.symbol not in symbols:
        return f"symbol {action.symbol!r} is not in this run"
    trouble = _amount("quantity", action.quantity)
    if trouble is None and action.type is OrderType.LIMIT:
        trouble = _amount("limit", action.limit)
    for name in PRICE_FIELDS:
        price = getattr(action, name)
        if trouble is None and price is not None:
            trouble = _amount(name, price)
    return trouble


def trouble_of_classes(action: object) -> str | None:
    """Return which field of a request the engine would refuse, by class or by bounds; ``None`` for none."""
    try:
        validated_actions((action,))
    except (TypeError, ValueError) as error:
        return str(error)
    return None


def _amount(name: str, value: object) -> str | None:
    if not isinstance(value, Decimal):
        return f"{name} {value!r} is {type(value).__name__}, not Decimal"
    return None if value.is_finite() and value > 0 else f"{name} {value} is not a finite figure above 0"


class _Spy:
    """A stand-in for the strategy: it has the same methods and hands each call on."""

    def __init__(self, harness: StrategyHarness) -> None:
        self._harness = harness

    @property
    def lookback(self) -> int:
        return self._harness.strategy.lookback

    @property
    def timer_ns(self) -> int:
        return self._harness.strategy.timer_ns

    def on_candle(self, candle: Candle, view: View) -> Iterable[Action]:
        return self._harness.call("on_candle", candle, view)


def _spy(harness: StrategyHarness, strategy: Strategy) -> _Spy:
    """Return a spy with those optional methods the strategy's class defines: the engine calls no others."""

    def passing(name: str) -> Callable[..., object]:
        return lambda self, *arguments: harness.call(name, *arguments)

    optional = {
        name: passing(name)
        for name in ("on_quote", "on_trade", "on_depth", "on_timer", *_TOLD)
        if getattr(type(strategy), name) is not getattr(Strategy, name)
    }
    made: _Spy = type("Spy", (_Spy,), optional)(harness)
    return made
