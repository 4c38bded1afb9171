"""Columns that were kept of a file are played as the file is: the same data, the same errors, or the file itself."""

import gzip
import os
import shutil
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from lab.domain.inputs import Input
from lab.domain.time import MINUTE_NS, SECOND_NS, parse_time
from lab.errors import ProviderError
from lab.ports import Runtime, Subscription
from lab_recordings import candle_file, recording, sha256_of
from lab_recordings import table as tables
from lab_recordings.cache import ColumnCache
from lab_replay import price_file, sources
from lab_replay.provider import ReplayProvider

BEGIN_S = parse_time("2024-01-01") // SECOND_NS
BTC = Subscription("BTCUSDT", MINUTE_NS)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own, in which small files are kept too, in blocks of 16 rows."""
    monkeypatch.setenv("LAB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(price_file, "LEAST_BYTES", 0)
    monkeypatch.setattr(tables, "BATCH", 16)
    return tmp_path / "cache"


def candle_rows(count: int, missing: int = -1, price: float = 10.0) -> str:
    rows = [
        f"{BEGIN_S + 60 * n},{price},{price + 2},{price - 1},{price + n % 8 / 8},{n / 4}"
        for n in range(count)
        if n != missing
    ]
    return "\n".join(["time,open,high,low,close,volume", *rows]) + "\n"


def kept(cache: Path) -> list[Path]:
    return sorted(cache.iterdir()) if cache.exists() else []


def told(provider: ReplayProvider) -> tuple[Any, ...]:
    """All that a backtest takes from the provider."""
    batches = [tuple(batch) for batch in provider.batches([BTC], seed=0)]
    return batches, provider.batch_instrument("BTCUSDT"), provider.source()


def events(provider: ReplayProvider) -> list[Input]:
    return [event for batch in provider.batches([BTC], seed=0) for event in batch]


@pytest.fixture
def only_kept(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on no row of a file may be read."""

    def forbid() -> None:
        for module, name in ((candle_file, "read_columns"), (sources, "read_tick_columns")):
            monkeypatch.setattr(module, name, lambda *_: pytest.fail("the file was read"))

    return forbid


MIXED = "time,kind,bid,bid_size,ask,ask_size,price,size,side\n" + "".join(
    f"{BEGIN_S + 7 * n},trade,,,,,{5000 + n % 3},0.1,buy\n"
    if n % 4
    else f"{BEGIN_S + 7 * n},quote,5000,{n},5002,1,,,\n"
    for n in range(100)
)
DATES = "date,open,high,low,close,volume\n" + "".join(
    f"2024-01-01T00:{minute:02}Z,5001.25,5002,5001,5001,0\n" for minute in (0, 1, 2, 9)
)
FILES: dict[str, bytes] = {
    "candles.csv": candle_rows(100, price=4000.0).encode(),
    "gap.csv": candle_rows(100, missing=40, price=4000.0).encode(),
    "dates.csv.gz": gzip.compress(DATES.encode()),
    "quoted.csv": candle_rows(100, price=4000.0).replace(",4002.0,", ',"4002.0",').encode(),
    "no_volume.csv": b"open,close,high,low,date\n5,5000,5000,5000,2024-01-01\n5,5001,5001,4999,2024-01-01T00:01\n",
    "ticks.csv": MIXED.encode(),
    "quotes.csv": b"time,bid,bid_size,ask,ask_size\n1704067200,5000,1,5001,1\n1704067201,5000.0,1,5000.5,1\n",
}


@pytest.mark.parametrize("name", FILES)
def test_kept_columns_give_the_same_batches_instrument_notes_and_digest(
    name: str, cache: Path, tmp_path: Path, only_kept: Callable[[], None]
) -> None:
    (path := tmp_path / name).write_bytes(FILES[name])
    plain = told(ReplayProvider(file=str(path), keep=False))
    assert kept(cache) == []
    assert told(ReplayProvider(file=str(path))) == plain
    assert len(kept(cache)) == 1
    only_kept()
    provider = ReplayProvider(file=str(path))
    assert told(provider) == plain
    assert told(provider) == plain, "reporters read it again"


def test_the_shipped_ticks_are_kept_and_played_as_they_are_read(cache: Path, only_kept: Callable[[], None]) -> None:
    plain = told(ReplayProvider(file="btcusdt-ticks", keep=False))
    assert told(ReplayProvider(file="btcusdt-ticks")) == plain
    only_kept()
    assert told(ReplayProvider(file="btcusdt-ticks")) == plain


def started(provider: ReplayProvider) -> str:
    """Start it as a session does; return why that was refused."""

    async def start() -> str:
        refused = ""
        async with anyio.create_task_group() as tasks:
            try:
                await provider.start(Runtime(clock=None, seed=0, tasks=tasks))  # type: ignore[arg-type]
            except ProviderError as error:  # else the task group would wrap it
                refused = str(error)
        return refused

    return anyio.run(start)


def test_a_session_keeps_columns_too_and_warms_up_as_without(cache: Path, tmp_path: Path) -> None:
    (path := tmp_path / "candles.csv").write_bytes(FILES["candles.csv"])
    for _ in range(2):
        provider = ReplayProvider(file=str(path), warmup=4)
        assert started(provider) == ""
        assert provider.source()["sha256"] == sha256_of(path)
        assert len(kept(cache)) == 1
        why = started(ReplayProvider(file=str(path), warmup=100))
        assert why == "replay: candles.csv: 100 candles; with warmup=100 none is left to play"
    assert [event.status for event in events(provider)[:5]] == [*["backfilled"] * 4, "final"]  # type: ignore[union-attr]


def test_each_way_of_reading_a_file_is_kept_apart(cache: Path, tmp_path: Path) -> None:
    rows = (
        "time,open,high,low,close,bid,bid_size,ask,ask_size\n1704067200,1,1,1,1,1,1,1,1\n1704070800,1,1,1,1,1,1,1,1\n"
    )
    (path := tmp_path / "both.csv").write_text(rows)
    for settings in ({"format": "ticks"}, {"format": "candles", "interval": "1m"}, {"format": "candles"}):
        provider = ReplayProvider(file=str(path), **settings)  # type: ignore[arg-type]
        interval_ns = 60 * MINUTE_NS if settings == {"format": "candles"} else MINUTE_NS
        assert len(list(provider.batches([Subscription("BTCUSDT", interval_ns)], seed=0))) == 1
    assert len(kept(cache)) == 3


def test_another_file_of_the_same_name_size_and_time_is_read_itself(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "candles.csv"
    for price in (10.0, 11.0):
        path.write_text(candle_rows(50, price=price))
        os.utime(path, (1, 1))
        provider = ReplayProvider(file=str(path))
        assert {event.open for event in events(provider)} == {price}  # type: ignore[union-attr]
        assert provider.source()["sha256"] == sha256_of(path)
    assert len(kept(cache)) == 2


def test_a_copy_of_another_name_uses_what_was_kept(cache: Path, tmp_path: Path, only_kept: Callable[[], None]) -> None:
    (path := tmp_path / "candles.csv").write_bytes(FILES["gap.csv"])
    first = events(ReplayProvider(file=str(path)))
    shutil.copy(path, tmp_path / "copy.csv")
    only_kept()
    assert events(ReplayProvider(file=str(tmp_path / "copy.csv"))) == first


def test_a_file_that_is_refused_is_never_kept_and_refused_alike_where_its_bytes_were_kept(
    cache: Path, tmp_path: Path
) -> None:
    (path := tmp_path / "bad.csv").write_text(candle_rows(100) + f"{BEGIN_S + 6000},1,1,1,x,1\n")
    for keep in (False, True, True):
        with pytest.raises(ProviderError, match=r"bad.csv:102: close 'x' is not a number"):
            ReplayProvider(file=str(path), keep=keep).batches([BTC], seed=0)
    assert kept(cache) == []
    for name in ("sound.csv", "sound.csv.gz"):
        (tmp_path / name).write_text(candle_rows(100))
    events(ReplayProvider(file=str(tmp_path / "sound.csv"), interval="1m", format="candles"))
    for keep in (False, True):
        provider = ReplayProvider(file=str(tmp_path / "sound.csv.gz"), interval="1m", format="candles", keep=keep)
        with pytest.raises(ProviderError, match=r"sound.csv.gz:1: named .gz but not gzip data"):
            provider.batches([BTC], seed=0)


@pytest.mark.parametrize("place", [0, 8, 60, 500, -10, None])
def test_damaged_columns_are_made_anew_and_said_once(
    place: int | None, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path := tmp_path / "candles.csv").write_bytes(FILES["candles.csv"])
    plain = told(ReplayProvider(file=str(path)))
    (file,) = kept(cache)
    sound = file.read_bytes()
    damaged = bytearray(sound if place is not None else sound[:1000])
    if place is not None:
        damaged[place] ^= 0xFF
    file.write_bytes(damaged)
    assert told(ReplayProvider(file=str(path))) == plain
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"lab: kept columns {file}: ")
    assert line.endswith("damaged; made anew")
    assert file.read_bytes() == sound
    assert told(ReplayProvider(file=str(path))) == plain
    assert capsys.readouterr().err == ""


def test_columns_that_are_damaged_while_they_are_played_end_the_run_with_no_wrong_candle(
    cache: Path, tmp_path: Path
) -> None:
    (path := tmp_path / "candles.csv").write_text(candle_rows(20_000))  # more than is read ahead
    plain = events(ReplayProvider(file=str(path)))
    batches = ReplayProvider(file=str(path)).batches([BTC], seed=0)
    played = list(next(batches))
    with kept(cache)[0].open("r+b") as file:
        file.seek(-5000, os.SEEK_END)
        file.write(b"\xff" * 100)
    with pytest.raises(ProviderError, match=r"candles.csv: its kept columns were damaged while they were played"):
        played.extend(event for batch in batches for event in batch)
    assert 10_000 < len(played) < 20_000
    assert played == plain[: len(played)]


def test_columns_that_vanish_while_they_are_played_are_played_to_their_end(cache: Path, tmp_path: Path) -> None:
    (path := tmp_path / "candles.csv").write_text(candle_rows(20_000))
    plain = events(ReplayProvider(file=str(path)))
    batches = ReplayProvider(file=str(path)).batches([BTC], seed=0)
    played = list(next(batches))
    shutil.rmtree(cache)
    path.unlink()
    assert [*played, *(event for batch in batches for event in batch)] == plain


def test_of_a_file_that_changes_while_it_is_read_nothing_is_kept_and_what_is_played_is_what_is_named(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path := tmp_path / "candles.csv").write_text(candle_rows(50))
    with monkeypatch.context() as patch:

        def digest_then_change(file: Path) -> str:
            digest = sha256_of(file)
            file.write_text(candle_rows(50, price=20.0))
            return digest

        patch.setattr(price_file, "sha256_of", digest_then_change)
        provider = ReplayProvider(file=str(path))
        assert {event.open for event in events(provider)} == {20.0}  # type: ignore[union-attr]
        assert provider.source()["sha256"] == sha256_of(path)
    assert kept(cache) == []


def test_a_file_that_changes_between_its_check_and_its_playing_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(price_file, "_HELD", 0)
    (path := tmp_path / "candles.csv").write_text(candle_rows(50))
    batches = ReplayProvider(file=str(path)).batches([BTC], seed=0)
    path.write_text(candle_rows(50, price=20.0))
    with pytest.raises(ProviderError, match=r"candles.csv: it was changed while it was played"):
        list(batches)


def test_a_file_that_is_not_held_is_played_from_the_file_and_named_by_what_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path := tmp_path / "ticks.csv").write_bytes(FILES["ticks.csv"])
    held = told(ReplayProvider(file=str(path)))
    monkeypatch.setattr(price_file, "_HELD", 0)
    assert told(ReplayProvider(file=str(path))) == held
    assert held[2]["sha256"] == sha256_of(path)


def test_a_file_that_unpacks_to_more_than_it_looks_is_held_no_longer_than_its_columns_are_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path := tmp_path / "packed.csv.gz").write_bytes(gzip.compress(candle_rows(40_000, missing=7).encode()))
    held = told(ReplayProvider(file=str(path), keep=False))
    monkeypatch.setattr(price_file, "_HELD", 1 << 18)
    tracemalloc.start()
    count = sum(map(len, ReplayProvider(file=str(path), keep=False).batches([BTC], seed=0)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 39_999
    assert peak < 2_000_000, "its columns are 1.9 MB"
    assert told(ReplayProvider(file=str(path), keep=False)) == held


@pytest.mark.parametrize("how", ["setting", "no file", "small", "folder is a file", "too full", "too small"])
def test_where_nothing_is_kept_the_file_is_played_all_the_same(
    how: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (path := tmp_path / "candles.csv").write_bytes(FILES["candles.csv"])
    provider = ReplayProvider(file=str(path), keep=how != "setting")
    if how == "no file":
        provider.leave_no_file()
    elif how == "small":
        monkeypatch.setattr(price_file, "LEAST_BYTES", path.stat().st_size + 1)
    elif how == "folder is a file":
        cache.write_text("")
    elif how.startswith("too"):  # for the file, or for its columns only
        most = path.stat().st_size - (how == "too full")
        monkeypatch.setattr(tables, "BATCH", 2)  # then the columns are longer than the file
        monkeypatch.setattr(price_file, "ColumnCache", partial(ColumnCache, most_bytes=most))
    assert len(events(provider)) == 100
    assert cache.is_file() or kept(cache) == []
    assert ("are not kept" in capsys.readouterr().err) is (how == "folder is a file")


def test_a_run_that_leaves_no_file_behind_uses_what_was_kept_before(
    cache: Path, tmp_path: Path, only_kept: Callable[[], None]
) -> None:
    (path := tmp_path / "candles.csv").write_bytes(FILES["candles.csv"])
    plain = told(ReplayProvider(file=str(path)))
    os.utime(kept(cache)[0], (1, 1))
    only_kept()
    provider = ReplayProvider(file=str(path))
    provider.leave_no_file()
    assert told(provider) == plain
    assert kept(cache)[0].stat().st_mtime == 1


def test_a_tick_that_is_set_counts_for_kept_columns_too(cache: Path, tmp_path: Path) -> None:
    (path := tmp_path / "candles.csv").write_bytes(FILES["candles.csv"])
    for _ in range(2):
        provider = ReplayProvider(file=str(path), tick=Decimal("0.001"))
        assert provider.batch_instrument("BTCUSDT").tick == Decimal("0.001")


def test_memory_does_not_grow_with_the_file(cache: Path, tmp_path: Path) -> None:
    peaks = []
    for rows in (3_000, 30_000):
        (path := tmp_path / f"{rows}.csv").write_text(candle_rows(rows))
        for _ in range(2):  # cold, then warm
            tracemalloc.start()
            assert sum(map(len, ReplayProvider(file=str(path)).batches([BTC], seed=0))) == rows
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert max(peaks) < 2_000_000, peaks  # thirty thousand candles are 12 MB, their columns 1.4 MB


def test_the_shipped_recordings_are_too_small_to_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_CACHE_DIR", str(tmp_path / "cache"))
    assert recording("btcusd-1m").path.stat().st_size < price_file.LEAST_BYTES
    told(ReplayProvider(file="btcusd-1m"))
    assert not (tmp_path / "cache").exists()
