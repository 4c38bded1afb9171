"""The moving-average crossover, fed candle by candle through a stand-in for the engine's view."""

import random
from collections.abc import Iterable
from decimal import Decimal
from itertools import pairwise
from typing import Any, cast

import pytest
from attrs import define, field
from lab import Candle, Instrument, Order, OrderFilled, OrderType, Quote, Side, View
from lab.domain.position import Position
from lab.testing import instrument
from lab.testing.builders import candles
from lab.testing.engines import engine_with, only, run
from lab_paper_broker.broker import PaperBroker
from lab_sma_strategy.averages import average_true_range
from lab_sma_strategy.strategy import SmaCross
from msgspec.structs import replace

MINUTE = 60_000_000_000
BTC = instrument()


@define
class Harness:
    """What a strategy sees of an engine: bounded history, one quote, one position, and nothing that fills by itself."""

    strategy: SmaCross
    equity: Decimal = Decimal(10_000)
    history: list[Candle] = field(factory=list)
    newest_quote: Quote | None = None
    held: Position = field(factory=Position)
    working: list[Order] = field(factory=list)

    def candles(self, symbol: str) -> list[Candle]:
        return self.history

    def quote(self, symbol: str) -> Quote | None:
        return self.newest_quote

    def position(self, symbol: str) -> Position:
        return self.held

    def orders(self, symbol: str) -> list[Order]:
        return self.working

    def instrument(self, symbol: str) -> Instrument:
        return BTC

    @property
    def view(self) -> View:
        return cast("View", self)

    def candle(self, close: float, low: float | None = None, high: float | None = None) -> list[Any]:
        """Add a candle the way the engine does, and let the strategy decide once its look-back is there."""
        number = self.history[-1].open_ns // MINUTE + 1 if self.history else 1
        low, high = close if low is None else low, close if high is None else high
        made = Candle("BTCUSDT", number * MINUTE, (number + 1) * MINUTE, close, high, low, close, 1.0)
        self.history.append(made)
        keep = max(64, -(-3 * self.strategy.lookback // 2))
        enough = len(self.history) >= self.strategy.lookback
        if len(self.history) >= 2 * keep:
            del self.history[:keep]
        return list(self.strategy.on_candle(made, self.view)) if enough else []

    def run(self, closes: Iterable[float]) -> list[list[Any]]:
        return [self.candle(close) for close in closes]

    def fill(self, signed: str, price: str) -> None:
        """Book a fill of a signed quantity."""
        quantity = Decimal(signed)
        after = self.held.quantity + quantity
        if not after:
            self.held = Position()
        elif self.held.quantity * quantity >= 0:
            self.held = Position(after, self.held.cost + quantity * Decimal(price))
        elif after * quantity > 0:
            self.held = Position(after, after * Decimal(price))
        else:
            self.held = Position(after, self.held.cost * after / self.held.quantity)

    def work(self, *, reduce_only: bool, parent: str = "") -> None:
        one = Decimal(1)
        order = Order("o-1", "sma", "BTCUSDT", Side.BUY, one, OrderType.MARKET, None, reduce_only, 0, one)
        self.working = [replace(order, parent=parent)]


def harness(**settings: Any) -> Harness:
    return Harness(SmaCross(**({"fast": 2, "slow": 4} | settings)))


def falling(**settings: Any) -> Harness:
    """A harness whose averages have been in order for ten candles: fast below slow."""
    made = harness(**settings)
    assert not any(made.run([110.0 - number for number in range(10)]))
    return made


def kept(made: Harness, name: str) -> Any:
    """Return a value of the strategy's own state."""
    return getattr(made.strategy, name)


def wave(seed: int, count: int) -> list[float]:
    dice, price, closes = random.Random(seed), 60_000.0, []
    for _ in range(count):
        price = round(price * (1 + dice.gauss(0, 0.001)), 1)
        closes.append(price)
    return closes


def legs(requests: list[Any]) -> list[tuple[str, Side, Decimal, bool]]:
    return [(request.leg, request.side, request.quantity, request.reduce_only) for request in requests]


# -- averages --------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("G2")
def test_a_300_period_average_equals_the_plain_one_on_every_one_of_2000_candles() -> None:
    made, closes = harness(fast=50, slow=300), wave(1, 2_000)
    for number, close in enumerate(closes, start=1):
        made.candle(close)
        if number >= made.strategy.lookback:
            assert kept(made, "_slow_sum") / 300 == pytest.approx(sum(closes[number - 300 : number]) / 300, rel=1e-13)
            assert kept(made, "_fast_sum") / 50 == pytest.approx(sum(closes[number - 50 : number]) / 50, rel=1e-13)
    assert made.strategy.lookback == 302


@pytest.mark.behaviour("G1")
@pytest.mark.parametrize("confirmation", [1, 2, 3])
def test_it_signals_exactly_where_a_plain_reading_of_the_rule_does(confirmation: int) -> None:
    closes = wave(2, 3_000)
    made = harness(fast=5, slow=20, confirmation=confirmation)
    signals = [(at, requests[0].side) for at, requests in enumerate(made.run(closes)) if requests]
    expected, side, held, first = [], 0, 0, 19
    for at in range(first, len(closes)):
        fast, slow = sum(closes[at - 4 : at + 1]) / 5, sum(closes[at - 19 : at + 1]) / 20
        now = 1 if fast > slow else -1
        held = 0 if now == side or not side else held + 1
        side = side or now
        if held == confirmation:
            side, held = now, 0
            if at >= made.strategy.lookback - 1:
                expected.append((at, Side.BUY if now > 0 else Side.SELL))
    assert len(expected) > 50
    assert signals == expected


def test_rounding_does_not_add_up_because_the_sums_are_made_afresh_now_and_then() -> None:
    made = harness(fast=5, slow=20)
    made.run([60_000.123] * 30 + [1e14] + [60_000.123] * 25)
    assert kept(made, "_slow_sum") != 20 * 60_000.123
    made.run([60_000.123] * 80)
    assert kept(made, "_slow_sum") == pytest.approx(20 * 60_000.123, rel=1e-15)


def test_candles_put_into_the_past_are_summed_up_at_the_next_candle() -> None:
    made = harness()
    made.run([100.0, 101.0, 102.0, 103.0, 104.0, 105.0, 106.0])
    late = made.history[-2]._replace(close=90.0)
    made.history.insert(-1, late)
    made.strategy.on_history(made.view)
    made.candle(107.0)
    assert kept(made, "_slow_sum") == 105.0 + 90.0 + 106.0 + 107.0


def test_too_few_candles_decide_nothing() -> None:
    made = harness()
    made.history = [Candle("BTCUSDT", n, n + 1, 1.0, 1.0, 1.0, 1.0, 1.0) for n in range(3)]
    assert not list(made.strategy.on_candle(made.history[-1], made.view))


def test_a_second_symbol_is_traded_by_itself_as_a_run_of_it_alone_is() -> None:
    closes = {"BTCUSDT": wave(1, 150), "ETHUSDT": wave(2, 150)}
    alone = {symbol: traded([candles(some, symbol=symbol)]) for symbol, some in closes.items()}
    together = traded([candles(some, symbol=symbol) for symbol, some in closes.items()])
    for symbol, fills in alone.items():
        assert len(fills) > 10
        assert [fill for fill in together if fill[0] == symbol] == fills


def traded(streams: list[list[Candle]]) -> list[tuple[Any, ...]]:
    """Return symbol, time and side of the fills on candles of several symbols, which come in turn."""
    known = [instrument(stream[0].symbol) for stream in streams]
    strategy = SmaCross(
        fast=3, slow=8, confirmation=1, quantity=Decimal(1), stop_percent=Decimal(0), target_percent=Decimal(0)
    )
    engine = engine_with([strategy], instruments=known, deposit=Decimal(10**9))
    inputs = [candle for moment in zip(*streams, strict=True) for candle in moment]
    return [(one.symbol, one.fill.time_ns, one.side) for one in only(OrderFilled, run(engine, inputs))]


# -- the crossing ----------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("G1")
def test_a_crossover_of_one_candle_does_not_trade() -> None:
    made = falling()
    assert made.run([120.0, 60.0, 60.0, 60.0]) == [[], [], [], []]


@pytest.mark.behaviour("G1")
def test_a_crossover_that_holds_two_candles_trades_once() -> None:
    made = falling()
    nothing, signal, *after = made.run([120.0, 121.0, 122.0, 123.0, 124.0])
    assert not nothing
    assert [(request.leg, request.side) for request in signal] == [("entry", Side.BUY)]
    assert not any(after)


def test_confirmation_starts_again_when_the_side_is_lost() -> None:
    made = falling(confirmation=3)
    assert not any(made.run([120.0, 121.0, 60.0, 200.0, 201.0]))
    assert made.candle(202.0)


def test_the_first_side_is_no_crossing() -> None:
    assert not any(harness().run([100.0 + number for number in range(20)]))


def test_equal_averages_change_nothing_and_count_for_the_side_they_came_from() -> None:
    flat = harness()
    assert not any(flat.run([100.0] * 20))
    made = falling()
    assert not made.candle(120.0)
    assert (kept(made, "_side"), kept(made, "_held")) == (-1, 1)
    # The close that makes the newest two as high on average as all four.
    window = [candle.close for candle in made.history[-3:]]
    equal = window[0] + window[1] - window[2]
    signal = made.candle(equal)
    assert signal, "equal averages keep the new side, so this was its second candle"


def test_noise_below_a_billionth_is_no_crossing() -> None:
    made = harness(confirmation=1)
    made.run([100.0 - number for number in range(8)] + [50.0] * 6)
    assert not any(made.run([50.0 + 1e-9, 50.0, 50.0 + 2e-9, 50.0]))
    assert made.candle(50.001)


def test_a_crossing_under_way_at_the_first_decision_is_not_missed() -> None:
    made = harness()
    # The newest two of the look-back's six candles are above: the first call is the confirming one.
    assert made.run([110.0, 108.0, 106.0, 104.0, 120.0, 121.0])[-1]


def test_two_instances_share_nothing() -> None:
    one, other = falling(), falling()
    one.run([120.0])
    assert not other.candle(120.0)
    assert one.candle(121.0)
    assert other.candle(121.0)


@pytest.mark.behaviour("G1")
def test_a_crossing_against_a_position_leaves_it_and_enters_the_other_side() -> None:
    made = falling(quantity=Decimal("0.5"))
    made.held = Position(Decimal("-0.3"), Decimal(-30))
    made.candle(120.0)
    assert legs(made.candle(121.0)) == [
        ("exit", Side.BUY, Decimal("0.3"), True),
        ("entry", Side.BUY, Decimal("0.5"), False),
    ]


def test_a_crossing_towards_a_position_already_held_asks_for_nothing() -> None:
    made = falling()
    made.held = Position(Decimal("0.3"), Decimal(30))
    assert not any(made.run([120.0, 121.0]))


@pytest.mark.behaviour("G1")
@pytest.mark.parametrize(
    ("direction", "up", "down"),
    [("both", ["entry"], ["exit", "entry"]), ("long", ["entry"], ["exit"]), ("short", [], ["entry"])],
)
def test_direction_holds_back_entries_and_never_exits(direction: str, up: list[str], down: list[str]) -> None:
    made = falling(direction=direction)
    assert [request.leg for request in made.run([120.0, 121.0])[1]] == up
    if up:
        made.held = Position(Decimal("0.3"), Decimal(30))
    assert [request.leg for request in made.run([60.0, 59.0])[1]] == down


def test_while_an_exit_works_it_is_not_doubled_and_the_entry_is_not_lost() -> None:
    made = falling(quantity=Decimal(1))
    made.held = Position(Decimal("-0.3"), Decimal(-30))
    made.work(reduce_only=True)
    made.candle(120.0)
    assert [request.leg for request in made.candle(121.0)] == ["entry"]


def test_the_stop_that_rests_beside_a_position_does_not_hold_its_exit_back() -> None:
    made = falling(quantity=Decimal(1))
    made.held = Position(Decimal("-0.3"), Decimal(-30))
    made.work(reduce_only=True, parent="o-0")
    made.candle(120.0)
    assert [request.leg for request in made.candle(121.0)] == ["exit", "entry"]


def test_an_entry_that_still_works_is_cancelled_before_the_other_side_is_entered() -> None:
    made = falling(quantity=Decimal(1))
    made.work(reduce_only=False)
    made.candle(120.0)
    cancel, entry = made.candle(121.0)
    assert (cancel.order_id, entry.leg) == ("o-1", "entry")
    assert cancel.reason.startswith("fast 120.50 crossed above")


def test_the_reason_carries_the_figures() -> None:
    made = falling()
    (request,) = made.run([120.0, 121.0])[1]
    assert request.reason == (
        "fast 120.50 crossed above slow 111.00, held 2 candles; size by risk: 1 % of equity 10000.00 at 121.0 "
        "with the stop 1 % away, notional at most 3 × equity"
    )
    assert "held 1 candle;" in falling(confirmation=1).candle(120.0)[0].reason


# -- size ------------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("G1", "O8")
def test_the_size_loses_the_risk_at_the_stop_costs_included_and_is_floored_to_the_lot() -> None:
    made = falling(risk_percent=Decimal(1), stop_percent=Decimal("1.5"), max_leverage=Decimal(10))
    (request,) = made.run([120.0, 121.0])[1]
    # In at 121 × 1.0001, up to the tick: 121.1. Out at the stop, 119.2 × 0.9999, down to the tick: 119.1.
    loss = Decimal("2.0") + (Decimal("121.1") + Decimal("119.1")) * Decimal("0.0006")
    assert request.quantity == (Decimal(100) / loss).quantize(BTC.lot, "ROUND_FLOOR")
    assert request.stop_loss == Decimal("119.2")


def test_the_size_is_capped_by_the_notional() -> None:
    made = falling(stop_percent=Decimal("0.1"), max_leverage=Decimal(2))
    (request,) = made.run([120.0, 121.0])[1]
    assert request.quantity == (Decimal(20_000) / 121).quantize(BTC.lot, "ROUND_FLOOR")
    assert "size by max_leverage" in request.reason


def test_the_size_is_computed_at_the_touch_where_there_is_a_quote() -> None:
    made = falling()
    made.newest_quote = Quote("BTCUSDT", 1, 199.9, 1.0, 200.0, 1.0)
    (request,) = made.run([120.0, 121.0])[1]
    # In at the ask of 200, out at 198, without slippage: a quote is paid as it stands. The fees are 0.06 % of both.
    loss = Decimal(2) + (Decimal(200) + Decimal(198)) * Decimal("0.0006")
    assert request.quantity == (Decimal(100) / loss).quantize(BTC.lot, "ROUND_FLOOR")
    assert request.stop_loss == Decimal(198)


def test_a_fixed_quantity_is_asked_for_as_it_is() -> None:
    (request,) = falling(quantity=Decimal("0.12345678")).run([120.0, 121.0])[1]
    assert request.quantity == Decimal("0.12345678")


@pytest.mark.behaviour("O13")
@pytest.mark.parametrize(("equity", "quantity"), [(Decimal("0.001"), Decimal("0.0000064")), (Decimal(0), Decimal(0))])
def test_a_size_under_one_lot_is_sent_for_the_engine_to_refuse(equity: Decimal, quantity: Decimal) -> None:
    made = falling()
    made.equity = equity
    (request,) = made.run([120.0, 121.0])[1]
    assert request.quantity == pytest.approx(quantity, rel=Decimal("0.05"))
    assert BTC.floor_quantity(request.quantity) == 0


# -- the ATR filter --------------------------------------------------------------------------------------------------


def test_the_average_true_range_includes_the_close_before() -> None:
    def bar(high: float, low: float, close: float) -> Candle:
        return Candle("BTCUSDT", 0, 1, close, high, low, close, 1.0)

    bars = [bar(99.0, 1.0, 10.0), bar(12.0, 11.0, 11.0), bar(11.0, 8.0, 9.0)]
    assert average_true_range(bars, 2) == (2.0 + 3.0) / 2
    with pytest.raises(ValueError, match="needs 4 candles, not 3"):
        average_true_range(bars, 3)


@pytest.mark.behaviour("G1")
def test_a_lower_atr_threshold_gives_more_signals_and_none_that_the_higher_one_lacks() -> None:
    def entries(**settings: Any) -> set[int]:
        made = harness(fast=5, slow=20, **settings)
        return {at for at, requests in enumerate(made.run(wave(3, 4_000))) if requests}

    thresholds = [Decimal(text) for text in ("0", "0.07", "0.08", "0.09", "0.2")]
    found = [entries(atr_period=14, atr_min_percent=threshold) for threshold in thresholds]
    assert found[0] == entries()
    assert all(lower > higher for lower, higher in pairwise(found))
    assert not found[-1]


def test_the_atr_filter_holds_back_the_entry_and_not_the_exit_and_spends_the_signal() -> None:
    made = falling(atr_period=3, atr_min_percent=Decimal(90))
    made.held = Position(Decimal("-0.3"), Decimal(-30))
    made.candle(120.0)
    assert [request.leg for request in made.candle(121.0)] == ["exit"]
    made.held = Position()
    assert not any(made.run([122.0, 300.0, 123.0, 400.0]))


def test_the_look_back_covers_the_slow_average_its_confirmation_and_the_atr() -> None:
    assert SmaCross().lookback == 32
    assert SmaCross(confirmation=5).lookback == 35
    assert SmaCross(atr_period=50).lookback == 51


# -- stop and target -------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("G1")
def test_stop_and_target_lie_around_the_price_decided_on_the_stop_reached_sooner_and_the_target_later() -> None:
    (long,) = falling(stop_percent=Decimal("1.5"), target_percent=Decimal("2.2")).run([120.0, 121.0])[1]
    assert long.stop_loss == Decimal("119.2")  # 121 × 0.985 = 119.185: a sell is reached sooner when it is higher
    assert long.take_profit == Decimal("123.7")  # 121 × 1.022 = 123.662
    rising = harness(stop_percent=Decimal("1.5"), target_percent=Decimal("2.2"))
    rising.run([100.0 + number for number in range(10)])
    (short,) = rising.run([60.0, 59.0])[1]
    assert short.stop_loss == Decimal("59.8")  # 59 × 1.015 = 59.885: a buy is reached sooner when it is lower
    assert short.take_profit == Decimal("57.7")  # 59 × 0.978 = 57.702


@pytest.mark.behaviour("G1")
def test_stop_and_target_of_0_are_none() -> None:
    none = {"stop_percent": Decimal(0), "target_percent": Decimal(0), "quantity": Decimal(1)}
    (request,) = falling(**none).run([120.0, 121.0])[1]
    assert (request.stop_loss, request.take_profit) == (None, None)


def test_a_shorts_target_at_or_below_nothing_is_none() -> None:
    made = harness(target_percent=Decimal(100), quantity=Decimal(1))
    made.run([100.0 + number for number in range(10)])
    (short,) = made.run([60.0, 59.0])[1]
    assert short.take_profit is None
    assert short.stop_loss is not None


@pytest.mark.behaviour("G1")
def test_stop_and_target_rest_at_the_broker_and_the_position_is_left_at_the_one_that_is_reached() -> None:
    """Through the engine and the paper broker: long from 121, the stop 1 % below, the target 2 % above."""
    closes = [110.0 - number for number in range(10)] + [120.0, 121.0, 121.0]
    settings = {"fast": 2, "slow": 4, "quantity": Decimal(1)}
    for last, leg in ((119.0, "stop"), (124.0, "target")):
        broker = PaperBroker(latency_ms=0, jitter_ms=0, slippage_bps=Decimal(0))
        broker.open({"BTCUSDT": BTC}, 0)
        made = engine_with({"sma": SmaCross(**settings)}, broker=broker, instruments=[BTC])
        fills = only(OrderFilled, run(made, candles([*closes, last])))
        assert [fill.fill.order_id.rpartition("-")[2] for fill in fills] == ["entry", f"entry/{leg}"]
        assert fills[-1].position == 0
        assert not [one for one in made.state.working.values() if one.order.parent == fills[0].fill.order_id]


# -- settings and state ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fast": 0}, "fast"),
        ({"fast": 30, "slow": 30}, "fast must be below slow, not 30 with slow 30"),
        ({"confirmation": 0}, "confirmation"),
        ({"direction": "sideways"}, "direction.*sideways"),
        ({"risk_percent": Decimal(0)}, "risk_percent"),
        ({"risk_percent": Decimal(101)}, "risk_percent"),
        ({"stop_percent": Decimal(100)}, "stop_percent must be a percentage from 0 to under 100, not 100"),
        ({"stop_percent": Decimal(0)}, "stop_percent 0 leaves nothing to size by"),
        ({"target_percent": Decimal(-1)}, "target_percent"),
        ({"atr_period": -1}, "atr_period"),
        ({"atr_min_percent": Decimal(-1)}, "atr_min_percent"),
        ({"quantity": Decimal(-1)}, "quantity"),
        ({"max_leverage": Decimal(0)}, "max_leverage"),
        ({"slippage_bps": Decimal(-1)}, "slippage_bps"),
    ],
)
def test_a_senseless_setting_is_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SmaCross(**settings)


def test_the_same_candles_and_fills_given_to_a_new_instance_give_the_same_decisions_at_every_moment() -> None:
    closes = wave(4, 600)

    def decisions(count: int) -> list[object]:
        made, found = harness(fast=5, slow=20, confirmation=3, quantity=Decimal("0.5")), list[object]()
        for close in closes[:count]:
            requests = made.candle(close)
            found.append(requests)
            for request in requests:
                made.fill(str(request.quantity if request.side is Side.BUY else -request.quantity), str(close))
        return found

    whole = decisions(len(closes))
    assert sum(map(bool, whole)) > 5
    for cut in range(40, 600, 37):
        assert decisions(cut) == whole[:cut]


def test_the_plugin_offers_the_strategy_by_name() -> None:
    from lab.plugins.discovery import Registry

    assert Registry().get("strategy", "sma").cls is SmaCross
