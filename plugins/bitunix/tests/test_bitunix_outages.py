"""The provider through outages of the network, in virtual time: ten minutes without a way to the venue."""

from itertools import pairwise
from typing import get_args

import anyio
import pytest
from fake_venue import MINUTE, FakeVenue, started
from lab.domain.time import MINUTE_NS
from lab.errors import ProviderUnavailable
from lab.ports import FeedState
from lab.testing import RecordingSink
from lab.testing.simulation import Refusal, current_net, simulate
from lab_bitunix.provider import Bitunix

TOLD = {
    "refused": "can't connect: ConnectionRefusedError",
    "unreachable": "can't connect: OSError",
    "dns": "can't connect: gaierror",
    "hang": "no connection within 5 s",
}


def most_in(times: list[float], seconds: float) -> int:
    return max(sum(first <= at < first + seconds for at in times) for first in times)


async def asked_for(provider: Bitunix) -> str:
    """Return what is told of a history that does not come, or an empty text."""
    try:
        assert await provider.history("BTCUSDT", MINUTE_NS, end_ns=None, count=5)
    except ProviderUnavailable as error:
        return str(error)
    return ""


@pytest.mark.behaviour("F1", "F6", "F11")
@pytest.mark.parametrize("kind", get_args(Refusal))
def test_a_venue_that_cannot_be_reached_for_ten_minutes_is_tried_within_limits_and_found_again(kind: Refusal) -> None:
    async def main() -> None:
        sink = RecordingSink()
        async with started(FakeVenue(start_s=5)) as provider, anyio.create_task_group() as tasks:
            tasks.start_soon(provider.stream, MINUTE, sink)
            await sink.until(lambda: FeedState.LIVE in sink.states)
            await anyio.sleep(60)
            net, before = current_net(), len(sink.feeds)
            reached = len(net.attempts)
            net.refuse(kind=kind)
            net.reset_all()
            for _ in range(60):
                await anyio.sleep(10)
                assert await asked_for(provider)
            net.heal()
            began = anyio.current_time()
            outage = sink.feeds[before:]
            attempts = [at for at, _, _ in net.attempts[reached:]]
            await sink.until(lambda: sink.states[-1] is FeedState.LIVE)
            assert anyio.current_time() - began < 42, "the longest wait, and a connection"
            await anyio.sleep_until(began + 31)
            assert await asked_for(provider) == "", "the breaker has let a call find out"
            had = len(sink.quotes)
            await sink.until(lambda: len(sink.quotes) > had + 5)
            tasks.cancel_scope.cancel()
        tries = [at for state, _, at in outage if state is FeedState.CONNECTING]
        assert len(tries) > 15, "it never gives up"
        assert most_in(tries, 60) <= 10
        assert max(later - earlier for earlier, later in pairwise(tries)) < 42
        assert sum(TOLD[kind] in words for _, words, _ in outage) >= len(tries) - 1
        assert most_in(attempts, 60) <= 10 + 7, "REST's too: five open the breaker, then one in 30 s"

    simulate(main, limit_s=3600)
