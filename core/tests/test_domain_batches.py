"""Market data that is checked in whole columns."""

from math import inf
from typing import Any

import pytest
from lab.domain.batches import CandleColumns, TickColumns
from lab.domain.market import Quote

SOUND: list[list[Any]] = [[1, 2], [9.5, 9.0], [1.0, 1.0], [9.6, 10.0], [1.0, 1.0]]


def test_columns_say_their_lowest_and_highest_price() -> None:
    candles = CandleColumns(range(2), ([9.0, 9.0], [10.0, 11.0], [8.0, 7.0], [9.0, 9.0], [1.0, 1.0]))
    assert (candles.lowest, candles.highest) == (7.0, 11.0)
    assert (candles.packed().lowest, candles.packed().highest) == (7.0, 11.0)
    ticks = TickColumns("BTCUSDT", SOUND)
    assert (ticks.lowest, ticks.highest) == (9.0, 10.0)
    assert list(ticks) == [Quote("BTCUSDT", 1, 9.5, 1.0, 9.6, 1.0), Quote("BTCUSDT", 2, 9.0, 1.0, 10.0, 1.0)]


def test_columns_without_a_quote_have_no_lowest_and_no_highest_price() -> None:
    ticks = TickColumns("BTCUSDT", [[], [], [], [], []], ["trade"], [False])
    assert (list(ticks), ticks.lowest, ticks.highest) == (["trade"], inf, 0.0)


@pytest.mark.parametrize(
    ("column", "figure"),
    [(1, 0.0), (1, -1.0), (1, 10.5), (2, -1.0), (2, 1e18), (3, 1e15), (3, inf), (4, -1.0), (4, inf)],
)
def test_columns_with_one_row_that_is_no_quote_are_refused(column: int, figure: float) -> None:
    columns = [list(one) for one in SOUND]
    columns[column][1] = figure
    with pytest.raises(ValueError, match="not all are quotes"):
        TickColumns("BTCUSDT", columns)
