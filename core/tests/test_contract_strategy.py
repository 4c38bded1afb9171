"""Each rule of the strategy contract catches the mistake it is there for."""

import gc
import random
import time
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from attrs import define, field
from lab import Candle, OrderRequest, Quote, Strategy, View
from lab.testing import StrategyContract, check, run_strategy, tape, waves

ONE = Decimal("0.01")


@define(kw_only=True)
class Turns(Strategy):
    """Buys and sells in turn, every so many candles: nothing is wrong with it."""

    every: int = field(default=5, metadata={"help": "candles between two orders"})
    _seen: int = field(init=False, default=0)
    _bought: bool = field(init=False, default=False)

    @property
    def lookback(self) -> int:
        return 3

    def quantity(self) -> Any:
        return ONE

    def on_candle(self, candle: Candle, view: View) -> Any:
        self._seen += 1
        if self._seen % self.every:
            return ()
        self._bought = not self._bought
        ask = OrderRequest.buy if self._bought else OrderRequest.sell
        return (ask(candle.symbol, self.quantity()),)


@define(kw_only=True)
class OnQuotes(Turns):
    """Decides on quotes, and learns of its fills."""

    _fills: int = field(init=False, default=0)

    def on_candle(self, candle: Candle, view: View) -> Any:
        return ()

    def on_quote(self, quote: Quote, view: View) -> Iterable[OrderRequest]:
        self._seen += 1
        if self._seen % (self.every + self._fills % 2) == 0:
            yield OrderRequest.buy(quote.symbol, ONE)

    def on_fill(self, fill: object, view: View) -> None:
        self._fills += 1


@define(kw_only=True)
class NoDefault(Turns):
    window: int = field(metadata={"help": "no default"})


@define(kw_only=True)
class NoHelp(Turns):
    window: int = 3


class NoAttrs(Turns):
    pass


@define(kw_only=True)
class Dices(Turns):
    def on_candle(self, candle: Candle, view: View) -> Any:
        return (OrderRequest.buy(candle.symbol, ONE),) if random.random() < 0.5 else ()


@define(kw_only=True)
class HalfLookback(Turns):
    @property
    def lookback(self) -> Any:
        return 2.5


@define(kw_only=True)
class GrowingLookback(Turns):
    @property
    def lookback(self) -> int:
        return 3 + self._seen // 10


@define(kw_only=True)
class NegativeLookback(Turns):
    @property
    def lookback(self) -> int:
        return -1


@define(kw_only=True)
class Remembers(Turns):
    """Learns the market by heart, on the class: its second backtest is excellent."""

    seen: ClassVar[dict[int, float]] = {}

    def on_candle(self, candle: Candle, view: View) -> Any:
        self.seen[candle.open_ns] = candle.close
        coming = self.seen.get(candle.open_ns + 60_000_000_000)
        return (OrderRequest.buy(candle.symbol, ONE),) if coming is not None and coming > candle.close else ()


@define(kw_only=True)
class ReadsTheClock(Turns):
    def on_candle(self, candle: Candle, view: View) -> Any:
        time.time()
        return Turns.on_candle(self, candle, view)


@define(kw_only=True)
class DrawsWithASeed(Turns):
    def on_candle(self, candle: Candle, view: View) -> Any:
        random.Random(candle.open_ns).random()
        return Turns.on_candle(self, candle, view)


@define(kw_only=True)
class OpensAFile(Turns):
    def on_candle(self, candle: Candle, view: View) -> Any:
        with open(__file__) as file:  # noqa: PTH123 - the mistake
            file.readline()
        return Turns.on_candle(self, candle, view)


@define(kw_only=True)
class Floats(Turns):
    def quantity(self) -> Any:
        return 0.01


@define(kw_only=True)
class Zero(Turns):
    def quantity(self) -> Any:
        return Decimal(0)


@define(kw_only=True)
class Misspells(Turns):
    def on_candle(self, candle: Candle, view: View) -> Any:
        return (OrderRequest.buy("BTC/USDT", ONE),)


@define(kw_only=True)
class ReturnsNothing(Turns):
    def on_candle(self, candle: Candle, view: View) -> Any:
        return Turns.on_candle(self, candle, view) or None


@define(kw_only=True)
class ReturnsText(Turns):
    def on_candle(self, candle: Candle, view: View) -> Any:
        return "buy"


@define(kw_only=True)
class ForgetsInRestore(Turns):
    def restore(self, snapshot: Any) -> None:
        self._seen = snapshot["_seen"]


@define(kw_only=True)
class KeepsNan(Turns):
    _best: float = field(init=False, default=float("nan"))


@define(kw_only=True)
class KeepsAnObject(Turns):
    def snapshot(self) -> dict[str, Any]:
        return {"me": 1j}


@define(kw_only=True, slots=False)
class StateBesideAttrs(Turns):
    def __attrs_post_init__(self) -> None:
        self.count = 0

    def on_candle(self, candle: Candle, view: View) -> Any:
        self.count += 1
        return (OrderRequest.buy(candle.symbol, ONE),) if self.count % 5 == 0 else ()


@define(kw_only=True)
class SharesState(Turns):
    counts: ClassVar[list[int]] = []

    def on_candle(self, candle: Candle, view: View) -> Any:
        if self._seen == 0:
            self.counts.clear()
        self._seen += 1
        self.counts.append(1)
        return (OrderRequest.buy(candle.symbol, ONE),) if len(self.counts) % 5 == 0 else ()


@define(kw_only=True)
class DividesByVolume(Turns):
    def on_candle(self, candle: Candle, view: View) -> Any:
        return Turns.on_candle(self, candle, view) if 1 / candle.volume > 0 else ()


@define(kw_only=True)
class CountsOnAQuote(Turns):
    def on_candle(self, candle: Candle, view: View) -> Any:
        quote = view.quote(candle.symbol)
        if self._seen > 1:
            assert quote is not None
        return Turns.on_candle(self, candle, view)


@define(kw_only=True)
class DeclaresTooLittle(Turns):
    def on_candle(self, candle: Candle, view: View) -> Any:
        return Turns.on_candle(self, candle, view) if view.closes(candle.symbol)[-30] else ()


@define(kw_only=True)
class SortsTheView(Turns):
    def on_candle(self, candle: Candle, view: View) -> Any:
        view.candles(candle.symbol).sort(key=lambda one: one.close)  # type: ignore[attr-defined]
        return Turns.on_candle(self, candle, view)


@define(kw_only=True)
class BooksForItself(Turns):
    def on_candle(self, candle: Candle, view: View) -> Any:
        view.position(candle.symbol).quantity += ONE
        return Turns.on_candle(self, candle, view)


@define(kw_only=True)
class Sleeps(Turns):
    def on_candle(self, candle: Candle, view: View) -> Any:
        return ()


BROKEN = [
    ("S1", NoDefault, "setting 'window' has no default"),
    ("S1", NoHelp, "setting 'window' has no help text"),
    ("S1", NoAttrs, "NoAttrs is not decorated with attrs.define"),
    ("S2", Dices, "one instance parts from another"),
    ("S3", HalfLookback, "lookback is 2.5 (float), not an int"),
    ("S3", GrowingLookback, "lookback was 3 at the start"),
    ("S3", NegativeLookback, "lookback is -1, below 0"),
    ("S4", Remembers, "decisions before"),
    ("S5", ReadsTheClock, "time.time (called in test_contract_strategy.py:"),
    ("S5", DrawsWithASeed, "random.random"),
    ("S5", OpensAFile, "io.open"),
    ("S6", Floats, "quantity 0.01 is float, not Decimal"),
    ("S6", Zero, "quantity 0 is not a finite figure above 0"),
    ("S6", Misspells, "symbol 'BTC/USDT' is not in this run"),
    ("S6", ReturnsNothing, "NoneType at input 6, which is not iterable"),
    ("S6", ReturnsText, "'b' (str) is neither OrderRequest nor CancelRequest"),
    ("S7", ForgetsInRestore, "'_bought' was True in the snapshot and is False after restore()"),
    ("S7", KeepsNan, "snapshot['_best'] is nan, which JSON cannot hold"),
    ("S7", KeepsAnObject, "snapshot() is not JSON"),
    ("S8", StateBesideAttrs, "a run restarted every 7 inputs"),
    ("S9", SharesState, "a run beside another instance"),
    ("S10", DividesByVolume, "(market: no volume)"),
    ("S10", CountsOnAQuote, "(market: candles without quotes)"),
    ("S10", DeclaresTooLittle, "IndexError"),
    ("S11", SortsTheView, "view.candles changed from"),
    ("S11", BooksForItself, "view.position changed from"),
    ("S12", Sleeps, "no request on"),
]


@pytest.mark.parametrize("make", [Turns, OnQuotes], ids=lambda make: make.__name__)
def test_a_sound_strategy_keeps_every_rule(make: type[Strategy]) -> None:
    assert [one.text for one in check(StrategyContract, make) if one.outcome != "passed"] == []


@pytest.mark.behaviour("P4")
@pytest.mark.parametrize(("number", "broken", "said"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_a_broken_strategy_fails_the_rule_for_its_mistake(number: str, broken: Any, said: str) -> None:
    Remembers.seen.clear()
    make = broken if broken is not NoDefault else lambda: NoDefault(window=3)
    (found,) = check(StrategyContract, make, only=number)
    assert found.outcome == "failed"
    assert found.text.startswith(f"{number} (")
    assert said in found.text


def test_a_strategy_is_not_blamed_for_what_the_garbage_collector_calls() -> None:
    def looks_at_the_clock(*_: object) -> None:
        time.perf_counter()

    thresholds = gc.get_threshold()
    gc.callbacks.append(looks_at_the_clock)
    gc.set_threshold(5)
    try:
        (found,) = check(StrategyContract, Turns, only="S5")
    finally:
        gc.callbacks.remove(looks_at_the_clock)
        gc.set_threshold(*thresholds)
    assert found.outcome == "passed", found.text
    assert gc.isenabled()


def test_every_rule_has_a_strategy_that_breaks_it() -> None:
    assert {number for number, _, _ in BROKEN} == set(StrategyContract.rules()) - {"C1"}


def test_run_strategy_gives_actions_by_the_place_of_their_input() -> None:
    events = tape(waves(12))
    found = run_strategy(Turns(every=2), events)
    candles = [place for place, event in enumerate(events) if isinstance(event, Candle)][2:]
    assert [place for place, _ in found] == candles[1::2]
    assert found[0][1] == (OrderRequest.buy("BTCUSDT", ONE),)


def test_run_strategy_raises_what_the_strategy_raises_and_says_where() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run_strategy(DividesByVolume(), [one._replace(volume=0.0) for one in tape(waves(9)) if isinstance(one, Candle)])
    assert caught.value.__notes__[0].startswith("at input 2: Candle(")
