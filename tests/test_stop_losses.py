"""A trade sized by risk that ends at its stop loses what was planned, fees included; more only by a gap."""

import csv
import gzip
import statistics
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final, NamedTuple

import pytest
from lab_recordings import locate

D = Decimal
RECORDING: Final = "btcusd-1m"
RISK: Final = D("0.5")
EQUITY: Final = D(1_000)
FEE: Final = D("0.0006")
# A narrow stop, because the recording's day was a calm one; a size that its candles' volume gives.
SETTINGS: Final = (
    f"run.equity={EQUITY}", "run.gates=none", "run.reporters=none", f"sma.risk_percent={RISK}", "sma.stop_percent=0.1",
    "paper.liquidity=unlimited", "replay.tick=0.01",
)  # fmt: skip


class Stopped(NamedTuple):
    """A trade that ended at its stop. What it lost beyond the plan is quantity times the other three, but for fees."""

    loss: Decimal
    planned: Decimal
    quantity: Decimal
    entry_gap: Decimal
    """From the close that decided to the open, against the trade; below 0: in its favour."""
    stop_gap: Decimal
    """From the stop's level to the open at which it filled, 0 where it filled at its level."""
    slippage: Decimal
    """Of both fills, beyond what the size reckoned with."""


def stopped(rows: list[tuple[int, str, Any]], closes: list[Decimal], slippage: Decimal) -> Iterator[Stopped]:
    """Yield the stopped trades of a journal, money by its postings alone.

    ``closes`` are those of the candles; a decision's is named by the order's id.
    """
    cash, held, entered = EQUITY, D(0), D(0)
    entry: Any = None
    decided: dict[str, tuple[Decimal, Decimal]] = {}  # by entry: equity and close
    levels = {}
    for _, kind, body in rows:
        if kind == "order_accepted":
            begin_ns = int(body["order_id"].partition("-c")[2].partition("-")[0])
            close = closes[begin_ns // 60_000_000_000 % 1440]
            decided[body["order_id"]] = cash + held * (close - entered), close
            levels[body["order_id"]] = D(body.get("stop") or 0)
            continue
        fill = body["fill"]
        paid = sum(D(amount) for account, amount in body["postings"] if account == "cash")
        cash += paid
        way = 1 if body["side"] == "buy" else -1
        held += way * D(fill["quantity"])
        if not entry:
            entry, entered = (fill, way, paid), D(fill["price"])
            continue
        first, side, cost = entry
        entry = None
        if fill["order_id"] == f"{first['order_id']}/stop":
            equity, close = decided[first["order_id"]]
            level = levels[fill["order_id"]]
            yield Stopped(
                -cost - paid, equity * RISK / 100, D(fill["quantity"]), side * (D(first["reference"]) - close),
                side * (level - D(fill["reference"])),
                D(first["slippage"]) + D(fill["slippage"]) - slippage / 10_000 * (close + level),
            )  # fmt: skip


@pytest.mark.behaviour("O7", "O8")
@pytest.mark.parametrize("slippage", [D(0), D(1)])
def test_stopped_trades_lose_what_was_planned_and_more_only_by_a_gap(lab: Any, slippage: Decimal) -> None:
    given = (*SETTINGS, f"paper.slippage_bps={slippage}", f"sma.slippage_bps={slippage}")
    result = lab("backtest", RECORDING, "--strategy", "sma", *(word for one in given for word in ("--set", one)))
    assert result.code == 0, result.err
    with gzip.open(locate(RECORDING), "rt", encoding="ascii") as file:
        closes = [D(row["close"]) for row in csv.DictReader(file)]
    found = list(stopped(lab.run().rows("order_accepted", "order_filled"), closes, slippage))
    assert len(found) >= 40
    ratios = [one.loss / one.planned for one in found]
    assert D("0.98") <= statistics.median(ratios) <= D("1.05")
    for one in found:
        excess = one.loss - one.planned
        gaps = one.entry_gap + one.stop_gap
        fees = FEE * (abs(one.entry_gap) + abs(one.stop_gap) + abs(one.slippage))
        assert excess <= one.quantity * (gaps + one.slippage + fees), one
        if excess > 0 and not slippage:
            assert gaps > 0, one
        assert one.stop_gap >= 0
