"""The loader with an engine and an inbox, in virtual time: a run that goes on, refusals, and candles kept before."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import define, field
from lab.domain.control import Notice
from lab.domain.events import GapFound
from lab.domain.market import BACKFILLED, Backfill, Candle
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.engine.view import View
from lab.errors import ProviderError, ProviderUnavailable
from lab.live.backfill import HistoryLoader
from lab.live.candle_cache import CandleCache
from lab.live.history_source import HistorySource
from lab.live.inbox import Inbox
from lab.ports import FeedState, Realm, Strategy
from lab.testing.builders import candles, waves
from lab.testing.engines import engine_with
from lab.testing.simulation import LoopClock, simulate

X = "BTCUSDT"
SOME = candles(waves(3_000))
NOW = 2_800  # candles have ended when a test begins
KEY = {"provider": "p", "origin": "o", "symbol": X, "interval": "60s"}


@define(kw_only=True, eq=False)
class Reader(Strategy):
    lookback = 8
    seen: list[Candle] = field(init=False, factory=list)

    def on_candle(self, candle: Candle, view: View) -> Iterable[Any]:
        self.seen.append(candle)
        return ()


@define
class Session:
    """What a live session does with its loader, and no more."""

    known: int = 0
    missed: int = 6
    answer: Callable[[Sequence[Candle]], Sequence[Candle]] = lambda found: found
    cache: CandleCache | None = None
    calls: list[int] = field(init=False, factory=list)
    taken: list[Any] = field(init=False, factory=list)
    reader: Reader = field(init=False, factory=Reader)
    loader: HistoryLoader = field(init=False)
    inbox: Inbox = field(init=False)
    clock: LoopClock = field(init=False)

    async def history(self, symbol: str, interval_ns: int, *, end_ns: int | None, count: int) -> Sequence[Candle]:
        self.calls.append(count)
        ended = [one for one in SOME if one.open_ns + MINUTE_NS <= self.clock.wall_ns()]
        found = [one for one in ended if end_ns is None or one.open_ns < end_ns][-count:]
        return self.answer([one._replace(status=BACKFILLED) for one in found])

    def run(self, seconds: float, *put: tuple[float, Any]) -> None:
        """Run so long; ``put`` are seconds and what the provider puts then."""
        simulate(self._run, seconds, put)

    async def _run(self, seconds: float, put: Sequence[tuple[float, Any]]) -> None:
        self.clock = LoopClock(SOME[NOW].open_ns + 20 * SECOND_NS)
        engine = engine_with([self.reader])
        begin = NOW - self.missed - self.known
        for candle in SOME[begin : begin + self.known]:
            engine.step(candle)
        self.inbox = Inbox([X], MINUTE_NS, self.clock, realm=Realm.REAL)
        given: Any = self
        source = HistorySource(given, X, MINUTE_NS, failed=lambda _: None)
        self.loader = HistoryLoader(
            source, self.inbox, engine.state.markets[X].history,
            need=8, depth=None, wall_ns=self.clock.wall_ns, cache=self.cache,
        )  # fmt: skip
        self.inbox.feed(FeedState.LIVE)

        async def take() -> None:
            while True:
                await self.inbox.wait()
                for event in self.inbox.take():
                    self.taken.append(event)
                    for out in engine.step(event):
                        if isinstance(out, GapFound):
                            self.loader.miss(out.first_ns, out.last_ns)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take)
            tasks.start_soon(self.loader.run)
            for at, event in put:
                await anyio.sleep_until(at)
                self.inbox.put(event)
            await anyio.sleep_until(seconds)
            tasks.cancel_scope.cancel()

    def notices(self, topic: str) -> list[str]:
        return [one.detail["state"] for one in self.taken if isinstance(one, Notice) and one.topic == topic]


def live(number: int) -> Candle:
    return SOME[number]._replace(time_ns=SOME[number].open_ns + MINUTE_NS + 2 * SECOND_NS)


@pytest.mark.behaviour("F8", "J1")
def test_a_run_that_goes_on_gets_what_it_missed_in_order_before_the_stream_goes_on() -> None:
    session = Session(known=40)
    session.run(60, (45, live(NOW)))
    assert session.calls == [7]
    assert [one.open_ns for one in session.reader.seen[-7:]] == [one.open_ns for one in SOME[NOW - 6 : NOW + 1]]
    assert [one.status for one in session.reader.seen[-7:]] == [*[BACKFILLED] * 6, "final"]
    assert session.loader.warm_up.done


@pytest.mark.behaviour("F9")
def test_a_run_that_goes_on_before_it_was_warm_asks_for_its_history_too() -> None:
    session = Session(known=2, missed=3)
    session.run(30)
    assert session.loader.warm_up.done
    assert session.calls == [4, 64]
    assert session.notices("warm-up") == ["done"]


@pytest.mark.behaviour("F8")
def test_what_the_provider_refuses_is_waited_for_by_nobody() -> None:
    def refuse(_: Sequence[Candle]) -> Sequence[Candle]:
        raise ProviderError("no such interval")

    session = Session(known=40, answer=refuse)
    session.run(90, (45, live(NOW)))
    assert session.notices("backfill") == ["refused"] * len(session.calls)
    assert len(session.calls) <= 4
    assert session.reader.seen[-1].open_ns == SOME[NOW].open_ns


@pytest.mark.behaviour("F8")
def test_a_call_that_hangs_holds_the_stream_for_half_a_minute_and_no_longer() -> None:
    class Hanging(Session):
        async def history(self, symbol: str, interval_ns: int, *, end_ns: int | None, count: int) -> Sequence[Candle]:
            self.calls.append(count)
            await anyio.sleep_forever()
            raise AssertionError

    session = Hanging(known=40)
    session.run(80, (45, live(NOW)))
    assert session.reader.seen[-1].open_ns == SOME[NOW].open_ns


@pytest.mark.behaviour("F8")
def test_of_more_than_two_thousand_missed_candles_the_newest_are_fetched() -> None:
    session = Session(known=40, missed=2_500)
    session.run(60, (45, live(NOW)))
    assert session.calls[0] == 2_001
    assert session.notices("backfill") == ["too long", "done"]
    assert [one.open_ns for one in session.reader.seen[-2_001:]] == [one.open_ns for one in SOME[NOW - 2_000 : NOW + 1]]
    assert len(session.calls) == 1, "what the history has no place for is not asked for"


@pytest.mark.behaviour("F10")
def test_what_was_kept_saves_asking_and_what_is_missing_in_it_is_asked_for(tmp_path: Path) -> None:
    cache = CandleCache(tmp_path, KEY, keep=128)
    cache.add([*SOME[NOW - 100 : NOW - 5], *SOME[NOW - 3 : NOW - 1]])
    session = Session(cache=CandleCache(tmp_path, KEY, keep=128))
    session.run(5)
    assert session.calls == [6], "from the first one missing on, and one that is known"
    assert session.notices("warm-up") == ["kept", "done"]
    [*pieces] = [one for one in session.taken if isinstance(one, Backfill)]
    opens = [candle.open_ns for piece in pieces for candle in piece.candles]
    assert opens == [one.open_ns for one in SOME[NOW - 64 : NOW]]
    again = Session(cache=CandleCache(tmp_path, KEY, keep=128))
    again.run(5)
    assert again.calls == [], "nothing has ended since"
    assert again.notices("warm-up") == ["kept", "done"]


@pytest.mark.behaviour("F10")
def test_candles_that_differ_from_what_was_kept_are_believed_and_all_of_them_asked_for(tmp_path: Path) -> None:
    cache = CandleCache(tmp_path, KEY, keep=128)
    cache.add([one._replace(volume=one.volume + 1) for one in SOME[NOW - 100 : NOW - 5]])
    session = Session(cache=CandleCache(tmp_path, KEY, keep=128))
    session.run(5)
    assert session.calls == [6, 64]
    assert session.notices("warm-up") == ["kept, and different", "done"]


@pytest.mark.behaviour("F10")
def test_candles_kept_too_long_ago_are_none_and_a_call_that_fails_uses_none(tmp_path: Path) -> None:
    cache = CandleCache(tmp_path, KEY, keep=128)
    cache.add(SOME[: NOW - 64])
    session = Session(cache=CandleCache(tmp_path, KEY, keep=128))
    session.run(5)
    assert session.calls == [64]
    assert session.notices("warm-up") == ["done"]


@pytest.mark.behaviour("F9", "F10")
def test_while_the_provider_fails_nothing_that_was_kept_counts(tmp_path: Path) -> None:
    def fail(_: Sequence[Candle]) -> Sequence[Candle]:
        raise ProviderUnavailable("HTTP 502")

    CandleCache(tmp_path, KEY, keep=128).add(SOME[NOW - 100 : NOW - 5])
    session = Session(answer=fail, cache=CandleCache(tmp_path, KEY, keep=128))
    session.run(20)
    assert not session.loader.warm_up.done
    assert session.notices("warm-up") == ["failed"] * 5
