"""The engine's own rules for requests: what no broker is asked to do is refused with a reason and its figures."""

from decimal import Decimal
from typing import Any

import pytest
from lab.domain.events import OrderAccepted, OrderRefused, StrategyStopped
from lab.domain.orders import Feature, OrderRequest, OrderType, Side, TimeInForce
from lab.domain.time import MINUTE_NS
from lab.errors import ComponentError
from lab.testing.builders import START_NS, candles, quotes
from lab.testing.engines import only, run
from lab.testing.harness import ScriptedStrategy
from msgspec.structs import replace
from venue import BRACKET, TEN, D, X, engine, oid, play, venue

BUY = OrderRequest.buy(X, TEN)
LIMIT = replace(BUY, type=OrderType.LIMIT, limit=D(90))
STOP = replace(BUY, type=OrderType.STOP, stop=D(110))
STOP_LIMIT = replace(BUY, type=OrderType.STOP_LIMIT, stop=D(110), limit=D(111))
TAKE_PROFIT = replace(BUY, type=OrderType.TAKE_PROFIT, stop=D(90))
TRAILING = replace(BUY, type=OrderType.TRAILING_STOP, trail=D(5))
GTD = TimeInForce.GTD
LATER_NS = START_NS + 99 * MINUTE_NS


def refusal(request: OrderRequest, **settings: Any) -> OrderRefused:
    [refused] = only(OrderRefused, play(engine({0: [request]}, venue(**settings)), 2))
    assert refused.by == "engine"
    assert refused.request == request
    return refused


@pytest.mark.behaviour("O6")
@pytest.mark.parametrize("request_", [BUY, LIMIT, STOP, STOP_LIMIT, TAKE_PROFIT, TRAILING], ids=lambda one: one.type)
@pytest.mark.parametrize("side", Side)
def test_every_type_reaches_the_broker_as_it_was_asked_for(request_: OrderRequest, side: Side) -> None:
    broker = venue()
    request = replace(request_, side=side, group="g")
    [accepted] = only(OrderAccepted, play(engine({0: [request]}, broker), 2))
    order = broker.orders[oid()]
    for name in ("type", "side", "quantity", "limit", "stop", "trail", "reduce_only"):
        assert getattr(accepted, name) == getattr(order, name) == getattr(request, name)
    assert (order.group, accepted.group) == ("s/g", "s/g")


@pytest.mark.behaviour("O6")
@pytest.mark.parametrize(
    ("side", "name", "asked", "placed"),
    [
        (Side.BUY, "limit", "90.09", "90.0"), (Side.SELL, "limit", "90.01", "90.1"),
        (Side.BUY, "stop", "110.09", "110.0"), (Side.SELL, "stop", "110.01", "110.1"),
        (Side.BUY, "trail", "5.09", "5.0"), (Side.SELL, "trail", "5.09", "5.0"),
    ],
)  # fmt: skip
def test_prices_are_put_on_the_tick_no_worse_for_their_owner_and_stops_no_further(
    side: Side, name: str, asked: str, placed: str
) -> None:
    request = {"limit": LIMIT, "stop": STOP, "trail": TRAILING}[name]
    request = replace(replace(request, side=side), **{name: D(asked)})
    [accepted] = only(OrderAccepted, play(engine({0: [request]}), 1))
    assert getattr(accepted, name) == D(placed)


NEEDED = [(LIMIT, "limit"), (STOP, "stop"), (STOP_LIMIT, "stop"), (STOP_LIMIT, "limit"), (TAKE_PROFIT, "stop"),
          (TRAILING, "trail")]  # fmt: skip


@pytest.mark.behaviour("O6")
@pytest.mark.parametrize(("request_", "name"), NEEDED, ids=lambda one: getattr(one, "type", one))
@pytest.mark.parametrize("value", [None, D(0), D(-1), D("0.09")], ids=str)
def test_a_price_that_a_type_needs_is_above_0_on_the_tick(
    request_: OrderRequest, name: str, value: Decimal | None
) -> None:
    refused = refusal(replace(request_, **{name: value}))
    assert refused.reason == f"a {request_.type} order needs a {name} above 0"
    assert refused.numbers == {name: str(value), "tick": "0.1"}


@pytest.mark.behaviour("O6")
@pytest.mark.parametrize(
    ("request_", "name"),
    [(BUY, "limit"), (BUY, "stop"), (BUY, "trail"), (LIMIT, "stop"), (LIMIT, "trail"), (STOP, "limit"),
     (STOP, "trail"), (STOP_LIMIT, "trail"), (TAKE_PROFIT, "limit"), (TRAILING, "stop"), (TRAILING, "limit")],
    ids=lambda one: getattr(one, "type", one),
)  # fmt: skip
def test_a_price_that_a_type_does_not_have_is_refused(request_: OrderRequest, name: str) -> None:
    refused = refusal(replace(request_, **{name: D(100)}))
    assert refused.reason == f"a {request_.type} order takes no {name}"
    assert refused.numbers == {"type": str(request_.type), name: "100"}


@pytest.mark.behaviour("O6")
@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (replace(STOP, time_in_force=TimeInForce.IOC), "ioc is for market and limit orders"),
        (replace(STOP_LIMIT, time_in_force=TimeInForce.FOK), "fok is for market and limit orders"),
        (replace(TRAILING, time_in_force=TimeInForce.FOK), "fok is for market and limit orders"),
        (replace(LIMIT, expires_ns=LATER_NS), "a gtc order does not expire; use TimeInForce.GTD"),
        (replace(LIMIT, time_in_force=TimeInForce.IOC, expires_ns=1), "a ioc order does not expire"),
        (replace(LIMIT, time_in_force=GTD), "a gtd order needs expires_ns later than now"),
        (replace(LIMIT, time_in_force=GTD, expires_ns=0), "a gtd order needs expires_ns later than now"),
        (replace(LIMIT, time_in_force=GTD, expires_ns=START_NS + MINUTE_NS), "a gtd order needs expires_ns later"),
        (replace(BUY, post_only=True), "post_only is for limit orders that may rest"),
        (replace(STOP_LIMIT, post_only=True), "post_only is for limit orders that may rest"),
        (replace(LIMIT, post_only=True, time_in_force=TimeInForce.IOC), "post_only is for limit orders that may rest"),
        (replace(LIMIT, post_only=True, time_in_force=TimeInForce.FOK), "post_only is for limit orders that may rest"),
    ],
)
def test_terms_that_do_not_fit_together_are_refused(request_: OrderRequest, reason: str) -> None:
    assert refusal(request_).reason.startswith(reason)


@pytest.mark.behaviour("O6")
@pytest.mark.parametrize(
    "request_",
    [
        replace(LIMIT, time_in_force=GTD, expires_ns=START_NS + MINUTE_NS + 1),
        replace(LIMIT, time_in_force=GTD, expires_ns=LATER_NS, post_only=True),
        replace(BUY, time_in_force=TimeInForce.IOC),
        replace(LIMIT, time_in_force=TimeInForce.FOK),
        replace(STOP, time_in_force=GTD, expires_ns=2**63 - 1),
    ],
)
def test_terms_that_fit_together_are_kept(request_: OrderRequest) -> None:
    broker = venue()
    [accepted] = only(OrderAccepted, play(engine({0: [request_]}, broker), 1))
    for name in ("time_in_force", "expires_ns", "post_only"):
        assert getattr(accepted, name) == getattr(broker.orders[oid()], name) == getattr(request_, name)


# -- brackets ---------------------------------------------------------------------------------------------------------


SHORT = replace(BRACKET, side=Side.SELL, stop_loss=D(110), take_profit=D(80))


@pytest.mark.behaviour("O6")
@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (replace(BRACKET, stop_loss=D(100)), "the stop_loss of a buy lies below its price, and above 0"),
        (replace(BRACKET, stop_loss=D("99.95")), "the stop_loss of a buy lies below its price, and above 0"),
        (replace(BRACKET, stop_loss=D(0)), "the stop_loss of a buy lies below its price, and above 0"),
        (replace(BRACKET, stop_loss=D(-90)), "the stop_loss of a buy lies below its price, and above 0"),
        (replace(BRACKET, limit=D("100.09"), stop_loss=D(100)), "the stop_loss of a buy lies below its price"),
        (replace(BRACKET, take_profit=D(100)), "the take_profit of a buy lies above its price, and above 0"),
        (replace(SHORT, stop_loss=D(100)), "the stop_loss of a sell lies above its price, and above 0"),
        (replace(SHORT, stop_loss=D("100.05")), "the stop_loss of a sell lies above its price, and above 0"),
        (replace(SHORT, take_profit=D("0.09")), "the take_profit of a sell lies below its price, and above 0"),
        (replace(SHORT, take_profit=D(101)), "the take_profit of a sell lies below its price, and above 0"),
        (replace(STOP, stop_loss=D(110)), "the stop_loss of a buy lies below its price, and above 0"),
        (replace(BUY, stop_loss=D(100)), "the stop_loss of a buy lies below its price, and above 0"),
        (replace(BUY, take_profit=D(99)), "the take_profit of a buy lies above its price, and above 0"),
        (replace(BRACKET, reduce_only=True), "an order that only reduces has no stop_loss and no take_profit"),
    ],
)
def test_a_guard_on_the_wrong_side_of_its_entry_is_refused(request_: OrderRequest, reason: str) -> None:
    assert refusal(request_).reason.startswith(reason)


@pytest.mark.behaviour("O6")
@pytest.mark.parametrize(("stop_loss", "sound"), [("99.9", True), ("100.0", True), ("100.1", False)])
def test_a_market_order_is_measured_by_the_quote_it_would_pay(stop_loss: str, sound: bool) -> None:
    request = replace(BUY, stop_loss=D(stop_loss))
    made = engine({0: [request]})
    [quote] = quotes([100.0])
    outputs = run(made, [quote, *candles([90.0])])
    assert bool(only(OrderAccepted, outputs)) is sound


@pytest.mark.behaviour("O6")
@pytest.mark.parametrize(
    ("side", "limit", "stop_loss", "sound"),
    [
        (Side.BUY, "105", "102", False), (Side.BUY, "105", "99", True), (Side.BUY, "95", "97", False),
        (Side.SELL, "95", "98", False), (Side.SELL, "95", "101", True), (Side.SELL, "105", "103", False),
    ],
)  # fmt: skip
def test_a_limit_that_is_marketable_is_measured_by_the_price_it_fills_at_and_one_that_rests_by_its_own(
    side: Side, limit: str, stop_loss: str, sound: bool
) -> None:
    request = replace(BUY, side=side, type=OrderType.LIMIT, limit=D(limit), stop_loss=D(stop_loss))
    assert bool(only(OrderAccepted, play(engine({0: [request]}), 1))) is sound


# -- what the broker can do -------------------------------------------------------------------------------------------


@pytest.mark.behaviour("O6")
@pytest.mark.parametrize(
    ("request_", "feature"),
    [
        (replace(LIMIT, time_in_force=TimeInForce.IOC), Feature.IOC),
        (replace(LIMIT, time_in_force=TimeInForce.FOK), Feature.FOK),
        (replace(LIMIT, time_in_force=GTD, expires_ns=LATER_NS), Feature.GTD),
        (replace(LIMIT, post_only=True), Feature.POST_ONLY),
        (replace(LIMIT, group="g"), Feature.GROUP),
        (BRACKET, Feature.BRACKET),
    ],
)
def test_what_the_broker_cannot_do_is_refused_with_what_it_can(request_: OrderRequest, feature: Feature) -> None:
    refused = refusal(request_, can=set(Feature) - {feature})
    assert refused.reason.startswith(f"broker scripted cannot do {feature}; it can do ")
    assert refused.numbers == {"missing": str(feature)}
    assert refusal(request_, can=()).reason.endswith("; it can do none")


@pytest.mark.behaviour("O6")
@pytest.mark.parametrize(("kind", "side"), [(OrderType.STOP, "stop_loss"), (OrderType.LIMIT, "take_profit")])
def test_a_bracket_needs_a_broker_that_takes_the_orders_that_guard(kind: OrderType, side: str) -> None:
    request = replace(BUY, stop_loss=D(90), take_profit=D(120))
    refused = refusal(request, takes=set(OrderType) - {kind})
    assert refused.reason.startswith(f"broker scripted takes no {kind} orders; it takes ")
    assert (
        len(
            only(
                OrderAccepted,
                play(engine({0: [replace(request, **{side: None})]}, venue(takes=set(OrderType) - {kind})), 1),
            )
        )
        == 2
    )


@pytest.mark.behaviour("O6")
@pytest.mark.parametrize("request_", [BUY, LIMIT, STOP, STOP_LIMIT, TAKE_PROFIT, TRAILING], ids=lambda one: one.type)
def test_a_type_the_broker_does_not_take_is_refused_with_those_it_does(request_: OrderRequest) -> None:
    assert refusal(request_, takes=set(OrderType) - {request_.type}).numbers == {"type": str(request_.type)}
    assert refusal(request_, takes=()).reason == f"broker scripted takes no {request_.type} orders; it takes none"


def test_a_broker_that_declares_features_that_are_none_is_named_before_the_run() -> None:
    with pytest.raises(ComponentError, match="broker scripted failed in features: TypeError: it gave 'ioc'"):
        engine({}, venue(can=["ioc"]))


# -- fields of the wrong class ----------------------------------------------------------------------------------------


WRONG: list[tuple[str, Any]] = [
    *((name, value) for name in ("stop", "trail", "stop_loss", "take_profit")
      for value in (1, 1.5, "1", True, D("NaN"), D("sNaN"), D("Infinity"), D("-Infinity"), D("1e15"), D("-1e15"))),
    *(("post_only", value) for value in (1, None, "yes")),
    *(("time_in_force", value) for value in ("gtc", None, 1, OrderType.LIMIT)),
    *(("expires_ns", value) for value in (1.5, "1", True, -1, 2**63)),
    *(("group", value) for value in (1, None, "a/b", "x" * 33, "größe", "\ud800", " ")),
]  # fmt: skip


@pytest.mark.behaviour("P6")
@pytest.mark.parametrize(("name", "value"), WRONG, ids=repr)
def test_a_field_of_the_wrong_class_or_bounds_stops_its_strategy_alone_and_names_the_field(
    name: str, value: Any
) -> None:
    plans = {
        "s": ScriptedStrategy(plan={0: [replace(LIMIT, **{name: value})]}),
        "t": ScriptedStrategy(plan={1: [LIMIT]}),
    }
    outputs = play(engine(plans), 3)
    [stopped] = only(StrategyStopped, outputs)
    assert f"OrderRequest.{name} is" in stopped.error
    assert [one.strategy for one in only(OrderAccepted, outputs)] == ["t"]


@pytest.mark.behaviour("P6")
def test_groups_of_the_same_name_of_two_strategies_do_not_meet() -> None:
    request = replace(LIMIT, group="exits")
    plans = {"s": ScriptedStrategy(plan={0: [request]}), "t": ScriptedStrategy(plan={0: [request]})}
    assert [one.group for one in only(OrderAccepted, play(engine(plans), 1))] == ["s/exits", "t/exits"]


@pytest.mark.behaviour("O6")
def test_an_entry_of_a_group_has_guards_of_a_group_of_their_own() -> None:
    entry, stop, target = only(OrderAccepted, play(engine({0: [replace(BRACKET, group="entries")]}), 1))
    assert entry.group == "s/entries"
    assert stop.group == target.group == oid()
