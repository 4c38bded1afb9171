"""A process that stood still wakes with old quotes in its hands: no entry is decided on them, whatever comes first."""

from typing import Any, Final

import pytest
from steady import causes, proved

LATE: Final = '''
import asyncio
import anyio
from attrs import define
from decimal import Decimal
from lab import FeedState, OrderRequest, Quote, Strategy, hookimpl
from their_steady import Steady

@define(kw_only=True, eq=False)
class Late(Steady):
    """Ten quotes a second; at the hundredth the process stands still for eight seconds, with ten quotes unread."""

    async def stream(self, wanted, sink):
        sink.feed(FeedState.LIVE)
        for number in range(300):
            now = self._runtime.clock.wall_ns()
            if number == 100:
                asyncio.get_running_loop().stall(8.0)
                for held in range(10):
                    sink.put(Quote(wanted[0].symbol, now + held * 10**8, 100.0, 5.0, 100.1, 5.0))
                    await anyio.sleep(0)
            else:
                sink.put(Quote(wanted[0].symbol, now, 100.0, 5.0, 100.1, 5.0))
            await anyio.sleep(0.1)

@define(kw_only=True)
class Eager(Strategy):
    """Wants to buy at every quote."""
    lookback = 0

    def on_candle(self, candle, view):
        return []

    def on_quote(self, quote, view):
        return [OrderRequest.buy(quote.symbol, Decimal("0.001"))]

@hookimpl
def lab_providers():
    return {"late": Late}

@hookimpl
def lab_strategies():
    return {"eager": Eager}
'''


@pytest.mark.behaviour("F4", "T2")
def test_a_quote_that_waited_while_the_process_stood_still_is_no_cause_of_an_entry(lab: Any, steady: Any) -> None:
    steady.install("their_late", LATE)
    args = ("--provider", "late", "--strategy", "eager", "--gate", "none", "--reporter", "none", "--speed", "max")
    assert lab("run", *args, "--minutes", "0.5").code == 0
    run = lab.run()
    [step] = [body for _, _, body in run.rows("clock_stepped")]
    woken_ns = step[0]
    caused = causes(run)
    assert len(caused) > 200
    assert not [(one - woken_ns) / 1e9 for one in caused if woken_ns - 8.05e9 < one < woken_ns - 5e9]
    shut = [body for _, _, body in run.rows("trading_state") if body[1] == ["quote stale"]]
    assert len(shut) == 1
    proved(lab)
