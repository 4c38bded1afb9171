"""The provider against the local venue it starts itself: the whole way over real sockets, without the internet."""

import asyncio
import selectors
from typing import Any

import anyio
import pytest
from lab.domain.market import BACKFILLED, FINAL
from lab.domain.time import MINUTE_NS
from lab.ports import FeedState, Runtime, Subscription
from lab.testing import RecordingSink
from lab_bitunix.provider import Bitunix

pytest.importorskip("lab_bitunix.venue", reason="the local venue is not in this installation")

SPEED = 15


class _Selector(selectors.DefaultSelector):
    def select(self, timeout: float | None = None) -> Any:
        return super().select(timeout / SPEED if timeout else timeout)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__(_Selector())

    def time(self) -> float:
        return super().time() * SPEED


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": _Loop}


class _Clock:
    def monotonic(self) -> float:
        return anyio.current_time()

    def wall_ns(self) -> int:
        return 1_800_000_000 * 10**9


@pytest.mark.behaviour("F7")
async def test_history_quotes_and_a_confirmed_candle_come_from_the_local_venue() -> None:
    async with anyio.create_task_group() as tasks:
        provider, sink = Bitunix(venue="local"), RecordingSink()
        await provider.start(Runtime(clock=_Clock(), seed=1, tasks=tasks))
        history = await provider.history("BTCUSDT", MINUTE_NS, end_ns=None, count=20)
        with anyio.fail_after(100):
            tasks.start_soon(provider.stream, [Subscription("BTCUSDT", MINUTE_NS)], sink)
            await sink.until(lambda: bool(sink.candles))
        await provider.stop()
        tasks.cancel_scope.cancel()
    assert {candle.status for candle in history} == {BACKFILLED}
    assert sink.candles[0].status == FINAL
    assert sink.candles[0].open_ns >= history[-1].open_ns + MINUTE_NS
    assert 0 < sink.quotes[0].bid <= sink.quotes[0].ask
    assert FeedState.LIVE in sink.states
    assert sink.faults == []
