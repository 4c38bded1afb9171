"""An order decided at a close meets the next open: ``lab backtest`` trades as plain rules say, and as others do.

The comparison itself, ``python -m benchmarks.parity``, is tried here with differences that were planted.
"""

import csv
import gzip
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from lab_recordings import locate

from benchmarks import ours
from benchmarks.data import walk, write_candles
from benchmarks.fills import Fill, explain
from benchmarks.parity import RULES, SETTINGS
from benchmarks.trades import (
    AT_OPEN,
    FEE,
    LATER,
    ONE_A_CANDLE,
    STOP_FIRST,
    TOUCH,
    Bar,
    Decision,
    Trade,
    compare,
    decide,
    read,
    reasons,
    simulate,
    tick_of,
)
from benchmarks.verdicts import Case, lines, of_trades, table, to_the_cent

D = Decimal
FEES: Final = D("0.0006")
RECORDING: Final = "btcusd-1m"


# -- lab's trades ----------------------------------------------------------------------------------------------------


def traded(lab: Any, source: str, rule: str, *settings: str) -> list[ours.Booked]:
    """Return what a backtest filled, with the settings of the comparison with others."""
    stop, target = RULES[rule]
    given = (*SETTINGS, f"sma.stop_percent={stop}", f"sma.target_percent={target}", *settings)
    result = lab("backtest", source, "--strategy", "sma", *(word for one in given for word in ("--set", one)))
    assert result.code == 0, result.err
    return ours.booked(lab.run().folder)


def plain(rows: Sequence[dict[str, str]]) -> list[tuple[int, D, D, D]]:
    """Return number of candle, signed quantity, price and fee of each fill that SMA 10/30 must have at next opens."""
    closes, found, side, held = [D(row["close"]) for row in rows], [], 0, 0
    for at in range(29, len(closes)):
        difference = 3 * sum(closes[at - 9 : at + 1]) - sum(closes[at - 29 : at + 1])
        before, side = side, (1 if difference > 0 else -1 if difference < 0 else side)
        if not before or side == before or at + 1 == len(closes):
            continue
        price = D(rows[at + 1]["open"])
        sizes = [D(-held), D(side)] if held else [D(side)]
        found += [(at + 1, size, price, price * FEES) for size in sizes]
        held = side
    return found


@pytest.mark.behaviour("O1", "O2")
def test_trades_at_the_next_open_are_the_same_without_latency_with_some_and_in_a_plain_simulation(lab: Any) -> None:
    with gzip.open(locate(RECORDING), "rt", encoding="ascii") as file:
        expected = plain(list(csv.DictReader(file)))
    assert len(expected) == 141
    for latency_ms in (0, 200):
        found = traded(lab, RECORDING, "crossings", "replay.tick=0.01", f"paper.latency_ms={latency_ms}")
        assert [(one.number, one.size, one.price, one.fee) for one in found] == expected


@pytest.mark.behaviour("O6", "O7")
@pytest.mark.parametrize("latency_ms", [0, 200])
def test_stops_and_targets_on_candles_end_trades_where_plain_rules_do(
    lab: Any, tmp_path: Path, latency_ms: int
) -> None:
    path = tmp_path / "walk.csv"
    write_candles(path, list(walk(5_000)))
    bars = read(path)
    found = ours.round_trips(traded(lab, str(path), "brackets", f"paper.latency_ms={latency_ms}"), bars)
    opens = {bar.time_ms: bar.open for bar in bars}
    assert sum(trade.exit_ms is not None and trade.exit_price != opens[trade.exit_ms] for trade in found) > 80
    assert found == simulate(bars, decide(bars, tick_of(bars), *RULES["brackets"]))


# -- the plain rules, and what others do otherwise -------------------------------------------------------------------


def bar(number: int, *prices: float) -> Bar:
    opened, high, low, close = (D(str(price)) for price in prices)
    return Bar(60_000 * number, opened, high, low, close)


CALM: Final = (100, 101, 99, 100)
LONG: Final = Decision(1, D(95), D(105))


@pytest.mark.parametrize(
    ("entry", "later", "number", "price"),
    [
        (CALM, (100, 101, 95, 100), 2, 95),
        (CALM, (100, 105.1, 99, 100), 2, 105),
        (CALM, (100, 105, 99, 100), None, None),  # only touched
        (CALM, (94, 96, 93, 95), 2, 94),
        (CALM, (100, 106, 94, 100), 2, 95),
        (CALM, (106, 107, 94, 100), 2, 105),
        (CALM, (106, 107, 105, 106), 2, 105),
        ((100, 106, 99, 100), CALM, 1, 105),
        ((106, 107, 105, 106), CALM, 1, 106),
        ((94, 96, 93, 95), CALM, 1, 94),
    ],
)
def test_a_stop_or_target_ends_a_trade(entry: Any, later: Any, number: int | None, price: float | None) -> None:
    bars = [bar(0, *CALM), bar(1, *entry), bar(2, *later)]
    (trade,) = simulate(bars, {0: LONG})
    assert (trade.exit_ms, trade.exit_price) == (None if number is None else 60_000 * number, price)


ALL: Final = (LATER, TOUCH, AT_OPEN, STOP_FIRST, ONE_A_CANDLE)


@pytest.mark.parametrize(
    ("bars", "cause", "exits"),
    [
        ([CALM, (100, 101, 94, 100), CALM], LATER, [None]),
        ([CALM, CALM, (100, 105, 99, 100)], TOUCH, [105]),
        ([CALM, CALM, (106, 107, 105, 106)], AT_OPEN, [106]),
        ([CALM, CALM, (106, 107, 94, 100)], STOP_FIRST, [95]),
        ([CALM, CALM, (100, 101, 94, 100)], ONE_A_CANDLE, [95]),
    ],
)
def test_a_difference_is_explained_by_the_rule_that_makes_it(bars: Any, cause: str, exits: list[float | None]) -> None:
    made = [bar(number, *prices) for number, prices in enumerate(bars)]
    decisions = {0: LONG} | ({1: Decision(-1, D(110), D(80))} if cause == ONE_A_CANDLE else {})
    mine, theirs = simulate(made, decisions), simulate(made, decisions, [cause])
    assert [trade.exit_price for trade in theirs] == exits
    differences = compare(mine, theirs)
    assert differences
    assert set(reasons(made, decisions, differences, ALL)) == {(cause,)}
    others = [one for one in ALL if one != cause]
    assert set(reasons(made, decisions, differences, others)) == {()}


def case(bars: Sequence[Bar], decisions: dict[int, Decision]) -> Case:
    return Case("planted", "brackets", Path("planted.csv"), bars, D("0.1"), decisions)


def test_what_a_peer_is_told_is_each_candles_decision() -> None:
    work = case([bar(0, *CALM), bar(1, *CALM)], {0: LONG}).work()
    assert (work["way"], work["stop"], work["target"]) == ([1, 0], [95.0, None], [105.0, None])
    assert json.loads(json.dumps(work))["fee"] == 0.0006


@pytest.mark.parametrize(
    "change",
    [
        {"fees": D("0.12000001")},
        {"profit": D("-0.11")},
        {"quantity": D(2)},
        {"way": -1},
        {"exit_price": D("94.9")},
        {"exit_ms": 60_000},
        {"entry_ms": 120_000},
        {"entry_price": D("100.1")},
    ],
)
def test_a_planted_difference_is_found_and_not_explained(change: dict[str, Any]) -> None:
    one = case([bar(0, *CALM), bar(1, *CALM), bar(2, 100, 101, 94, 100)], {0: LONG})
    mine = simulate(one.bars, one.decisions)
    equal = of_trades(one, "lab and itself", mine, list(mine), ALL)
    assert (equal["equal"], equal["differ"], equal["holds"]) == (1, 0, True)
    for first, second in ((mine, [mine[0]._replace(**change)]), ([mine[0]._replace(**change)], mine)):
        row = of_trades(one, "lab and another", first, second, ALL)
        assert row["differ"]
        assert not row["holds"]
        assert any("NOT EXPLAINED" in text for text in lines(row))


def test_a_trade_that_one_of_them_has_not_is_a_difference() -> None:
    one = case([bar(0, *CALM), bar(1, *CALM)], {0: LONG})
    mine = simulate(one.bars, one.decisions)
    assert mine[0].exit_price is None
    for first, second in ((mine, []), ([], mine)):
        assert not of_trades(one, "lab and another", first, second, ALL)["holds"]
    with pytest.raises(ValueError, match="two trades began"):
        compare(mine, mine * 2)


def test_a_difference_by_rules_holds_and_says_them() -> None:
    one = case([bar(0, *CALM), bar(1, *CALM), bar(2, 100, 105, 99, 100)], {0: LONG})
    row = of_trades(
        one, "lab and another", simulate(one.bars, one.decisions), simulate(one.bars, one.decisions, ALL), ALL
    )
    assert (row["equal"], row["differ"], row["because"], row["holds"]) == (0, 1, {TOUCH: 1}, True)
    assert lines(row)[1] == f"    1 by: {TOUCH}"
    assert "| 1 | 0 | 1 | 0 |" in table([row])


def test_prices_finer_than_money_can_be_told_are_refused() -> None:
    assert tick_of([bar(0, 100, 101.25, 99, 100)]) == D("0.01")
    with pytest.raises(ValueError, match="more decimals"):
        tick_of([bar(0, 100, 101.00001, 99, 100)])


def test_levels_are_on_the_tick_that_is_better_for_the_order_there() -> None:
    closes = [100.0] * 30 + [103.3] * 10 + [97.3] * 10 + [103.3] * 12
    bars = [bar(number, close, close, close, close) for number, close in enumerate(closes)]
    short, long = decide(bars, D("0.1"), D("0.1"), D("0.2")).values()  # the first side is no crossing
    assert (short, long) == (Decision(-1, D("97.3"), D("97.1")), Decision(1, D("103.2"), D("103.6")))
    assert set(decide(bars, D("0.1"), D(0), D(0)).values()) == {Decision(-1), Decision(1)}


# -- the difference of profits ---------------------------------------------------------------------------------------

BARS: Final = [
    bar(0, 100, 101, 99, 100),
    bar(1, 100.5, 102, 99, 101),
    bar(2, 101.5, 103, 99, 102),
    bar(3, 103, 104, 99, 103),
]


def filled(size: int, price: Decimal, extra: str = "0") -> Fill:
    return Fill(D(size), price, abs(size) * price * FEE + D(extra))


def profit(fills: dict[int, Fill]) -> Decimal:
    return sum((one.size * (BARS[-1].close - one.price) - one.fee for one in fills.values()), D(0))


@pytest.mark.parametrize("behind", [0, 1])
def test_prices_fees_rounding_and_what_one_filled_alone_make_the_difference(behind: int) -> None:
    mine = {0: filled(1, BARS[1].open), 1: filled(-2, BARS[2].open)}
    theirs = {0: filled(1, BARS[behind].close, "0.003"), 1: filled(-2, BARS[1 + behind].close)}
    if not behind:
        theirs[3] = filled(2, BARS[3].close)
    one = explain(BARS, mine, theirs, (profit(mine), profit(theirs)), behind)
    assert one.holds
    assert one.rounding == D("0.003")
    assert one.alone == (D(0) if behind else theirs[3].fee)
    assert (one.decisions, one.other_prices) == (2, 2)
    row = to_the_cent(case(BARS, {}), "lab and another", "the close", (profit(mine), profit(theirs)), one)
    assert D(row["residual"]) == 0
    assert "NOT EXPLAINED" not in "".join(lines(row))


@pytest.mark.parametrize(
    ("number", "fill", "said"),
    [
        (0, filled(1, D("100.1")), "filled at 100.1, its rule's price is 100"),
        (1, filled(2, D(101)), "ours is -2, theirs 2"),
    ],
)
def test_a_fill_at_another_price_or_size_is_not_explained(number: int, fill: Fill, said: str) -> None:
    mine = {0: filled(1, BARS[1].open), 1: filled(-2, BARS[2].open)}
    theirs = {0: filled(1, BARS[0].close), 1: filled(-2, BARS[1].close)} | {number: fill}
    one = explain(BARS, mine, theirs, (profit(mine), profit(theirs)), 0)
    assert not one.holds
    assert said in one.unexplained[0]


def test_a_cent_that_is_left_over_is_not_explained() -> None:
    mine, theirs = {0: filled(1, BARS[1].open)}, {0: filled(1, BARS[0].close)}
    one = explain(BARS, mine, theirs, (profit(mine), profit(theirs) + D("0.01")), 0)
    assert (one.residual, one.holds, one.unexplained) == (D("-0.01"), False, ())
    row = to_the_cent(case(BARS, {}), "lab and another", "the close", (D(0), D(0)), one)
    assert lines(row)[-1] == "    NOT EXPLAINED: -0.01"


# -- reading our journal ---------------------------------------------------------------------------------------------


def booked(number: int, size: int, late_ms: int = 0) -> ours.Booked:
    return ours.Booked(number, (60_000 * number + late_ms) * 1_000_000, D(size), BARS[number].open, D(0))


def test_fills_are_paired_to_round_trips_and_added_up_by_decision() -> None:
    fills = [booked(1, 1), booked(2, -1), booked(2, -1, 200)]
    first, still = ours.round_trips(fills, BARS)
    assert first == Trade(60_000, 1, D(1), D("100.5"), 120_000, D("101.5"), D(0), D(1))
    assert (still.way, still.exit_ms, still.profit) == (-1, None, D("-1.5"))
    assert ours.by_decision(fills) == {0: Fill(D(1), D("100.5"), D(0)), 1: Fill(D(-2), D("101.5"), D(0))}
    with pytest.raises(ValueError, match="two prices"):
        ours.by_decision([booked(1, 1), booked(1, 1)._replace(price=D(1))])


@pytest.mark.parametrize("wrong", [booked(2, -2), booked(2, -1, 60_001), booked(2, -1, -1)])
def test_a_fill_that_does_not_close_or_lies_outside_its_candle_is_refused(wrong: ours.Booked) -> None:
    with pytest.raises(ValueError, match=r"does not close|outside its candle"):
        ours.round_trips([booked(1, 1), wrong], BARS)
