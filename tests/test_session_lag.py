"""A blocked event loop is noticed, with the place where it was blocked."""

import time
from typing import Any

import anyio
import pytest
from lab.live.lag import LagMonitor
from steady import RUN, proved

SLOW = """
    import time
    from attrs import define, field
    from lab import Strategy, hookimpl

    def dawdle():
        time.sleep(0.6)

    @define(kw_only=True)
    class Slow(Strategy):
        lookback = 0
        seen: int = field(init=False, default=0)
        def on_candle(self, candle, view):
            return []
        def on_quote(self, quote, view):
            self.seen += 1
            if self.seen in (10, 20):
                dawdle()

    @hookimpl
    def lab_strategies():
        return {"slow": Slow}
"""


@pytest.mark.behaviour("S2")
def test_a_strategy_that_blocks_the_loop_is_in_the_journal_with_its_stack(lab: Any, steady: Any) -> None:
    steady.install("their_slow", SLOW)
    args = [{"counter": "slow", "none": "terminal"}.get(one, one) for one in RUN[:-2]]
    result = lab.process(*args, "--gate", "none", "--minutes", "0.05")
    assert result.code == 0, result.err
    notices = [body[2] for _, _, body in lab.run().rows("notice") if body[1] == "lag"]
    blocked = [one for one in notices if "dawdle (their_slow.py:" in one["where"]]
    assert len(blocked) == 2, notices
    assert all(0.3 < float(one["seconds"]) < 3 for one in blocked)
    assert "on_quote (their_slow.py:" in blocked[0]["where"]
    assert "the event loop stood still for 0." in result.out
    assert any(text.startswith("loop_stood_still ") for text in lab.run().report()["degradations"])
    proved(lab)


@pytest.mark.behaviour("S2")
async def test_of_many_delays_the_first_twenty_are_told_and_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[float, str]] = []
    monkeypatch.setattr("lab.live.lag.LAG_S", 0.02)
    monitor = LagMonitor(lambda seconds, where: told.append((seconds, where)), pace=0.01)

    async def block() -> None:
        while monitor.times < 25:
            time.sleep(0.13)
            await anyio.sleep(0.002)

    async with anyio.create_task_group() as group:
        group.start_soon(monitor.watch)
        await block()
        group.cancel_scope.cancel()
    assert len(told) == 20
    assert all(seconds > 0.02 for seconds, _ in told)


async def test_a_loop_that_turns_is_not_reported() -> None:
    told: list[float] = []
    with anyio.move_on_after(0.5):
        await LagMonitor(lambda seconds, where: told.append(seconds)).watch()
    assert len(told) <= 1  # a busy machine may stop everybody once
