"""Candles kept for a restart: only what was confirmed, only of the same source, and nothing that was damaged."""

import os
from pathlib import Path

import pytest
from lab.domain.market import BACKFILLED, UNCONFIRMED, Candle
from lab.live.candle_cache import CandleCache
from lab.testing.builders import candles, waves

KEY = {"provider": "bitunix", "origin": "fapi.bitunix.com", "symbol": "BTCUSDT", "interval": "60s"}
SOME = candles(waves(2000))


def cache(folder: Path, keep: int = 100, **other: str) -> CandleCache:
    return CandleCache(folder, {**KEY, **other}, keep=keep)


def past(some: list[Candle]) -> list[Candle]:
    return [candle._replace(status=BACKFILLED) for candle in some]


@pytest.mark.behaviour("F10")
def test_closed_candles_come_back_as_history_ascending_and_without_those_that_are_unconfirmed(tmp_path: Path) -> None:
    made = cache(tmp_path)
    made.add([*SOME[:5], SOME[5]._replace(status=UNCONFIRMED)])
    made.add(SOME[:8])
    assert cache(tmp_path).read() == past(SOME[:8])
    made = cache(tmp_path)
    made.add([*SOME[3:8], SOME[8]._replace(status=UNCONFIRMED), SOME[9]])
    assert cache(tmp_path).read() == past([*SOME[:8], SOME[9]])
    made.add([SOME[8], SOME[10]])
    assert cache(tmp_path).read() == past(SOME[:11])
    assert made.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.behaviour("F10")
@pytest.mark.parametrize("other", [{"provider": "x"}, {"origin": "x"}, {"symbol": "ETHUSDT"}, {"interval": "300s"}])
def test_candles_of_another_source_symbol_or_interval_are_none(tmp_path: Path, other: dict[str, str]) -> None:
    made, another = cache(tmp_path), cache(tmp_path, **other)
    made.add(SOME[:3])
    assert another.read() == []
    another.path.write_bytes(made.path.read_bytes())
    assert another.read() == []
    own = made.path.read_bytes().split(b"\n")
    another.add(SOME[:1])
    head = another.path.read_bytes().split(b"\n")[0]
    another.path.write_bytes(b"\n".join([head, *own[1:]]))
    assert another.read() == []


@pytest.mark.behaviour("F10")
def test_a_line_that_was_changed_or_cut_short_is_missing_and_the_file_is_mended(tmp_path: Path) -> None:
    made = cache(tmp_path)
    made.add(SOME[:4])
    lines = made.path.read_bytes().split(b"\n")
    lines[2] = lines[2].replace(b"1", b"2", 1)
    lines[3] = b"\xff{"
    made.path.write_bytes(b"\n".join(lines)[:-9])
    again = cache(tmp_path)
    assert again.read() == past(SOME[:1])
    again.add(SOME[:6])
    assert cache(tmp_path).read() == past(SOME[:6])


def test_the_file_stays_within_its_length_however_long_it_is_added_to(tmp_path: Path) -> None:
    made = cache(tmp_path, keep=10)
    for end in range(100, 2001, 100):
        made.add(SOME[end - 100 : end])
    assert cache(tmp_path, keep=10).read() == past(SOME[-10:])
    assert made.path.read_bytes().count(b"\n") <= 1011
    assert made.path.stat().st_size < 200_000


def test_what_is_no_file_of_ours_is_read_by_nobody_and_followed_nowhere(tmp_path: Path) -> None:
    made = cache(tmp_path)
    made.path.parent.mkdir()
    target = tmp_path / "target"
    target.write_bytes(b"theirs")
    made.path.symlink_to(target)
    assert made.read() == []
    made.add(SOME[:2])
    assert target.read_bytes() == b"theirs"
    assert cache(tmp_path).read() == past(SOME[:2])
    for spoil in (os.mkfifo, lambda path: path.write_bytes(b"x" * 10_000_000)):
        made.path.unlink()
        spoil(made.path)
        assert cache(tmp_path).read() == []


def test_a_disk_that_refuses_is_a_problem_that_is_told_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "candles").write_text("no folder")
    made = cache(tmp_path)
    assert made.read() == []
    made.add(SOME[:2])
    assert made.problem.startswith(str(made.path))
    made.add(SOME[2:4])
