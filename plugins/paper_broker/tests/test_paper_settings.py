"""Settings, the header, and that the same orders and events give the same reports."""

import pytest
from lab import Ended, Feature, Fill
from lab_paper_broker.broker import PaperBroker
from paper import BTC, SELL, START, D, at, broker, only_fill, order, quote, timer


@pytest.mark.behaviour("O9")
@pytest.mark.parametrize(
    ("fees", "taker", "maker"),
    [
        ({}, "0.0600 %", "0.0200 %"),
        ({"taker_fee": D(0), "maker_fee": D(0)}, "0.0000 %", "0.0000 %"),
        ({"taker_fee": D("0.00055")}, "0.0550 %", "0.0200 %"),
        ({"maker_fee": D("-0.0000125")}, "0.0600 %", "-0.00125 %"),
    ],
)
def test_fees_not_given_are_the_venues_and_0_is_free_and_the_header_shows_the_effective_rates(
    fees: dict[str, D], taker: str, maker: str
) -> None:
    paper = broker(**fees)
    shown = paper.describe(BTC)
    assert (shown["taker"], shown["maker"], shown["latency"]) == (taker, maker, "200 ms ± 0 ms, cancels 0 ms")
    paper.submit(order(), START)
    paper.submit(order(limit="59", oid="o-2"), START)
    assert only_fill(paper, quote(250)).fee_rate == fees.get("taker_fee", BTC.taker_fee_rate)
    assert only_fill(paper, quote(300, 58.0, 58.9)).fee_rate == fees.get("maker_fee", BTC.maker_fee_rate)


def test_describe_says_what_fills_orders_where_there_are_no_quotes() -> None:
    assert PaperBroker().describe(BTC)["without quotes"] == "the next candle's open; expected fills"


def test_the_header_says_what_latency_liquidity_slippage_and_expiry_are_in_force() -> None:
    assert PaperBroker().describe(BTC) == {
        "taker": "0.0600 %",
        "maker": "0.0200 %",
        "latency": "200 ms ± 20 ms",
        "slippage": "0 bps beyond the touch, 1 bps on candle prices",
        "liquidity": "what is displayed, once",
        "without quotes": "the next candle's open; expected fills",
        "expiry": "market orders 60000 ms after arrival, 2 candles without quotes",
    }
    other = PaperBroker(cancel_latency_ms=50, feed_ms=30, candle_share=D("0.125"), fills="pessimistic").describe(BTC)
    assert other["latency"] == "200 ms ± 20 ms, cancels 50 ms, feed 30 ms"
    assert other["liquidity"] == "what is displayed, once; 12.5 % of a candle's volume"
    assert PaperBroker(liquidity="unlimited", cancel_latency_ms=200).describe(BTC)["liquidity"] == "unlimited"


def test_it_declares_every_feature() -> None:
    assert PaperBroker().features() == set(Feature)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("taker_fee", D("0.06")),
        ("taker_fee", D("-0.0001")),
        ("maker_fee", D("-0.05001")),
        ("slippage_bps", D(-1)),
        ("quote_slippage_bps", D(1_000)),
        ("latency_ms", -1),
        ("jitter_ms", -1),
        ("expire_ms", 0),
        ("stale_ms", 0),
        ("cancel_latency_ms", -1),
        ("feed_ms", 604_800_001),
        ("candle_share", D(0)),
        ("candle_share", D("1.1")),
        ("liquidity", "hidden"),
        ("fills", "hopeful"),
    ],
)
def test_a_senseless_setting_is_refused_by_name_and_value(setting: str, value: object) -> None:
    with pytest.raises(ValueError, match=setting) as caught:
        PaperBroker(**{setting: value})  # type: ignore[arg-type]
    assert str(value) in str(caught.value)


def test_a_rate_with_more_decimals_than_money_is_kept_with_is_refused() -> None:
    assert PaperBroker(taker_fee=D("0.000000000000000001")).taker_fee
    with pytest.raises(ValueError, match="taker_fee must have at most 18 decimals, not 19"):
        PaperBroker(taker_fee=D("0.0000000000000000001"))


def test_the_same_orders_and_events_given_to_a_new_instance_give_the_same_reports_at_every_moment() -> None:
    sent = {
        0: [order(limit="59", oid="o-2"), order(oid="o-9")],
        1: [order(SELL, oid="o-3", symbol="ETHUSDT")],
        3: [order(oid="o-4")],
    }
    events = (quote(10), quote(310), quote(320, 99.0, 99.9), quote(600), timer(70_000))

    def log(paper: PaperBroker, count: int) -> list[object]:
        found: list[object] = []
        for number, event in enumerate(events[:count]):
            found += [paper.submit(one, at(number)) for one in sent.get(number, ())]
            found += paper.observe(event)
        return found

    whole = log(broker(latency_ms=300, jitter_ms=100), len(events))
    assert sum(isinstance(one, Fill) for one in whole) >= 2
    assert sum(isinstance(one, Ended) for one in whole) == 1
    for count in range(len(events)):
        early = log(broker(latency_ms=300, jitter_ms=100), count)
        assert early == whole[: len(early)]


def test_the_plugin_offers_the_broker_by_name() -> None:
    from lab.plugins.discovery import Registry

    assert Registry().get("broker", "paper").cls is PaperBroker
