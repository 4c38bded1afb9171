"""What a file's prices show of its instrument: tick, lot and gaps."""

from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.domain.time import DAY_NS, MINUTE_NS
from lab_recordings import Survey, read_columns, read_ticks
from lab_recordings.survey import TICK_LIMIT

BEGIN_S = 1_704_067_200


def seen(*prices: float) -> Survey:
    survey = Survey()
    survey.see_prices([prices], min(prices), max(prices))
    return survey


@pytest.mark.parametrize(
    ("prices", "tick", "words"),
    [
        ((7161.2, 7160.0), "0.1", "1 decimal in the file"),
        ((7161.0, 7160.0), "1", "0 decimals in the file"),
        ((61800.25, 61800.2), "0.01", "2 decimals in the file"),
        ((2.14e-05, 2.139e-05), "0.00000001", "8 decimals in the file"),
        ((0.1 + 0.2, 0.3), "0.1", "1 decimal in the file"),
        ((7161.200000000001, 7161.3), "0.1", "1 decimal in the file"),
        ((129.2100067138672, 128.5), "0.00001", "7 decimals in the file, 5 of them used"),
        ((1 / 3, 2 / 3), "0.00000001", "10 decimals in the file, 8 of them used"),
        ((600_000.5, 600_001.0), "0.1", "1 decimal in the file"),
    ],
)
def test_the_tick_is_what_the_decimals_show(prices: tuple[float, ...], tick: str, words: str) -> None:
    found, why = seen(*prices).tick()
    assert (f"{found:f}", why) == (tick, words)


@given(st.integers(0, 9), st.lists(st.integers(10**6, 10**7 - 1), min_size=1, max_size=60))
def test_prices_on_a_power_of_ten_lie_on_the_tick_that_is_inferred(digits: int, steps: list[int]) -> None:
    survey = seen(*(float(Decimal(step).scaleb(-digits)) for step in steps))
    tick, _ = survey.tick()
    assert tick >= Decimal(1).scaleb(-digits), "never finer than the prices are"
    assert all(Decimal(step).scaleb(-digits) % tick == 0 for step in steps) or tick == 1
    assert survey.fine_tick() <= Decimal(survey.lowest) * Decimal(TICK_LIMIT)


@pytest.mark.parametrize(
    ("highest", "lot"),
    [
        (0.0000214, "10000"),
        (0.0798, "10"),
        (1.0841, "0.1"),
        (186.82, "0.001"),
        (7161.2, "0.0001"),
        (61800.25, "0.0001"),
        (600_000.0, "0.0001"),
        (99.9, "0.01"),
        (100.0, "0.001"),
    ],
)
def test_a_lot_is_worth_less_than_one_unless_the_coin_is_dear(highest: float, lot: str) -> None:
    assert f"{seen(highest).lot()[0]:f}" == lot


def test_decimals_are_found_anywhere_in_a_long_file(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    rows = [f"{BEGIN_S + 60 * n},7,9,5,{7 + (n % 10) / 100 if n >= 3000 else 7},1" for n in range(4000)]
    path.write_text("\n".join(["time,open,high,low,close,volume", *rows]))
    survey = Survey()
    assert sum(map(len, read_columns(path, MINUTE_NS, survey))) == 4000
    assert (survey.decimals, survey.lowest, survey.highest, survey.gaps) == (2, 5.0, 9.0, 0)


def test_bids_asks_and_trades_are_surveyed_alike(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    header = "venue_ms,kind,bid,bid_size,ask,ask_size,price,size,side\n"
    path.write_text(f"{header}1704067200000,quote,10.5,1,11,1,,,\n1704067200001,trade,,,,,11.25,1,buy\n")
    survey = Survey()
    assert len(list(read_ticks(path, survey=survey))) == 1
    assert (survey.decimals, survey.lowest, survey.highest) == (2, 10.5, 11.25)


def test_gaps_are_counted_inside_blocks_and_between_them(tmp_path: Path) -> None:
    path = tmp_path / "daily.csv"
    days = [day for day in range(1500) if day % 7 < 5 and day not in {802, 805}]
    path.write_text("\n".join(["time,open,high,low,close", *(f"{BEGIN_S + 86_400 * day},1,1,1,1" for day in days)]))
    survey = Survey()
    list(read_columns(path, DAY_NS, survey))
    steps = [later - earlier for earlier, later in pairwise(days)]
    assert survey.gaps == sum(step > 1 for step in steps)
    assert survey.longest_gap_ns == (max(steps) - 1) * DAY_NS
    assert survey.longest_gap() == "4d from 2026-03-13T00:00:00Z"
    assert not survey.has_volume
