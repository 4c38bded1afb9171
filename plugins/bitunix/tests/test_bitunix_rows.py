"""REST bodies: both volume regimes, missing fields, units, fees."""

from decimal import Decimal
from pathlib import Path

import pytest
from lab.domain.instrument import ASSUMED_TIERS, MarginTier
from lab.domain.market import BACKFILLED, Candle, Funding
from lab.domain.time import MINUTE_NS
from lab.errors import ProviderError, ProviderUnavailable
from lab_bitunix import rows

SAMPLES = Path(__file__).parent / "samples"
MS = 1_000_000


def data_of(name: str) -> bytes:
    envelope = rows.decode_envelope((SAMPLES / f"{name}.json").read_bytes())
    assert envelope.code == 0
    return bytes(envelope.data)


@pytest.mark.behaviour("F13")
def test_volume_is_the_coins_in_both_regimes_of_the_field_names() -> None:
    old, bad = rows.decode_candles(data_of("rest-kline-2026-09-15"), "BTCUSDT", MINUTE_NS)
    assert [candle.volume for candle in old] == [31.5403, 36.5251, 14.9323, 30.3283, 31.3986]
    new, _ = rows.decode_candles(data_of("rest-kline-2026-09-20"), "BTCUSDT", 60 * MINUTE_NS)
    assert [candle.volume for candle in new] == [2558.76]
    assert not bad


@pytest.mark.behaviour("F13")
def test_an_open_outside_low_and_high_is_taken_as_it_is() -> None:
    candles, bad = rows.decode_candles(
        b'[{"open":"99","high":"98","low":"95","close":"97","quoteVol":"970","baseVol":"10","time":"1789482000000"}]',
        "BTCUSDT",
        MINUTE_NS,
    )
    opened_ns = 1789482000000 * MS
    assert candles == [Candle("BTCUSDT", opened_ns, opened_ns + MINUTE_NS, 99.0, 98.0, 95.0, 97.0, 10.0, BACKFILLED)]
    assert not bad


@pytest.mark.parametrize(
    ("quote_vol", "base_vol", "low", "high", "coins"),
    [
        (0.0, 0.0, 100.0, 101.0, 0.0),
        (1000.0, 10.0, 100.0, 101.0, 10.0),
        (10.0, 1000.0, 100.0, 101.0, 10.0),
        (10.0, 10.0, 0.999, 1.001, 10.0),
        (10.001, 10.0, 0.9995, 1.0005, 10.0),  # both fit: today's meaning
        (0.0001, 8.4, 76000.0, 76001.0, 0.0001),  # rounded so much that neither fits: the nearer
        (8.4, 0.0001, 76000.0, 76001.0, 0.0001),
        (0.0, 3.0, 76000.0, 76001.0, 0.0),
        (5000.0, 1e-3, 2e-7, 2.1e-7, 5000.0),
        (1e-3, 5000.0, 2e-7, 2.1e-7, 5000.0),
    ],
)
def test_the_value_decides_which_field_holds_the_coins(
    quote_vol: float, base_vol: float, low: float, high: float, coins: float
) -> None:
    assert rows.coin_volume(quote_vol, base_vol, low, high) == coins


@pytest.mark.behaviour("F13")
def test_a_bad_row_is_named_and_the_good_ones_around_it_are_used() -> None:
    good = b'{"open":"9","high":"9","low":"9","close":"9","time":"17894820%d0000"}'
    body = b"[" + b",".join([
        good % 0,
        b'{"open":"NaN","high":"9","low":"9","close":"9","time":"1789482060000"}',
        b'{"open":"9","high":"9","low":"9","close":"","time":"1789482060000"}',
        b'{"open":"9","high":"9","low":"9","close":"9","time":"1789482060001"}',
        b'{"open":"9","high":"9","low":"9","close":"9","quoteVol":"-1","time":"1789482060000"}',
        b"7",
        good % 6,
    ]) + b"]"  # fmt: skip
    candles, bad = rows.decode_candles(body, "BTCUSDT", MINUTE_NS)
    assert [candle.open_ns // MS for candle in candles] == [1789482000000, 1789482060000]
    assert len(bad) == 5
    assert any("not the start of a candle" in reason for reason, _ in bad)


@pytest.mark.parametrize("name", ["rest-kline-docs-2025", "rest-kline-docs-2026-10"])
def test_the_documents_placeholder_time_is_refused_but_their_numbers_are_read(name: str) -> None:
    data = data_of(name)
    assert rows.decode_candles(data, "X", MINUTE_NS)[0] == []
    candles, _ = rows.decode_candles(data.replace(b"111111", b"1789482000000"), "X", MINUTE_NS)
    assert candles[0][3:8] == (60000.0, 60001.0, 59989.2, 60000.0, 1.0)


@pytest.mark.behaviour("F13")
def test_codes_count_as_number_and_as_string() -> None:
    assert rows.decode_envelope(b'{"code":"0","data":[]}').code == 0
    assert rows.decode_envelope(b'{"code":"20015","data":null,"msg":null}').code == 20015


@pytest.mark.behaviour("F13")
def test_funding_is_percent_on_the_wire_as_object_or_list() -> None:
    now_ns = 1771400000000 * MS
    assert rows.decode_funding(data_of("rest-funding-rate-2026-02"), "BTCUSDT", now_ns) == Funding(
        "BTCUSDT", now_ns, 0.0000072, 1771430400000 * MS, 67419.7
    )
    assert rows.decode_funding(data_of("rest-funding-rate-docs"), "BTCUSDT", now_ns) == Funding(
        "BTCUSDT", now_ns, 0.000005, 1770710400000 * MS, 60000.0
    )


def test_funding_without_a_time_is_due_at_the_next_eight_hours_of_utc() -> None:
    now_ns = 1771400000000 * MS  # 2026-02-18 07:33:20
    funding = rows.decode_funding(data_of("rest-funding-rate-docs-2025"), "BTCUSDT", now_ns)
    assert funding.next_ns == 1771401600000 * MS


@pytest.mark.parametrize("bad", [b"[]", b'{"fundingRate":"NaN","markPrice":1}', b'{"fundingRate":"90","markPrice":1}',
                                 b'{"fundingRate":"0.01","markPrice":"0"}', b'{"fundingRate":"0.01"}'])  # fmt: skip
def test_a_rate_that_is_none_is_refused(bad: bytes) -> None:
    with pytest.raises(ValueError, match=r"funding_rate|NaN"):
        rows.decode_funding(bad, "BTCUSDT", 1)


@pytest.mark.behaviour("O9")
@pytest.mark.parametrize(
    ("vip", "maker", "taker"), [(0, "0.0002", "0.0006"), (4, "0.00012", "0.000375"), (8, "0", "0.00026")]
)
def test_fees_are_those_of_the_vip_tier(vip: int, maker: str, taker: str) -> None:
    (pair,) = rows.decode_pairs(data_of("rest-trading-pairs-2026-02"))
    instrument = rows.instrument_of(pair, vip)
    assert (instrument.maker_fee_rate, instrument.taker_fee_rate) == (Decimal(maker), Decimal(taker))


def test_the_contract_has_the_steps_of_its_row() -> None:
    (pair,) = rows.decode_pairs(data_of("rest-trading-pairs-2026-02"))
    instrument = rows.instrument_of(pair, 0)
    assert (instrument.tick, instrument.lot, instrument.quantity_min) == (
        Decimal("0.1"),
        Decimal("0.0001"),
        Decimal("0.0001"),
    )
    assert (instrument.quantity_max, instrument.leverage_max, instrument.base) == (Decimal(120), 200, "BTC")


def test_a_contract_needs_only_symbol_and_precisions_and_says_what_it_cannot_trade() -> None:
    def pair(text: bytes) -> rows.PairRow:
        return rows.decode_pairs(b"[" + text + b"]")[0]

    bare = rows.instrument_of(pair(b'{"symbol":"ABCUSDT","basePrecision":"2","quotePrecision":4}'), 0)
    assert (bare.quantity_min, bare.base, bare.quote) == (Decimal("0.01"), "ABC", "USDT")
    with pytest.raises(ProviderUnavailable, match="no usable precision"):
        rows.instrument_of(pair(b'{"symbol":"ABCUSDT"}'), 0)
    with pytest.raises(ProviderError, match="STOP, not OPEN"):
        rows.instrument_of(pair(b'{"symbol":"ABCUSDT","symbolStatus":"STOP"}'), 0)
    with pytest.raises(ProviderError, match="inverse"):
        rows.instrument_of(pair(b'{"symbol":"BTCUSD","quote":"USD"}'), 0)


@pytest.mark.parametrize("least", ["1e-999999999", "1e999999999", "-1", '"NaN"', "0"])
def test_a_smallest_quantity_that_is_none_is_a_lot_and_no_number_is_written_out_over_millions_of_places(
    least: str,
) -> None:
    text = f'[{{"symbol":"ABCUSDT","basePrecision":2,"quotePrecision":4,"minTradeVolume":{least}}}]'
    instrument = rows.instrument_of(rows.decode_pairs(text.encode())[0], 0)
    assert instrument.quantity_min == Decimal("0.01")
    assert len(instrument.origin) < 200


BTC = rows.instrument_of(rows.decode_pairs(data_of("rest-trading-pairs-docs"))[0], 0)


@pytest.mark.behaviour("O11")
def test_the_venues_margin_tiers_are_taken_and_the_last_has_no_end() -> None:
    known = rows.with_tiers(BTC, data_of("rest-position-tiers-docs"))
    assert known.tiers == (
        MarginTier(notional_to=Decimal(50_000), leverage_max=125, maintenance_rate=Decimal("0.004")),
        MarginTier(notional_from=Decimal(50_000), leverage_max=100, maintenance_rate=Decimal("0.005")),
    )
    assert known.origin.endswith("; maintenance margin from 0.4 % on")


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("no answer within 10 s", "no answer within 10 s"),
        (b"null", "Expected `array`"),
        (b"[]", "tiers () are no tuple of 1 to 100 MarginTier"),
        (
            b'[{"startValue":"5","endValue":"9","maintenanceMarginRate":"0.004"}]',
            "tier 1: notional_from is 5; expected 0",
        ),
        (b'[{"startValue":"NaN","endValue":"9","maintenanceMarginRate":"0.004"}]', "tier 1: notional_from"),
        (
            b"[%s,%s]"
            % (
                b'{"startValue":"NaN","endValue":"9","maintenanceMarginRate":"0.004"}',
                b'{"startValue":"0","endValue":"9","maintenanceMarginRate":"0.004"}',
            ),
            "comparison involving NaN",
        ),
    ],
)
def test_without_margin_tiers_that_can_be_used_those_assumed_count_and_the_reason_is_told(
    reply: bytes | str, why: str
) -> None:
    known = rows.with_tiers(BTC, reply)
    assert known.tiers == ASSUMED_TIERS
    said = known.origin.removeprefix(BTC.origin)
    assert said.startswith("; maintenance margin 0.5 % assumed: ")
    assert why in said or "InvalidOperation" in said
