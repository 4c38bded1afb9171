"""Recorded files and runs, played on a clock and without one; what is wrong with them is said first."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import anyio
import pytest
from attrs import evolve
from lab.domain.control import Notice, TradingState
from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.market import Candle, Funding, Quote, Trade
from lab.domain.orders import Side
from lab.domain.time import MINUTE_NS, SECOND_NS, parse_time
from lab.errors import ProviderError
from lab.journal.store import Journal
from lab.journal.tape import RecordedTape, TapeWriter
from lab.ports import Channel, FeedState, Runtime, Subscription
from lab.testing import RecordingSink
from lab.testing.sample_runs import run_started
from lab.testing.simulation import simulate
from lab_recordings import recording, sha256_of
from lab_replay.funding_file import FundingFile
from lab_replay.provider import ReplayProvider

BEGIN_NS = parse_time("2024-01-01")
BTC = Subscription("BTCUSDT", MINUTE_NS)
INSTRUMENT = Instrument(
    symbol="BTCUSDT", base="BTC", quote="USDT", tick=Decimal("0.5"), lot=Decimal("0.01"), quantity_min=Decimal("0.02"),
    maker_fee_rate=Decimal("0.0001"), taker_fee_rate=Decimal("0.0003"),
)  # fmt: skip


class Clock:
    def monotonic(self) -> float:
        return anyio.current_time()

    def wall_ns(self) -> int:
        return 0


def played(provider: ReplayProvider, *wanted: Subscription, seconds: float = 1e6) -> RecordingSink:
    """Start and stream in virtual time, to the end or for some seconds."""

    async def session() -> RecordingSink:
        sink = RecordingSink()
        await start(provider)
        with anyio.move_on_after(seconds):
            await provider.stream(wanted or (BTC,), sink)
        return sink

    return simulate(session)


async def start(provider: ReplayProvider) -> None:
    refused: ProviderError | None = None
    async with anyio.create_task_group() as tasks:
        try:
            await provider.start(Runtime(clock=Clock(), seed=0, tasks=tasks))
        except ProviderError as error:  # else the task group would wrap it
            refused = error
    if refused is not None:
        raise refused


def all_of(provider: ReplayProvider, *wanted: Subscription) -> list[Input]:
    return [event for batch in provider.batches(wanted or (BTC,), seed=0) for event in batch]


def history(provider: ReplayProvider, count: int, end_ns: int | None = None) -> Sequence[Candle]:
    async def ask() -> Sequence[Candle]:
        return await provider.history("BTCUSDT", MINUTE_NS, end_ns=end_ns, count=count)

    return anyio.run(ask)


@pytest.fixture
def candles(tmp_path: Path) -> Path:
    """Ten candles of one minute, the seventh missing."""
    path = tmp_path / "ten.csv"
    rows = [f"{BEGIN_NS // SECOND_NS + 60 * minute},10,12,9,{10 + minute % 2},5" for minute in range(10) if minute != 6]
    path.write_text("\n".join(["time,open,high,low,close,volume", *rows]) + "\n")
    return path


@pytest.mark.behaviour("M2")
def test_candles_are_played_at_the_spacing_they_were_recorded_with(candles: Path) -> None:
    provider = ReplayProvider(file=str(candles))
    sink = played(provider)
    assert sink.states == [FeedState.LIVE]
    assert [at for at, _ in sink.given] == pytest.approx([60.0 * minute for minute in range(10) if minute != 6])
    assert [event.time_ns for event in sink.events] == [
        BEGIN_NS + (minute + 1) * MINUTE_NS for minute in range(10) if minute != 6
    ]
    assert sink.events == all_of(ReplayProvider(file=str(candles)))
    assert provider.price_source() == "candle"


def test_warm_up_candles_are_history_and_never_played_live(candles: Path) -> None:
    provider = ReplayProvider(file=str(candles), warmup=4)
    before = history(provider, 100)
    assert [one.open_ns for one in before] == [BEGIN_NS + minute * MINUTE_NS for minute in range(4)]
    assert {one.status for one in before} == {"backfilled"}
    assert history(provider, 2, end_ns=before[3].open_ns) == before[1:3]
    live = played(provider).events
    assert next(event.open_ns for event in live if isinstance(event, Candle)) == before[-1].time_ns
    batched = all_of(ReplayProvider(file=str(candles), warmup=4))
    assert batched == [*before, *live]
    assert [one._replace(status="final") for one in history(provider, 5)] == live
    with pytest.raises(ProviderError, match="9 candles; with warmup=9 none is left to play"):
        anyio.run(start, ReplayProvider(file=str(candles), warmup=9))


@pytest.mark.behaviour("M2")
def test_ticks_are_played_as_quotes_trades_and_whole_candles_of_the_trades() -> None:
    provider = ReplayProvider(file="btcusdt-ticks", confirm_ms=0)
    batched = all_of(provider)
    made = [event for event in batched if isinstance(event, Candle)]
    assert provider.price_source() == "quote"
    assert provider.origin() == "btcusdt-ticks"
    assert len(batched) == 66_089 + 21_313 + 5
    assert {event.side for event in batched if isinstance(event, Trade)} == set(Side)
    assert [one.open_ns for one in made] == [parse_time("2024-08-08T23:55") + n * MINUTE_NS for n in range(5)]
    assert all(earlier.time_ns <= later.time_ns for earlier, later in pairwise(batched))
    sink = played(provider, seconds=60)
    assert sink.events == batched[: len(sink.events)]
    assert len(sink.events) > 10_000
    first_ns = batched[0].time_ns
    assert all(
        at == pytest.approx((event.time_ns - first_ns) / SECOND_NS, abs=1e-6)
        for at, event in sink.given
        if isinstance(event, Quote)
    )


@pytest.mark.behaviour("M2")
@pytest.mark.parametrize("confirm_ms", [1, 2_070, 60_000])
def test_a_candle_of_ticks_is_known_when_a_session_would_know_it_after_the_quotes_of_that_time(confirm_ms: int) -> None:
    at_once, later = (
        all_of(ReplayProvider(file="btcusdt-ticks", confirm_ms=ms, trades=ms == 1)) for ms in (0, confirm_ms)
    )
    known = {place: event for place, event in enumerate(later) if isinstance(event, Candle)}
    whole = [event for event in at_once if isinstance(event, Candle)]
    last_ns = later[-1].time_ns
    provider = ReplayProvider(file="btcusdt-ticks", confirm_ms=confirm_ms)
    assert provider.channels() == frozenset({Channel.CANDLES, Channel.QUOTES, Channel.TRADES})
    assert provider.origin() == f"btcusdt-ticks, candles known {confirm_ms} ms after their end"
    delayed = [one._replace(time_ns=one.time_ns + confirm_ms * 10**6) for one in whole]
    assert list(known.values()) == [one for one in delayed if one.time_ns < last_ns]
    assert len(known) >= 4
    for place, candle in known.items():
        assert later[place - 1].time_ns <= candle.time_ns < later[place + 1].time_ns
    assert [event for event in later if isinstance(event, Quote)] == [e for e in at_once if isinstance(e, Quote)]
    assert any(isinstance(event, Trade) for event in later) == (confirm_ms == 1)


def test_candles_of_a_file_are_known_at_their_end_whatever_confirm_ms_says() -> None:
    made = all_of(ReplayProvider(file="btcusd-1m", confirm_ms=60_000))
    assert {one.time_ns - one.open_ns for one in made if isinstance(one, Candle)} == {MINUTE_NS}


Break = Callable[[Path], dict[str, str]]


def _write(text: str) -> Break:
    def build(folder: Path) -> dict[str, str]:
        (folder / "bad.csv").write_text(text)
        return {"file": str(folder / "bad.csv")}

    return build


@pytest.mark.behaviour("M2")
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda folder: {"file": str(folder / "none.csv")},
            r"none.csv: no such file; recordings by name: btcusdt-ticks",
        ),
        (lambda folder: {"file": "btcusdt-tick"}, "did you mean the recording 'btcusdt-ticks'"),
        (lambda folder: {"file": str(folder)}, "is a directory"),
        (lambda folder: {"run": str(folder)}, r"journal.db: no journal there"),
        (lambda folder: {}, "set one of file .* files .* and run"),
        (lambda folder: {"file": "btcusd-1m", "run": "x"}, "set one of file .* files .* and run"),
        (lambda folder: {"file": "btcusd-1m", "files": ["A=btcusd-1m"]}, "set one of file .* files .* and run"),
        (
            lambda folder: {"files": ["A=btcusd-1m", "B=btcusdt-ticks"]},
            "are not of one kind: give files of candles, or",
        ),
        (lambda folder: {"files": ["A=btcusd-1m"], "funding": "x"}, "funding goes with file"),
        (_write(""), r"bad.csv:1: empty; expected a header line"),
        (_write("time,open,high,low,close\n"), r"bad.csv:2: empty; expected rows"),
        (
            _write("time,price\n2024-01-01,5\n"),
            r"bad.csv:1: no column open or high or low; the header has time, price",
        ),
        (
            _write("time,open,high,low,close\n2024-01-01,1,1,1,1\n2024-01-01T00:01,1,1,1,x\n"),
            r"bad.csv:3: close 'x' is not",
        ),
        (
            _write("time,bid,bid_size,ask,ask_size\n2024-01-01,1,1,2,1\n2024-01-01,3,1,2,1\n"),
            r"bad.csv:3: bid 3.0 above",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(tmp_path: Path, build: Break, message: str) -> None:
    settings = build(tmp_path)
    with pytest.raises(ProviderError, match=message):
        anyio.run(start, ReplayProvider(**settings))  # type: ignore[arg-type]
    with pytest.raises(ProviderError, match=message):
        ReplayProvider(**settings).batches([BTC], seed=0)  # type: ignore[arg-type]  # the call alone raises


def test_a_long_file_is_checked_to_its_end_before_its_first_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f"{BEGIN_NS // SECOND_NS + 60 * minute},1,1,1,1" for minute in range(9000)]
    path = tmp_path / "long.csv"
    path.write_text("\n".join(["time,open,high,low,close", *rows, "1,2,3"]))
    for held in (1 << 30, 0):  # kept in memory, or read twice
        monkeypatch.setattr("lab_replay.price_file._HELD", held)
        with pytest.raises(ProviderError, match=r"long.csv:9002: 3 fields; expected 5"):
            ReplayProvider(file=str(path)).batches([BTC], seed=0)
    path.write_text("\n".join(["time,open,high,low,close", *rows]))
    provider = ReplayProvider(file=str(path), warmup=4100)
    statuses = [event.status for event in all_of(provider) if isinstance(event, Candle)]
    assert statuses == ["backfilled"] * 4100 + ["final"] * 4900
    live = played(provider).events
    assert (live[0].time_ns, len(live)) == (BEGIN_NS + 4101 * MINUTE_NS, 4900)


def test_what_does_not_fit_is_refused_with_the_cure(candles: Path) -> None:
    provider = ReplayProvider(file=str(candles))
    with pytest.raises(ProviderError, match=r"ten.csv holds 1m candles, 90s is .* --interval 1m, or a multiple"):
        provider.batches([Subscription("BTCUSDT", 90 * SECOND_NS)], seed=0)
    with pytest.raises(ProviderError, match="holds one symbol, wanted are BTCUSDT 1m, ETHUSDT 1m"):
        provider.batches([BTC, Subscription("ETHUSDT", MINUTE_NS)], seed=0)


def test_the_source_is_named_with_its_digest() -> None:
    provider = ReplayProvider(file="btcusd-1m")
    assert provider.source() == {"file": "btcusd-1m", "sha256": sha256_of(recording("btcusd-1m").path)}
    assert provider.origin() == "btcusd-1m"


def test_the_instrument_of_a_file_is_what_the_settings_say() -> None:
    provider = ReplayProvider(file="btcusd-1m", tick=Decimal("0.01"), taker_fee=Decimal(0))
    instrument = provider.batch_instrument("BTCUSD")
    assert (instrument.base, instrument.quote, instrument.tick) == ("BTC", "USD", Decimal("0.01"))
    assert (instrument.lot, instrument.taker_fee_rate) == (Decimal("0.0001"), Decimal(0))
    for settings, message in [
        ({"tick": Decimal(0)}, r"tick must lie between 1E-12 and 1E\+12, not 0"),
        ({"lot": Decimal("1e-9")}, r"lot must lie between 1E-8 and 1E\+12, not 1E-9"),
        ({"maker_fee": Decimal(-1)}, "maker_fee must be a fraction from 0 to 1, not -1"),
        ({"warmup": -1}, "warmup must be 0 or more, not -1"),
        ({"confirm_ms": -1}, "confirm_ms must be milliseconds from 0 to 60000, not -1"),
        ({"confirm_ms": 60_001}, "confirm_ms must be milliseconds from 0 to 60000, not 60001"),
        ({"interval": "soon"}, "interval: not an interval: 'soon'"),
    ]:
        with pytest.raises(ValueError, match=message):
            ReplayProvider(**settings)  # type: ignore[arg-type]


def _candle(minute: int, status: str, symbol: str = "BTCUSDT") -> Candle:
    open_ns = BEGIN_NS + minute * MINUTE_NS
    return Candle(symbol, open_ns, open_ns + MINUTE_NS + 2 * SECOND_NS, 5.0, 6.0, 4.0, 5.5, 1.0, status)


def _quote(second: int, symbol: str = "BTCUSDT") -> Quote:
    return Quote(symbol, BEGIN_NS + second * SECOND_NS, 5.0, 1.0, 5.5, 1.0)


OWN: list[Input] = [TradingState(BEGIN_NS, ("no quote",)), Notice(BEGIN_NS, "feed", {"state": "live"})]
PAST = [_candle(minute, "backfilled") for minute in range(3)]
MARKET: list[Input] = [
    _quote(180),
    _quote(181, "ETHUSDT"),
    _candle(3, "final"),
    Funding("BTCUSDT", BEGIN_NS + 245 * SECOND_NS, 0.0001, BEGIN_NS + 3600 * SECOND_NS, 5.1),
    _candle(4, "unconfirmed"),
    _candle(5, "backfilled"),
    _quote(370),
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory as a session of lab leaves it: a journal with its first row, and a tape."""
    directory = tmp_path / "run-1"
    directory.mkdir()
    journal = Journal(directory, durable=True, labels={})
    instruments = {"BTCUSDT": INSTRUMENT, "ETHUSDT": evolve(INSTRUMENT, symbol="ETHUSDT")}
    journal.append_record(run_started(instruments=instruments), BEGIN_NS, 0)
    journal.commit()
    journal.close()
    tape = TapeWriter(directory)
    for event in [OWN[0], *PAST, OWN[1], *MARKET, OWN[0]]:
        tape.add(event)
    tape.close()
    return directory


@pytest.mark.behaviour("M2")
def test_a_run_of_lab_is_played_with_its_own_data_instruments_and_order(run: Path) -> None:
    provider = ReplayProvider(run=str(run))
    both = (BTC, Subscription("ETHUSDT", MINUTE_NS))
    sink = played(provider, *both)
    assert sink.events == MARKET
    assert [at for at, _ in sink.given] == pytest.approx([0, 1, 62, 65, 122, 182, 190])
    everything = [OWN[0], *PAST, OWN[1], *MARKET, OWN[0]]
    assert all_of(provider, *both) == everything, "in a batch what the session said itself comes too"
    assert all_of(provider) == [event for event in everything if "ETHUSDT" not in event]
    assert list(history(ReplayProvider(run=str(run)), 10)) == PAST
    assert provider.price_source() == "quote"
    assert provider.batch_instrument("BTCUSDT") == INSTRUMENT
    assert provider.origin() == "run run-1"
    assert set(provider.source()) == {"run", "sha256"}


def test_a_run_that_does_not_fit_or_has_no_tape_is_refused(run: Path) -> None:
    with pytest.raises(ProviderError, match="holds no SOLUSDT; it has BTCUSDT, ETHUSDT"):
        ReplayProvider(run=str(run)).batches([Subscription("SOLUSDT", MINUTE_NS)], seed=0)
    with pytest.raises(ProviderError, match="holds 1m candles, 1h is wanted"):
        ReplayProvider(run=str(run)).batches([Subscription("BTCUSDT", 60 * MINUTE_NS)], seed=0)
    (run / "tape-0001.jsonl.zst").unlink()
    with pytest.raises(ProviderError, match="no tape there"):
        anyio.run(start, ReplayProvider(run=str(run)))


def test_of_a_run_no_more_symbols_and_steps_are_counted_and_no_more_of_the_past_is_taken_than_is_of_use(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab_replay.tape._PAST_MOST", 2)
    assert list(history(ReplayProvider(run=str(run)), 10)) == PAST[1:]
    monkeypatch.setattr("lab_replay.tape._STEPS_MOST", 1)
    tape = TapeWriter(run, RecordedTape(run))
    for minute in (100, 300, 700):
        tape.add(_candle(minute, "final"))
    tape.close()
    assert len(all_of(ReplayProvider(run=str(run)))) == 15, "the steps that came first are counted"
    monkeypatch.setattr("lab_replay.tape._SYMBOLS_MOST", 1)
    with pytest.raises(ProviderError, match="replay: run-1: its tape holds more than 1 symbols"):
        all_of(ReplayProvider(run=str(run)))


RATES = "time,rate\n2024-01-01,0.0001\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            RATES.encode() + b"2024-01-02," + b"0" * 5000 + b"1\n",
            r"rates.csv:3: longer than 4,096 bytes; expected a rate",
        ),
        (b"x" * 5000, r"rates.csv:1: longer than 4,096 bytes"),
        ((RATES + "2024-01-02,0\n2024-01-03,0\n").encode(), r"rates.csv:4: more than 2 rates; cut the file"),
        (RATES.encode() + b"\xff,1\n", r"rates.csv: is no text in UTF-8"),
        (RATES.encode() + b'2024-01-02,"' + b"0\n" * 70_000, r"rates.csv:\d+: not CSV \(field larger"),
        (b",".join([b"name"] * 500), r"rates.csv:1: expected the columns time, rate .* it has name, [name, ]{70,80}…$"),
        (b"time,rate\n", r"rates.csv:1: it holds no rate"),
    ],
    ids=["line", "header", "rates", "bytes", "field", "columns", "none"],
)
def test_a_file_that_holds_more_than_rates_is_refused_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes, message: str
) -> None:
    monkeypatch.setattr("lab_replay.funding_file._RATES_MOST", 2)
    (tmp_path / "rates.csv").write_bytes(text)
    with pytest.raises(ProviderError, match=message):
        ReplayProvider(file="btcusd-1m", funding=str(tmp_path / "rates.csv")).channels()


def test_rates_are_read_as_they_were_written_whatever_begins_the_file_or_ends_its_lines(tmp_path: Path) -> None:
    (path := tmp_path / "rates.csv").write_bytes(b"\xef\xbb\xbf" + RATES.replace("\n", "\r\n").encode())
    rates = FundingFile(path)
    assert [rate for _, rate, _ in rates.rates] == [0.0001]
    assert rates.sha256 == sha256_of(path)


def test_the_hook_offers_the_provider_by_name() -> None:
    from lab.plugins.discovery import Registry

    assert Registry().get("provider", "replay").cls is ReplayProvider
