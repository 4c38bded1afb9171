"""A live session whose data falls silent on a connection that stays up: what it still notices, and how it ends."""

from typing import Any

import pytest

SECOND_NS = 10**9
BEGIN_NS = 1_704_067_200 * SECOND_NS

MUTE = '''
"""A provider that says no more after some time, on a connection that stays up."""
from attrs import define, field
from lab import hookimpl
from lab_mock.provider import MockProvider

@define(kw_only=True, eq=False)
class Mute(MockProvider):
    seconds: float = field(default=90.5, metadata={"help": "until it falls silent"})

    async def stream(self, wanted, sink):
        import anyio
        with anyio.move_on_after(self.seconds):
            await super().stream(wanted, sink)
        await anyio.sleep_forever()

@hookimpl
def lab_providers():
    return {"mute": Mute}
'''

CLOCKWORK = '''
"""A strategy that wants to buy every ten seconds, whatever the market says."""
from attrs import define
from decimal import Decimal
from lab import OrderRequest, Strategy, hookimpl

@define(kw_only=True)
class Clockwork(Strategy):
    @property
    def timer_ns(self):
        return 10 * 10**9

    def on_candle(self, candle, view):
        return []

    def on_timer(self, now_ns, view):
        return [OrderRequest.buy("BTCUSDT", Decimal("0.001"))]

@hookimpl
def lab_strategies():
    return {"clockwork": Clockwork}
'''


@pytest.fixture
def mute(trader: Any) -> Any:
    """The provider ``mute`` and the strategies ``trader`` and ``clockwork`` are installed."""
    trader.install("their_mute", MUTE)
    trader.install("their_clockwork", CLOCKWORK)
    return trader


def _run(lab: Any, *args: str) -> dict[str, Any]:
    command = ("run", "--provider", "mute", "--speed", "max", "--minutes", "5", "--reporter", "none")
    assert lab(*command, *args).code == 0
    report: dict[str, Any] = lab.run().report()
    return report


@pytest.mark.behaviour("V1")
def test_a_price_that_grew_stale_shuts_trading_and_no_position_is_closed_at_it(lab: Any, mute: Any) -> None:
    degradations = _run(lab, "--strategy", "trader")["degradations"]
    assert [body[1] for _, _, body in lab.run().rows("trading_state")][-2:] == [[], ["quote stale"]]
    assert [body["side"] for _, _, body in lab.run().rows("order_accepted")] == ["buy"], "none to close it"
    assert "position_left_open trader 0.01 BTCUSDT" in degradations
    shut = next(text for text in degradations if text.startswith("trading_shut"))
    assert 203 <= float(shut.split()[1]) <= 206, "from five seconds after the last quote to the end"


def test_an_order_expires_though_no_quote_comes_any_more(lab: Any, mute: Any) -> None:
    late = ("--set", "paper.expire_ms=5000", "--set", "paper.stale_ms=100")
    report = _run(lab, "--strategy", "trader", "--set", "mute.seconds=60.05", *late)
    [end] = [body for _, _, body in lab.run().rows("order_ended")]
    assert end["outcome"] == "expired", "five seconds after its arrival, and not cancelled at the end of the run"
    assert report["expired"] == 1


def test_timers_of_components_fall_due_though_nothing_comes_any_more(lab: Any, mute: Any) -> None:
    _run(lab, "--strategy", "clockwork")
    signals = {row[0]: row[1] for row in lab.run().raw() if row[3] == "signal"}
    due = [(time_ns - BEGIN_NS) / SECOND_NS for time_ns in signals.values()]
    assert [moment for moment in due if moment > 96] == [100.0 + 10 * number for number in range(21)]


@pytest.mark.behaviour("V1")
def test_the_end_waits_four_seconds_for_a_closing_order_and_no_longer(lab: Any, mute: Any) -> None:
    slow = ("--set", "paper.latency_ms=20000", "--set", "paper.jitter_ms=0")
    assert lab.mock("--strategy", "trader", "--reporter", "none", *slow, minutes=2).code == 0
    report = lab.run().report()
    assert [body["outcome"] for _, _, body in lab.run().rows("order_ended")][-1] == "cancelled"
    assert "position_left_open trader 0.01 BTCUSDT" in report["degradations"]
    assert 124.0 <= report["duration_seconds"] <= 124.5
