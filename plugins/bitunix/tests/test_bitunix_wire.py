"""What the decoders make of the samples, and of what only looks like them."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab.domain.instrument import Instrument
from lab.domain.market import UNCONFIRMED, Candle, Quote, check_candle, check_quote
from lab.domain.time import MINUTE_NS, parse_interval
from lab.errors import ProviderError
from lab_bitunix import rows, wire

SAMPLES = Path(__file__).parent / "samples"
MS = 1_000_000


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.json").read_bytes()


def read(frame: bytes) -> Quote | Candle | str | None:
    """Decode and check as the reader does; ``None`` for frames without data of ours."""
    message = wire.decode_frame(frame)
    if isinstance(message, wire.DepthFrame):
        return wire.quote_of(message)
    if isinstance(message, wire.KlineFrame):
        return wire.candle_of(message, wire.KLINE_INTERVAL[type(message)])
    return message.reason if isinstance(message, wire.Malformed) else None


@pytest.mark.behaviour("F13")
def test_a_push_becomes_the_open_candle_of_its_bucket_with_coin_volume() -> None:
    candle = read(sample("ws-kline-push-1min-a"))
    sent_ns = 1786650730275 * MS
    assert candle == Candle(
        "BTCUSDT", sent_ns // MINUTE_NS * MINUTE_NS, sent_ns, 63404.6, 63404.7, 63404.6, 63404.6, 0.226, UNCONFIRMED
    )


def test_a_push_in_a_list_as_the_documents_have_it_is_read_too() -> None:
    frame = sample("ws-kline-push-1min-a")
    listed = frame.replace(b'"data":{', b'"data":[{').replace(b"}}", b"}]}")
    assert read(listed) == read(frame)


@pytest.mark.behaviour("F13")
@pytest.mark.parametrize("text", [True, False])
def test_numbers_and_strings_mean_the_same_on_the_socket(text: bool) -> None:
    q = '"' if text else ""
    levels = f'"b":[[{q}7403.89{q},{q}0.002{q}]],"a":[[{q}7405.96{q},{q}3.34{q}]]'
    frame = f'{{"symbol":"BTCUSDT","ts":{q}1775541541009{q},"data":{{{levels}}},"ch":"depth_book1"}}'
    assert read(frame.encode()) == Quote("BTCUSDT", 1775541541009 * MS, 7403.89, 0.002, 7405.96, 3.34)


def test_the_depth_sample_becomes_a_quote() -> None:
    assert read(sample("ws-depth-book1-docs")) == Quote("BTCUSDT", 1775541541009 * MS, 7403.89, 0.002, 7405.96, 3.34)


@pytest.mark.parametrize(
    "name",
    ["ws-price-push", "ws-ticker-push", "ws-tickers-push-docs", "ws-kline-push-docs-2024"],
)  # fmt: skip
def test_channels_nobody_asked_for_are_neither_data_nor_malformed(name: str) -> None:
    assert isinstance(wire.decode_frame(sample(name)), wire.Other)


@pytest.mark.parametrize("name", ["ws-connect", "ws-ping-reply", "ws-ping-reply-docs", "ws-unsubscribe-reply"])
def test_frames_with_op_are_control_frames(name: str) -> None:
    message = wire.decode_frame(sample(name))
    assert isinstance(message, wire.Control)
    assert wire.refusal(message) is None


@pytest.mark.behaviour("F13")
@pytest.mark.parametrize("data", ['{"result":true}', '""', "null"])
def test_an_acknowledgement_that_names_its_channel_is_a_control_frame_too(data: str) -> None:
    frame = f'{{"op":"subscribe","ch":"depth_book1","symbol":"BTCUSDT","data":{data}}}'
    assert isinstance(wire.decode_frame(frame.encode()), wire.Control)


def test_a_refused_subscription_is_told_in_the_venues_words() -> None:
    frame = wire.decode_frame(b'{"op":"subscribe","data":{"result":false,"msg":"limit 300"}}')
    assert isinstance(frame, wire.Control)
    assert wire.refusal(frame) == "subscribe refused: limit 300"


DEPTH = '{"ch":"depth_book1","symbol":"BTCUSDT","ts":1775541541009,"data":{"b":[[%s,1]],"a":[[%s,1]]}}'


@pytest.mark.behaviour("F13")
@pytest.mark.parametrize(
    "frame",
    [
        DEPTH % ('""', '""'),
        DEPTH % ('"NaN"', "5"),
        DEPTH % ("5", '"inf"'),
        DEPTH % ("1e400", "5"),
        DEPTH % ("-1", "5"),
        DEPTH % ("0", "5"),
        DEPTH % ("6", "5"),
        DEPTH % ("1e15", "1e16"),
        DEPTH % ("true", "5"),
        DEPTH.replace("1775541541009", "1775541541") % ("4", "5"),
        DEPTH.replace("1775541541009", '"later"') % ("4", "5"),
        '{"ch":"depth_book1","symbol":"X","ts":1775541541009,"data":{"b":[],"a":[]}}',
        '{"ch":"market_kline_1min","symbol":"X","ts":1775541541009,"data":[]}',
        '{"ch":"market_kline_1min","symbol":"X","ts":1775541541009,"data":{"o":1,"h":2,"l":1,"c":3,"b":1}}',
        '{"ch":"market_kline_1min","symbol":"X","ts":1775541541009,"data":{"o":1,"h":2,"l":1,"c":2,"b":"-1"}}',
        '{"ch":"market_kline_1min","symbol":"X","ts":1775541541009,"data":null}',
        "not json",
        "[]",
        "",
        '{"hello":1}',
        '{"ch":"depth_book1","ts":1,"z":' + "[" * 50_000 + "]" * 50_000 + "}",
    ],
)
def test_what_is_not_as_the_protocol_says_gets_a_reason_and_no_data(frame: str) -> None:
    assert isinstance(read(frame.encode()), str)


def test_every_streamed_interval_has_its_channel_and_others_are_refused_by_name() -> None:
    assert {wire.CANDLE_CHANNELS[parse_interval(text)] for text in ("1m", "1h", "4h", "1d")} == {
        "market_kline_1min", "market_kline_60min", "market_kline_4h", "market_kline_1day",
    }  # fmt: skip
    for text in ("3m", "1w", "3d"):
        with pytest.raises(ProviderError, match=rf"{text} is not supported; choose one of 1m 5m .*can't be streamed"):
            wire.supported(parse_interval(text))


def test_requests_are_those_of_the_documents() -> None:
    wanted = [("BTCUSDT", "market_kline_1min"), ("BTCUSDT", "depth_books")]
    assert msgspec.json.decode(wire.subscribe_frame(wanted)) == msgspec.json.decode(sample("ws-subscribe-request"))
    assert wire.ping_frame(1790126498).encode() == sample("ws-ping-request").strip()


# --- mutations: bytes of real payloads with pieces replaced, cut, doubled --------------------------------------

FRAMES = [path.read_bytes() for path in sorted(SAMPLES.glob("ws-*.json"))]
BODIES = [path.read_bytes() for path in sorted(SAMPLES.glob("rest-*.json"))]
NASTY = [
    b'"NaN"', b"NaN", b"1e400", b'"1e309"', b"-1", b"null", b"true", b'""', b"[]", b"{}", b"[[[[", b"\xff\xfe", b"\x00",
    b'"inf"', b'"-Infinity"', b"9" * 400, b'"' + b"9" * 5000 + b'"', b'"1e999999999"', b'"sNaN"', b"0", b'"0"', b",",
    b'"ch"', b'"market_kline_1min"', b'"depth_book1"',
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    text = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        piece = draw(st.one_of(st.sampled_from(NASTY), st.binary(max_size=4), st.just(text[start:end] * 2)))
        text = text[:start] + piece + text[end:]
    return text


@st.composite
def retyped(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """Replace one whole value by something nasty, keeping the JSON around it valid more often than not."""
    text = draw(st.sampled_from(originals))
    parts = text.split(b'"')
    place = draw(st.integers(0, len(parts) - 1))
    parts[place] = draw(st.sampled_from(NASTY)).strip(b'"')
    return b'"'.join(parts)


def assert_good(found: object) -> None:
    if isinstance(found, Quote):
        assert check_quote(found) is None
        assert 10**18 <= found.time_ns < 5 * 10**18
    if isinstance(found, Candle):
        assert check_candle(found) is None
        assert found.open_ns <= found.time_ns
        assert not found.open_ns % MINUTE_NS


@pytest.mark.behaviour("F13")
@settings(max_examples=300)
@given(frame=st.one_of(mutated(FRAMES), retyped(FRAMES), st.binary(max_size=40)))
def test_no_frame_raises_out_of_the_decoder_or_yields_a_bad_figure(frame: bytes) -> None:
    assert_good(read(frame))


@pytest.mark.behaviour("F13")
@settings(max_examples=300)
@given(body=st.one_of(mutated(BODIES), retyped(BODIES), st.binary(max_size=40)))
def test_no_body_yields_a_bad_candle_contract_or_rate(body: bytes) -> None:
    try:
        data = bytes(rows.decode_envelope(body).data)
    except rows.BAD_JSON:
        return
    try:
        for candle in rows.decode_candles(data, "BTCUSDT", MINUTE_NS)[0]:
            assert_good(candle)
    except rows.BAD_JSON:
        pass
    try:
        funding = rows.decode_funding(data, "BTCUSDT", 10**18)
        assert abs(funding.rate) < 0.5
        assert funding.mark > 0
        assert funding.next_ns > 0
    except rows.BAD_JSON:
        pass
    try:
        for pair in rows.decode_pairs(data):
            instrument = rows.instrument_of(pair, 0)
            assert isinstance(instrument, Instrument)
            assert instrument.quantity_min > 0
    except (*rows.BAD_JSON, ProviderError):
        pass


def test_the_reason_for_a_frame_is_short_however_long_what_is_wrong_with_it() -> None:
    long = "x" * 200_000
    for frame in (f'{{"ch":"{long}', f'{{"ch":"depth_book1","ts":"{long}"}}', f'{{"ch":["{long}"],"op":1}}'):
        found = wire.decode_frame(frame)
        assert isinstance(found, wire.Malformed)
        assert len(found.reason) <= wire.SAMPLE_BYTES
    control = wire.decode_frame(f'{{"op":"{long}","data":{{"result":false,"msg":"{long}"}}}}')
    assert isinstance(control, wire.Control)
    assert len(wire.refusal(control) or "") < 300
