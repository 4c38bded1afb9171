"""An error whose own class is broken, and a component that fails to say what it is, are still that component's."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from lab.domain.events import BrokerFailed, StrategyStopped
from lab.domain.market import Candle
from lab.domain.orders import PASS, OrderRequest, OrderType, Verdict
from lab.domain.time import MINUTE_NS
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.errors import ComponentError, ProviderError, describe_error, message_of
from lab.journal.codec import encode
from lab.ports import RiskGate, Strategy
from lab.testing.builders import candles, instrument
from lab.testing.harness import ScriptedStrategy
from lab.testing.scripted_broker import ScriptedBroker
from lab.testing.simple_broker import SimpleBroker

X = "BTCUSDT"


class Sliced(str):
    """A text that can't be cut or written."""

    __slots__ = ()

    def __getitem__(self, place: Any) -> str:
        raise KeyError("slice")

    def encode(self, *args: Any) -> bytes:
        raise KeyError("encode")


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class Odd(Exception):
    def __str__(self) -> str:
        return Sliced("odd")


class Untraced(Exception):
    @property
    def __traceback__(self) -> Any:
        raise ValueError("no traceback")


class Nameless(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise ValueError("no name")


class Anonymous(Exception, metaclass=Nameless):
    pass


class Masked(Exception):
    @property
    def __class__(self) -> Any:
        raise ValueError("no class")


class Half(BaseExceptionGroup):
    @property
    def exceptions(self) -> Any:
        raise ValueError("no members")


BROKEN: dict[str, Callable[[], BaseException]] = {
    "mute": Mute, "odd": Odd, "untraced": Untraced, "anonymous": Anonymous, "masked": Masked,
    "half a group": lambda: Half("half", [ValueError()]), "half a letter": lambda: ValueError("\ud800"),
    "group": lambda: ExceptionGroup("\ud800", [ValueError("\ud800"), KeyError()]),
}  # fmt: skip


class Raising(Strategy):
    """Raises what it is given."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    @property
    def lookback(self) -> int:
        return 1

    def on_candle(self, candle: Candle, view: View) -> Iterable[OrderRequest]:
        raise self.error


def engine(strategy: Strategy, broker: Any = None, gates: Any = (), failures: list[Any] | None = None) -> Engine:
    broker = broker or SimpleBroker()
    broker.open({X: instrument(X)}, 0)

    def failed(*what: Any) -> None:
        if failures is not None:
            failures.append(what[:3])

    made = Engine({X: instrument(X)}, MINUTE_NS, broker, gates, [("s", strategy, 10_000)], config_hash="l",
                  broker_name="b", on_failure=failed)  # type: ignore[list-item]  # fmt: skip
    made.begin()
    return made


@pytest.mark.behaviour("P6")
@pytest.mark.parametrize("name", BROKEN)
def test_a_strategy_whose_error_is_broken_itself_is_stopped_alone(name: str) -> None:
    made = engine(Raising(BROKEN[name]()))
    outputs = [output for event in candles([50_000.0] * 3) for output in made.step(event)]
    [stopped] = [output for output in outputs if isinstance(output, StrategyStopped)]
    assert stopped.strategy == "s"
    assert all(encode(output) for output in outputs)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broker_whose_error_is_broken_itself_ends_the_run_as_its_failure(name: str) -> None:
    error = BROKEN[name]()

    def script(broker: ScriptedBroker, event: Any) -> Any:
        raise error

    made = engine(ScriptedStrategy(plan={0: [OrderRequest.buy(X, instrument(X).lot)]}), ScriptedBroker(script=script))
    outputs = [output for event in candles([50_000.0] * 3) for output in made.step(event)]
    [failed] = [output for output in outputs if isinstance(output, BrokerFailed)]
    assert failed.error.startswith("broker b failed in observe: ")
    assert all(encode(output) for output in outputs)


@pytest.mark.parametrize("name", BROKEN)
def test_every_error_can_be_described_in_text_that_can_be_written(name: str) -> None:
    error = BROKEN[name]()
    assert describe_error(error).encode()
    assert isinstance(message_of(error).encode(), bytes)


def test_a_message_is_one_line_of_text_that_can_be_written() -> None:
    assert message_of(ProviderError("no  symbol\n\ud800")) == "no symbol \\ud800"


class Timed(Raising):
    """Is asked for its timer."""

    def on_timer(self, now_ns: int, view: View) -> Iterable[OrderRequest]:
        return ()

    @property
    def timer_ns(self) -> int:
        raise self.error


class Unsure(Raising):
    """Has no look-back."""

    @property
    def lookback(self) -> int:
        raise self.error


class TimedGate(RiskGate):
    """A gate whose timer is no number."""

    timer_ns = None  # type: ignore[assignment]

    def review(self, request: OrderRequest, view: View) -> Verdict:
        return PASS

    def on_timer(self, now_ns: int, view: View) -> None:
        return None


class Typeless(SimpleBroker):
    """Takes orders of no type of lab's."""

    def order_types(self) -> Any:
        return {OrderType.MARKET, "stop", 3}


class Blind(SimpleBroker):
    """Does not know what it watches."""

    def watches_market(self) -> bool:
        raise KeyboardInterrupt("mine")


@pytest.mark.behaviour("P6")
@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"strategy": Timed(GeneratorExit("x"))}, "strategy s failed in its attributes: GeneratorExit: x"),
        ({"strategy": Unsure(ValueError("x"))}, "strategy s failed in lookback: ValueError: x"),
        ({"gates": [("g", TimedGate())]}, "gate g failed in its attributes: TypeError: "),
        ({"broker": Typeless()}, "broker b failed in order_types: TypeError: it gave "),
        ({"broker": Blind()}, "broker b failed in watches_market: KeyboardInterrupt: mine"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_component_that_cannot_say_what_it_is_is_named_before_the_run(parts: Any, words: str) -> None:
    failures: list[Any] = []
    with pytest.raises(ComponentError) as raised:
        engine(**{"strategy": Raising(ValueError()), **parts, "failures": failures})
    assert str(raised.value).startswith(words)
    assert len(failures) == 1
