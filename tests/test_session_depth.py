"""Depth in whole runs: on the tape, in strategies, proved and replayed byte for byte, whatever the venue sends."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from lab.domain.market import Depth, Quote, check_depth
from lab.journal.tape import read_tape

GIVEN = ("--speed", "max", "--minutes", "5", "--strategy", "deep", "--reporter", "none")

DEEP = '''
"""A strategy that buys and sells on what is displayed."""
from decimal import Decimal
from attrs import define, field
from lab import OrderRequest, Strategy, hookimpl

@define(kw_only=True, eq=False)
class Deep(Strategy):
    """Buys where more is bid for than offered, sells where less is; one order in five seconds at most."""
    _after: int = field(init=False, default=0)
    _newest: int = field(init=False, default=0)

    def on_candle(self, candle, view):
        return ()

    def on_depth(self, depth, view):
        assert view.depth(depth.symbol) is depth
        assert depth.time_ns >= self._newest, "depth went back in time"
        self._newest = depth.time_ns
        if depth.time_ns < self._after:
            return ()
        self._after = depth.time_ns + 5 * 10**9
        bid, asked = (sum(size for _, size in side) for side in (depth.bids, depth.asks))
        act = OrderRequest.buy if bid > asked else OrderRequest.sell
        return [act(depth.symbol, Decimal("0.001"))]

@hookimpl
def lab_strategies():
    return {"deep": Deep}
'''


@pytest.fixture
def deep(site: Any) -> None:
    site.install("their_deep", DEEP)


def taken(folder: Path) -> list[Depth]:
    return [event for event in read_tape(folder) if isinstance(event, Depth)]


@pytest.mark.behaviour("J6")
@pytest.mark.parametrize(
    "provider",
    [("--provider", "mock", "--set", "mock.depth=5"), ("--set", "bitunix.venue=local"),
     ("--set", "bitunix.venue=local", "--set", "bitunix.depth=15")],
    ids=["mock", "bitunix", "15 levels"],
)  # fmt: skip
def test_depth_is_traded_on_taped_proved_and_replayed(lab: Any, deep: Any, provider: tuple[str, ...]) -> None:
    assert lab("run", *provider, *GIVEN).code == 0
    session = lab.run()
    depths, report = taken(session.folder), session.report()
    assert len(depths) >= 290
    assert {(len(depth.bids), len(depth.asks)) for depth in depths} == {(15, 15) if "15" in provider[-1] else (5, 5)}
    assert report["fills"] > 5
    assert any(kind == "depth" for _, kind, _ in session.rows("depth")), "the row says what was decided on"
    assert report["counters"]["malformed"] == 0
    filled = [body for _, _, body in session.rows("order_filled")]
    proof = lab("verify")
    assert proof.code == 0
    assert "identical" in proof.out
    again = lab("replay", "latest", "--reporter", "none")
    assert again.code == 0
    assert [body for _, _, body in lab.run().rows("order_filled")] == filled


def test_a_recorded_session_gives_its_depth_to_a_live_replay(lab: Any, deep: Any) -> None:
    assert lab("run", "--provider", "mock", "--set", "mock.depth=5", *GIVEN).code == 0
    first = lab.run().folder
    assert lab("run", "--provider", "replay", "--set", f"replay.run={first}", *GIVEN).code == 0
    assert taken(lab.run().folder) == taken(first)


@pytest.mark.behaviour("F13")
@pytest.mark.parametrize("faults", ["levels=0.4", "malformed=0.2,reorder=0.3", "late=0.3:3,duplicate=0.3"])
def test_of_a_venue_that_sends_bad_books_only_good_ones_are_traded_on_and_the_run_is_proved(
    lab: Any, deep: Any, faults: str
) -> None:
    result = lab("run", "--set", "bitunix.venue=local", "--set", f"bitunix.faults={faults}", *GIVEN)
    assert result.code == 0, result.err
    depths, report = taken(lab.run().folder), lab.run().report()
    assert len(depths) > 150
    assert {check_depth(depth) for depth in depths} == {None}
    assert any(after.time_ns < before.time_ns for before, after in pairwise(depths)) == ("late" in faults)
    if "late" in faults:
        assert any(one.startswith("late_quotes ") for one in report["degradations"])
    assert bool(report["counters"]["malformed"]) == ("levels" in faults or "malformed" in faults)
    assert lab("verify").code == 0


def test_without_depth_nothing_of_it_is_asked_for_or_taped(lab: Any, deep: Any) -> None:
    assert lab("run", "--set", "bitunix.venue=local", "--set", "bitunix.depth=0", *GIVEN).code == 0
    assert taken(lab.run().folder) == []
    assert any(isinstance(event, Quote) for event in read_tape(lab.run().folder))
    assert lab.run().report()["fills"] == 0
