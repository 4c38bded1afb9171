"""What a strategy hands in is taken by its class and within bounds, or stops that strategy by name, and nobody else."""

from collections.abc import Iterable
from decimal import Decimal
from functools import reduce
from typing import Any

import pytest
from attrs import define
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lab.domain.events import EquityExhausted, OrderAccepted, OrderFilled, OrderRefused, StrategyStopped
from lab.domain.instrument import Instrument
from lab.domain.ledger import EXACT
from lab.domain.market import Candle
from lab.domain.orders import CancelRequest, OrderRequest, OrderType, Side
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.journal.codec import encode
from lab.ports import Broker, Strategy
from lab.testing.builders import START_NS, candles, instrument
from lab.testing.engines import engine_with, only
from lab.testing.harness import ScriptedStrategy
from lab.testing.scripted_broker import ScriptedBroker
from lab.testing.simple_broker import SimpleBroker
from msgspec.structs import replace

D = Decimal
X = "BTCUSDT"
BUY = OrderRequest.buy(X, D(1))
HALF_A_PAIR = "\ud800"


@define(kw_only=True, eq=False)
class Asking(Strategy):
    """Gives one answer at every candle, whatever it is."""

    answer: Any

    def on_candle(self, candle: Candle, view: View) -> Any:
        return self.answer


def engine(*strategies: Strategy, broker: Broker | None = None, known: Instrument | None = None, **more: Any) -> Engine:
    broker = SimpleBroker(latency_ms=0) if broker is None else broker
    return engine_with(strategies, broker=broker, instruments=[known or instrument(X)], **more)


def run(made: Engine, prices: Iterable[float] = (100.0, 100.0, 100.0)) -> list[Any]:
    return [output for candle in candles(prices) for output in made.step(candle)]


def total(amounts: Iterable[Decimal]) -> Decimal:
    return reduce(EXACT.add, amounts, D(0))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"side": "buy"}, "OrderRequest.side is 'buy'; expected Side.BUY or Side.SELL"),
    ({"side": "BUY"}, "OrderRequest.side is 'BUY'"),
    ({"side": "hold"}, "OrderRequest.side is 'hold'"),
    ({"side": "long"}, "OrderRequest.side is 'long'"),
    ({"side": None}, "OrderRequest.side is None"),
    ({"side": 1}, "OrderRequest.side is 1"),
    ({"type": "market"}, "OrderRequest.type is 'market'; expected one of OrderType.MARKET, OrderType.LIMIT"),
    ({"type": "limit"}, "OrderRequest.type is 'limit'"),
    ({"type": "stop"}, "OrderRequest.type is 'stop'"),
    ({"type": None}, "OrderRequest.type is None"),
    ({"type": Side.BUY}, "OrderRequest.type is <Side.BUY"),
    ({"side": OrderType.MARKET}, "OrderRequest.side is <OrderType.MARKET"),
    ({"reduce_only": "no"}, "OrderRequest.reduce_only is 'no'; expected True or False"),
    ({"reduce_only": 0}, "OrderRequest.reduce_only is 0"),
    ({"reduce_only": None}, "OrderRequest.reduce_only is None"),
    ({"symbol": None}, "OrderRequest.symbol is None; expected text"),
    ({"symbol": b"BTCUSDT"}, "OrderRequest.symbol is b'BTCUSDT'; expected text"),
    ({"symbol": HALF_A_PAIR}, "expected text that can be written as UTF-8"),
    ({"symbol": "X" * 501}, "OrderRequest.symbol has 501 characters; expected at most 500"),
    ({"reason": ValueError("x")}, "OrderRequest.reason is ValueError('x'); expected text"),
    ({"reason": None}, "OrderRequest.reason is None; expected text"),
    ({"reason": 0}, "OrderRequest.reason is 0; expected text"),
    ({"reason": HALF_A_PAIR}, r"OrderRequest.reason is '\ud800'; expected text that can be written as UTF-8"),
    ({"reason": "x" * 501}, "OrderRequest.reason has 501 characters; expected at most 500"),
    ({"leg": HALF_A_PAIR}, r"OrderRequest.leg is '\ud800'; expected 1 to 32 letters, digits or _ . : + -"),
    ({"leg": "a\nb"}, r"OrderRequest.leg is 'a\nb'"),
    ({"leg": "a\n"}, r"OrderRequest.leg is 'a\n'"),
    ({"leg": "a b"}, "OrderRequest.leg is 'a b'"),
    ({"leg": "größe"}, "OrderRequest.leg is 'größe'"),
    ({"leg": "x" * 33}, "OrderRequest.leg is 'xxx"),
    ({"leg": 1}, "OrderRequest.leg is 1"),
    ({"leg": None}, "OrderRequest.leg is None"),
    ({"leg": []}, "OrderRequest.leg is []"),
    ({"decided_ns": "x"}, "OrderRequest.decided_ns is 'x'; expected nanoseconds as int, or None"),
    ({"decided_ns": 1.7e18}, "OrderRequest.decided_ns is 1.7e+18"),
    ({"decided_ns": True}, "OrderRequest.decided_ns is True"),
    ({"decided_ns": -1}, "OrderRequest.decided_ns is -1"),
    ({"decided_ns": 2**63}, "OrderRequest.decided_ns is 9223372036854775808"),
    ({"quantity": None}, "OrderRequest.quantity is None; expected a finite Decimal"),
    (
        {"quantity": 1},
        'OrderRequest.quantity is 1; expected a finite Decimal: say Decimal("1"), or Decimal(str(x)) of a number x',
    ),
    ({"quantity": 0.5}, 'OrderRequest.quantity is 0.5; expected a finite Decimal: say Decimal("0.5"), or'),
    ({"quantity": "1\n"}, 'expected a finite Decimal: say Decimal("1"), or Decimal(str(x)) of a number x'),
    ({"quantity": "one"}, "OrderRequest.quantity is 'one'; expected a finite Decimal (lab"),
    ({"quantity": float("nan")}, "OrderRequest.quantity is nan; expected a finite Decimal (lab"),
    ({"quantity": 10**50}, "expected a finite Decimal (lab"),
    ({"quantity": D("NaN")}, "OrderRequest.quantity is Decimal('NaN'); expected a finite Decimal"),
    ({"quantity": D("sNaN")}, "OrderRequest.quantity is Decimal('sNaN'); expected a finite Decimal"),
    ({"quantity": D("Infinity")}, "OrderRequest.quantity is Decimal('Infinity'); expected a finite Decimal"),
    ({"quantity": D("1e15")}, "OrderRequest.quantity is 1E+15; expected less than 1000000000000000"),
    ({"quantity": D("-1e15")}, "OrderRequest.quantity is -1E+15"),
    ({"limit": D("sNaN")}, "OrderRequest.limit is Decimal('sNaN'); expected a finite Decimal"),
    ({"limit": D("1e99")}, "OrderRequest.limit is 1E+99; expected less than"),
    ({"limit": "99"}, "OrderRequest.limit is '99'; expected a finite Decimal: say Decimal(\"99\"), or"),
    ({"stop_loss": 90.5}, 'OrderRequest.stop_loss is 90.5; expected a finite Decimal: say Decimal("90.5"), or'),
    ({"stop_loss": D("NaN")}, "OrderRequest.stop_loss is Decimal('NaN'); expected a finite Decimal"),
    ({"stop_loss": D("-1e16")}, "OrderRequest.stop_loss is -1E+16; expected less than"),
]


@pytest.mark.behaviour("P6", "O13")
@pytest.mark.parametrize(("change", "complaint"), WRONG, ids=[f"{change!a:.40}" for change, _ in WRONG])
def test_a_request_with_one_wrong_field_stops_its_strategy_alone_and_nothing_is_traded(
    change: dict[str, Any], complaint: str
) -> None:
    """Also beside a sound request of the same decision, and with every output still fit for the journal."""
    failures: list[tuple[str, str, str]] = []
    made = engine(
        Asking(answer=[BUY, replace(BUY, **change)]),
        ScriptedStrategy(plan={1: [BUY]}),
        on_failure=lambda role, name, call, error: failures.append((role, name, call)),
    )
    outputs = run(made)
    [stopped] = only(StrategyStopped, outputs)
    assert stopped.strategy == "s0"
    assert complaint in stopped.error
    assert failures == [("strategy", "s0", "on_candle")]
    assert [(filled.strategy, filled.position) for filled in only(OrderFilled, outputs)] == [("s1", 1)]
    assert all(encode(output) for output in outputs)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ([CancelRequest(None)], "CancelRequest.order_id is None; expected text"),  # type: ignore[arg-type]
        ([CancelRequest(HALF_A_PAIR)], "expected text that can be written as UTF-8"),
        ([CancelRequest("o", b"x")], "CancelRequest.reason is b'x'; expected text"),  # type: ignore[arg-type]
        ([CancelRequest("o", "x" * 501)], "CancelRequest.reason has 501 characters"),
        ([None], "a strategy gives OrderRequest, CancelRequest or AmendRequest, not NoneType"),
        (["buy"], "a strategy gives OrderRequest, CancelRequest or AmendRequest, not str"),
        (BUY, "TypeError: a decision is OrderRequest; expected a list or tuple of requests: return [request]"),
        (CancelRequest("o"), "TypeError: a decision is CancelRequest; expected a list or tuple of requests"),
        (map(int, [None]), "TypeError: int() argument must be"),  # type: ignore[list-item]
        (1, "TypeError: a decision is int; expected a list or tuple of requests"),
        ([BUY] * 101, "more than 100 requests in one decision"),
    ],
)
def test_an_answer_that_is_no_list_of_actions_stops_its_strategy(answer: object, complaint: str) -> None:
    made = engine(Asking(answer=answer))
    [stopped] = only(StrategyStopped, run(made))
    assert complaint in stopped.error
    assert made.counters.orders == 0


def test_a_field_whose_description_fails_stops_its_strategy_too() -> None:
    class Nameless:
        def __repr__(self) -> str:
            raise KeyError("no name")

    made = engine(Asking(answer=[replace(BUY, reason=Nameless())]))
    [stopped] = only(StrategyStopped, run(made))
    assert "KeyError: 'no name'" in stopped.error


@pytest.mark.parametrize("text", ["größe 5 µs", "日本語", "🚀", "a\nb", "", "x" * 500])
def test_a_reason_may_be_any_text_that_can_be_written(text: str) -> None:
    outputs = run(engine(Asking(answer=[replace(BUY, reason=text)])))
    assert only(OrderAccepted, outputs)[0].reason == text
    assert not only(StrategyStopped, outputs)


@pytest.mark.parametrize("leg", ["entry", "stop:1", "a.b-c+d_e", "x" * 32, "0"])
def test_a_leg_of_the_promised_form_stands_in_the_orders_id(leg: str) -> None:
    outputs = run(engine(Asking(answer=[replace(BUY, leg=leg)])))
    assert only(OrderAccepted, outputs)[0].order_id == f"l-s0-{X}-c{START_NS}-{leg}"


JUNK = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.binary(max_size=5)
    | st.decimals(allow_nan=True, allow_infinity=True) | st.sampled_from([*Side, *OrderType]) | st.just([])
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(OrderRequest.__struct_fields__), JUNK, max_size=4))
@example({"quantity": D(333_333)})
def test_whatever_a_field_holds_the_run_goes_on_and_the_books_agree(change: dict[str, Any]) -> None:
    made = engine(Asking(answer=[replace(BUY, **change)]), ScriptedStrategy(plan={0: [BUY]}))
    outputs = run(made)
    answers = only(StrategyStopped, outputs) + only(OrderAccepted, outputs) + only(OrderRefused, outputs)
    assert {answer.strategy for answer in answers} == {"s0", "s1"}
    assert all(encode(output) for output in outputs)
    held = 0 if only(EquityExhausted, outputs) else 1  # a large order's fee may be all there is: all is closed then
    assert made.strategies[1].view.position(X).quantity == held
    for strategy in made.strategies:
        assert total(strategy.book.ledger.balances.values()) == 0


# -- very large and very small ----------------------------------------------------------------------------------------


@pytest.mark.behaviour("O14")
def test_nearly_ten_to_the_fifteen_coins_are_booked_to_the_last_digit() -> None:
    most = D(999_999_999_999_999)
    made = engine(Asking(answer=[OrderRequest.buy(X, most)]))
    outputs = run(made, [50_000.1, 50_000.1])
    [filled] = only(OrderFilled, outputs)
    assert filled.position == most
    assert filled.fill.fee == D("30000059999999969.99994")
    assert total(amount for _, amount in filled.postings) == 0
    assert made.strategies[0].book.ledger.position(X).cost == EXACT.multiply(D("50000.1"), most)


@pytest.mark.behaviour("O8", "O14")
def test_a_lot_of_ten_to_the_minus_eighteen_loses_no_digit_of_a_trillion_coins() -> None:
    wanted = D("1000000000001.2345678901234567891")
    fine = instrument(X, lot=D("1e-18"), quantity_min=D("1e-18"), tick=D("1e-8"))
    made = engine(Asking(answer=[OrderRequest.buy(X, wanted)]), known=fine)
    [accepted, *_] = only(OrderAccepted, outputs := run(made, [0.00000123, 0.00000123, 0.00000123]))
    assert accepted.quantity == D("1000000000001.234567890123456789")
    [first, *_] = only(OrderFilled, outputs)
    assert first.position == D("1000000000001.234567890123456789")
    assert first.fill.fee == EXACT.multiply(D("7.38e-10"), D("1000000000001.234567890123456789"))
    for filled in only(OrderFilled, outputs):
        assert total(amount for _, amount in filled.postings) == 0


# -- what the broker can ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("takes", "kind", "reason"),
    [
        ([OrderType.MARKET], OrderType.LIMIT, "broker bare takes no limit orders; it takes market"),
        ([OrderType.LIMIT], OrderType.MARKET, "broker bare takes no market orders; it takes limit"),
        ([], OrderType.MARKET, "broker bare takes no market orders; it takes none"),
    ],
)
def test_an_order_type_that_the_broker_does_not_take_is_refused_naming_those_it_takes(
    takes: list[OrderType], kind: OrderType, reason: str
) -> None:
    made = engine(
        Asking(answer=[replace(BUY, type=kind, limit=D(100))]), broker=ScriptedBroker(takes=takes), broker_name="bare"
    )
    refused = only(OrderRefused, run(made))[0]
    assert (refused.by, refused.reason, refused.numbers) == ("engine", reason, {"type": kind.value})
    assert made.counters.orders == 0
