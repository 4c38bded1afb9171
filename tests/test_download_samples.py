"""`lab download` over what the venue itself has sent: payloads captured from it, played by a server on loopback."""

import csv
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from attrs import define, field
from fake_venue import SAMPLES
from lab.domain.time import MILLISECOND_NS, SECOND_NS, format_time, parse_interval, parse_time

OTHERS = {
    "/api/v1/futures/market/trading_pairs": "rest-trading-pairs-2026-02.json",
    "/api/v1/futures/position/get_position_tiers": "rest-position-tiers-docs.json",
}


@define
class Capture:
    """A venue that holds the rows of one captured payload, as the protocol says: the newest before the end, newest
    first, no more than a page, and nothing where it has no more.
    """

    rows: list[dict[str, str]]
    taken_s: int
    page: int
    asked: list[dict[str, str]] = field(factory=list)

    def answer(self, path: str, params: dict[str, str]) -> bytes:
        if path in OTHERS:
            return (SAMPLES / OTHERS[path]).read_bytes()
        assert path == "/api/v1/futures/market/kline"
        self.asked.append(params)
        end_ms = int(params.get("endTime", self.taken_s * 1000))
        known = [row for row in self.rows if int(row["time"]) < end_ms]
        found = known[: min(self.page, int(params.get("limit", 100)))]
        return json.dumps({"code": 0, "data": found, "msg": "Success"}).encode()

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Answer on loopback, and give the address."""
        venue = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                body = venue.answer(parts.path, dict(parse_qsl(parts.query)))
                self.send_response_only(200)
                self.send_header("Date", formatdate(venue.taken_s, usegmt=True))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def captured(name: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = json.loads((SAMPLES / name).read_bytes())["data"]
    return rows


def figures(rows: list[dict[str, str]], volume: str) -> list[tuple[Any, ...]]:
    """Return the payload's candles, oldest first, as exact numbers."""
    names = ("open", "high", "low", "close", volume)
    return [(int(row["time"]), *(Decimal(row[name]) for name in names)) for row in reversed(rows)]


def read(path: Path) -> list[tuple[Any, ...]]:
    """Return the file's candles as exact numbers."""
    with path.open(newline="") as file:
        return [
            (parse_time(time) // MILLISECOND_NS, *map(Decimal, numbers))
            for time, *numbers in list(csv.reader(file))[1:]
        ]


@pytest.mark.behaviour("D3")
@pytest.mark.parametrize(
    ("sample", "interval", "taken", "volume"),
    [  # quoteVol held the coins until the middle of September 2026, baseVol since
        ("rest-kline-2026-09-15.json", "1m", "2026-09-15T14:22:30", "quoteVol"),
        ("rest-kline-2026-09-20.json", "4h", "2026-09-20T16:00:10", "baseVol"),
    ],
)
@pytest.mark.parametrize("page", [2, 200])
def test_a_download_of_a_captured_payload_holds_its_figures_to_the_last_digit(
    lab: Any, monkeypatch: pytest.MonkeyPatch, sample: str, interval: str, taken: str, volume: str, page: int
) -> None:  # fmt: skip
    monkeypatch.setattr("lab.downloads.download._PAUSE_S", 0.0)
    rows, taken_s = captured(sample), parse_time(taken) // SECOND_NS
    closed = [
        row for row in rows if parse_interval(interval) + int(row["time"]) * MILLISECOND_NS <= taken_s * SECOND_NS
    ]
    if closed == rows:  # the source left out the candle that is still open, which the venue sends along
        rows = [{**rows[0], "time": str(int(rows[0]["time"]) + parse_interval(interval) // MILLISECOND_NS)}, *rows]
    venue = Capture(rows, taken_s, page)
    with venue.serving() as address:
        done = lab(
            "download", "--provider", "bitunix", "--symbol", "BTCUSDT", "--interval", interval, "--from", "2026-09-15",
            "--set", f"bitunix.rest_url={address}", "--out", "b.csv",
        )  # fmt: skip
    assert done.code == 0, done.err
    assert read(lab.folder / "b.csv") == figures(closed, volume)
    assert f"to {format_time(int(closed[-1]['time']) * MILLISECOND_NS)}\n" in done.err  # what lies before is missing
    assert {call["symbol"] for call in venue.asked} == {"BTCUSDT"}
    assert {call["interval"] for call in venue.asked} == {interval}
    played = lab("backtest", "b.csv", "--json", "--set", f"replay.interval={interval}")
    assert played.code == 0, played.err
    assert played.json()["candles"] == len(closed)


@pytest.mark.behaviour("D3")
def test_a_download_of_thousands_of_candles_pages_back_by_the_oldest_of_each_answer(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.downloads.download._PAUSE_S", 0.0)
    newest = captured("rest-kline-2026-09-15.json")
    oldest_ms = int(newest[-1]["time"])
    older = [{**newest[n % 5], "time": str(oldest_ms - 60_000 * n)} for n in range(1, 1205)]
    venue = Capture([*newest, *older], parse_time("2026-09-15T14:22:30") // SECOND_NS, 200)
    with venue.serving() as address:
        done = lab(
            "download", "--provider", "bitunix", "--interval", "1m", "--from", "2026-09-14T18:14",
            "--set", f"bitunix.rest_url={address}", "--out", "b.csv.gz",
        )  # fmt: skip
    assert done.code == 0, done.err
    assert "1,208 candles of BTCUSDT, 1m, from 2026-09-14T18:14:00Z to 2026-09-15T14:22:00Z" in done.out
    assert len(venue.asked) < 30
