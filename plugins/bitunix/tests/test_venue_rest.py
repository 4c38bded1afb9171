"""The local venue's REST, by a real client in virtual time: candles, errors, limits, the clock."""

from functools import partial
from typing import Any

import anyio
import pytest
from lab.domain.time import parse_time
from lab_bitunix.venue import LocalVenue
from venue_client import MINUTE_MS, client, listen, rest, rows, virtually


def test_rows_come_newest_first_with_the_open_candle() -> None:
    found = virtually(partial(rows, more="&limit=3"))

    newest = parse_time("2026-10-05T12:00:00Z") // 10**6
    assert [int(row["time"]) for row in found] == [newest, newest - MINUTE_MS, newest - 2 * MINUTE_MS]


def test_end_time_is_exclusive_start_time_filters_and_200_is_the_most() -> None:
    newest = parse_time("2026-10-05T12:00:00Z") // 10**6

    async def check(venue: LocalVenue) -> None:
        page = await rows(venue, f"&endTime={newest}&limit=2")
        assert [int(row["time"]) for row in page] == [newest - MINUTE_MS, newest - 2 * MINUTE_MS]
        assert len(await rows(venue, "&limit=1000")) == 200
        assert len(await rows(venue)) == 100
        old = await rows(venue, f"&startTime={newest - 1000 * MINUTE_MS}&limit=5")
        assert int(old[0]["time"]) == newest
        assert len(await rows(venue, f"&startTime={newest - MINUTE_MS}")) == 2

    virtually(check)


def test_a_new_row_appears_a_second_after_its_minute_began() -> None:
    async def check(venue: LocalVenue) -> list[int]:
        seen = []
        for at_s in (39.9, 40.2, 41.5):
            await anyio.sleep(at_s - venue.elapsed_s())
            seen.append(int((await rows(venue, "&limit=1"))[0]["time"]) // MINUTE_MS * 60)
        return seen

    first, second, third = virtually(check)

    assert first == second == third - 60


def test_the_closed_row_equals_the_last_push_of_a_mirrored_minute() -> None:
    async def check(venue: LocalVenue) -> tuple[Any, Any]:
        frames = await listen(venue, "market_kline_1min", seconds=130)
        boundary = parse_time("2026-10-05T12:02:00Z") // 10**6
        last = [frame["data"] for frame in frames if frame["ts"] < boundary][-1]
        row = next(row for row in await rows(venue) if int(row["time"]) == boundary - MINUTE_MS)
        return last, row

    push, row = virtually(check)

    assert (push["o"], push["h"], push["l"]) == (row["open"], row["high"], row["low"])
    assert float(push["b"]) <= float(row["baseVol"])
    low, high = float(row["low"]), float(row["high"])
    assert low * 0.999 < float(row["quoteVol"]) / float(row["baseVol"]) < high * 1.001


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        ("market/kline?symbol=NONEUSDT&interval=1m", 20015, "not allowed"),
        ("market/kline?symbol=GONEUSDT&interval=1m", 20015, "not allowed"),
        ("market/kline?interval=1m", 1, "Network Error"),
        ("market/kline?symbol=BTCUSDT&interval=1m&type=INDEX", 10008, "MARK_PRICE"),
        ("market/depth?symbol=BTCUSDT&limit=7", 10008, "1, 5, 15, 50, max"),
        ("market/kline?symbol=BTCUSDT&interval=1m&limit=x", 10002, "Parameter"),
        ("market/time", 404, "Not Found"),
    ],
)
def test_errors_are_codes_inside_http_200(path: str, code: int, words: str) -> None:
    response = virtually(partial(rest, path=path))

    assert response.status_code == 200
    assert response.json()["code"] == code
    assert response.json()["data"] is None
    assert words in response.json()["msg"]


def test_an_unsupported_interval_gives_an_empty_list() -> None:
    answer = virtually(partial(rest, path="market/kline?symbol=BTCUSDT&interval=3m")).json()

    assert answer == {"code": 0, "data": [], "msg": "Success"}


def test_a_symbol_not_yet_open_has_an_empty_book_and_no_ticker() -> None:
    async def check(venue: LocalVenue) -> tuple[Any, Any]:
        book = await rest(venue, "market/depth?symbol=soonusdt")
        tickers = await rest(venue, "market/tickers")
        return book.json()["data"], [row["symbol"] for row in tickers.json()["data"]]

    book, symbols = virtually(check)

    assert book == {"asks": [], "bids": []}
    assert symbols == ["BTCUSDT", "ETHUSDT", "GONEUSDT"]


def test_the_eleventh_call_in_a_second_is_refused() -> None:
    async def check(venue: LocalVenue) -> list[int]:
        codes: list[int] = []

        async def call() -> None:
            codes.append((await rest(venue, "market/depth?symbol=BTCUSDT&limit=1")).json()["code"])

        async with anyio.create_task_group() as tasks:
            for _ in range(12):
                tasks.start_soon(call)
        return codes

    assert sorted(virtually(check)) == [0] * 10 + [10006] * 2


def test_the_date_header_follows_the_venues_clock() -> None:
    async def check(venue: LocalVenue) -> tuple[str, str]:
        await anyio.sleep(3600 - venue.elapsed_s() - 2)
        async with client(venue) as socket:
            assert socket.response is not None
            handshake = socket.response.headers["Date"]
        return (await rest(venue, "market/tickers")).headers["Date"], handshake

    for date in virtually(check):
        assert date.startswith("Mon, 05 Oct 2026 13:00:")
