"""The statistics of a run from its rows: by day and month, by strategy and symbol, and what is left out with why."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from lab.domain.events import DayEnded, Deposited, Fill, FundingPaid, OrderFilled
from lab.domain.ledger import ZERO
from lab.domain.orders import Side
from lab.domain.time import DAY_NS, MINUTE_NS, SECOND_NS, parse_time
from lab.records.run import ComponentRecord, RunStarted, RunState, SessionState, Totals
from lab.records.statistics import Statistics
from lab.statistics.run import RunStatistics
from lab.statistics.wording import figure_rows
from lab.testing.builders import instrument

D = Decimal
X, ETH = "BTCUSDT", "ETHUSDT"
BEGIN = parse_time("2024-01-01")


def part(name: str) -> ComponentRecord:
    return ComponentRecord(name=name, type=name, distribution="d", version="1", settings={})


def started(*, schema: int = 3, interval_ns: int = MINUTE_NS, instruments: Sequence[Any] = ()) -> RunStarted:
    return RunStarted(
        schema_version=schema, kind="backtest", lab="0", config_hash="h", provider=part("p"), venue="v",
        realm="synthetic", strategies=(part("s"),), gates=(), broker=part("b"), symbol=X, interval="1m",
        interval_ns=interval_ns, minutes=None, equity=D(1_000), leverage=D(1), seed=0, speed="max", no_orders=False,
        lookback=1, instruments={one.symbol: one for one in instruments or [instrument(X), instrument(ETH)]}, source={},
    )  # fmt: skip


def filled(quantity: str, price: str, after: str, at_ns: int, *, strategy: str = "s", symbol: str = X) -> OrderFilled:
    side = Side.BUY if D(quantity) > 0 else Side.SELL
    fill = Fill("o", abs(D(quantity)), D(price), D("0.1"), ZERO, "taker", "q", D(price), None, D("0.5"), at_ns)
    return OrderFilled("o.1", strategy, symbol, side, ZERO, D(after), fill, ())


def day(number: int, equity: str, price: str = "100", **more: str) -> DayEnded:
    prices = {X: D(price)} | {symbol: D(other) for symbol, other in more.items()}
    return DayEnded(BEGIN + number * DAY_NS, D(equity), {"s": D(equity)}, prices)


def state(number: int, equity: str, price: str = "100", **totals: Any) -> RunState:
    figures = {"first_prices": {X: D(100)}, "last_prices": {X: D(price)}, "lowest_equity": D(900), **totals}
    return RunState(
        totals=Totals(**figures), equity=D(equity), day_starting_equity=D(1), day_ns=BEGIN + number * DAY_NS, books={},
        session=SessionState(),
    )  # fmt: skip


def found(
    rows: Sequence[object],
    end: RunState | None,
    *,
    first_ns: int = BEGIN,
    last_ns: int = BEGIN + DAY_NS,
    months_most: int = 1_200,
    **how: Any,
) -> Statistics:
    taken = RunStatistics(started(**how), D(1_000), months_most)
    taken.take(rows)
    return taken.finish(end, first_ns, last_ns)


def test_the_days_are_those_that_ended_and_the_last_as_far_as_it_came() -> None:
    one = found([day(0, "1010"), day(1, "990")], state(2, "1020"))
    [january] = one.by_month
    assert (one.days, january.days, january.profit, january.return_percent) == (3, 3, D(20), 2.0)


def test_months_begin_with_what_the_one_before_ended_with_and_hold_the_same_coins_on() -> None:
    rows = [day(30, "1100", "110"), filled("1", "100", "1", BEGIN), filled("-1", "120", "0", BEGIN + 40 * DAY_NS)]
    january, february, march = found([*rows, day(40, "990", "121")], state(60, "1089", "60.5")).by_month
    assert [one.month for one in (january, february, march)] == ["2024-01", "2024-02", "2024-03"]
    assert [one.return_percent for one in (january, february, march)] == [10.0, -10.0, 10.0]
    assert [one.profit for one in (january, february, march)] == [D(100), D(-110), D(99)]
    assert [one.buy_and_hold_percent for one in (january, february, march)] == [10.0, 10.0, -50.0]
    assert [one.trades for one in (january, february, march)] == [0, 1, 0]


def test_a_month_that_began_with_nothing_has_no_return() -> None:
    first, second = found([day(0, "0")], state(31, "5")).by_month
    assert (first.return_percent, second.return_percent) == (-100.0, None)


def test_growth_of_thirty_days_by_hand_and_calmar_by_the_drawdown_of_every_event() -> None:
    rows = [day(number, str(1_000 + 10 * (number % 2))) for number in range(29)]
    one = found(rows, state(29, "1100", max_drawdown_percent=D(20)))
    assert one.days == 30
    growth = (1.1 ** (365 / 30) - 1) * 100
    assert one.cagr_percent == pytest.approx(growth, rel=1e-11)
    assert one.calmar == pytest.approx(growth / 20, rel=1e-11)
    assert one.left_out.keys() & {"cagr_percent", "sharpe", "sortino", "volatility_percent", "calmar"} == set()


def test_days_without_a_row_count_for_growth_and_not_as_returns() -> None:
    one = found([day(0, "1000")], state(364, "1500", max_drawdown_percent=ZERO))
    assert (one.days, one.cagr_percent) == (2, 50.0)
    assert one.left_out["calmar"] == "the equity never fell"


def test_ten_minutes_say_nothing_of_a_year_and_the_reasons_are_given() -> None:
    one = found([], state(0, "1001"), last_ns=BEGIN + 10 * MINUTE_NS)
    few = "1 daily return; at least 10 are needed"
    assert (one.sharpe, one.volatility_percent, one.cagr_percent) == (None, None, None)
    assert one.left_out == {
        **dict.fromkeys(("volatility_percent", "sharpe", "sortino"), few),
        **dict.fromkeys(("cagr_percent", "calmar"), "1 calendar day; at least 30 are needed"),
        **dict.fromkeys(
            (
                "win_rate_percent", "average_win", "average_loss", "profit_factor", "expectancy", "best_trade",
                "worst_trade", "holding_mean_seconds", "holding_shortest_seconds", "holding_longest_seconds",
            ),
            "no trade was closed",
        ),
    }  # fmt: skip
    assert list(one.left_out) == sorted(one.left_out)


@pytest.mark.behaviour("N1")
def test_every_figure_that_is_missing_has_a_reason_and_no_other() -> None:
    for one in (
        found([], None),
        found([], state(0, "1000")),
        found([], state(0, "1000"), schema=2),
        found([], state(0, "1000", first_prices={}, last_prices={}), last_ns=BEGIN),
        found([day(number, "1000") for number in range(40)], state(40, "1000")),
    ):
        empty = {name for name in Statistics.__struct_fields__ if getattr(one, name) is None}
        empty |= set() if one.by_month else {"by_month"}
        assert empty == set(one.left_out)


def test_trades_that_all_won_or_all_lost_leave_out_the_others_average() -> None:
    won = [filled("1", "100", "1", BEGIN), filled("-1", "120", "0", BEGIN + 1)]
    lost = [filled("1", "100", "1", BEGIN), filled("-1", "90", "0", BEGIN + 1)]
    reasons = found(won, state(0, "1000")).left_out
    assert reasons["average_loss"] == reasons["profit_factor"] == "no trade lost"
    assert "average_win" not in reasons
    reasons = found(lost, state(0, "1000")).left_out
    assert reasons["average_win"] == "no trade won"
    assert "profit_factor" not in reasons


def test_exposure_and_turnover_by_hand() -> None:
    hour = 60 * 60 * SECOND_NS
    rows = [filled("1", "100", "1", BEGIN + hour), filled("-1", "110", "0", BEGIN + 3 * hour)]
    one = found([*rows, filled("2", "100", "2", BEGIN + 20 * hour)], state(0, "1000"))
    assert one.exposure_percent == pytest.approx((2 + 4) / 24 * 100)
    assert (one.turnover, one.traded_notional, one.slippage) == (0.41, D(410), D(2))
    live = found(rows, state(0, "1000", live_since_ns=BEGIN - DAY_NS), first_ns=BEGIN - 9 * DAY_NS)
    assert live.exposure_percent == pytest.approx(2 / 48 * 100)
    none = found(rows, state(0, "1000"), first_ns=0)
    assert (none.exposure_percent, none.left_out["exposure_percent"]) == (
        None, "no time passed between the first price and the last input",
    )  # fmt: skip


def test_figures_by_strategy_and_by_symbol_add_up_to_those_of_the_run() -> None:
    rows: list[object] = []
    for number, (strategy, symbol) in enumerate([("b", X), ("a", ETH), ("b", ETH), ("b", X)]):
        at_ns = BEGIN + number * 10
        rows += [
            filled("1", "100", "1", at_ns, strategy=strategy, symbol=symbol),
            FundingPaid(strategy, symbol, ZERO, ZERO, D(1), D("0.25"), at_ns, ()),
            filled("-1", str(101 + number), "0", at_ns + 5 + number, strategy=strategy, symbol=symbol),
        ]
    one = found([Deposited("s", D(1), ()), *rows], state(0, "1000"))
    assert list(one.by_strategy) == ["a", "b"]
    assert list(one.by_symbol) == [X, ETH]
    assert one.by_strategy["b"].profit == D(1 + 3 + 4) - 3 * D("0.45")
    for groups in (one.by_strategy, one.by_symbol):
        for name in ("trades", "wins", "profit", "fills", "fees", "funding", "slippage", "traded_notional"):
            assert sum(getattr(group, name) for group in groups.values()) == getattr(one, name)
        assert max(group.best_trade for group in groups.values()) == one.best_trade
        assert min(group.worst_trade for group in groups.values()) == one.worst_trade
        assert min(group.holding_shortest_seconds for group in groups.values()) == one.holding_shortest_seconds
        assert max(group.holding_longest_seconds for group in groups.values()) == one.holding_longest_seconds


def test_buy_and_hold_of_several_symbols_puts_the_same_money_into_each() -> None:
    prices = {"first_prices": {X: D(100), ETH: D(10)}, "last_prices": {X: D(110), ETH: D(8)}}
    assert found([], state(0, "1000", **prices)).buy_and_hold_percent == -5.0


def test_a_first_price_of_a_symbol_that_the_run_does_not_trade_is_damage_and_named() -> None:
    with pytest.raises(ValueError, match="first price of 'inf', which the run does not trade"):
        found([], state(0, "1000", first_prices={"inf": D(100)}))


def test_buy_and_hold_of_an_inverse_contract_is_in_its_coin() -> None:
    """A contract worth 0.01 coins at 10,000 gains 0.0020 coins on the way to 12,500."""
    inverse = [instrument(X, contract="inverse", contract_value=D(100))]
    prices = {"first_prices": {X: D(10_000)}, "last_prices": {X: D(12_500)}}
    assert found([], state(0, "1000", **prices), instruments=inverse).buy_and_hold_percent == 20.0


def test_an_equity_of_0_leaves_daily_figures_out_and_says_which_day_it_was() -> None:
    rows = [day(number, "0" if number == 4 else "1000") for number in range(12)]
    reasons = found(rows, state(12, "1000")).left_out
    assert reasons["sharpe"] == "the equity was 0 at the end of day 5, and returns begin above 0"


def test_candles_longer_than_a_day_have_no_daily_returns() -> None:
    reasons = found([day(0, "1000")], state(7, "1000"), interval_ns=7 * DAY_NS).left_out
    assert reasons["sharpe"] == reasons["cagr_percent"] == "candles of 1w have no daily returns"


def test_figures_beyond_any_float_are_left_out() -> None:
    rows = [day(number, "1e39" if number % 2 else "1e-300") for number in range(12)]
    assert found(rows, state(12, "1")).left_out["volatility_percent"] == "it is beyond any figure"


def test_a_journal_of_an_older_lab_gives_what_its_rows_hold_and_says_what_they_do_not() -> None:
    rows = [filled("1", "100", "1", BEGIN), filled("-1", "120", "0", BEGIN + DAY_NS // 2)]
    one = found(rows, state(0, "1020", first_prices={}, last_prices={}), schema=2)
    assert (one.trades, one.profit, one.exposure_percent) == (1, D("19.8"), 50.0)
    why = "the journal is of an older lab: it holds none before schema version 3"
    missing = {
        "max_drawdown_percent", "longest_drawdown_seconds", "lowest_equity", "buy_and_hold_percent", "cagr_percent",
        "volatility_percent", "sharpe", "sortino", "calmar", "by_month",
    }  # fmt: skip
    assert {name for name, reason in one.left_out.items() if reason == why} == missing


def test_a_run_of_which_only_rows_are_known_has_its_trades_and_days() -> None:
    one = found([day(0, "1100")], None)
    assert (one.days, one.lowest_equity) == (1, None)
    assert one.left_out["lowest_equity"] == "the journal holds neither an end nor a state of the run"
    assert [month.return_percent for month in one.by_month] == [10.0]


def test_only_the_newest_months_are_kept() -> None:
    one = found([day(0, "1100", "200"), day(31, "1210", "400")], state(60, "1210", "300"), months_most=2)
    assert [month.month for month in one.by_month] == ["2024-02", "2024-03"]
    assert [month.return_percent for month in one.by_month] == [10.0, 0.0]
    assert [month.buy_and_hold_percent for month in one.by_month] == [100.0, -25.0]
    assert one.left_out["by_month"] == "only the newest 2 months are kept"


def test_a_fill_of_a_symbol_that_the_run_did_not_trade_is_refused() -> None:
    with pytest.raises(ValueError, match="a fill of 'DOGE', which the run did not trade"):
        found([filled("1", "100", "1", BEGIN, symbol="DOGE")], None)


def test_the_important_figures_are_said_in_words_and_what_is_left_out_by_its_reason() -> None:
    rows = [filled("1", "100", "1", BEGIN), filled("-1", "120", "0", BEGIN + 90 * MINUTE_NS)]
    end = state(0, "1019.8", "105", max_drawdown_percent=D("1.5"), longest_drawdown_ns=61 * SECOND_NS)
    said = figure_rows(found(rows, end), lambda amount: f"{amount:.1f}")
    assert said == [
        ("win rate", "100.00 % of 1"),
        ("on average", "wins 19.8, all 19.8"),
        ("holding time", "1:30:00 on average, 1:30:00 to 1:30:00"),
        ("slippage", "1.0"),
        ("turnover", "0.22 times the starting equity"),
        ("exposure", "6.25 % of the time"),
        ("drawdown", "1.50 % at most, 1:01 at the longest"),
        ("low", "equity 900.0 at the lowest"),
        ("buy and hold", "+5.00 %"),
        ("left out", "average loss, profit factor: no trade lost"),
        ("left out", "CAGR, Calmar: 1 calendar day; at least 30 are needed"),
        ("left out", "volatility, Sharpe, Sortino: 1 daily return; at least 10 are needed"),
    ]
