"""History is asked for until it suffices; what an outage took goes to strategies in order; gaps are asked for again."""

import json
import stat
from typing import Any

import pytest
from lab.live.launch import VIRTUAL_START_NS

MINUTE_NS = 60 * 10**9

VENUE = '''
"""A real venue whose candles are a function of their time, with faults; a strategy that remembers every candle."""
import time
from decimal import Decimal
from typing import Any
from zlib import crc32

import anyio
from attrs import define, field
from lab import Candle, Channel, FeedState, Instrument, OrderRequest, Provider, ProviderUnavailable, Quote, Realm
from lab import Strategy, hookimpl
from lab.domain.time import MINUTE_NS, SECOND_NS

def candle(open_ns, status="backfilled"):
    price = 100.0 + (open_ns // MINUTE_NS * 7919 % 1000) / 100
    return Candle("BTCUSDT", open_ns, open_ns + MINUTE_NS, price, price + 1.0, price - 1.0, price, 1.0, status)

@define(kw_only=True, eq=False)
class Venue(Provider):
    empty: int = field(default=0, metadata={"help": "answers that are empty at first"})
    old: int = field(default=0, metadata={"help": "answers of 1970 at first"})
    holed: int = field(default=0, metadata={"help": "answers that lack everything up to an hour ago but the beginning"})
    down_at: float = field(default=0.0, metadata={"help": "second at which the feed goes down"})
    down_for: float = field(default=0.0, metadata={"help": "seconds for which it does"})
    rest_at: float = field(default=0.0, metadata={"help": "second at which history fails"})
    rest_for: float = field(default=0.0, metadata={"help": "seconds for which it does"})
    lacks: int = field(default=0, metadata={"help": "answers, after the first, without the newest candle"})
    step: float = field(default=1.0, metadata={"help": "seconds between quotes"})
    _runtime: Any = field(init=False, default=None)
    _began: float = field(init=False, default=0.0)
    _asked: int = field(init=False, default=0)

    def realm(self): return Realm.REAL
    def channels(self): return frozenset({Channel.CANDLES, Channel.QUOTES})
    def origin(self): return "venue.test"

    async def start(self, runtime):
        self._runtime, self._began = runtime, anyio.current_time()

    async def instrument(self, symbol):
        step, rate = Decimal("0.001"), Decimal("0.0006")
        return Instrument(
            symbol=symbol, base="BTC", quote="USDT", tick=Decimal("0.01"), lot=step, quantity_min=step,
            maker_fee_rate=rate, taker_fee_rate=rate,
        )

    def _second(self): return anyio.current_time() - self._began

    async def history(self, symbol, interval_ns, *, end_ns, count):
        self._asked += 1
        self._runtime.contacted(f"{self._asked} asked {count}")
        if self.rest_at <= self._second() < self.rest_at + self.rest_for:
            raise ProviderUnavailable("HTTP 502")
        if self._asked <= self.empty:
            return []
        if self._asked <= self.old:
            return [candle(n * MINUTE_NS) for n in range(count)]
        now = self._runtime.clock.wall_ns() // MINUTE_NS * MINUTE_NS
        end = min(now, end_ns or now)
        found = [candle(one) for one in range(end - count * MINUTE_NS, end, MINUTE_NS)]
        if self._asked <= self.holed:
            return [*(candle(one.open_ns - 600 * MINUTE_NS) for one in found[:-5]), *found[-5:]]
        return found[:-1] if 1 < self._asked <= 1 + self.lacks else found

    async def stream(self, wanted, sink):
        state, given = FeedState.DOWN, self._runtime.clock.wall_ns() // MINUTE_NS
        while True:
            now = self._runtime.clock.wall_ns()
            up = not self.down_at <= self._second() < self.down_at + self.down_for
            if up and state is not FeedState.LIVE:
                given = now // MINUTE_NS
            if up is not (state is FeedState.LIVE):
                state = FeedState.LIVE if up else FeedState.DOWN
                sink.feed(state)
            if up:
                if now // MINUTE_NS > given and now % MINUTE_NS >= 2 * SECOND_NS:
                    for n in range(given, now // MINUTE_NS):
                        sink.put(candle(n * MINUTE_NS, "final")._replace(time_ns=now))
                    given = now // MINUTE_NS
                sink.put(Quote("BTCUSDT", now, 100.0, 1000.0, 100.01, 1000.0))
            await anyio.sleep(self.step)

@define(kw_only=True)
class Rememberer(Strategy):
    """Its order's reason is a candle's time and a sum over all it has ever seen of this run's minutes."""
    need: int = field(default=32, metadata={"help": "candles wanted first"})
    slow: float = field(default=0.0, metadata={"help": "real seconds a candle takes"})
    since: int = field(default=0, metadata={"help": "minute from which it adds up"})
    _sum: int = field(init=False, default=0)

    @property
    def lookback(self): return self.need

    def on_candle(self, candle, view):
        if self.slow:
            time.sleep(self.slow)
        minute = candle.open_ns // MINUTE_NS
        if minute < self.since:
            return []
        self._sum = crc32(repr(tuple(candle[1:2] + candle[3:8])).encode(), self._sum)
        side = OrderRequest.buy if minute % 2 else OrderRequest.sell
        return [side("BTCUSDT", Decimal("0.001"), reason=f"{minute} {self._sum} {candle.status != 'backfilled'}")]

@hookimpl
def lab_providers(): return {"venue": Venue}

@hookimpl
def lab_strategies(): return {"rememberer": Rememberer}
'''


@pytest.fixture
def venue(site: Any) -> Any:
    site.install("their_venue", VENUE)
    return site


def _run(lab: Any, *settings: str, minutes: float = 5, speed: str = "max") -> Any:
    given = ("--provider", "venue", "--strategy", "rememberer", "--gate", "none", "--reporter", "none")
    sets = [part for setting in settings for part in ("--set", setting)]
    return lab("run", *given, "--speed", speed, "--minutes", str(minutes), *sets)


def _notices(lab: Any, topic: str) -> list[dict[str, str]]:
    return [body[2] for _, _, body in lab.run().rows("notice") if body[1] == topic]


def _calls(lab: Any) -> list[int]:
    """How many candles each call of the history asked for."""
    return [int(text.split()[-1]) for text in lab.run().report()["contacted_hosts"]]


def _decided(lab: Any) -> list[tuple[int, int, bool]]:
    """Minute, memory and liveness of every decision, in the order of the rows."""
    rows = lab.run().rows("signal", "order_accepted")
    reasons = [body["request"]["reason"] if kind == "signal" else body["reason"] for _, kind, body in rows]
    own = [reason for reason in reasons if reason.endswith(("True", "False"))]  # not of the run's end
    return [(int(minute), int(seen), live == "True") for minute, seen, live in map(str.split, own)]


def _opened(lab: Any) -> int:
    return int(next(number for number, _, body in lab.run().rows("trading_state") if not body[1]))


# -- the warm-up ----------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("F9")
def test_an_empty_answer_is_no_history_and_it_is_asked_for_again_until_there_is_one(lab: Any, venue: Any) -> None:
    assert _run(lab, "venue.empty=5").code == 0
    told = [(notice["state"], notice["candles"]) for notice in _notices(lab, "warm-up")]
    assert told == [("short", "0"), ("done", "64")], "the same answer again is told once"
    assert len(_calls(lab)) == 6
    assert lab.run().report()["orders"] >= 4
    assert lab("verify").code == 0


@pytest.mark.behaviour("F9")
def test_candles_of_1970_warm_nothing_up(lab: Any, venue: Any) -> None:
    assert _run(lab, "venue.old=3").code == 0
    told = _notices(lab, "warm-up")
    assert [notice["state"] for notice in told] == ["old", "done"]
    assert told[0]["newest"].startswith("1970-01-01T01:03")
    assert not lab.run().rows("gap")
    assert lab.run().report()["backfilled"] == 64
    done = next(number for number, _, body in lab.run().rows("notice") if body[2].get("state") == "done")
    assert done < _opened(lab)


@pytest.mark.behaviour("F9")
def test_candles_before_a_hole_as_long_as_the_look_back_do_not_count(lab: Any, venue: Any) -> None:
    assert _run(lab, "venue.holed=2").code == 0
    assert [(n["state"], n["candles"]) for n in _notices(lab, "warm-up")] == [("short", "5"), ("done", "59")]
    assert not lab.run().rows("gap")


@pytest.mark.behaviour("F9")
def test_a_history_that_is_short_for_good_is_asked_for_ever_more_rarely_until_live_candles_suffice(
    lab: Any, venue: Any
) -> None:
    assert _run(lab, "venue.empty=1000", "rememberer.need=8", minutes=12).code == 0
    assert [notice["state"] for notice in _notices(lab, "warm-up")] == ["short"]
    assert 9 <= len(_calls(lab)) <= 15
    assert lab.run().report()["orders"] >= 2
    rows = [body[1] for _, _, body in lab.run().rows("trading_state")]
    assert ["warm-up", "warming 7/8"] in rows


@pytest.mark.behaviour("S2")
def test_a_strategy_that_is_slow_on_history_lets_the_session_have_its_turn_between_candles(
    lab: Any, venue: Any
) -> None:
    """All of it at once kept a session from its feed for 64 × the time of one candle."""
    from lab.domain.market import Backfill, Quote
    from lab.journal.tape import read_tape

    assert _run(lab, "rememberer.slow=0.06", minutes=0.15, speed="1").code == 0
    taken = list(read_tape(lab.run().folder))
    pieces = [len(one.candles) for one in taken if isinstance(one, Backfill)]
    assert sum(pieces) == 64
    assert max(pieces) <= 8
    places = [number for number, one in enumerate(taken) if isinstance(one, Backfill)]
    between = [one for one in taken[places[0] : places[-1]] if isinstance(one, Quote)]
    assert len(between) >= 2, "quotes are taken meanwhile"
    assert not any(text.startswith("slow_steps") for text in lab.run().report()["degradations"])
    assert lab("verify").code == 0


# -- outages --------------------------------------------------------------------------------------------------------


SINCE = f"rememberer.since={VIRTUAL_START_NS // MINUTE_NS}"


def _steps(lost: int) -> list[str]:
    return ["venue.step=4"] if lost > 10 else []


def _outage(lab: Any, lost: int, *faults: str) -> list[tuple[int, int, bool]]:
    """Run with an outage over so many candles; return its decisions, on each candle of the run once and in order."""
    outage = ("venue.down_at=90", f"venue.down_for={lost * 60}", *_steps(lost))
    assert _run(lab, SINCE, *outage, *faults, minutes=lost + 6).code == 0
    decided = _decided(lab)
    begin = VIRTUAL_START_NS // MINUTE_NS
    assert [minute for minute, _, _ in decided] == list(range(begin, begin + lost + 5))
    return decided


@pytest.mark.behaviour("F8")
@pytest.mark.parametrize("lost", [1, 2, 7, 60, pytest.param(500, marks=pytest.mark.night)])
def test_after_an_outage_strategies_have_seen_each_candle_once_in_order_and_decide_as_without_it(
    lab: Any, venue: Any, lost: int
) -> None:
    decided = _outage(lab, lost)
    assert not lab.run().rows("gap", "candle_ignored")
    assert sum(not live for _, _, live in decided) == lost
    assert len(_calls(lab)) == 2, "the history, and exactly what was missed"
    assert _calls(lab)[1] in {lost + 1, lost}
    states = [(number, body[1]) for number, _, body in lab.run().rows("trading_state")]
    assert ["backfill"] in [reasons for _, reasons in states]
    assert lab("verify").code == 0
    assert _run(lab, SINCE, *_steps(lost), minutes=lost + 6).code == 0
    assert [one[:2] for one in _decided(lab)] == [one[:2] for one in decided]


@pytest.mark.behaviour("F8")
def test_an_answer_that_lacks_the_newest_candle_yet_is_asked_for_again_before_the_stream_goes_on(
    lab: Any, venue: Any
) -> None:
    decided = _outage(lab, 3, "venue.lacks=2")
    assert sum(not live for _, _, live in decided) == 3
    assert not lab.run().rows("gap")


@pytest.mark.behaviour("F8")
def test_what_an_outage_took_and_history_cannot_give_is_a_gap_that_is_closed_when_it_can(lab: Any, venue: Any) -> None:
    assert (
        _run(lab, "venue.down_at=100", "venue.down_for=240", "venue.rest_at=90", "venue.rest_for=500", minutes=15).code
        == 0
    )
    [gap] = lab.run().rows("gap")
    told = [notice["state"] for notice in _notices(lab, "backfill")]
    assert told.count("failed") > 4
    assert told[-1] == "done"
    assert not any("candles_missing" in text for text in lab.run().report()["degradations"])
    opens = sorted({body[1] for _, _, body in lab.run().rows("candle")})
    opens += sorted({one[1] for _, _, body in lab.run().rows("backfill") for one in body[2]})
    opens = sorted(set(opens))
    assert opens == list(range(opens[0], opens[-1] + 1, MINUTE_NS))
    states = [(number, body[1]) for number, _, body in lab.run().rows("trading_state")]
    assert any(not reasons for number, reasons in states if number > gap[0]), "it is shorter than the look-back"


@pytest.mark.behaviour("F8", "F9")
def test_a_gap_as_long_as_the_look_back_shuts_trading_until_it_was_fetched(lab: Any, venue: Any) -> None:
    faults = ("venue.down_at=100", "venue.down_for=600", "venue.rest_at=90", "venue.rest_for=900")
    assert _run(lab, *faults, "rememberer.need=8", minutes=22).code == 0
    [gap] = lab.run().rows("gap")
    rows = lab.run().rows("trading_state")
    reasons = [body[1] for number, _, body in rows if number > gap[0]]
    assert ["warm-up", "warming 1/8"] in reasons
    assert reasons[-1] == []
    done = [
        number
        for number, _, body in lab.run().rows("notice")
        if body[1:2] == ["warm-up"] and body[2]["state"] == "done"
    ]
    assert len(done) == 2
    reopened = next(number for number, _, body in rows if number > gap[0] and not body[1])
    assert done[1] < reopened
    accepted = [body for number, _, body in lab.run().rows("order_accepted") if gap[0] < number < reopened]
    assert all(body["reduce_only"] for body in accepted), accepted
    assert lab("verify").code == 0


# -- a restart ------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("F10")
def test_a_restart_asks_once_and_only_for_what_ended_since(lab: Any, venue: Any) -> None:
    assert _run(lab, minutes=0.02, speed="1").code == 0
    assert _calls(lab) == [64]
    [kept] = (lab.folder / "candles").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    head = json.loads(kept.read_bytes().split(b"\n")[0])
    assert head == {"interval": "60s", "origin": "venue.test", "provider": "venue", "schema": 1, "symbol": "BTCUSDT"}
    assert _run(lab, minutes=0.02, speed="1").code == 0
    assert _calls(lab) in ([], [2], [3])
    assert lab.run().report()["backfilled"] == 64
    told = _notices(lab, "warm-up")
    assert [notice["state"] for notice in told] == ["kept", "done"]
    assert told[0]["origin"] == "venue.test"
    assert int(told[0]["candles"]) >= 62
    assert lab("verify").code == 0


def test_no_candles_are_kept_of_a_run_that_writes_nothing(lab: Any, venue: Any) -> None:
    given = ("--provider", "venue", "--strategy", "rememberer", "--gate", "none", "--reporter", "none", "--no-write")
    assert lab("run", *given, "--speed", "max", "--minutes", "2").code == 0
    assert lab.files() == []
