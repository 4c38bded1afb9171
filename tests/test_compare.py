"""Equal inputs give equal decisions and ledgers, by whatever way they come; `lab compare` names where two runs part."""

import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

QUICK = ("--strategy", "sma", "--set", "sma.fast=2", "--set", "sma.slow=4", "--set", "sma.confirmation=1")


def _prices(path: Path, count: int = 40, *, other_at: int | None = None, seed: int = 11) -> Path:
    drawn, price, rows = random.Random(seed), 30000.0, []
    for number in range(count):
        before, price = price, round(price * (1 + drawn.gauss(0, 0.001)), 1)
        high, low = max(before, price) + 3, min(before, price) - 3
        close = price + 1 if number == other_at else price
        rows.append(f"{1704067200 + 60 * number},{before:.1f},{high:.1f},{low:.1f},{close:.1f},{number % 7 + 1}")
    path.write_text("\n".join(["time,open,high,low,close,volume", *rows, ""]), encoding="utf-8")
    return path


def _made(lab: Any, *args: str) -> str:
    result = lab(*args)
    assert result.code == 0, result.err
    assert lab.run().report()["fills"] > 0
    return str(lab.run().folder.name)


def _orders(lab: Any, run: str) -> list[Any]:
    """Return the orders accepted in a run."""
    found = type(lab.run())(lab.folder / "runs" / run)
    return [body for _, _, body in found.rows("order_accepted")]


def _compared(lab: Any, one: str, other: str) -> dict[str, Any]:
    result = lab("compare", one, other, "--json")
    found: dict[str, Any] = result.json()
    assert result.code == (0 if found["same"] else 1)
    return found


@pytest.mark.behaviour("J10")
def test_one_file_of_candles_gives_the_same_decisions_and_ledger_in_a_backtest_and_live_at_every_speed(
    lab: Any,
) -> None:
    file = _prices(lab.folder / "prices.csv", seed=2)  # its first signal comes after a session has warmed up
    backtest = _made(lab, "backtest", str(file), *QUICK)
    live = ("run", "--provider", "replay", "--set", f"replay.file={file}", "--minutes", "60", *QUICK)
    others = [_made(lab, *live, "--speed", speed) for speed in ("max", "1000", "600")]
    others.append(_made(lab, "replay", others[0]))
    for other in others:
        found = _compared(lab, backtest, other)
        assert (found["same"], found["difference"], found["causes"]) == (True, "", []), found
        assert found["rows"] > 20
    assert lab("compare", backtest, others[0]).out.endswith(
        f"the same: {found['rows']} rows of decisions, fills and ends\n"
    )


@pytest.mark.behaviour("J10")
def test_a_session_over_real_sockets_and_its_inputs_fed_again_come_to_the_same(lab: Any, trader: Any) -> None:
    live = ("run", "--provider", "bitunix", "--set", "bitunix.venue=local", "--strategy", "trader")
    wall = _made(lab, *live, "--minutes", "6", "--speed", "60")
    again = [
        _made(lab, "replay", wall),
        _made(lab, "backtest", "--set", f"replay.run=runs/{wall}", "--strategy", "trader"),
    ]
    for other in again:
        found = _compared(lab, wall, other)
        assert (found["same"], found["causes"]) == (True, []), found
        assert found["rows"] > 5
    virtual = _made(lab, *live, "--minutes", "6", "--speed", "max")
    found = _compared(lab, wall, virtual)
    if not found["same"]:  # timers and sockets line up otherwise: then the inputs differ, and only then the decisions
        assert found["causes"][0].startswith(("inputs differ: ", "what the sessions said differ: ")), found


@pytest.mark.behaviour("J10")
def test_a_session_that_was_not_warm_when_a_backtest_traded_is_told_by_what_it_said(lab: Any, trader: Any) -> None:
    file = str(_prices(lab.folder / "prices.csv"))
    backtest = _made(lab, "backtest", file, "--strategy", "trader", "--set", "trader.need=3")
    live = ("--set", f"replay.file={file}", "--minutes", "60", "--speed", "max")
    session = _made(lab, "run", "--provider", "replay", *live, "--strategy", "trader", "--set", "trader.need=3")
    found = _compared(lab, backtest, session)
    assert not found["same"]
    (cause,) = found["causes"]
    assert cause.startswith("what the sessions said differ: only the second run has input 1, trading_state")


@pytest.mark.behaviour("J10")
def test_other_inputs_are_named_before_the_decision_they_led_to(lab: Any) -> None:
    one = _made(lab, "backtest", str(_prices(lab.folder / "one.csv")), *QUICK)
    other = _made(lab, "backtest", str(_prices(lab.folder / "other.csv", other_at=9)), *QUICK)
    result = lab("compare", one, other)
    assert result.code == 1
    assert f"{one} and {other}: NOT the same after " in result.out
    causes = [line for line in result.out.splitlines() if line.startswith("  cause: ")]
    assert len(causes) == 1
    assert causes[0].startswith("  cause: inputs differ: the first run has input 10, candle [")
    assert ", the second input 10, candle [" in causes[0]


@pytest.mark.behaviour("J10")
def test_fewer_inputs_and_other_settings_are_named(lab: Any) -> None:
    one = _made(lab, "backtest", str(_prices(lab.folder / "one.csv")), *QUICK)
    shorter = _made(lab, "backtest", str(_prices(lab.folder / "other.csv", 30)), *QUICK)
    found = _compared(lab, one, shorter)
    assert f"{shorter} has nothing more" in found["difference"]
    assert found["causes"] == [found["causes"][0]]
    assert found["causes"][0].startswith("inputs differ: only the first run has input 31, candle")
    richer = _made(lab, "backtest", str(lab.folder / "one.csv"), *QUICK, "--equity", "20000")
    causes = _compared(lab, one, richer)["causes"]
    assert causes == ["settings differ: equity is 10000 in the first run, 20000 in the second"]


@pytest.mark.behaviour("J10")
def test_other_settings_that_decide_nothing_are_no_difference_though_ids_begin_otherwise(lab: Any) -> None:
    file = str(_prices(lab.folder / "one.csv"))
    still = ("--set", "paper.jitter_ms=0")  # it is drawn from the order's id
    one = _made(lab, "backtest", file, *QUICK, *still)
    other = _made(lab, "backtest", file, *QUICK, *still, "--set", "max_daily_loss.usd=5000")
    begins = {body["order_id"].partition("-")[0] for run in (one, other) for body in _orders(lab, run)}
    assert len(begins) == 2
    assert _compared(lab, one, other)["same"]


@pytest.mark.behaviour("J10")
def test_other_decisions_on_equal_inputs_are_said_to_be_that(lab: Any, trader: Any) -> None:
    file = str(_prices(lab.folder / "one.csv"))
    first = lab.process("backtest", file, "--strategy", "trader", env=lab.see(trader))
    assert first.code == 0, first.err
    one = lab.run().folder.name
    source = (trader.folder / "their_trader.py").read_text(encoding="utf-8")
    (trader.folder / "their_trader.py").write_text(source.replace("self.quantity)", "2 * self.quantity)"), "utf-8")
    second = lab.process("backtest", file, "--strategy", "trader", env=lab.see(trader))
    assert second.code == 0, second.err
    found = lab.process("compare", one, lab.run().folder.name, env=lab.see(trader))
    assert found.code == 1
    assert "cause: equal inputs and settings: the code was changed without a new version number" in found.out


@pytest.mark.behaviour("J10")
def test_other_decisions_at_other_times_are_no_difference_of_the_inputs(lab: Any, trader: Any) -> None:
    """One run parts on an earlier input than the other; both were fed the inputs between."""
    file = str(_prices(lab.folder / "one.csv"))
    source = (trader.folder / "their_trader.py").read_text(encoding="utf-8")
    runs = []
    for every in (7, 9):
        idle = f"        if candle.open_ns // {60 * 10**9} % {every}:\n            return []\n"
        changed = source.replace("        return [OrderRequest.buy", f"{idle}        return [OrderRequest.buy")
        (trader.folder / "their_trader.py").write_text(changed, encoding="utf-8")
        result = lab.process("backtest", file, "--strategy", "trader", env=lab.see(trader))
        assert result.code == 0, result.err
        runs.append(lab.run().folder.name)
    for one, other in (runs, runs[::-1]):
        found = lab.process("compare", one, other, env=lab.see(trader))
        causes = [line for line in found.out.splitlines() if line.startswith("  cause: ")]
        (cause,) = causes
        assert cause.startswith("  cause: equal inputs and settings: the code was changed without a new version number")


@pytest.mark.behaviour("J10")
def test_settings_have_the_names_that_a_user_gives_and_rows_show_what_differs(lab: Any) -> None:
    file = str(_prices(lab.folder / "one.csv"))
    one = _made(lab, "backtest", file, *QUICK)
    other = _made(lab, "backtest", file, *QUICK[:2], "--set", "sma.fast=3", *QUICK[4:])
    found = _compared(lab, one, other)
    assert found["causes"] == ["settings differ: sma.fast is 2 in the first run, 3 in the second"]
    first, second = found["difference"].split("; " + other)
    assert first.startswith(f"{one} has row ")
    assert "order_accepted at 2024-01-01T00:" in first
    assert "quantity" in first or "placed_ns" in first
    assert "strategy" not in first, "it is the same in both"
    assert second.startswith(" has row ")
    assert "first run, 3 in" in lab("compare", one, other).out


@pytest.mark.behaviour("J10")
def test_other_components_and_other_instruments_are_named(lab: Any) -> None:
    file = str(_prices(lab.folder / "one.csv"))
    one = _made(lab, "backtest", file, *QUICK)
    other = _made(lab, "backtest", file, *QUICK, "--gate", "max_drawdown", "--set", "replay.lot=0.01")
    causes = _compared(lab, one, other)["causes"]
    assert "settings differ: gates is max_daily_loss (max_daily_loss), margin (margin) in the first run, " in causes[0]
    assert causes[0].endswith("max_drawdown (max_drawdown) in the second")
    assert "settings differ: instruments.BTCUSDT.lot is 0.0001 in the first run, 0.01 in the second" in causes


@pytest.mark.behaviour("J10")
def test_a_journal_that_was_changed_is_not_compared(lab: Any, one_line: Any) -> None:
    run = _made(lab, "backtest", str(_prices(lab.folder / "one.csv")), *QUICK)
    with sqlite3.connect(lab.run().folder / "journal.db") as db:
        db.execute("UPDATE event SET body = replace(body, 'buy', 'sell') WHERE seq = 5")
    one_line(lab("compare", run, run), 74, f"{run}: row 5 was changed after it was written; nothing is compared")


@pytest.mark.behaviour("J10")
def test_a_run_that_was_cut_off_is_said_to_be(lab: Any) -> None:
    run = _made(lab, "backtest", str(_prices(lab.folder / "one.csv")), *QUICK)
    with sqlite3.connect(lab.run().folder / "journal.db") as db:
        db.execute("DELETE FROM event WHERE kind = 'run_ended'")
    for command in (("compare", run, run), ("verify",), ("audit",), ("lookahead", "--cuts", "1")):
        result = lab(*command)
        assert result.code == 0, result.err
        assert result.err == f"lab: {run} was cut off before its end; this is about what it had recorded by then\n"


@pytest.mark.behaviour("J6", "J10")
def test_data_that_are_gone_are_named_with_the_run_that_read_them(lab: Any, one_line: Any) -> None:
    file = _prices(lab.folder / "one.csv")
    one = _made(lab, "backtest", str(file), *QUICK)
    other = _made(lab, "backtest", str(file), *QUICK, "--equity", "5000")
    file.unlink()
    said = f"{other} cannot read again what it read: replay: {file}: no such file"
    one_line(lab("verify", other), 78, said, "; put it back")
    one_line(lab("compare", other, one), 78, said)


@pytest.mark.behaviour("J6", "J10")
def test_a_plugin_that_is_gone_is_named_with_what_to_install(lab: Any, trader: Any, one_line: Any) -> None:
    file = str(_prices(lab.folder / "one.csv"))
    assert lab.process("backtest", file, "--strategy", "trader", env=lab.see(trader)).code == 0
    run = lab.run().folder.name
    assert lab.process("backtest", file, "--strategy", "sma").code == 0
    other = lab.run().folder.name
    said = f"{run} cannot be assembled again: no strategy named 'trader'; known: sma; install their-trader 1.2.3, which"
    one_line(lab.process("verify", run), 69, said)
    one_line(lab.process("compare", other, run), 69, said)


@pytest.mark.behaviour("J10")
def test_a_run_that_is_not_there_or_damaged_is_named(lab: Any, one_line: Any) -> None:
    one = _made(lab, "backtest", str(_prices(lab.folder / "one.csv")), *QUICK)
    one_line(lab("compare", one, "nothing"), 78, "no run 'nothing'")
    path = lab.run().folder / "journal.db"
    path.write_bytes(b"{broken")
    one_line(lab("compare", one, one), 74, "journal.db")
