"""The moving-average crossover, fed candle by candle through a stand-in for the engine's view."""

import random
from collections.abc import Iterable
from decimal import Decimal
from itertools import pairwise
from typing import Any, cast

import pytest
from attrs import define, field
from lab import Candle, Fill, Instrument, Order, OrderFilled, OrderRequest, OrderType, Quote, Side, View
from lab.domain.position import Position
from lab.testing import instrument
from lab_sma_strategy.averages import average_true_range
from lab_sma_strategy.strategy import SmaCross

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

    def candle(self, close: float, low: float | None = None, high: float | None = None) -> list[OrderRequest]:
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

    def run(self, closes: Iterable[float]) -> list[list[OrderRequest]]:
        return [self.candle(close) for close in closes]

    def tick(self, bid: float, ask: float | None = None) -> list[OrderRequest]:
        self.newest_quote = Quote("BTCUSDT", 1, bid, 1.0, bid + 0.1 if ask is None else ask, 1.0)
        return list(self.strategy.on_quote(self.newest_quote, self.view))

    def fill(self, signed: str, price: str, rule: str = "quote", time_ns: int = 0) -> None:
        """Book a fill of a signed quantity and tell the strategy."""
        quantity = Decimal(signed)
        side = Side.BUY if quantity > 0 else Side.SELL
        after = self.held.quantity + quantity
        if not after:
            self.held = Position()
        elif self.held.quantity * quantity >= 0:
            self.held = Position(after, self.held.cost + quantity * Decimal(price))
        elif after * quantity > 0:
            self.held = Position(after, after * Decimal(price))
        else:
            self.held = Position(after, self.held.cost * after / self.held.quantity)
        zero = Decimal(0)
        fill = Fill(
            "o-1", abs(quantity), Decimal(price), zero, zero, "taker", rule, Decimal(price), None, zero, time_ns
        )
        self.strategy.on_fill(OrderFilled("o-1.1", "sma", "BTCUSDT", side, zero, after, fill, ()), self.view)

    def work(self) -> None:
        one = Decimal(1)
        self.working = [Order("o-1", "sma", "BTCUSDT", Side.BUY, one, OrderType.MARKET, None, False, 0, one)]


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


def legs(requests: list[OrderRequest]) -> list[tuple[str, Side, Decimal, bool]]:
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


def test_a_second_symbol_is_refused_by_name() -> None:
    made = falling()
    with pytest.raises(ValueError, match="it has BTCUSDT and was given ETHUSDT"):
        made.strategy.on_candle(made.history[-1]._replace(symbol="ETHUSDT"), made.view)


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


def test_while_an_order_works_the_exit_is_not_doubled_and_the_entry_is_not_lost() -> None:
    made = falling(quantity=Decimal(1))
    made.held = Position(Decimal("-0.3"), Decimal(-30))
    made.work()
    made.candle(120.0)
    assert [request.leg for request in made.candle(121.0)] == ["entry"]


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
def test_the_size_loses_the_risk_at_the_stop_and_is_floored_to_the_lot() -> None:
    made = falling(risk_percent=Decimal(1), stop_percent=Decimal("1.5"), max_leverage=Decimal(10))
    (request,) = made.run([120.0, 121.0])[1]
    exact = Decimal(100) / (Decimal(121) * Decimal("0.015"))
    assert request.quantity == exact.quantize(BTC.lot, "ROUND_FLOOR")
    assert request.quantity * Decimal(121) * Decimal("0.015") <= 100
    assert request.planned_exit == Decimal("119.1")  # 119.185, away from the price


def test_the_size_is_capped_by_the_notional() -> None:
    made = falling(stop_percent=Decimal("0.1"), max_leverage=Decimal(2))
    (request,) = made.run([120.0, 121.0])[1]
    assert request.quantity == (Decimal(20_000) / 121).quantize(BTC.lot, "ROUND_FLOOR")
    assert "size by max_leverage" in request.reason


def test_the_size_is_computed_at_the_touch_where_there_is_a_quote() -> None:
    made = falling()
    made.newest_quote = Quote("BTCUSDT", 1, 199.9, 1.0, 200.0, 1.0)
    (request,) = made.run([120.0, 121.0])[1]
    assert request.quantity == Decimal(50)
    assert request.planned_exit == Decimal(198)


def test_a_fixed_quantity_is_asked_for_as_it_is() -> None:
    (request,) = falling(quantity=Decimal("0.12345678")).run([120.0, 121.0])[1]
    assert request.quantity == Decimal("0.12345678")


@pytest.mark.behaviour("O13")
@pytest.mark.parametrize(("equity", "quantity"), [(Decimal("0.001"), Decimal("0.00000826")), (Decimal(0), Decimal(0))])
def test_a_size_under_one_lot_is_sent_for_the_engine_to_refuse(equity: Decimal, quantity: Decimal) -> None:
    made = falling()
    made.equity = equity
    (request,) = made.run([120.0, 121.0])[1]
    assert request.quantity == pytest.approx(quantity, rel=Decimal("0.001"))
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


# -- stop and target on quotes ---------------------------------------------------------------------------------------


@pytest.mark.behaviour("G1")
@pytest.mark.parametrize(
    ("held", "inside", "outside", "leg", "side"),
    [
        ("0.5", [(99.1, 99.2), (101.9, 102.1)], (99.0, 99.1), "stop", Side.SELL),
        ("0.5", [(99.1, 99.2), (101.9, 102.1)], (102.0, 102.1), "target", Side.SELL),
        ("-0.5", [(100.8, 100.9), (97.9, 98.1)], (100.9, 101.0), "stop", Side.BUY),
        ("-0.5", [(100.8, 100.9), (97.9, 98.1)], (97.9, 98.0), "target", Side.BUY),
    ],
)
def test_a_long_leaves_by_the_bid_and_a_short_by_the_ask_at_stop_or_target(
    held: str, inside: list[tuple[float, float]], outside: tuple[float, float], leg: str, side: Side
) -> None:
    made = harness()
    made.fill(held, "100")
    for bid, ask in inside:
        assert not made.tick(bid, ask)
    assert legs(made.tick(*outside)) == [(leg, side, Decimal("0.5"), True)]


def test_the_reason_of_an_exit_names_price_and_level() -> None:
    made = harness()
    made.fill("0.5", "100")
    assert made.tick(98.7)[0].reason == "bid 98.7 at or below the stop 99.00 of long 0.5"
    short = harness()
    short.fill("-0.5", "100")
    assert short.tick(97.0, 97.5)[0].reason == "ask 97.5 at or below the target 98.00 of short 0.5"


def test_the_reason_of_a_cheap_coins_exit_has_its_price_written_out() -> None:
    made = harness()
    made.fill("500000", "0.0000214")
    assert made.tick(0.0000205)[0].reason.startswith("bid 0.0000205 at or below the stop ")


def test_nothing_is_watched_while_flat() -> None:
    made = harness()
    assert not made.tick(1.0)
    made.fill("0.5", "100")
    made.fill("-0.5", "100")
    assert not made.tick(1.0)


def test_no_second_exit_is_sent_while_an_order_works() -> None:
    made = harness()
    made.fill("0.5", "100")
    made.work()
    assert not made.tick(90.0)
    made.working = []
    assert len(made.tick(90.0)) == 1


def test_an_exit_that_ended_unfilled_is_owed_even_when_the_price_came_back() -> None:
    made = harness()
    made.fill("0.5", "100")
    assert made.tick(99.0)
    made.work()
    assert not made.tick(100.0)
    made.working = []
    (again,) = made.tick(100.0)
    assert (again.leg, again.quantity) == ("stop", Decimal("0.5"))
    assert again.reason == "bid 99.0 at or below the stop 99.00 of long 0.5"
    made.fill("-0.2", "100")
    assert legs(made.tick(100.0)) == [("stop", Side.SELL, Decimal("0.3"), True)]
    made.fill("-0.3", "100")
    assert not made.tick(50.0)


def test_an_exit_is_not_owed_by_the_position_that_comes_after() -> None:
    made = harness()
    made.fill("0.5", "100")
    assert made.tick(99.0)
    made.fill("-1.0", "99")
    assert not made.tick(99.0)
    assert [request.reason for request in made.tick(99.9, 100.0)] == [
        "ask 100.0 at or above the stop 99.99 of short 0.5"
    ]


def test_a_position_that_is_gone_is_not_left_again() -> None:
    made = harness()
    made.fill("0.5", "100")
    made.held = Position()
    assert not made.tick(90.0)
    assert kept(made, "_way") == 0


def test_levels_follow_the_average_entry_and_stay_when_a_part_is_closed() -> None:
    made = harness()
    made.fill("0.5", "100")
    made.fill("0.5", "110")
    assert kept(made, "_low") == pytest.approx(105 * 0.99)
    made.fill("-0.4", "120")
    assert kept(made, "_low") == pytest.approx(105 * 0.99)
    made.fill("-1.0", "120")
    assert kept(made, "_high") == pytest.approx(120 * 1.01)
    assert kept(made, "_low") == pytest.approx(120 * 0.98)


@pytest.mark.parametrize("held", ["0.5", "-0.5"])
def test_stop_and_target_of_0_are_none(held: str) -> None:
    made = harness(stop_percent=Decimal(0), target_percent=Decimal(0), quantity=Decimal(1))
    made.fill(held, "100")
    assert not made.tick(0.1)
    assert not made.tick(1e12)


# -- stop and target on candles --------------------------------------------------------------------------------------


@pytest.mark.behaviour("G1")
@pytest.mark.parametrize(
    ("held", "low", "high", "leg"),
    [
        ("0.5", 99.0, 100.0, "stop"),
        ("0.5", 100.0, 102.0, "target"),
        ("0.5", 99.0, 102.0, "stop"),
        ("-0.5", 100.0, 101.0, "stop"),
        ("-0.5", 98.0, 100.0, "target"),
        ("-0.5", 98.0, 101.0, "stop"),
    ],
)
def test_without_quotes_low_and_high_of_the_candle_decide_and_the_stop_comes_first(
    held: str, low: float, high: float, leg: str
) -> None:
    made = harness()
    made.run([100.0] * 8)
    made.fill(held, "100")
    assert not made.candle(100.0, 99.1, 100.9)
    assert [request.leg for request in made.candle(100.0, low, high)] == [leg]


def test_where_there_are_quotes_candles_are_not_watched() -> None:
    made = harness()
    made.run([100.0] * 8)
    made.tick(100.0)
    made.fill("0.5", "100")
    assert not made.candle(100.0, 50.0, 150.0)


@pytest.mark.parametrize(("rule", "after", "leg"), [("candle_close", MINUTE, []), ("candle_open", 0, ["stop"])])
def test_low_and_high_before_the_entry_do_not_count(rule: str, after: int, leg: list[str]) -> None:
    made = harness()
    made.run([100.0] * 8)
    made.fill("0.5", "100", rule, time_ns=made.history[-1].time_ns + after)
    assert [request.leg for request in made.candle(100.0, 50.0, 101.0)] == leg


def test_a_stop_on_the_confirming_candle_takes_the_place_of_the_exit() -> None:
    made = falling(quantity=Decimal(1))
    made.fill("-0.5", "119.5")
    made.candle(120.0)
    assert [request.leg for request in made.candle(121.0)] == ["stop", "entry"]


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
