"""Each rule of the strategy contract catches the mistake it is there for."""

import gc
import random
import time
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from attrs import define, field
from contract_checks import assert_breaks, broken_by, unkept
from lab import CancelRequest, Candle, Depth, OrderEnded, OrderFilled, OrderRequest, Quote, Strategy, Trade, View
from lab.testing import StrategyContract, check, run_strategy, tape, waves
from msgspec.structs import replace

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
class ReturnsOneRequest(Turns):
    def on_candle(self, candle: Candle, view: View) -> Any:
        return OrderRequest.buy(candle.symbol, ONE)


@define(kw_only=True)
class AsksWithoutEnd(Turns):
    def on_candle(self, candle: Candle, view: View) -> Any:
        while True:
            yield OrderRequest.buy(candle.symbol, ONE)


def _asking(name: str, **fields: Any) -> type[Turns]:
    """Return a strategy whose requests have these fields."""

    def on_candle(self: Turns, candle: Candle, view: View) -> Any:
        return tuple(replace(one, **fields) for one in Turns.on_candle(self, candle, view))

    return define(kw_only=True)(type(name, (Turns,), {"on_candle": on_candle, "__module__": __name__}))


TextSide = _asking("TextSide", side="buy")
TextType = _asking("TextType", type="market")
TextReduceOnly = _asking("TextReduceOnly", reduce_only="no")
NumberReason = _asking("NumberReason", reason=7)
LegWithSpaces = _asking("LegWithSpaces", leg="my leg")
FloatTime = _asking("FloatTime", decided_ns=1.5)


@define(kw_only=True)
class CancelsByNumber(Turns):
    def on_candle(self, candle: Candle, view: View) -> Any:
        return (*Turns.on_candle(self, candle, view), CancelRequest("", reason=1))  # type: ignore[arg-type]


@define(kw_only=True)
class GoesByASet(Turns):
    """Takes the first of some texts: which one that is differs from process to process."""

    def on_candle(self, candle: Candle, view: View) -> Any:
        first = next(iter({"one", "two", "three", "four", "five", "six", "seven", "eight"}))
        return tuple(replace(request, reason=first) for request in Turns.on_candle(self, candle, view))


@define(kw_only=True)
class GoesByAHash(Turns):
    def on_candle(self, candle: Candle, view: View) -> Any:
        return (OrderRequest.buy(candle.symbol, ONE),) if hash(f"{candle.open_ns}") % 2 else ()


@define(kw_only=True)
class AveragesAllThereIs(Turns):
    def on_candle(self, candle: Candle, view: View) -> Any:
        kept = view.candles(candle.symbol)
        average = sum(one.close for one in kept) / len(kept)
        return (OrderRequest.buy(candle.symbol, ONE),) if candle.close > average else ()


@define(kw_only=True)
class RaisesOnAPartFill(Turns):
    def on_fill(self, fill: OrderFilled, view: View) -> None:
        assert not fill.remaining


@define(kw_only=True)
class RaisesOnAnEnd(Turns):
    def on_end(self, end: OrderEnded, view: View) -> None:
        raise KeyError(end.reason)


@define(kw_only=True)
class RaisesInOnHistory(Turns):
    def on_history(self, view: View) -> None:
        raise KeyError("history")


@define(kw_only=True)
class RaisesOnATrade(Turns):
    def on_trade(self, trade: Trade, view: View) -> Any:
        raise KeyError(trade.symbol)


@define(kw_only=True)
class RaisesOnDepth(Turns):
    def on_depth(self, depth: Depth, view: View) -> Any:
        raise KeyError(depth.symbol)


@define(kw_only=True)
class RaisesOnATimer(Turns):
    @property
    def timer_ns(self) -> int:
        return 3_600_000_000_000

    def on_timer(self, now_ns: int, view: View) -> Any:
        raise KeyError(now_ns)


@define(kw_only=True)
class Exits(Turns):
    def on_candle(self, candle: Candle, view: View) -> Any:
        raise SystemExit(3)


_released: list[bool] = []  # what never comes back would take the processor from every later test


@define(kw_only=True)
class NeverComesBack(Turns):
    """Loops for ever and swallows whatever could stop it."""

    def on_candle(self, candle: Candle, view: View) -> Any:
        while not _released:
            try:
                while not _released:
                    pass
            except BaseException:
                pass
        return ()


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
        view._candles[candle.symbol]._candles.sort(key=lambda one: one.close)  # noqa: SLF001 - the mistake
        return Turns.on_candle(self, candle, view)


@define(kw_only=True)
class BooksForItself(Turns):
    def on_candle(self, candle: Candle, view: View) -> Any:
        view._book.ledger.cash += 1  # noqa: SLF001 - the mistake
        return Turns.on_candle(self, candle, view)


@define(kw_only=True)
class WritesToTheView(Turns):
    def on_candle(self, candle: Candle, view: View) -> Any:
        view.position(candle.symbol).quantity += ONE  # type: ignore[misc]
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
    ("S6", ReturnsOneRequest, "it returned OrderRequest at input 6, which is not iterable"),
    ("S6", AsksWithoutEnd, "at input 6 it returned more than 100 requests"),
    ("S7", TextSide, "OrderRequest.side is 'buy'; expected Side.BUY or Side.SELL"),
    ("S7", TextType, "OrderRequest.type is 'market'; expected one of OrderType.MARKET, OrderType.LIMIT"),
    ("S7", TextReduceOnly, "OrderRequest.reduce_only is 'no'; expected True or False"),
    ("S7", NumberReason, "OrderRequest.reason is 7; expected text"),
    ("S7", LegWithSpaces, "OrderRequest.leg is 'my leg'; expected 1 to 32 letters"),
    ("S7", FloatTime, "OrderRequest.decided_ns is 1.5; expected nanoseconds as int"),
    ("S7", CancelsByNumber, "CancelRequest.reason is 1; expected text"),
    ("S8", GoesByASet, "a process with PYTHONHASHSEED=1 parts from one with"),
    ("S8", GoesByAHash, "a process with PYTHONHASHSEED=1 parts from one with"),
    ("S9", SharesState, "a run beside another instance"),
    ("S10", DividesByVolume, "(market: no volume)"),
    ("S10", CountsOnAQuote, "(market: candles without quotes)"),
    ("S10", DeclaresTooLittle, "IndexError"),
    ("S10", RaisesOnAPartFill, "(market: orders filled in parts)"),
    ("S10", RaisesOnAnEnd, "(market: orders that expire)"),
    ("S10", RaisesInOnHistory, "(market: candles that come late)"),
    ("S10", RaisesOnATrade, "(market: trades and levels)"),
    ("S10", RaisesOnDepth, "(market: trades and levels)"),
    ("S10", RaisesOnATimer, "KeyError was raised at test_contract_strategy.py:"),
    ("S11", SortsTheView, "view.candles changed from"),
    ("S11", BooksForItself, "view.cash changed from"),
    ("S11", WritesToTheView, "AttributeError was raised at test_contract_strategy.py:"),
    ("S12", Sleeps, "no request on"),
    ("S13", AveragesAllThereIs, "a run that keeps 192 candles or more parts from one that keeps 64 or more"),
]
ONE_MISTAKE = [
    ("S7", TextSide), ("S7", CancelsByNumber), ("S8", GoesByASet), ("S13", AveragesAllThereIs),
    ("S10", RaisesOnAPartFill), ("S10", RaisesOnAnEnd), ("S10", RaisesInOnHistory), ("S10", RaisesOnATrade),
]  # fmt: skip


@pytest.mark.parametrize("make", [Turns, OnQuotes], ids=lambda make: make.__name__)
def test_a_sound_strategy_keeps_every_rule(make: type[Strategy]) -> None:
    assert unkept(StrategyContract, make) == []


@pytest.mark.behaviour("P4")
@pytest.mark.parametrize(("number", "broken", "said"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_a_broken_strategy_fails_the_rule_for_its_mistake(number: str, broken: Any, said: str) -> None:
    Remembers.seen.clear()
    make = broken if broken is not NoDefault else lambda: NoDefault(window=3)
    assert_breaks(StrategyContract, make, number, said)


@pytest.mark.parametrize(("number", "broken"), ONE_MISTAKE, ids=lambda value: getattr(value, "__name__", None))
def test_one_mistake_breaks_one_rule(number: str, broken: Any) -> None:
    assert broken_by(StrategyContract, broken, besides="" if number == "S8" else "S8") == {number}


@pytest.mark.parametrize("broken", [RaisesOnATimer, Exits])
def test_a_strategy_that_raises_is_told_so_with_a_cure_that_fits_under_every_rule(broken: Any) -> None:
    failed = [one for one in check(StrategyContract, broken) if one.outcome == "failed"]
    assert len(failed) > 5
    for one in failed:
        assert "was raised at test_contract_strategy.py:" in one.text or one.rule.number == "S8", one.text
        cured = "Cure: repair the exception" in one.text
        assert cured or one.rule.number in {"S8", "S10"}, one.text


def test_a_strategy_that_never_comes_back_fails_its_rule_and_holds_nothing_up() -> None:
    class Hasty(StrategyContract):
        time_limit_s = 0.2

    began = time.monotonic()
    try:
        failed = {one.rule.number: one.text for one in check(Hasty, NeverComesBack) if one.outcome == "failed"}
    finally:
        _released.append(True)
    assert time.monotonic() - began < 60
    assert "it did not come back within 0.2 s and was at test_contract_strategy.py:" in failed["S2"]
    assert "not run, because something hung before" in failed["S12"]


def test_a_class_that_no_other_process_can_load_is_excused_by_name_and_not_passed() -> None:
    @define(kw_only=True)
    class Local(Turns):
        pass

    findings = {one.rule.number: one for one in check(StrategyContract, Local)}
    assert findings["S8"].outcome == "excused"
    assert "Local is made inside a function, so no other process can load it" in findings["S8"].text
    assert {one.outcome for number, one in findings.items() if number != "S8"} == {"passed"}


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
