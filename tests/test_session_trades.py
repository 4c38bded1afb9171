"""Trades in whole runs: they shorten the queue before resting limits, live and in backtests, and runs are proved."""

from pathlib import Path
from typing import Any

import pytest
from lab.domain.market import Trade
from lab.journal.tape import read_tape

GIVEN = ("--speed", "max", "--minutes", "5", "--strategy", "joins", "--reporter", "none")
LOCAL = ("--set", "bitunix.venue=local")

JOINS = '''
"""A strategy that joins the bid, and the ask once it holds something."""
from decimal import Decimal
from attrs import define, field
from lab import OrderRequest, OrderType, Strategy, TimeInForce, hookimpl

@define(kw_only=True, eq=False)
class Joins(Strategy):
    """Rests one limit at the touch, a few ticks away, for twenty seconds, then another one."""
    away: Decimal = field(default=Decimal("0"), metadata={"help": "price units behind the touch"})
    _after: int = field(init=False, default=0)
    _heard: int = field(init=False, default=0)

    def on_candle(self, candle, view):
        return ()

    def on_trade(self, trade, view):
        assert view.trade(trade.symbol) is trade
        self._heard += 1
        quote = view.quote(trade.symbol)
        if trade.time_ns < self._after or quote is None:
            return ()
        self._after = trade.time_ns + 20 * 10**9
        held = view.position(trade.symbol).quantity
        price = Decimal(str(quote.ask)) + self.away if held else Decimal(str(quote.bid)) - self.away
        act = OrderRequest.sell if held else OrderRequest.buy
        ends = self._after
        return [act(trade.symbol, Decimal("0.001"), type=OrderType.LIMIT, limit=price,
                    time_in_force=TimeInForce.GTD, expires_ns=ends)]

@hookimpl
def lab_strategies():
    return {"joins": Joins}
'''


@pytest.fixture
def joins(site: Any) -> None:
    site.install("their_joins", JOINS)


def taken(folder: Path) -> list[Trade]:
    return [event for event in read_tape(folder) if isinstance(event, Trade)]


def filled(run: Any) -> list[Any]:
    return [{**body["fill"], "side": body["side"]} for _, _, body in run.rows("order_filled")]


def sides(run: Any) -> list[str]:
    """Return the side of each order that filled, in the order of their first fills."""
    return list({fill["order_id"]: fill["side"] for fill in filled(run)}.values())


QUICK = ("--reporter", "none", "--set", "sma.fast=2", "--set", "sma.slow=5", "--set", "sma.confirmation=1")
WHOLE: list[list[str]] = []


def sides_on_the_whole_venue(lab: Any) -> list[str]:
    """Return what ten minutes with all channels come to: the same each time, so once is enough."""
    if not WHOLE:
        assert lab("run", *LOCAL, "--speed", "max", "--minutes", "10", *QUICK).code == 0
        WHOLE.append(sides(lab.run()))
    return WHOLE[0]


@pytest.mark.behaviour("J6")
def test_trades_fill_a_resting_limit_once_the_queue_before_it_is_used_up_and_the_session_is_proved_and_replayed(
    lab: Any, joins: Any
) -> None:
    assert lab("run", *LOCAL, *GIVEN).code == 0
    session = lab.run()
    fills, trades = filled(session), taken(session.folder)
    assert len(trades) > 5_000
    assert session.report()["counters"]["malformed"] == 0
    traded = [fill for fill in fills if fill["rule"] == "limit_traded"]
    assert traded
    for fill in traded:
        assert fill["liquidity"] == "maker"
        limit, opposite = float(fill["price"]), "sell" if fill["side"] == "buy" else "buy"
        assert any(
            trade.time_ns == fill["time_ns"]
            and trade.side == opposite
            and (trade.price <= limit if opposite == "sell" else trade.price >= limit)
            for trade in trades
        ), "a trade of that moment, whose taker came from the other side, reached the limit"
    proof = lab("verify")
    assert proof.code == 0
    assert "identical" in proof.out
    assert lab("replay", "latest", "--reporter", "none").code == 0
    assert filled(lab.run()) == fills
    assert lab("run", "--provider", "replay", "--set", f"replay.run={session.folder}", *GIVEN).code == 0
    again = taken(lab.run().folder)
    assert again == trades[: len(again)]
    assert len(trades) - len(again) < 100, "it may end a moment sooner"


@pytest.mark.behaviour("F5")
@pytest.mark.parametrize("silent", ["trade", "depth_book5", "[td]*[e5]"], ids=["trades", "levels", "both"])
def test_a_venue_that_never_sends_trades_or_levels_is_traded_on_without_an_interruption(
    lab: Any, joins: Any, silent: str
) -> None:
    faults = f"mute={silent}"
    args = ("--speed", "max", "--minutes", "10", *QUICK)
    assert lab("run", *LOCAL, *args, "--set", f"bitunix.faults={faults}").code == 0
    muted, report = lab.run(), lab.run().report()
    assert report["fills"] >= 2
    # Without levels an order takes more moments to fill, not other ones.
    assert sides(muted) == sides_on_the_whole_venue(lab)
    states = [detail for _, _, (_, topic, detail) in muted.rows("notice") if topic == "feed"]
    assert {one["state"] for one in states} - {"live"} <= {"connecting", "subscribed", "warm", "down"}
    assert sum(one["state"] == "connecting" for one in states) == 1
    assert sum("silent for 30 s" in one["detail"] for one in states) == (2 if "*" in silent else 1)
    assert lab("verify", muted.folder.name).code == 0


@pytest.mark.behaviour("F13")
@pytest.mark.parametrize(
    "faults",
    [
        "malformed=0.2,reorder=0.3",
        "late=0.3:3,duplicate=0.3",
    ],
)
def test_of_a_venue_that_sends_bad_trades_the_good_ones_count_and_the_run_is_proved(
    lab: Any, joins: Any, faults: str
) -> None:
    result = lab("run", *LOCAL, "--set", f"bitunix.faults={faults}", *GIVEN)
    assert result.code == 0, result.err
    assert len(taken(lab.run().folder)) > 2_000
    assert bool(lab.run().report()["counters"]["malformed"]) == ("malformed" in faults)
    assert lab("verify").code == 0


def test_without_trades_none_is_asked_for_or_taped(lab: Any, joins: Any) -> None:
    assert lab("run", *LOCAL, "--set", "bitunix.trades=false", *GIVEN).code == 0
    assert taken(lab.run().folder) == []
    assert filled(lab.run()) == []


@pytest.mark.behaviour("M2")
def test_a_resting_limit_meets_the_trades_of_a_tick_file_in_a_backtest_and_in_its_live_replay(
    lab: Any, joins: Any
) -> None:
    args = ("--strategy", "joins", "--reporter", "none", "--symbol", "BTCUSDT")
    assert lab("backtest", "btcusdt-ticks", *args).code == 0
    rules = [fill["rule"] for fill in filled(lab.run())]
    assert "limit_traded" in rules
    assert lab("verify").code == 0
    played = ("run", "--provider", "replay", "--set", "replay.file=btcusdt-ticks", "--speed", "max", "--minutes", "7")
    assert lab(*played, *args).code == 0
    assert len(taken(lab.run().folder)) == 21_313
    assert lab("backtest", "btcusdt-ticks", *args, "--set", "replay.trades=false").code == 0
    assert filled(lab.run()) == []
