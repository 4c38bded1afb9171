"""Downloads: in pages, with holes named, tried again, gone on with after a crash, and made a file in one step."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab.domain.market import BACKFILLED, Candle
from lab.domain.time import MINUTE_NS, format_time, parse_time
from lab.downloads import pages as paging
from lab.downloads.pages import Pages
from lab.downloads.part_file import PartFile
from lab.errors import ProviderError, RunError

BEGIN_NS = parse_time("2024-01-01")
OF = {"provider": "test", "symbol": "X"}


def candle(minute: int, price: float = 5.5) -> Candle:
    open_ns = BEGIN_NS + minute * MINUTE_NS
    return Candle("X", open_ns, open_ns + MINUTE_NS, 5.0, 6.0, 4.0, price, 0.00001, BACKFILLED)


class Source:
    """A history that holds some minutes, and gives at most so many candles an answer."""

    def __init__(self, minutes: Sequence[int], most: int = 1000) -> None:
        self.candles = [candle(minute) for minute in minutes]
        self.most = most
        self.calls = 0

    async def ask(self, end_ns: int, count: int) -> Sequence[Candle]:
        self.calls += 1
        return [one for one in self.candles if one.open_ns < end_ns][-min(count, self.most) :]


def fetched(source: Source, since: int, until: int) -> tuple[list[Candle], list[tuple[int, int]]]:
    async def all_of() -> tuple[list[Candle], list[tuple[int, int]]]:
        pages = Pages(source.ask, "X", MINUTE_NS, BEGIN_NS + since * MINUTE_NS, BEGIN_NS + until * MINUTE_NS)
        found = [one async for page in pages for one in page]
        return found, [
            ((one.begin_ns - BEGIN_NS) // MINUTE_NS, (one.end_ns - BEGIN_NS) // MINUTE_NS) for one in pages.holes
        ]

    return anyio.run(all_of)


@given(st.sets(st.integers(-5, 60)), st.integers(1, 7), st.integers(-8, 40), st.integers(1, 30), st.integers(1, 9))
@settings(max_examples=60)
def test_every_candle_there_is_comes_once_in_order_and_every_other_minute_is_named_as_missing(
    minutes: set[int], most: int, since: int, length: int, page: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(paging, "PAGE", page)
        found, holes = fetched(Source(sorted(minutes), most), since, since + length)
    wanted = range(since, since + length)
    assert found == [candle(minute) for minute in wanted if minute in minutes]
    missing = [minute for begin, end in holes for minute in range(begin, end)]
    assert missing == [minute for minute in wanted if minute not in minutes]


def test_years_before_a_listing_cost_few_calls() -> None:
    source = Source(range(3_000_000, 3_000_050))
    found, holes = fetched(source, 0, 3_000_050)
    assert (len(found), holes) == (50, [(0, 3_000_000)])
    assert source.calls < 60


@pytest.mark.parametrize(
    ("given_candle", "problem"),
    [
        (candle(3, 7.0), r"candle of 2024-01-01T00:03:00Z that can't be used: close 7.0 outside"),
        (candle(3)._replace(symbol="Y"), "it is of Y"),
        (candle(9), "out of order, or was not asked for"),
        (candle(3)._replace(open_ns=BEGIN_NS + 1), "not on the grid"),
    ],
)
def test_what_is_no_candle_of_the_history_is_refused(given_candle: Candle, problem: str) -> None:
    source = Source([])
    source.candles = [given_candle]
    source.ask = lambda end_ns, count: _give(source.candles)  # type: ignore[method-assign]
    with pytest.raises(ProviderError, match=problem):
        fetched(source, 0, 5)


async def _give(candles: Sequence[Candle]) -> Sequence[Candle]:
    return candles


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
def test_a_download_goes_on_behind_its_last_whole_row_and_becomes_the_file_in_one_step(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    first = PartFile(path, OF)
    first.begin()
    first.add(map(candle, range(5)))
    with first.part.open("ab") as file:
        file.write(b"2024-01-01T00:05:00Z,5.0,6")  # the process was killed here
    assert not path.exists()
    second = PartFile(path, OF)
    second.begin()
    assert (second.rows, format_time(second.newest_ns)) == (5, "2024-01-01T00:04:00Z")
    second.add([candle(5)])
    second.finish()
    data = path.read_bytes()
    rows = (gzip.decompress(data) if name.endswith(".gz") else data).decode().splitlines()
    assert rows[0] == "time,open,high,low,close,volume"
    assert rows[1:] == [f"2024-01-01T00:0{minute}:00Z,5.0,6.0,4.0,5.5,0.00001" for minute in range(6)]
    assert list(tmp_path.iterdir()) == [path]


def test_a_part_of_another_download_and_a_file_that_is_there_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    PartFile(path, OF).begin()
    for content in (None, b"", b"9" * 5000):
        if content is not None:
            (tmp_path / "x.csv.part").write_bytes(content)
        before = (tmp_path / "x.csv.part").read_bytes()
        if content == b"":  # killed before its first line was written
            PartFile(path, OF).begin()
            continue
        with pytest.raises(RunError, match=r"x.csv.part is the part of another download; delete it, or give --out"):
            PartFile(path, {**OF, "symbol": "Y"}).begin()
        assert (tmp_path / "x.csv.part").read_bytes() == before
    path.write_text("mine")
    with pytest.raises(RunError, match=r"x.csv is there already; move it away, or give --out another name"):
        PartFile(path, OF).begin()
