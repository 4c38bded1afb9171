"""Round trips are made of fills to the last digit: from flat to flat or to the other side, of either contract."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.domain.events import Fill, FundingPaid, OrderFilled
from lab.domain.ledger import EXACT, ZERO, Ledger
from lab.domain.orders import Side
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.statistics.round_trips import RoundTrips
from lab.statistics.tally import trade_figures
from lab.testing.builders import instrument

if TYPE_CHECKING:
    from lab.statistics.round_trip import RoundTrip

D = Decimal
X = "BTCUSDT"
INVERSE = instrument(contract="inverse", contract_value=D(100))


class Desk:
    """Books fills as the engine does, and makes round trips of them; each fill comes a minute after the last."""

    def __init__(self, traded: Any = None) -> None:
        self.traded, self.trips, self.ledger, self.minute = traded, RoundTrips(), Ledger(), 0
        self.closed: list[RoundTrip] = []

    def fill(self, quantity: str, price: str, fee: str = "0", slippage: str = "0", symbol: str = X) -> None:
        self.minute += 1
        signed, side = D(quantity), Side.BUY if D(quantity) > 0 else Side.SELL
        worth = D(price) if self.traded is None else self.traded.worth(D(price))
        postings = self.ledger.fill(symbol, signed, worth, D(fee))
        reference = D(price) - D(slippage) if signed > 0 else D(price) + D(slippage)
        fill = Fill(
            "o", abs(signed), D(price), D(fee), D("0.0006"), "taker", "quote", reference, None, D(slippage),
            self.minute * MINUTE_NS,
        )  # fmt: skip
        after = self.ledger.position(symbol).quantity
        row = OrderFilled(f"o.{self.minute}", "s", symbol, side, ZERO, after, fill, postings)
        closed = self.trips.take(row, self.traded)
        self.closed += [closed] if closed is not None else []

    def fund(self, amount: str) -> None:
        self.ledger.pay_funding(D(amount))
        self.trips.pay(FundingPaid("s", X, ZERO, ZERO, ZERO, D(amount), 0, ()))


@pytest.mark.behaviour("N2")
def test_a_round_trip_is_made_of_every_fill_from_flat_to_flat() -> None:
    desk = Desk()
    desk.fill("1", "100", "0.1")
    desk.fill("3", "104", "0.3")
    desk.fill("-2", "110", "0.2")
    assert not desk.closed
    desk.fill("-2", "106", "0.2")
    [trip] = desk.closed
    assert (trip.long, trip.entry_ns, trip.exit_ns, trip.quantity) == (True, MINUTE_NS, 4 * MINUTE_NS, D(4))
    assert (trip.entry_price, trip.exit_price) == (D(103), D(108))
    assert (trip.fees, trip.profit, trip.fills, trip.notional) == (D("0.8"), D("19.2"), 4, D(844))
    assert not desk.trips.open()


def test_a_fill_that_turns_the_position_closes_one_and_opens_the_next_and_shares_fee_and_slippage() -> None:
    desk = Desk()
    desk.fill("-1", "100", "0.1", "0.5")
    desk.fill("3", "90", "0.3", "0.25")
    [short], [turned] = desk.closed, desk.trips.open()
    assert (short.long, short.quantity, short.fees, short.profit) == (False, D(1), D("0.2"), D("9.8"))
    assert (short.slippage, short.fills) == (D("0.75"), 2)
    assert (turned.long, turned.quantity, turned.fees, turned.entry_ns) == (True, D(2), D("0.2"), 2 * MINUTE_NS)
    assert (turned.slippage, turned.fills, turned.exit_ns, turned.profit) == (D("0.5"), 0, 0, ZERO)


def test_a_fee_that_cannot_be_shared_evenly_is_shared_without_a_rest() -> None:
    desk = Desk()
    desk.fill("1", "100")
    desk.fill("-3", "100", "0.1")
    desk.fill("2", "100")
    first, second = desk.closed
    assert first.fees + second.fees == D("0.1")
    assert second.fees == D("0.066666666666666667")


def test_funding_is_of_the_round_trip_that_is_open_and_of_none_when_flat() -> None:
    desk = Desk()
    desk.fund("5")
    desk.fill("1", "100")
    desk.fund("0.25")
    desk.fund("-1")
    desk.fill("-1", "101")
    [trip] = desk.closed
    assert (trip.funding, trip.profit) == (D("-0.75"), D("1.75"))


def test_a_round_trip_of_an_inverse_contract_is_in_its_coin() -> None:
    """10 contracts of 100 from 10,000 to 12,500: 1,000 × (1 / 10,000 − 1 / 12,500) = 0.02 coins."""
    desk = Desk(INVERSE)
    desk.fill("10", "10000", "0.0001", "100")
    desk.fill("-10", "12500", "0.0001")
    [trip] = desk.closed
    assert trip.profit == D("0.0198")
    assert trip.notional == D("0.18")
    assert (trip.entry_price, trip.exit_price) == (D(10_000), D(12_500))
    # It bought at 10,000 instead of 9,900: 1,000 × (1 / 9,900 − 1 / 10,000).
    assert trip.slippage == 10 * (D(100) / 9_900).quantize(D("1e-18")) - D("0.1")


def test_the_average_price_of_an_inverse_contract_is_the_harmonic_mean() -> None:
    desk = Desk(INVERSE)
    desk.fill("1", "10000")
    desk.fill("1", "30000")
    desk.fill("-2", "20000")
    [trip] = desk.closed
    assert abs(trip.entry_price - 15_000) < D("1e-9")


@given(st.lists(st.tuples(st.integers(-5, 5).filter(bool), st.integers(50, 150), st.integers(0, 9)), max_size=20))
@pytest.mark.parametrize("traded", [None, INVERSE])
def test_once_flat_the_profits_of_all_round_trips_are_the_cash_that_moved(
    traded: Any, fills: list[tuple[int, int, int]]
) -> None:
    from decimal import localcontext

    desk = Desk(traded)
    with localcontext(EXACT):
        for quantity, price, fee in fills:
            desk.fill(str(quantity), str(price), str(fee))
        left = desk.ledger.position(X).quantity
        if left:
            desk.fill(str(-left), "100", "7")
        assert sum((trip.profit for trip in desk.closed), ZERO) == desk.ledger.cash
    figures = trade_figures([*desk.closed, *desk.trips.open()])
    assert figures.fills == len(fills) + bool(left)
    assert figures.fees == sum(fee for *_, fee in fills) + 7 * bool(left)


def test_a_position_whose_beginning_was_not_seen_is_of_no_round_trip() -> None:
    trips, fill = RoundTrips(), Fill("o", D(1), D(9), ZERO, ZERO, "taker", "q", D(9), None, ZERO, 5)
    for position in (D(3), D(0)):
        assert trips.take(OrderFilled("o.1", "s", X, Side.SELL, ZERO, position, fill, ())) is None
    empty = Fill("o", ZERO, D(9), ZERO, ZERO, "taker", "q", D(9), None, ZERO, 5)
    assert trips.take(OrderFilled("o.2", "s", X, Side.BUY, ZERO, ZERO, empty, ())) is None
    assert not trips.open()


def test_more_than_so_many_open_positions_are_not_followed() -> None:
    desk = Desk()
    desk.trips = RoundTrips(open_most=2)
    for symbol in ("A", "B", "C"):
        desk.fill("1", "100", symbol=symbol)
    assert [trip.symbol for trip in desk.trips.open()] == ["A", "B"]
    desk.fill("-1", "100", symbol="C")
    assert not desk.closed


def test_time_in_which_several_positions_were_open_counts_once() -> None:
    desk = Desk()
    desk.fill("1", "100", symbol="A")  # minute 1
    desk.fill("1", "100", symbol="B")
    desk.fill("-1", "100", symbol="A")
    desk.fill("-1", "100", symbol="B")  # minute 4
    desk.minute = 9
    assert desk.trips.held_ns(60 * MINUTE_NS) == 3 * MINUTE_NS
    desk.fill("1", "100", symbol="A")  # minute 10
    assert desk.trips.held_ns(12 * MINUTE_NS) == 5 * MINUTE_NS


def test_figures_of_trades_by_hand() -> None:
    desk = Desk()
    for entry, exit_, minutes in (("100", "110", 5), ("100", "97", 1), ("100", "100", 0), ("100", "99", 29)):
        desk.fill("1", entry)
        desk.minute += minutes
        desk.fill("-1", exit_)
    desk.fill("1", "100", "0.5")
    found = trade_figures([*desk.closed, *desk.trips.open()])
    assert (found.trades, found.wins, found.losses, found.fills) == (4, 1, 2, 9)
    assert (found.profit, found.fees, found.traded_notional) == (D(6), D("0.5"), D(906))
    assert (found.win_rate_percent, found.profit_factor) == (25.0, 2.5)
    assert (found.average_win, found.average_loss, found.expectancy) == (D(10), D(-2), D("1.5"))
    assert (found.best_trade, found.worst_trade) == (D(10), D(-3))
    seconds = found.holding_mean_seconds, found.holding_shortest_seconds, found.holding_longest_seconds
    assert seconds == (MINUTE_NS / SECOND_NS * 39 / 4, 60.0, 1800.0)


def test_without_a_trade_its_figures_are_missing_and_not_0() -> None:
    found = trade_figures([])
    assert (found.trades, found.profit, found.fills) == (0, 0, 0)
    missing = (
        found.win_rate_percent, found.average_win, found.average_loss, found.profit_factor, found.expectancy,
        found.best_trade, found.worst_trade, found.holding_mean_seconds,
    )  # fmt: skip
    assert missing == (None,) * 8


def test_trades_that_all_lost_have_a_profit_factor_of_0_and_no_average_win() -> None:
    desk = Desk()
    desk.fill("1", "100")
    desk.fill("-1", "90")
    found = trade_figures(desk.closed)
    assert (found.profit_factor, found.average_win, found.average_loss) == (0.0, None, D(-10))
