"""Candles that went out without their rows are asked about until the rows were seen, oldest to newest."""

from typing import Any

import anyio
import pytest
from attrs import define, field
from lab.domain.market import BACKFILLED, FINAL, UNCONFIRMED, Candle
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.errors import ProviderUnavailable
from lab.feed.candles import CandleAssembler
from lab.feed.chain import CandleChain
from lab.testing import RecordingSink
from lab.testing.simulation import simulate

T0 = 29_800_000 * MINUTE_NS


def row(minute: int, volume: float = 2.0) -> Candle:
    open_ns = T0 + minute * MINUTE_NS
    return Candle("X", open_ns, open_ns + MINUTE_NS, 100.0, 101.0, 99.0, 100.0, volume, BACKFILLED)


@define
class Rest:
    """Rows that differ from what was pushed; none between two minutes of the test, and of some minutes never."""

    down: range
    lacks: frozenset[int] = frozenset()
    calls: list[tuple[float, int]] = field(factory=list)

    async def klines(self, symbol: str, interval_ns: int, *, end_ns: int, count: int) -> list[Candle]:
        now = anyio.current_time()
        self.calls.append((now, count))
        if int(now // 60) in self.down:
            raise ProviderUnavailable("HTTP 502")
        last = min((end_ns - T0) // MINUTE_NS, int(now // 60)) - 1
        return [row(minute) for minute in range(last - count + 1, last + 1) if minute not in self.lacks]


def run(minutes: int, rest: Rest) -> tuple[list[Candle], list[str]]:
    """Push a candle's figures each 20 s for so many minutes; return what went out and what was said."""

    async def main() -> tuple[list[Candle], list[str]]:
        sink, said = RecordingSink(), []
        given: Any = rest
        chain = CandleChain(
            assembler=CandleAssembler("X", MINUTE_NS),
            rows=given.klines,
            sink=sink,
            venue_ns=lambda: T0 + int(anyio.current_time() * SECOND_NS),
            say=said.append,
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(chain.run)
            for second in range(3, 60 * minutes, 20):
                await anyio.sleep_until(second)
                pushed = row(second // 60, volume=1.0)._replace(time_ns=T0 + second * SECOND_NS, status=UNCONFIRMED)
                chain.push(pushed, anyio.current_time())
            tasks.cancel_scope.cancel()
        return sink.candles, said

    return simulate(main)


@pytest.mark.behaviour("F7", "F8")
def test_after_a_quarter_of_an_hour_without_rows_every_candle_that_differs_is_told() -> None:
    rest = Rest(down=range(2, 17))
    candles, said = run(22, rest)
    assert [candle.open_ns for candle in candles] == [row(minute).open_ns for minute in range(21)]
    assert [candle.status for candle in candles] == [FINAL, *[UNCONFIRMED] * 15, *[FINAL] * 5]
    revised = [words for words in said if "was revised" in words]
    assert len(revised) == len(set(revised)) == 15
    [asked] = [(at, count) for at, count in rest.calls if count > 3 and at >= 17 * 60]
    assert asked[0] <= 17 * 60 + 6, "at once when a call succeeded"
    assert asked[1] <= 17
    assert len([at for at, count in rest.calls if count > 3 and at < 17 * 60]) <= 8


@pytest.mark.behaviour("F7")
def test_of_very_many_revisions_the_number_is_told_and_the_time() -> None:
    _, said = run(64, Rest(down=range(2, 62)))
    revised = [words for words in said if "revised" in words]
    assert len(revised) <= 20
    more = [int(words.split()[1]) for words in revised if " more candles from " in words]
    assert len(revised) - len(more) + sum(more) == 60


@pytest.mark.behaviour("F7")
def test_a_candle_whose_row_never_comes_is_asked_about_three_times_and_no_more() -> None:
    rest = Rest(down=range(3, 4), lacks=frozenset({2}))
    _, said = run(40, rest)
    assert not [words for words in said if "was revised" in words]
    later = [count for at, count in rest.calls if at > 10 * 60]
    assert set(later) == {3}, "only what confirms new candles"


@pytest.mark.behaviour("F7")
def test_rows_are_awaited_of_candles_no_older_than_a_thousand_intervals() -> None:
    assembler = CandleAssembler("X", MINUTE_NS)
    for minute in range(1_200):
        sent = row(minute)._replace(time_ns=row(minute).open_ns + 3 * SECOND_NS, status=UNCONFIRMED)
        now = minute * 60.0 + 3
        assembler.tick(now, 0)
        assembler.push(sent, now)
    assert assembler.unproved() == (row(198).open_ns, row(1_197).open_ns)
