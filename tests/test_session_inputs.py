"""What a provider gives passes a guard before the engine; what it can't give is refused before anything is written."""

from typing import Any

import pytest

BEGIN_NS = 1_704_067_200 * 10**9
MINUTE_NS = 60 * 10**9

STRANGE = '''
"""A provider with one mistake, chosen by a setting."""
from attrs import define, field
from lab import Candle, Channel, Depth, FeedState, Quote, Realm, Side, Subscription, Trade, hookimpl
from lab.errors import ProviderUnavailable
from lab_mock.provider import MockProvider

BEGIN = 1704067200 * 10**9
MINUTE = 60 * 10**9
FAR = 2_943_000_000 * 10**9 // MINUTE * MINUTE  # the year 2063

def candle(open_ns, symbol="BTCUSDT"):
    return Candle(symbol, open_ns, open_ns + MINUTE, 50000.0, 50001.0, 49999.0, 50000.0, 1.0)

@define(kw_only=True, eq=False)
class Strange(MockProvider):
    """The mock, with a mistake."""
    mistake: str = field(default="", metadata={"help": "which one"})
    _asked: int = field(init=False, default=0)

    def realm(self):
        return Realm.SYNTHETIC

    def channels(self):
        if self.mistake == "no candles":
            return frozenset({Channel.QUOTES, Channel.TRADES})
        return super().channels()

    def history_depth(self):
        return 7 if self.mistake == "shallow history" else None

    async def history(self, symbol, interval_ns, *, end_ns, count):
        self._asked += 1
        if self.mistake == "shallow history" and count > 7:
            raise KeyError(f"{count} candles are more than there are")
        if self.mistake == "history raises" or (self.mistake == "gap" and self._asked > 1):
            raise KeyError("no such row")
        if self.mistake == "busy history" and 1 < self._asked < 4:
            raise ProviderUnavailable("history: HTTP 503")
        if self.mistake == "old history":
            if count > 64:
                raise KeyError(f"{count} candles are more than are kept")
            return [candle(number * MINUTE)._replace(status="backfilled") for number in range(40)][-count:]
        if self.mistake == "strange history":
            return [("BTCUSDT", 1, 2)]
        found = await super().history(symbol, interval_ns, end_ns=end_ns, count=count)
        if self.mistake == "rotten row" and self._asked > 1:
            return [one._replace(close=-1.0) for one in found]
        return found

    async def stream(self, wanted, sink):
        if self.mistake == "first candle":
            sink.put(candle(FAR))
        if self.mistake == "trades":
            for number in range(3):
                sink.put(Trade("BTCUSDT", BEGIN + number, 50000.0, 0.1, Side.BUY))
                sink.put(Depth("BTCUSDT", BEGIN + number, ((49999.0, 1.0),), ((50001.0, 1.0),)))
        await super().stream(wanted, Between(self.mistake, sink))

    def batches(self, wanted, *, seed):
        for number, batch in enumerate(super().batches(wanted, seed=seed)):
            if number == 1:
                if self.mistake == "foreign":
                    batch = [candle(BEGIN, "ETHUSDT"), *batch]
                elif self.mistake == "wrong class":
                    batch = [("BTCUSDT", 1), *batch]
                elif self.mistake == "future":
                    batch = [batch[0], candle(FAR), *batch[1:]]
                elif self.mistake == "crossed":
                    batch = [Quote("BTCUSDT", batch[0].time_ns, 5.0, 1.0, 4.0, 1.0), *batch]
                elif self.mistake == "batches raise":
                    raise OSError("the disk is gone")
            yield batch

@define
class Between:
    """Hands on what the mock gives, with a mistake of its own."""
    mistake: str
    sink: object
    quotes: int = 0

    def put(self, event):
        if self.mistake in ("gap", "hole", "busy history", "rotten row") and isinstance(event, Candle):
            if event.open_ns == BEGIN + 2 * MINUTE:
                return
        self.quotes += isinstance(event, Quote)
        if self.mistake == "future" and self.quotes == 150:
            self.sink.put(candle(FAR))
            self.sink.put(Quote("BTCUSDT", FAR, 50000.0, 1.0, 50001.0, 1.0))
        self.sink.put(event)

    def feed(self, state, detail=""):
        self.sink.feed(state, detail)

@define(kw_only=True, eq=False)
class GivesUp(MockProvider):
    """A venue whose stream ends with its connection."""
    def realm(self):
        return Realm.REAL

    async def stream(self, wanted, sink):
        import anyio
        with anyio.move_on_after(180):
            await super().stream(wanted, sink)

@hookimpl
def lab_providers():
    return {"strange": Strange, "givesup": GivesUp}
'''


@pytest.fixture
def strange(trader: Any) -> Any:
    trader.install("their_strange", STRANGE)
    return trader


def _run(lab: Any, mistake: str, *args: str, minutes: int = 10) -> Any:
    given = ("--provider", "strange", "--speed", "max", "--minutes", str(minutes), "--strategy", "trader")
    return lab("run", *given, "--set", f"strange.mistake={mistake}", "--reporter", "none", *args)


def _backtest(lab: Any, mistake: str) -> Any:
    given = ("--provider", "strange", "--strategy", "trader", "--set", f"strange.mistake={mistake}")
    return lab("backtest", *given, "--set", "strange.minutes=30", "--reporter", "html")


def _notices(lab: Any, topic: str) -> list[dict[str, str]]:
    return [body[2] for _, _, body in lab.run().rows("notice") if body[1] == topic]


def _orders(lab: Any) -> list[Any]:
    return lab.run().rows("order_accepted")


# --- live ---------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("F13", "F8")
@pytest.mark.parametrize("mistake", ["future", "first candle"])
def test_a_candle_stamped_2063_is_held_out_and_told_and_trading_goes_on(lab: Any, strange: Any, mistake: str) -> None:
    assert _run(lab, "").code == 0
    expected = [(number, body["order_id"]) for number, _, body in _orders(lab)]
    assert _run(lab, mistake).code == 0
    report = lab.run().report()
    held_out = 2 if mistake == "future" else 1
    assert f"malformed {held_out}" in report["degradations"]
    assert report["candles"] == 10
    assert lab.run().rows("gap") == []
    assert report["counters"]["conflated_quotes"] == 0
    assert [order_id for _, order_id in expected] == [body["order_id"] for _, _, body in _orders(lab)]
    reasons = [notice["reason"] for notice in _notices(lab, "malformed")]
    assert all("ahead of the venue's clock" in text or "agrees with no other" in text for text in reasons)
    assert lab("verify").code == 0


@pytest.mark.behaviour("F8")
def test_a_gap_longer_than_the_history_kept_is_told_and_filled_with_the_newest_page(lab: Any, strange: Any) -> None:
    """History of 1970, then today: 28 million candles are missing, and no more than the engine keeps are asked for."""
    assert _run(lab, "old history", minutes=3).code == 0
    told = [notice for notice in _notices(lab, "backfill") if notice["state"] == "too long"]
    assert len(told) == 1
    assert int(told[0]["candles"]) > 28_000_000
    assert int(told[0]["fetched"]) == 64
    assert lab.run().report()["error_count"] == 0
    assert lab("verify").code == 0


@pytest.mark.behaviour("F8")
@pytest.mark.parametrize(("mistake", "failures"), [("hole", 0), ("busy history", 2)])
def test_a_missing_candle_is_fetched_and_put_in_its_place_at_the_third_try_at_the_latest(
    lab: Any, strange: Any, mistake: str, failures: int
) -> None:
    assert _run(lab, mistake, minutes=5).code == 0
    told = _notices(lab, "backfill")
    assert [notice["state"] for notice in told] == ["failed"] * failures + ["done"]
    assert told[-1]["candles"] == "1"
    placed = [body[1] for _, _, body in lab.run().rows("candle")]
    assert placed.count(BEGIN_NS + 2 * MINUTE_NS) == 1


@pytest.mark.behaviour("F8")
def test_a_missing_candle_whose_row_is_malformed_stays_missing_and_is_said_to(lab: Any, strange: Any) -> None:
    assert _run(lab, "rotten row", minutes=5).code == 0
    [told] = _notices(lab, "backfill")
    assert (told["state"], told["candles"]) == ("missing", "1")
    assert lab.run().report()["counters"]["malformed"] > 3, "it is asked for again after it was said"
    assert "candles_missing 1" in lab.run().report()["degradations"]


def test_no_more_history_is_asked_for_than_the_provider_says_it_has(lab: Any, strange: Any) -> None:
    assert _run(lab, "shallow history", minutes=2).code == 0
    assert [(notice["state"], notice.get("candles")) for notice in _notices(lab, "warm-up")] == [("done", "7")]


@pytest.mark.behaviour("F9")
def test_history_that_raises_is_the_providers_failure_and_not_the_runs_end(lab: Any, strange: Any) -> None:
    assert _run(lab, "history raises").code == 0
    (refused,) = _notices(lab, "warm-up")
    assert refused["state"] == "refused"
    assert "history() failed: KeyError: 'no such row'" in refused["error"]
    assert lab.run().report()["error_count"] == 1
    assert len(_orders(lab)) > 4


@pytest.mark.behaviour("F8", "P6")
def test_history_that_raises_while_a_gap_is_filled_leaves_the_run_to_its_orderly_end(lab: Any, strange: Any) -> None:
    assert _run(lab, "gap").code == 0
    (refused,) = _notices(lab, "backfill")
    assert (refused["state"], lab.run().report()["reason"]) == ("refused", "completed")
    accepted = {body["order_id"] for _, _, body in _orders(lab)}
    ended = {body["order_id"] for _, _, body in lab.run().rows("order_ended")}
    filled = {body["fill"]["order_id"] for _, _, body in lab.run().rows("order_filled")}
    assert accepted == ended | filled


def test_history_that_is_no_candle_is_refused_by_name(lab: Any, strange: Any) -> None:
    assert _run(lab, "strange history").code == 0
    assert "history() gave ('BTCUSDT', 1, 2), which is no Candle" in _notices(lab, "warm-up")[0]["error"]


@pytest.mark.behaviour("P4")
def test_a_provider_without_candles_is_refused_with_what_it_has_before_anything_is_written(
    lab: Any, strange: Any
) -> None:
    for result in (_run(lab, "no candles"), _backtest(lab, "no candles")):
        assert result.code == 78
        assert "provider 'strange' has no channel candles, which a run needs; it has quotes, trades" in result.err
        assert result.err.count("\n") == 1
    assert not (lab.folder / "runs").exists() or not any((lab.folder / "runs").glob("*/journal.db"))


@pytest.mark.behaviour("F1")
def test_a_real_venue_whose_stream_returns_has_failed(lab: Any, strange: Any) -> None:
    given = ("--speed", "max", "--minutes", "90", "--strategy", "trader", "--reporter", "none")
    result = lab("run", "--provider", "givesup", *given)
    assert result.code == 69
    report = lab.run().report()
    assert report["status"] == "failed"
    assert "provider givesup: its stream returned; a real venue's data has no end" in report["error"]


def test_trades_and_depth_reach_tape_and_verify_without_a_line_in_the_provider_port(lab: Any, strange: Any) -> None:
    assert _run(lab, "trades", minutes=2).code == 0
    from lab.domain.market import Depth, Trade
    from lab.journal.tape import read_tape

    taken = list(read_tape(lab.run().folder))
    assert sum(isinstance(one, Trade) for one in taken) == 3, "trades are never dropped"
    assert sum(isinstance(one, Depth) for one in taken) == 1, "of depth the newest counts"
    assert lab.run().report()["counters"]["conflated_quotes"] == 2
    assert lab("verify").code == 0


# --- recorded -----------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("F13")
@pytest.mark.parametrize(("mistake", "said"), [("future", "ahead of what follows"), ("crossed", "bid 5.0 above ask")])
def test_a_bad_event_of_recorded_data_is_held_out_counted_and_told(
    lab: Any, strange: Any, mistake: str, said: str
) -> None:
    assert _backtest(lab, "").code == 0
    clean = lab.run().report()
    assert _backtest(lab, mistake).code == 0
    report = lab.run().report()
    (told,) = [text for text in report["degradations"] if text.startswith("held_out")]
    assert told.startswith("held_out 1: ")
    assert said in told
    for name in ("ending_equity", "candles", "quotes"):
        assert report[name] == clean[name]
    page = (lab.run().folder / "summary.html").read_text(encoding="utf-8")
    assert "30 candles of BTCUSDT, 2024-01-01T00:00:00Z to 2024-01-01T00:30:00Z" in page, (
        "what was held out is no chart"
    )
    assert lab("verify").code == 0


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("foreign", "batches() gave candle of 'ETHUSDT', which was not asked for"),
        ("wrong class", "batches() gave tuple is no market data"),
        ("batches raise", "failed in batches: OSError: the disk is gone"),
    ],
)
def test_what_no_provider_may_give_is_its_failure_and_no_defect_of_lab(
    lab: Any, strange: Any, mistake: str, said: str
) -> None:
    result = _backtest(lab, mistake)
    assert result.code == 69
    report = lab.run().report()
    assert report["exit_code"] == 69
    assert "provider strange failed" in report["error"]
    assert said in report["error"]
    assert "defect in lab" not in result.err
    assert ("Traceback" in result.err) == (mistake == "batches raise"), "of what it raised, and of nothing else"
