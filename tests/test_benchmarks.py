"""The benchmarks measure what they say, and say what they measured. Nothing here is timed."""

import json
import sys
import zipfile
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from lab.compiled import SWITCH

from benchmarks import forms, races, rates, ratios, table
from benchmarks.backtests import CROSS, FLIP, QUIET, STILL, Run, backtest
from benchmarks.data import Expected, write
from benchmarks.forms import COMPILED, OWN, PLAIN, Form
from benchmarks.peers import PEERS, agree
from benchmarks.suite import Suite

CANDLES: Final = "candles-3000.csv"
QUOTES: Final = "quotes-30000.csv"
ORDERS: Final = "orders-41.csv"
EXPECTED: Final = Expected(100, 0, 8, 8, 4, Decimal("12.5"), Decimal(100))


def here(name: str) -> Form:
    """Return this interpreter's lab under a form's name."""
    return Form(name, Path(sys.executable), {SWITCH: "0"}, "lab")


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    folder = tmp_path_factory.mktemp("data")
    return Suite(True, folder, write(folder, [3_000], 30_000, 41), {PLAIN: here(PLAIN)})


# -- whole processes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "orders"),
    [(CANDLES, CROSS, 219), (CANDLES, QUIET, 0), (QUOTES, CROSS, 5), (ORDERS, FLIP, 41), (ORDERS, STILL, 0)],
)
def test_a_run_comes_to_what_the_data_demands(suite: Suite, name: str, kind: str, orders: int) -> None:
    found = backtest(suite, name, Run(PLAIN, kind))
    assert found["orders"] == found["fills"] == orders
    assert found["journal_bytes"] > 0


def test_a_run_that_comes_to_something_else_is_no_figure(suite: Suite) -> None:
    expected = suite.expected[CANDLES]
    wrong = {CANDLES: expected._replace(fees=expected.fees + Decimal("1e-8"))}
    with pytest.raises(RuntimeError, match="the data demands"):
        backtest(Suite(True, suite.folder, wrong, suite.forms), CANDLES, Run(PLAIN, journal=False, warm=True))


# -- forms -----------------------------------------------------------------------------------------------------------


def test_wheels_of_another_tree_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "lab_trading-0.1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("lab/__init__.py", "changed = True")
    with pytest.raises(RuntimeError, match=r"not of this tree: .*build them anew"):
        forms.prepare(tmp_path, tmp_path)


def test_what_is_measured_sees_no_setting_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LAB_RUN_SPEED", SWITCH, "PYTHONPATH", forms.CACHE):
        monkeypatch.setenv(name, "1")
    assert {"LAB_RUN_SPEED", SWITCH, "PYTHONPATH"}.isdisjoint(forms.outside())
    assert forms.outside()[forms.CACHE] == "1"
    assert here(PLAIN).environment()[SWITCH] == "0"


# -- races and their figures -----------------------------------------------------------------------------------------


def measured(cpu_s: float, rows: int = 1_000_000, orders: int = 50_000, peak_mib: float = 40) -> dict[str, Any]:
    return {
        "rows": rows, "wall_s": 2 * cpu_s, "cpu_s": cpu_s, "u_ns": 30.0, "peak_mib": peak_mib, "orders": orders,
        "journal_bytes": 2**20,
    }  # fmt: skip


@pytest.fixture
def all_forms(tmp_path: Path) -> Suite:
    return Suite(True, tmp_path, {}, {name: here(name) for name in (COMPILED, OWN, PLAIN)})


def shown(suite: Suite) -> Mapping[str, Mapping[str, str]]:
    return {one["what"]: one for one in suite.rows}


def test_each_round_runs_every_form_once(all_forms: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Run] = []

    def pretend(suite: Suite, name: str, run: Run) -> dict[str, Any]:
        ran.append(run)
        rows = int(name.partition("-")[2].removesuffix(".csv"))
        return measured(rows / 1e6 + (run.kind == CROSS), rows)

    monkeypatch.setattr(races, "backtest", pretend)
    all_forms.expected = dict.fromkeys(
        ("candles-100000.csv", "candles-1000000.csv", races.HUGE, "quotes-1000000.csv"), EXPECTED
    )
    all_forms.groups, all_forms.quick = frozenset({"backtests"}), False
    races.run(all_forms)
    rounds = [ran[at : at + 13] for at in range(1, 1 + 3 * 13, 13)]
    assert ran[0] == Run(COMPILED, CROSS, True, True), "the first fills the cache"
    assert all(one == rounds[0] for one in rounds)
    assert {run.form for run in rounds[0]} == {COMPILED, OWN, PLAIN}
    assert "`lab backtest`, 1,000,000 candles, strategy in plain Python" in shown(all_forms)
    assert "a candle, from 100,000 to 1,000,000 to 5,000,000" in shown(all_forms)


def test_rates_stand_beside_each_other_with_what_was_missed(all_forms: Suite) -> None:
    found = {Run(COMPILED): [measured(1.0), measured(2.0), measured(1.2)], Run(PLAIN): [measured(4.0)]}
    rates.show_rates(all_forms, "1,000,000 candles", found)
    (one,) = all_forms.rows
    assert (one["compiled"], one["plain"]) == ("833,333/s (1.20 s)", "250,000/s (4.00 s)")
    assert one["target"] == "≥ 800,000/s; plain ≥ 400,000/s, missed"


def test_an_order_costs_the_difference_of_two_runs(all_forms: Suite) -> None:
    found = {Run(COMPILED, FLIP): [measured(1.5)], Run(COMPILED, STILL): [measured(1.0)]}
    rates.show_orders(all_forms, "50,000 orders", found)
    assert all_forms.rows[0]["compiled"] == "10.00 µs"
    assert all_forms.rows[0]["target"] == "≤ 12 µs"


def test_memory_that_grows_is_not_flat(all_forms: Suite) -> None:
    sizes = {
        "100,000 candles": (100_000, 40),
        "1,000,000 candles": (1_000_000, 80),
        "5,000,000 candles": (5_000_000, 41),
    }
    found = {what: {Run(COMPILED): [measured(rows / 1e6, rows, 9, mib)]} for what, (rows, mib) in sizes.items()}
    rates.show_flatness(all_forms, found)
    assert [one["target"] for one in all_forms.rows] == ["the same, to 10 %", "flat, to a quarter, missed"]
    assert all_forms.rows[0]["compiled"] == "1,000 ns → 1,000 ns"


def test_a_peer_is_shown_by_the_ratio_first_whoever_is_faster(all_forms: Suite) -> None:
    found = {Run(COMPILED): [measured(1.0)], Run(PLAIN): [measured(2.0)]}
    peers = {
        "backtesting.py": [measured(7.0) | {"trades": 9, "fees": 1.0, "run_s": 5.0}],
        "vectorbt": [measured(0.4) | {"trades": 9, "fees": 1.0}],
    }
    ratios.show_ratios(all_forms, "1,000,000 candles", found, peers, PEERS)
    slow, fast = all_forms.rows
    assert slow["compiled"].startswith("7.0x: 1.00 s against 7.00 s CPU")
    assert slow["plain"].startswith("3.5x: ")
    assert slow["target"] == "≥ 6x"
    assert fast["compiled"].startswith("0.4x: ")


@pytest.mark.parametrize(
    "found",
    [
        {"rows": 99, "trades": 4, "fees": 12.5},
        {"rows": 100, "trades": 7, "fees": 12.5},
        {"rows": 100, "trades": 4, "fees": 12.7},
    ],
)
def test_a_peer_that_did_other_work_is_refused(found: dict[str, Any]) -> None:
    agree({"rows": 100, "trades": 6, "fees": 12.4}, EXPECTED, "candles")
    with pytest.raises(RuntimeError, match="other work than ours"):
        agree(found, EXPECTED, "candles")


# -- the table -------------------------------------------------------------------------------------------------------


def test_the_figures_go_between_the_marks_of_the_readme(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text((table.HERE / "README.md").read_text("utf-8"), "utf-8")
    machine = {"versions": {"attrs": "1"}, "commit": "c", "cpu": "x", "cores": 2, "system": "s", "python": "p"}
    rows = [
        table.row("a | b", {COMPILED: "1 s"}, u=2, targets=[table.judged("≤ 2 s", True), table.judged("≥ 3", None)])
    ]
    results = {
        "machine": machine | {"load_before": 0.1}, "u_ns": {"median": 30.0, "least": 29.0, "most": 31.0}, "rows": rows,
        "left_out": [], "not_compiled": "no C compiler", "measured": "today", "seconds": 3,
    }  # fmt: skip
    table.put_into(page, table.markdown(json.loads(json.dumps(results))))
    text = page.read_text("utf-8")
    assert "| a / b | 1 s | – | 2.0 | ≤ 2 s; ≥ 3, not measured |  |\n" in text
    assert "Not compiled: no C compiler." in text
    assert text.startswith("# Benchmarks")
    assert len(text.split(table.BEGIN)) == len(text.split(table.END)) == 2
