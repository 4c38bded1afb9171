"""Live sessions on candles alone, and what a session says of its end: an order there waits for the next candle."""

from pathlib import Path
from typing import Any

import pytest

MINUTE_NS = 60 * 10**9

FADING = '''
"""A provider whose feed goes down for good after two minutes."""
from attrs import define
from lab import FeedState, Quote, hookimpl
from lab_mock.provider import MockProvider

@define(kw_only=True, eq=False)
class Fading(MockProvider):
    async def stream(self, wanted, sink):
        import anyio
        with anyio.move_on_after(120.5):
            await super().stream(wanted, sink)
        sink.feed(FeedState.DOWN, "the venue went away")
        await anyio.sleep_forever()

@hookimpl
def lab_providers():
    return {"fading": Fading}
'''


def _write_candles(path: Path, count: int) -> None:
    lines = ["time,open,high,low,close,volume"]
    for number in range(count):
        price = 100 + number % 7
        lines.append(f"{1_704_067_200 + 60 * number},{price},{price + 2},{price - 1},{price + 1},5")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _play(lab: Any, *args: str) -> dict[str, Any]:
    command = (
        "run",
        "--provider",
        "replay",
        "--set",
        "replay.file=prices.csv",
        "--set",
        "replay.tick=0.01",
        "--speed",
        "max",
        "--strategy",
    )
    result = lab(*command, "trader", "--set", "trader.need=1", "--reporter", "none", *args)
    assert result.code == 0, result
    report: dict[str, Any] = lab.run().report()
    return report


@pytest.mark.behaviour("M2", "O2")
def test_on_a_candle_file_every_order_fills_on_the_next_candle_and_none_expires(lab: Any, trader: Any) -> None:
    _write_candles(lab.folder / "prices.csv", 60)
    report = _play(lab, "--minutes", "30")
    assert report["fills"] >= 28
    assert report["orders"] - report["fills"] == report["cancelled"] <= 1, "at the end, if at all"
    assert report["expired"] == 0
    rows = lab.run().raw()
    decided, filled = ([row[1] for row in rows if row[3] == kind] for kind in ("order_accepted", "order_filled"))
    assert [after - before for before, after in zip(decided, filled, strict=False)] == [MINUTE_NS] * len(filled)
    assert lab.run().rows("timer") == []
    assert lab("verify").code == 0


def test_a_candle_that_history_and_stream_both_give_is_no_degradation(lab: Any, trader: Any) -> None:
    _write_candles(lab.folder / "prices.csv", 20)
    report = _play(lab, "--minutes", "60")
    assert (report["candles"], report["backfilled"]) == (20, 0)
    assert report["degradations"] == [], "recorded data that ends is not a feed that failed, either"


@pytest.mark.behaviour("S3", "O13")
def test_what_no_candle_comes_to_close_stays_open_and_is_said_to_be(lab: Any, trader: Any) -> None:
    _write_candles(lab.folder / "prices.csv", 60)
    report = _play(lab, "--minutes", "4.5")
    assert "position_left_open trader 0.01 BTCUSDT" in report["degradations"]
    accepted = {body["order_id"] for _, _, body in lab.run().rows("order_accepted")}
    ended = {body["order_id"] for _, _, body in lab.run().rows("order_ended")}
    filled = {body["fill"]["order_id"] for _, _, body in lab.run().rows("order_filled")}
    assert accepted == ended | filled
    assert report["duration_seconds"] == 270, "there is nothing to wait for"


@pytest.mark.behaviour("S3", "O13")
def test_a_closing_order_that_comes_too_late_is_cancelled_and_has_an_end(lab: Any, trader: Any) -> None:
    result = lab.mock("--strategy", "trader", "--latency-ms", "10000", "--reporter", "none", minutes=4)
    assert result.code == 0
    ended = [(body["outcome"], body["reason"]) for _, _, body in lab.run().rows("order_ended")]
    assert ended[-1] == ("cancelled", "stop by session: completed")
    accepted = {body["order_id"] for _, _, body in lab.run().rows("order_accepted")}
    filled = {body["fill"]["order_id"] for _, _, body in lab.run().rows("order_filled")}
    assert accepted == {body["order_id"] for _, _, body in lab.run().rows("order_ended")} | filled
    assert lab("verify").code == 0


@pytest.mark.behaviour("V1")
def test_a_feed_that_stays_down_to_the_end_is_in_the_report_with_its_seconds(lab: Any, trader: Any) -> None:
    trader.install("their_fading", FADING)
    args = ("--provider", "fading", "--speed", "max", "--minutes", "10", "--strategy", "trader")
    assert lab("run", *args, "--reporter", "none").code == 0
    report = lab.run().report()
    assert "feed_down 1" in report["degradations"]
    shut = next(text for text in report["degradations"] if text.startswith("trading_shut"))
    assert shut == "trading_shut 480 s after it had been open"
