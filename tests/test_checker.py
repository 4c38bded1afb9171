"""A checker that shares no code with lab recomputes runs of every kind, and finds no difference."""

import ast
import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from checker import check
from checker_flow import FLOW, MARKET
from checker_runs import CANDLES, TICKS, TWO, Row, checked, held, inputs_of, rows_of, sets

D = Decimal
BUSY = sets(flow__every=8, second__every=8, flow__coins=3)
MADE = ("backtest", "--provider", "market", *TWO)


@pytest.fixture(autouse=True)
def _plugins(site: Any) -> None:
    site.install("their_flow", FLOW)
    site.install("their_market", MARKET)


def test_the_checker_imports_the_standard_library_and_itself_only() -> None:
    files = sorted((Path(__file__).parent / "checker").glob("*.py"))
    own = {path.stem for path in files}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [one.name for one in node.names] if isinstance(node, ast.Import) else []
            assert {one.split(".")[0] for one in modules} <= {*own, *sys.stdlib_module_names}, (path, modules)


def test_the_checker_stays_under_four_hundred_lines_so_that_a_person_can_read_it_whole() -> None:
    files = sorted((Path(__file__).parent / "checker").glob("*.py"))
    assert 0 < sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files) < 400


SMA = ("--strategy", "sma", "--reporter", "none", *sets(sma__fast=2, sma__slow=5, sma__confirmation=1))
QUICK = ("--strategy", "sma", "--reporter", "none", *sets(sma__fast=1, sma__slow=2, sma__confirmation=1))
LIVE = ("run", "--provider", "mock", "--speed", "max", "--minutes", "20", *TWO)
RUNS: dict[str, tuple[tuple[str, ...], Path | None]] = {
    "sma on candles": (("backtest", "btcusd-1m", *SMA), CANDLES),
    "sma on ticks": (("backtest", "btcusdt-ticks", *QUICK), TICKS),
    "sma in virtual time": (("run", "--provider", "mock", "--speed", "max", "--minutes", "60", *SMA), None),
    "candles": (("backtest", "btcusd-1m", *TWO), CANDLES),
    "pessimistic": (("backtest", "btcusd-1m", *TWO, "--fills", "pessimistic", *sets(flow__seed=3)), CANDLES),
    "optimistic": (("backtest", "btcusd-1m", *TWO, "--fills", "optimistic", *sets(paper__candle_share="0.1")), CANDLES),
    "slow": (("backtest", "btcusd-1m", *TWO, "--latency-ms", "90000", *sets(paper__feed_ms=100)), CANDLES),
    "at once": (("backtest", "btcusd-1m", *TWO, "--latency-ms", "0", *sets(paper__liquidity="unlimited")), CANDLES),
    "ticks": (("backtest", "btcusdt-ticks", *TWO, *sets(flow__every=200, second__every=200, flow__coins=3)), TICKS),
    "depth and silences": ((*MADE, *BUSY), None),
    "depth, no latency": ((*MADE, *BUSY, "--latency-ms", "0", *sets(market__seed=3)), None),
    "depth, slow": ((*MADE, *BUSY, "--latency-ms", "4000", *sets(market__seed=4, flow__seed=40)), None),
    "large": (("backtest", "btcusd-1m", *TWO, *sets(flow__coins=10, second__coins=10)), CANDLES),
    "quotes only": ((*LIVE, *BUSY, *sets(mock__depth=0)), None),
    "takers of one book": ((*MADE, *sets(flow__every=5, flow__coins=3, flow__takes="true", second__coins=3)), None),
    "inverse": ((*MADE, *BUSY, *sets(market__inverse="true", market__seed=2)), None),
    "live": ((*LIVE, *BUSY, *sets(mock__depth=5)), None),
    "live, slipping": (
        (*LIVE, *BUSY, *sets(mock__depth=5, paper__quote_slippage_bps=2, paper__stale_ms=100, paper__feed_ms=300)),
        None,
    ),
    "local venue, faulty": (
        ("run", "--speed", "max", "--minutes", "5", *TWO, *BUSY,
         *sets(bitunix__venue="local", bitunix__faults="levels=0.2,late=0.3:3,duplicate=0.3")), None,
    ),
}  # fmt: skip


@pytest.mark.behaviour("J7")
@pytest.mark.parametrize("name", RUNS)
def test_a_run_recomputed_from_what_it_was_fed_shows_no_difference(lab: Any, name: str) -> None:
    command, source = RUNS[name]
    result = lab(*command)
    assert result.code == 0, result.err
    findings, rows, checks = checked(lab.run().folder, source)
    assert findings == []
    assert checks > 5 * rows >= 50


@pytest.mark.behaviour("J7", "O10", "O11")
@pytest.mark.parametrize("coins", ["900", "-900"])
@pytest.mark.parametrize("margin", ["cross", "isolated"])
def test_funding_and_liquidation_recomputed_show_no_difference(lab: Any, site: Any, margin: str, coins: str) -> None:
    files = held(lab, site, "--margin", margin, *sets(once__coins=coins))
    assert len([row for row in rows_of(lab.run().folder) if row["kind"] == "funding_paid"]) == 2
    assert any(row["kind"] == "liquidated" for row in rows_of(lab.run().folder)) is (
        coins == "900" or margin == "isolated"
    )
    findings, _, _ = checked(lab.run().folder, *files)
    assert findings == []


def test_a_refusal_by_margin_or_by_the_days_loss_has_figures_that_add_up(lab: Any) -> None:
    limits = (
        "--gate",
        "margin",
        "--gate",
        "max_daily_loss",
        *sets(max_daily_loss__usd=50, flow__coins=2, second__coins=20),
    )
    given = [word for n, word in enumerate(TWO) if "--gate" not in (word, TWO[n - 1])]
    assert lab("backtest", "btcusd-1m", *given, *limits).code == 0
    refused = {row["body"]["by"] for row in rows_of(lab.run().folder) if row["kind"] == "order_refused"}
    assert {"margin", "max_daily_loss"} <= refused
    findings, _, _ = checked(lab.run().folder, CANDLES)
    assert findings == []


@pytest.mark.behaviour("J7", "O2", "O5")
def test_ten_minutes_on_the_shipped_ticks_every_price_at_or_beyond_the_touch_every_size_within_what_was_displayed(
    lab: Any,
) -> None:
    """Market, limit, stop and bracket orders: looked at by the checker, and one fill at a time without it."""
    assert lab("run", "--speed", "max", "--minutes", "10", *TWO, *BUSY, *sets(bitunix__venue="local")).code == 0
    findings, rows, checks = checked(lab.run().folder)
    assert findings == []
    assert checks > 5 * rows >= 50
    inputs, _ = inputs_of(lab.run().folder, None)
    orders, seen, taken = dict[str, Row](), set[tuple[Any, ...]](), dict[tuple[Any, ...], D]()
    for row in rows_of(lab.run().folder):
        if row["kind"] in ("order_accepted", "order_amended"):
            order = orders.setdefault(row["body"]["order_id"], {})
            order |= row["body"]
        if row["kind"] == "order_triggered":
            order, passed = orders[row["body"]["order_id"]], D(row["body"]["reference"]) - D(row["body"]["level"])
            rises = (order["side"] == "buy") is not (order["type"] == "take_profit")
            assert passed >= 0 if rises else passed <= 0, row
        if row["kind"] != "order_filled":
            continue
        fill, n = row["body"]["fill"], row["input_n"]
        order = orders[fill["order_id"]]
        buys, price, sign = order["side"] == "buy", D(fill["price"]), 1 if order["side"] == "buy" else -1
        seen |= {(order["type"], fill["rule"]), "/" in order["order_id"]}
        if fill["rule"] == "limit_traded":
            kind, (_, _, traded, size, side) = inputs[n - 1]
            assert (kind, side) == ("trade", "sell" if buys else "buy")
            assert (price - D(repr(traded))) * sign >= 0, row
            levels, level, at = {price: D(repr(size))}, price, n
        else:
            kind, fields = inputs[n - 1]
            time_ns = fields[{"candle": 2, "timer": 0, "trading_state": 0}.get(kind, 1)]
            at = n - 1 if fill["time_ns"] < time_ns else n  # it arrived before this input
            levels = displayed(inputs[:at], buys=buys)
            touch = next(iter(levels))
            assert (price - touch) * sign >= 0, (row, levels)
            level = price if fill["liquidity"] == "taker" else touch
        assert "limit" not in fill["rule"] or price == D(order["limit"]), row
        assert not order.get("limit") or (D(order["limit"]) - price) * sign >= 0, row
        taken[at, fill["rule"], level, buys] = taken.get((at, fill["rule"], level, buys), D(0)) + D(fill["quantity"])
        assert taken[at, fill["rule"], level, buys] <= levels[level], (row, levels)
    assert seen >= {("market", "quote"), ("limit", "quote"), ("stop", "stop"), ("stop_limit", "stop"), True}
    assert {rule for _, rule in seen - {True, False}} == {"quote", "stop", "limit_touched", "limit_traded"}
    assert len(taken) > 100


def displayed(inputs: list[Any], *, buys: bool) -> dict[D, D]:
    """Return what the newest quote and the newest depth display on the side that an order takes from, touch first."""
    newest = dict[str, list[Any]]()
    for kind, fields in inputs:
        if kind in ("quote", "depth") and fields[1] >= newest.get(kind, [0, 0])[1]:
            newest[kind] = fields
    quote, depth = newest["quote"], newest.get("depth", ["", 0, [], []])
    touch = tuple(quote[4:6] if buys else quote[2:4])
    deeper = [one for one in map(tuple, depth[3 if buys else 2]) if (one[0] > touch[0] if buys else one[0] < touch[0])]
    gone = depth[1] > quote[1] and deeper and len(deeper) == len(depth[3 if buys else 2])
    return {D(repr(price)): D(repr(size)) for price, size in (deeper if gone else [touch, *deeper])}


def test_a_finding_names_row_and_figure(lab: Any) -> None:
    assert lab("backtest", "btcusd-1m", *SMA).code == 0
    inputs, _ = inputs_of(lab.run().folder, CANDLES)
    first = next(row for row in rows_of(lab.run().folder) if row["kind"] == "order_filled")
    inputs[first["input_n"] - 1][1][3] += 1.0  # the market was another one
    findings, _, _ = check(lab.run().folder / "journal.db", inputs)
    assert re.match(rf"row {first['seq']} \(order_filled\): its reference is [\d.]+, it should be [\d.]+", findings[0])
