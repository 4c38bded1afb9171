"""Parts of a file, longer candles made of its own, and files in other forms."""

from collections.abc import Iterator
from itertools import pairwise
from math import fsum
from pathlib import Path

import pytest
from candle_files import DAYS, HOURS, MINUTES, READ, Row, at, ohlcv, series, table, unix
from hypothesis import given
from hypothesis import strategies as st
from lab.domain.batches import CandleColumns
from lab.domain.market import Candle
from lab.domain.time import DAY_NS, MINUTE_NS, SECOND_NS, format_interval, parse_time
from lab.errors import ProviderError
from lab.ports import Subscription
from lab_recordings import RecordingError
from lab_replay.provider import ReplayProvider
from lab_replay.shaping import Shape, Span

HOUR_NS = 60 * MINUTE_NS
HEADER = "time,open,high,low,close,volume"


def write(folder: Path, rows: list[Row], name: str = "prices.csv") -> Path:
    path = folder / name
    path.write_bytes(table(rows, [unix(SECOND_NS), *ohlcv()], HEADER))
    return path


def played(provider: ReplayProvider, interval_ns: int) -> list[Candle]:
    wanted = [Subscription("BTCUSDT", interval_ns)]
    return [event for batch in provider.batches(wanted, seed=0) for event in batch if isinstance(event, Candle)]


def made(rows: list[Row], interval_ns: int) -> list[Row]:
    """Make longer candles, one row after the other."""
    buckets: dict[int, list[Row]] = {}
    for row in rows:
        phase_ns = 4 * DAY_NS if interval_ns % (7 * DAY_NS) == 0 else 0
        buckets.setdefault(row.open_ns - (row.open_ns - phase_ns) % interval_ns, []).append(row)
    return [
        Row(start, some[0].open, max(one.high for one in some), min(one.low for one in some), some[-1].close,
            round(fsum(one.volume for one in some), 8))
        for start, some in buckets.items()
    ]  # fmt: skip


def rows_of(candles: list[Candle]) -> list[Row]:
    return [Row(one.open_ns, *one[3:8]) for one in candles]


@pytest.mark.behaviour("D5")
@pytest.mark.parametrize(("minutes", "first", "last"), [(2, 2, 75), (5, 1, 30), (30, 1, 5), (60, 1, 2)])
def test_longer_candles_are_made_of_whole_ones_and_those_cut_off_at_the_ends_are_left_out(
    tmp_path: Path, minutes: int, first: int, last: int
) -> None:
    provider = ReplayProvider(file=str(write(tmp_path, MINUTES[3:])))  # from 22:03 to 00:30
    interval_ns = minutes * MINUTE_NS
    assert rows_of(played(provider, interval_ns)) == made(MINUTES, interval_ns)[first:last]
    said = f"made {format_interval(interval_ns)} of 1m candles, {1 + (minutes == 60)} at the ends left out, not whole"
    assert provider.source()["form"] == said


def test_weeks_begin_on_mondays_and_candles_that_lack_some_are_counted(tmp_path: Path) -> None:
    rows = [row for row in DAYS if row.open_ns != parse_time("2024-01-17")]  # from Tuesday, January 2nd, on
    provider = ReplayProvider(file=str(write(tmp_path, rows)))
    weeks = played(provider, 7 * DAY_NS)
    assert rows_of(weeks) == made(rows, 7 * DAY_NS)[1:-1]
    assert weeks[0].open_ns == parse_time("2024-01-08")
    form = "made 1w of 1d candles, 2 at the ends left out, not whole, 1 of fewer than 7"
    assert provider.source()["form"] == form
    assert "gaps" not in provider.source().get("notes", "")


WEEK_NS = 7 * DAY_NS
WEEKDAYS_ONLY = series("2024-01-03", DAY_NS, 33, price=186.0, weekdays=True)  # to Friday, February 16th


def days(first: str, count: int) -> list[Row]:
    return series(first, DAY_NS, count, price=186.0, weekdays=True)


@pytest.mark.behaviour("D5", "D6")
@pytest.mark.parametrize(
    ("calendar", "left_out", "short"),
    [
        ("auto", 1, ""), ("weekdays", 1, ""), ("Mon-Fri", 1, ""), ("Wed-Fri", 0, ""), ("24/7", 2, "5 of fewer than 7"),
        ("file", 2, ""), ("Mon-Sat", 2, "5 of fewer than the market is open for"),
    ],
)  # fmt: skip
def test_a_week_is_whole_where_the_market_is_closed_at_its_ends(
    tmp_path: Path, calendar: str, left_out: int, short: str
) -> None:
    provider = ReplayProvider(file=str(write(tmp_path, WEEKDAYS_ONLY)), calendar=calendar)
    weeks = rows_of(played(provider, WEEK_NS))
    whole = made(WEEKDAYS_ONLY, WEEK_NS)
    assert weeks == whole[min(left_out, 1) : len(whole) - (left_out == 2)]
    said = f"made 1w of 1d candles{f', {left_out} at the ends left out, not whole' if left_out else ''}"
    form = provider.source()["form"]
    assert form.partition(";")[0] == (f"{said}, {short}" if short else said)
    assert ("so the market is closed then" in form) is (calendar == "auto")
    assert provider.batch_instrument("BTCUSDT").calendar == {"auto": "weekdays", "24/7": ""}.get(calendar, calendar)


def test_a_day_that_is_missing_makes_its_week_one_of_fewer_or_is_an_end_cut_off(tmp_path: Path) -> None:
    rows = [row for row in WEEKDAYS_ONLY if row.open_ns != parse_time("2024-01-17")]
    provider = ReplayProvider(file=str(write(tmp_path, rows[:-1])))  # to Thursday
    assert rows_of(played(provider, WEEK_NS)) == made(rows, WEEK_NS)[1:-1]
    form = "made 1w of 1d candles, 2 at the ends left out, not whole, 1 of fewer than the market is open for"
    assert provider.source()["form"].partition(";")[0] == form
    few = ReplayProvider(file=str(write(tmp_path, rows[3:11], "few.csv")))
    assert len(played(few, WEEK_NS)) == 1, "too few days to know when the market is closed"


def test_hours_of_a_market_make_whole_days(tmp_path: Path) -> None:
    hours = [row for row in series("2024-01-02", HOUR_NS, 240) if 14 <= row.open_ns % DAY_NS // HOUR_NS < 21]
    path = str(write(tmp_path, hours))
    calendar = "Mon-Sun 14:30-21:00"
    assert rows_of(played(ReplayProvider(file=path, calendar=calendar), DAY_NS)) == made(hours, DAY_NS)
    assert rows_of(played(ReplayProvider(file=path), DAY_NS)) == made(hours, DAY_NS)[1:-1]


@pytest.mark.behaviour("D1")
def test_mondays_and_fridays_are_days_with_holes_and_two_of_them_leave_a_doubt(tmp_path: Path) -> None:
    rows = [row for row in days("2024-01-01", 60) if row.open_ns // DAY_NS % 7 in (4, 1)]
    provider = ReplayProvider(file=str(write(tmp_path, rows)))
    assert provider.own_interval() == DAY_NS
    assert rows_of(played(provider, DAY_NS)) == rows
    assert "gaps" in provider.source()["notes"]
    path = str(write(tmp_path, rows[1:3], "two.csv"))
    said = "they are of 3d, or of 1d and some are missing; give --set replay.interval=1d or --set replay.interval=3d"
    with pytest.raises(ProviderError, match=said):
        played(ReplayProvider(file=path), DAY_NS)
    for interval, length_ns in (("1d", DAY_NS), ("3d", 3 * DAY_NS)):
        settled = ReplayProvider(file=path, interval=interval)
        assert settled.own_interval() == length_ns
        assert rows_of(played(settled, length_ns)) == rows[1:3]


def test_candles_that_open_within_an_interval_make_no_longer_ones(tmp_path: Path) -> None:
    path = tmp_path / "stock.csv"
    path.write_bytes(READ["half hours of an exchange"].content)
    with pytest.raises(ProviderError, match=r"its 1h candles open at .*T00:30:00Z: no longer ones can be"):
        played(ReplayProvider(file=str(path)), 2 * HOUR_NS)


@given(st.data())
def test_longer_candles_are_the_same_however_the_file_s_own_lie_in_blocks(data: st.DataObject) -> None:
    kept = data.draw(st.lists(st.booleans(), min_size=len(MINUTES), max_size=len(MINUTES)))
    rows = [row for row, there in zip(MINUTES, kept, strict=True) if there]
    times = data.draw(st.integers(2, 40))
    ends = sorted({0, len(rows), *data.draw(st.lists(st.integers(0, len(rows)), max_size=6))})
    shape = Shape("x", MINUTE_NS, times * MINUTE_NS, Span())
    blocks = [_columns(rows[begin:end]) for begin, end in pairwise(ends)]
    whole = made(rows, times * MINUTE_NS)
    if whole and rows[0].open_ns != whole[0].open_ns:
        whole = whole[1:]
    if whole and rows[-1].open_ns + MINUTE_NS != whole[-1].open_ns + times * MINUTE_NS:
        whole = whole[:-1]
    if not whole:
        with pytest.raises(RecordingError, match="no whole candle"):
            list(shape.columns(iter(blocks)))
        return
    found = [row for block in shape.columns(iter(blocks)) for row in zip(block.opens_ns, *block.figures, strict=True)]
    assert found == [tuple(row) for row in whole]


def _columns(rows: list[Row]) -> CandleColumns:
    opens_ns, *figures = zip(*rows, strict=True)
    return CandleColumns(opens_ns, figures)


def test_a_part_of_a_file_is_what_begins_and_ends_in_it(tmp_path: Path) -> None:
    path = str(write(tmp_path, HOURS))
    provider = ReplayProvider(file=path, since="2024-01-26", until="2024-01-27T06:30")
    candles = played(provider, HOUR_NS)
    assert (candles[0].open_ns, candles[-1].time_ns) == (parse_time("2024-01-26"), parse_time("2024-01-27T06:00"))
    assert len(candles) == 30
    assert "form" not in provider.source()
    days = played(ReplayProvider(file=path, since="2024-01-26", until="2024-01-29"), DAY_NS)
    assert rows_of(days) == made(HOURS, DAY_NS)[1:4]
    for given_settings, message in [
        ({"since": "2025-01-01"}, r"prices.csv: no candle of 1h from 2025-01-01T00:00:00Z"),
        ({"until": "2024-01-25"}, r"prices.csv: no candle of 1h to 2024-01-25T00:00:00Z"),
        ({"since": "2024-02-01", "until": "2024-01-01"}, "since 2024-02-01 is not before until 2024-01-01"),
    ]:
        with pytest.raises(ProviderError, match=message):
            played(ReplayProvider(file=path, **given_settings), HOUR_NS)
    with pytest.raises(ValueError, match="since: not a time: 'yesterday'"):
        ReplayProvider(file=path, since="yesterday")


def test_a_part_of_a_file_of_ticks_is_what_lies_in_it() -> None:
    provider = ReplayProvider(file="btcusdt-ticks", since="2024-08-08T23:56", until="2024-08-08T23:57")
    times = [
        event.time_ns for batch in provider.batches([Subscription("BTCUSDT", MINUTE_NS)], seed=0) for event in batch
    ]
    assert parse_time("2024-08-08T23:56") <= min(times) < max(times) < parse_time("2024-08-08T23:57")
    with pytest.raises(ProviderError, match="no tick from 2030-01-01T00:00:00Z"):
        played(ReplayProvider(file="btcusdt-ticks", since="2030-01-01"), MINUTE_NS)


@pytest.mark.parametrize("origin", ["Binance spot, zip", "German Excel", "NaN rows", "yfinance, new", "JSON lines"])
def test_a_file_of_another_form_is_played_kept_and_named_with_what_was_inferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: str
) -> None:
    monkeypatch.setenv("LAB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("lab_replay.price_file.LEAST_BYTES", 1)
    content, rows, said, suffix, _ = READ[origin]
    path = tmp_path / f"prices{suffix}"
    path.write_bytes(content)
    first = ReplayProvider(file=str(path))
    interval_ns = first.own_interval() or 0
    assert format_interval(interval_ns) in (said or "")
    assert rows_of(played(first, interval_ns)) == rows
    assert first.source()["form"].startswith(said or "")
    assert list((tmp_path / "cache").iterdir())
    if origin != "NaN rows":  # it looks plain, so it is read once more before what was kept is found
        monkeypatch.setattr("lab_recordings.candle_file.load", lambda *_: pytest.fail("the file was read"))
    again = ReplayProvider(file=str(path))
    assert again.own_interval() == interval_ns
    assert rows_of(played(again, interval_ns)) == rows
    assert again.source() == first.source()


def test_a_file_that_changes_between_two_looks_at_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes(table(HOURS, [at("%d.%m.%Y %H:%M"), *ohlcv()], HEADER))
    provider = ReplayProvider(file=str(path))
    assert provider.own_interval() == HOUR_NS
    path.write_bytes(table(HOURS[1:], [at("%d.%m.%Y %H:%M"), *ohlcv()], HEADER))
    with pytest.raises(ProviderError, match="it was changed while it was"):
        played(provider, HOUR_NS)


def _dates() -> Iterator[str]:
    yield from ("%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M", "%m/%d/%Y %I:%M %p", "%Y%m%d %H%M%S", "%b %d, %Y %H:%M:%S")


@given(
    st.sampled_from(list(_dates())), st.sampled_from([",", ";", "\t", "|"]), st.sampled_from([".", ","]),
    st.sampled_from(["", ",", ".", "'", " "]), st.booleans(), st.booleans(), st.integers(0, 10_000),
    st.integers(2, 400),
    st.sampled_from([0.02, 1.0, 150.0, 42_000.0, 3_000_000.0]),
)  # fmt: skip
def test_each_dialect_of_each_series_gives_its_candles_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, date: str, separator: str, point: str, group: str, newest_first: bool,
    header: bool, hours: int, count: int, price: float,
) -> None:  # fmt: skip
    begin = parse_time("2023-01-01") + hours * HOUR_NS
    rows = series(str(begin), HOUR_NS, count, price=price)
    if point == group:
        return
    form = "{:,.2f}" if group else "{:.2f}"
    cells = [at(date), *ohlcv(form, form.replace("2", "3"), point, group)]
    content = table(rows[::-1] if newest_first else rows, cells, separator=separator, quotes=True)
    names = separator.join(f'"{name}"' for name in HEADER.split(",")) + "\n"
    path = tmp_path_factory.mktemp("dialects", numbered=True) / "x.csv"
    path.write_bytes((names.encode() if header else b"") + content)
    try:
        provider = ReplayProvider(file=str(path), keep=False)
        found = rows_of(played(provider, HOUR_NS))
    except ProviderError:
        return  # it leaves a doubt
    assert found == rows


@pytest.mark.behaviour("D6")
def test_days_without_weekends_are_those_of_a_market_that_is_closed_then(tmp_path: Path) -> None:
    stock = series("2024-01-02", DAY_NS, 60, price=186.0, weekdays=True)
    holiday = [row for row in stock if row.open_ns != parse_time("2024-01-15")]
    path = str(write(tmp_path, holiday))
    for calendar, gaps, in_force in (
        ("auto", 1, "weekdays"), ("24/7", 12, ""), ("file", 0, "file"),
        ("Mon-Fri 14:30-21:00", 1, "Mon-Fri 14:30-21:00"), ("Mon-Thu", 1, "Mon-Thu"),
    ):  # fmt: skip
        provider = ReplayProvider(file=path, calendar=calendar)
        played(provider, DAY_NS)
        assert provider.batch_instrument("AAPL").calendar == in_force
        notes = provider.source().get("notes", "")
        assert notes.partition(":")[0] == (f"gaps {gaps}" if gaps else "")
        assert ("with replay.calendar=file the market is closed there" in notes) is (calendar not in ("24/7", "file"))
    said = "no weekends, so the market is closed then (calendar weekdays)"
    auto = ReplayProvider(file=path)
    played(auto, DAY_NS)
    assert auto.source()["form"] == said
    few = ReplayProvider(file=path, until="2024-01-12")
    played(few, DAY_NS)
    assert few.batch_instrument("AAPL").calendar == "", "too few days to know"
    for days in (DAYS, HOURS):
        always = ReplayProvider(file=str(write(tmp_path, days, "always.csv")))
        played(always, days[1].open_ns - days[0].open_ns)
        assert always.batch_instrument("BTCUSDT").calendar == ""
    for text, message in (("sometimes", "calendar: not a calendar: 'sometimes'"), ("", "calendar is empty")):
        with pytest.raises(ValueError, match=message):
            ReplayProvider(file=path, calendar=text)
