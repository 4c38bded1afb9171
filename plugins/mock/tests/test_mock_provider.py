"""The seeded path: what it is made of, on a clock and without one, and that it is the same everywhere."""

import os
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

import anyio
import msgspec
import pytest
from lab.domain.inputs import Input
from lab.domain.market import Candle, Depth, Quote, check_candle, check_depth, check_quote
from lab.domain.time import DAY_NS, MINUTE_NS, SECOND_NS, parse_time
from lab.errors import ProviderError
from lab.ports import Channel, FeedState, Runtime, Subscription
from lab.testing import RecordingSink
from lab.testing.simulation import simulate
from lab_mock.provider import MockProvider

BEGIN_NS = parse_time("2024-01-01")
MINUTES = Subscription("BTCUSDT", MINUTE_NS)


class Clock:
    def monotonic(self) -> float:
        return anyio.current_time()

    def wall_ns(self) -> int:
        return 0


def played(provider: MockProvider, seconds: float, *wanted: Subscription) -> RecordingSink:
    """Stream for some seconds of virtual time."""

    async def session() -> RecordingSink:
        sink = RecordingSink()
        with anyio.move_on_after(seconds):
            await provider.stream(wanted or (MINUTES,), sink)
        return sink

    return simulate(session)


def all_of(provider: MockProvider, *wanted: Subscription, seed: int = 0) -> list[Input]:
    batches = provider.batches(wanted or (MINUTES,), seed=seed)
    assert batches is not None
    return [event for batch in batches for event in batch]


def history(provider: MockProvider, interval_ns: int, count: int, end_ns: int | None = None) -> Sequence[Candle]:
    async def ask() -> Sequence[Candle]:
        return await provider.history("BTCUSDT", interval_ns, end_ns=end_ns, count=count)

    return anyio.run(ask)


@pytest.mark.behaviour("M1")
def test_one_tick_a_second_and_one_candle_after_every_sixty_of_them() -> None:
    sink = played(MockProvider(seed=1, confirm_ms=0), 180.5)
    assert sink.states == [FeedState.LIVE]
    kinds = "".join("c" if isinstance(event, Candle) else "q" for event in sink.events)
    assert kinds == "".join(["q" * 60 + "c"] * 3) + "q"
    for second, (at, quote) in enumerate(given for given in sink.given if isinstance(given[1], Quote)):
        assert at == pytest.approx(second)
        assert quote.time_ns == BEGIN_NS + second * SECOND_NS
    for minute, (at, candle) in enumerate((given for given in sink.given if isinstance(given[1], Candle)), 1):
        assert at == pytest.approx(60 * minute)
        assert isinstance(candle, Candle)
        assert (candle.time_ns, candle.status) == (BEGIN_NS + minute * MINUTE_NS, "final")


@pytest.mark.behaviour("M1")
@pytest.mark.parametrize(("confirm_ms", "quotes_before"), [(1, 61), (2_000, 63), (2_070, 63), (60_000, 121)])
def test_a_candle_is_known_late_behind_the_quotes_up_to_then_on_a_clock_and_without_one(
    confirm_ms: int, quotes_before: int
) -> None:
    at_once = MockProvider(seed=1, confirm_ms=0, minutes=5)
    sink = played(MockProvider(seed=1, confirm_ms=confirm_ms), 400)
    kinds = "".join("c" if isinstance(event, Candle) else "q" for event in sink.events)
    assert kinds.startswith("q" * quotes_before + "c" + "q" * 60 + "c" + "q")
    for minute, (at, candle) in enumerate((given for given in sink.given if isinstance(given[1], Candle)), 1):
        assert candle.time_ns == BEGIN_NS + minute * MINUTE_NS + confirm_ms * 10**6
        assert at == pytest.approx((candle.time_ns - BEGIN_NS) / SECOND_NS)
    assert all(earlier.time_ns <= later.time_ns for earlier, later in pairwise(sink.events))
    whole = all_of(MockProvider(seed=1, confirm_ms=confirm_ms, minutes=5))
    assert [event for event in whole if event.time_ns < BEGIN_NS + 5 * MINUTE_NS] == [
        event for event in sink.events if event.time_ns < BEGIN_NS + 5 * MINUTE_NS
    ]
    candles = [event._replace(time_ns=0) for event in whole if isinstance(event, Candle)]
    assert candles == [event._replace(time_ns=0) for event in all_of(at_once) if isinstance(event, Candle)]
    assert sum(isinstance(event, Quote) for event in whole) == 300
    assert MockProvider(confirm_ms=confirm_ms).source()["confirm_ms"] == str(confirm_ms)
    assert "confirm_ms" not in at_once.source()


@pytest.mark.behaviour("M1")
@pytest.mark.parametrize("interval_s", [1, 15, 60, 300])
def test_candles_are_made_of_exactly_their_ticks_and_open_at_the_close_before(interval_s: int) -> None:
    events = all_of(MockProvider(seed=5, minutes=30), Subscription("BTCUSDT", interval_s * SECOND_NS))
    # At a spread of one tick the bid is the last price.
    bids = [event.bid for event in events if isinstance(event, Quote)]
    candles = [event for event in events if isinstance(event, Candle)]
    assert len(candles) == 1800 // interval_s
    close = 50000.0
    for number, candle in enumerate(candles):
        prices = [close, *bids[number * interval_s : (number + 1) * interval_s]]
        assert candle[3:7] == (close, max(prices), min(prices), prices[-1])
        assert check_candle(candle) is None
        close = candle.close


@pytest.mark.behaviour("M1")
def test_the_stream_gives_what_the_batches_give() -> None:
    streamed = played(MockProvider(seed=9, confirm_ms=0), 600.5).events
    batched = all_of(MockProvider(seed=9, confirm_ms=0, minutes=10))
    assert isinstance(batched[-1], Candle)
    assert len(batched) == 610
    assert streamed[:-1] == batched  # the tick that begins the eleventh minute is the stream's last


def test_times_ascend_and_quotes_are_sound_for_many_symbols() -> None:
    events = all_of(MockProvider(minutes=20), MINUTES, Subscription("ETHUSDT", 5 * MINUTE_NS))
    assert all(earlier.time_ns <= later.time_ns for earlier, later in pairwise(events))
    quotes = [event for event in events if isinstance(event, Quote)]
    assert {check_quote(quote) for quote in quotes} == {None}
    by_symbol = [[quote[2:] for quote in quotes if quote.symbol == symbol] for symbol in ("BTCUSDT", "ETHUSDT")]
    assert len(by_symbol[0]) == len(by_symbol[1]) == 1200
    assert by_symbol[0] != by_symbol[1]
    assert all(Decimal(repr(quote.ask)) - Decimal(repr(quote.bid)) == Decimal("0.1") for quote in quotes)


@pytest.mark.behaviour("M1")
def test_the_same_seed_gives_the_same_bytes_in_a_process_with_another_hash_seed() -> None:
    program = (
        "import anyio, hashlib, msgspec\n"
        "from lab.ports import Subscription\n"
        "from lab_mock.provider import MockProvider\n"
        "m = MockProvider(seed=3, minutes=60)\n"
        "e = [list(b) for b in m.batches([Subscription('BTCUSDT', 60 * 10**9)], seed=0)]\n"
        "h = anyio.run(lambda: m.history('BTCUSDT', 60 * 10**9, end_ns=None, count=50))\n"
        "print(hashlib.sha256(msgspec.json.encode([e, h])).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_another_seed_gives_another_path_and_the_runs_seed_counts_where_none_is_set() -> None:
    async def started(seed: int | None, run_seed: int) -> tuple[str, bytes]:
        provider = MockProvider(seed=seed, minutes=2)
        async with anyio.create_task_group() as tasks:
            await provider.start(Runtime(clock=Clock(), seed=run_seed, tasks=tasks))
        return provider.source()["seed"], msgspec.json.encode(all_of(provider, seed=run_seed))

    of_run, set_here, other = (anyio.run(started, *seeds) for seeds in ((None, 4), (4, 8), (5, 4)))
    assert of_run == set_here
    assert of_run[0] == "4"
    assert other[1] != of_run[1]


@pytest.mark.parametrize("interval_ns", [15 * SECOND_NS, MINUTE_NS, 15 * MINUTE_NS, DAY_NS])
def test_history_ends_where_the_first_tick_begins(interval_ns: int) -> None:
    candles = history(MockProvider(seed=2, price=31000.0), interval_ns, 10)
    assert len(candles) == 10
    assert (candles[-1].time_ns, candles[-1].close) == (BEGIN_NS, 31000.0)
    for earlier, later in pairwise(candles):
        assert (earlier.time_ns, earlier.close) == (later.open_ns, later.open)
    assert {(check_candle(candle), candle.status) for candle in candles} == {(None, "backfilled")}
    assert all(candle.low <= candle.open <= candle.high for candle in candles)


def test_history_is_the_same_however_it_is_asked_for() -> None:
    provider = MockProvider(seed=2, history_count=30)
    whole = history(provider, MINUTE_NS, 100)
    assert len(whole) == 30
    assert history(provider, MINUTE_NS, 0) == []
    assert history(provider, MINUTE_NS, 7) == whole[-7:]
    assert history(provider, MINUTE_NS, 7, end_ns=whole[20].open_ns) == whole[13:20]
    assert history(provider, MINUTE_NS, 7, end_ns=whole[20].open_ns + 1) == whole[14:21]
    assert history(provider, MINUTE_NS, 7, end_ns=whole[3].open_ns) == whole[:3]
    five = history(provider, 5 * MINUTE_NS, 6)
    assert [(one.open, one.close) for one in five] == [
        (part[0].open, part[-1].close) for part in (whole[at : at + 5] for at in range(0, 30, 5))
    ]


def test_candles_already_played_belong_to_history() -> None:
    provider = MockProvider(seed=6, confirm_ms=2_070)
    candles = [event for event in played(provider, 200).events if isinstance(event, Candle)]
    assert len(candles) == 3
    newest = history(provider, MINUTE_NS, 4)
    assert [one._replace(status="final", time_ns=one.time_ns + 2_070 * 10**6) for one in newest[1:]] == candles
    assert newest[0].time_ns == BEGIN_NS
    assert history(provider, MINUTE_NS, 1, end_ns=candles[1].open_ns)[0].open_ns == candles[0].open_ns


@pytest.mark.parametrize("confirm_ms", [0, 500, 2_070])
def test_a_candle_is_not_in_history_before_it_is_known(confirm_ms: int) -> None:
    provider = MockProvider(seed=6, confirm_ms=confirm_ms)
    played(provider, 59.9 + confirm_ms / 1000)
    assert history(provider, MINUTE_NS, 1)[0].time_ns == BEGIN_NS
    played(provider, 0.95)
    assert history(provider, MINUTE_NS, 1)[0].open_ns == BEGIN_NS


def test_a_second_stream_goes_on_after_the_ticks_of_the_first() -> None:
    whole = played(MockProvider(seed=6), 300.5).events
    provider = MockProvider(seed=6)
    begun = played(provider, 100.5).events
    assert begun + played(provider, 199).events == whole[: len(begun) + 199 + 3]


@pytest.mark.parametrize("symbol", ["btcusdt", "BTC-USDT", "", "BTC USDT"])
def test_symbols_are_capital_letters_and_digits(symbol: str) -> None:
    with pytest.raises(ProviderError, match="expected capital letters and digits"):
        MockProvider().batch_instrument(symbol)
    with pytest.raises(ProviderError, match="expected capital letters and digits"):
        MockProvider().batches([Subscription(symbol, MINUTE_NS)], seed=0)


def test_the_instrument_is_like_btcusdt() -> None:
    instrument = MockProvider().batch_instrument("ETHUSDC")
    assert (instrument.base, instrument.quote) == ("ETH", "USDC")
    assert (instrument.tick, instrument.lot) == (Decimal("0.1"), Decimal("0.0001"))
    assert (instrument.maker_fee_rate, instrument.taker_fee_rate) == (Decimal("0.0002"), Decimal("0.0006"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"price": 0.0}, "price must be between 1.0 and 1000000000.0, not 0.0"),
        ({"price": float("nan")}, "price must be between"),
        ({"volatility": -1.0}, "volatility must be between 0.0 and 1000.0, not -1.0"),
        ({"spread": -1}, "spread must be between 0 and 1000000, not -1"),
        ({"minutes": 0}, "minutes must be between 1 and 10000000, not 0"),
        ({"begin": "yesterday"}, "begin: not a time: 'yesterday'"),
        ({"begin": "2024-01-01T00:00:00.5Z"}, "begin must be a whole second"),
    ],
)
def test_bad_settings_are_refused_by_name_and_value(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MockProvider(**settings)  # type: ignore[arg-type]


def test_a_beginning_off_the_grid_is_refused() -> None:
    with pytest.raises(ProviderError, match="begin '2024-01-01T00:00:30Z' is not on the grid of 1m candles"):
        MockProvider(begin="2024-01-01T00:00:30Z").batches([MINUTES], seed=0)


def test_the_price_stays_above_zero_under_any_volatility() -> None:
    events = all_of(MockProvider(price=1.0, volatility=1000.0, spread=3, minutes=60))
    assert {check_quote(event) for event in events if isinstance(event, Quote)} == {None}
    assert {check_candle(event) for event in events if isinstance(event, Candle)} == {None}


def test_the_hook_offers_the_provider_by_name() -> None:
    from lab.plugins.discovery import Registry

    assert Registry().get("provider", "mock").cls is MockProvider


# -- depth ------------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("M1")
def test_depth_leaves_prices_and_quotes_as_they_are_and_follows_each_quote() -> None:
    bare = all_of(MockProvider(seed=4, minutes=20))
    events = all_of(MockProvider(seed=4, minutes=20, depth=5))
    assert [event for event in events if not isinstance(event, Depth)] == bare
    for quote, depth in pairwise(event for event in events if not isinstance(event, Candle)):
        if isinstance(depth, Depth):
            assert isinstance(quote, Quote)
            assert (depth.time_ns, *depth.bids[0], *depth.asks[0]) == quote[1:]
    depths = [event for event in events if isinstance(event, Depth)]
    assert len(depths) == 20 * 60
    assert {check_depth(depth) for depth in depths} == {None}
    assert {(len(depth.bids), len(depth.asks)) for depth in depths} == {(5, 5)}
    assert len({depth.bids[1][1] for depth in depths}) > 1000, "sizes behind the best are random too"


@pytest.mark.behaviour("M1")
def test_depth_is_the_seeds_and_the_same_from_stream_and_batches() -> None:
    batched = all_of(MockProvider(seed=9, confirm_ms=0, minutes=10, depth=3))
    assert batched == all_of(MockProvider(seed=9, confirm_ms=0, minutes=10, depth=3))
    assert batched != all_of(MockProvider(seed=8, minutes=10, depth=3))
    streamed = played(MockProvider(seed=9, confirm_ms=0, depth=3), 600.5).events
    assert streamed[: len(batched)] == batched


def test_levels_end_where_prices_do_and_depth_is_given_to_whoever_wants_it() -> None:
    near_zero = MockProvider(seed=1, price=1.0, volatility=0.0, depth=50, minutes=1)
    depths = [event for event in all_of(near_zero) if isinstance(event, Depth)]
    assert {check_depth(depth) for depth in depths} == {None}
    assert {(len(depth.bids), len(depth.asks)) for depth in depths} == {(10, 50)}
    without = Subscription("BTCUSDT", MINUTE_NS, frozenset({Channel.CANDLES, Channel.QUOTES}))
    assert not [event for event in all_of(near_zero, without) if isinstance(event, Depth)]
    assert Channel.DEPTH in near_zero.channels()
    assert Channel.DEPTH not in MockProvider().channels()


def test_the_source_names_the_levels_where_there_are_any() -> None:
    assert MockProvider(depth=5).source()["depth"] == "5"
    assert "depth" not in MockProvider().source()
