"""A session from its start to its report: what it says aloud, what it leaves behind, how it ends."""

import json
import time
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

REPORT_KEYS = {
    "schema_version", "kind", "run_id", "status", "reason", "exit_code", "error_count", "duration_seconds", "provider",
    "venue", "strategy", "symbol", "interval", "candles", "quotes", "decisions", "orders", "fills", "trades",
    "refusals",
    "starting_equity", "ending_equity", "pnl_absolute", "fees_paid", "max_drawdown", "degradations", "contacted_hosts",
}  # fmt: skip
MONEY = ("starting_equity", "ending_equity", "pnl_absolute", "fees_paid", "max_drawdown")


def equity_from_fills(run: Any) -> tuple[Decimal, Decimal]:
    """Return equity and fees, from the journal's deposits, fills and funding alone; every position must be closed."""
    cash = fees = Decimal(0)
    held: dict[tuple[str, str], Decimal] = {}
    for _, kind, body in run.rows("deposit", "order_filled", "funding_paid"):
        if kind == "deposit":
            cash += Decimal(body["amount"])
            continue
        if kind == "funding_paid":
            cash -= Decimal(body["amount"])
            continue
        fill = body["fill"]
        signed = Decimal(fill["quantity"]) * (1 if body["side"] == "buy" else -1)
        cash -= signed * Decimal(fill["price"]) + Decimal(fill["fee"])
        fees += Decimal(fill["fee"])
        book = (body["strategy"], body["symbol"])
        held[book] = held.get(book, Decimal(0)) + signed
        assert held[book] == Decimal(body["position"])
    assert not any(held.values()), "this checker knows no marks"
    return cash, fees


@pytest.mark.behaviour("S9", "V1", "O14")
def test_ten_minutes_pass_in_virtual_time_and_the_report_is_what_the_journal_says(lab: Any, trader: Any) -> None:
    result = lab.mock("--strategy", "trader")
    assert result.code == 0
    assert result.err == ""
    report = lab.run().report()
    assert set(report) >= REPORT_KEYS
    assert (report["status"], report["reason"], report["exit_code"]) == ("completed", "completed", 0)
    assert (report["provider"], report["strategy"], report["venue"]) == ("mock", "trader", "seed 0")
    assert report["duration_seconds"] >= 590
    assert report["candles"] >= 9
    assert report["decisions"] >= 1
    assert report["error_count"] == 0
    assert report["degradations"] == []
    assert report["fills"] >= 8
    for key in MONEY:
        assert isinstance(report[key], str)
        assert "E" not in format(Decimal(report[key]), "f")
    equity, fees = equity_from_fills(lab.run())
    assert Decimal(report["ending_equity"]) == equity
    assert Decimal(report["fees_paid"]) == fees > 0
    assert Decimal(report["pnl_absolute"]) == equity - Decimal(report["starting_equity"])
    assert len(lab.run().rows("order_filled")) == report["fills"]
    assert len(lab.run().rows("order_accepted")) == report["orders"]
    assert len([row for row in lab.run().rows("candle") if row[2][-1] != "backfilled"]) == report["candles"]


@pytest.mark.behaviour("V1")
def test_the_report_is_a_function_of_the_journal_and_is_written_again_from_it(lab: Any, trader: Any) -> None:
    lab.mock("--strategy", "trader", minutes=7)
    report = lab.run().report()
    for path in lab.run().folder.iterdir():
        if path.name != "journal.db":
            path.unlink()
    assert lab("report", "--json").json() == report
    assert lab("report", "latest", "--write").code == 0
    assert lab.run().report() == report
    assert lab("report").out.count(report["run_id"]) == 1
    listed = lab("runs", "--json").json()["runs"]
    assert [run["run_id"] for run in listed] == [report["run_id"]]


@pytest.mark.behaviour("S9", "M1")
def test_one_seed_gives_the_same_rows_in_another_process_with_other_hashes_and_another_seed_gives_others(
    lab: Any,
) -> None:
    args = ("run", "--provider", "mock", "--speed", "max", "--minutes", "30", "--seed", "7")
    lab(*args)
    first = lab.run().raw()
    lab(*args)
    second = lab.run().raw()
    assert lab.process(*args, env={"PYTHONHASHSEED": "12345", "TZ": "Asia/Tokyo"}).code == 0
    third = lab.run().raw()
    assert len({path.name for path in (lab.folder / "runs").glob("2*") if not path.is_symlink()}) == 3
    assert first[-1][6] == second[-1][6] == third[-1][6], "the head hash"
    assert first == second == third
    lab(*args[:-1], "8")
    assert lab.run().raw() != first


@pytest.mark.behaviour("S9")
def test_bitunix_over_its_own_protocol_in_virtual_time_gives_the_same_rows_twice(lab: Any, trader: Any) -> None:
    args = ("run", "--set", "bitunix.venue=local", "--speed", "max", "--minutes", "10", "--strategy", "trader")
    result = lab(*args)
    assert result.code == 0, result
    report = lab.run().report()
    assert report["provider"] == "bitunix"
    assert report["candles"] >= 9
    assert report["decisions"] >= 1
    assert report["error_count"] == 0
    assert report["duration_seconds"] >= 590
    assert Decimal(report["ending_equity"]) == equity_from_fills(lab.run())[0]
    first = lab.run().raw()
    lab(*args)
    assert lab.run().raw() == first


@pytest.mark.behaviour("S7")
def test_no_orders_records_signals_and_places_none(lab: Any, trader: Any) -> None:
    assert lab.mock("--strategy", "trader", "--no-orders").code == 0
    run = lab.run()
    assert run.rows("order_accepted", "order_refused", "order_filled") == []
    whys = [body["why"] for _, _, body in run.rows("signal") if body["why"] != "backfilled"]
    assert whys == ["no_orders"] * 10
    report = run.report()
    assert (report["orders"], report["fills"], report["signals"] >= 10) == (0, 0, True)
    assert report["ending_equity"] == report["starting_equity"]
    assert "no_orders" in report["no_trade_reason"]


@pytest.mark.behaviour("S7")
def test_no_write_leaves_no_file_behind(lab: Any, trader: Any) -> None:
    (lab.folder / "mine.txt").write_text("kept", encoding="utf-8")
    live = lab.mock("--strategy", "trader", "--no-write", "--json")
    assert live.json()["fills"] >= 8
    back = lab("backtest", "--provider", "mock", "--set", "mock.minutes=30", "--no-write", "--json")
    assert back.json()["candles"] == 30
    assert lab.files() == ["mine.txt"]
    assert (lab.folder / "mine.txt").read_text(encoding="utf-8") == "kept"


@pytest.mark.behaviour("R1")
def test_the_daily_loss_limit_is_500_and_stands_in_header_and_report(lab: Any) -> None:
    result = lab.mock(minutes=1)
    assert "500 a UTC day" in result.out.split("Directory")[0]
    assert lab.run().report()["limits"]["max_daily_loss"] == {"limit": "500 a UTC day"}
    result = lab.mock(minutes=1, env={"LAB_MAX_DAILY_LOSS_USD": "123.45"})
    assert "123.45 a UTC day" in result.out.split("Directory")[0]
    assert lab.run().report()["limits"]["max_daily_loss"]["limit"] == "123.45 a UTC day"
    lab.mock("--set", "max_daily_loss.percent=1", "--equity", "2000", minutes=1)
    assert lab.run().report()["limits"]["max_daily_loss"]["limit"] == "20 a UTC day"


@pytest.mark.behaviour("R1", "R6")
def test_a_reached_daily_loss_refuses_entries_by_name_and_with_figures(lab: Any, trader: Any) -> None:
    args = ("--strategy", "trader", "--set", "max_daily_loss.usd=0.5", "--set", "trader.quantity=0.1")
    args = (*args, "--set", "max_daily_loss.lasts=day")
    assert lab.mock(*args, minutes=20).code == 0
    refusals = [body for _, _, body in lab.run().rows("order_refused")]
    assert len(refusals) == lab.run().report()["refusals"] > 5
    for body in refusals:
        assert body["by"] == "max_daily_loss"
        assert Decimal(body["numbers"]["loss"]) >= Decimal(body["numbers"]["limit"]) == Decimal("0.5")


@pytest.mark.behaviour("R7")
def test_running_without_gates_is_said_aloud_and_in_the_report(lab: Any) -> None:
    result = lab.mock("--gate", "none", minutes=1)
    head = result.out.split("Directory")[0].lower()
    assert "no risk gates" in head or "no gates" in head, result.out
    assert any(text.startswith("no_risk_gates") for text in lab.run().report()["degradations"])


@pytest.mark.behaviour("O9")
def test_the_venues_fees_apply_unless_others_are_set_and_0_is_free(lab: Any, trader: Any) -> None:
    result = lab.mock("--strategy", "trader")
    assert "taker 0.0600 %" in result.out.split("Directory")[0]
    for _, _, body in lab.run().rows("order_filled"):
        fill = body["fill"]
        assert Decimal(fill["fee_rate"]) == Decimal("0.0006")
        assert Decimal(fill["fee"]) == Decimal(fill["quantity"]) * Decimal(fill["price"]) * Decimal("0.0006")
    result = lab.mock("--strategy", "trader", "--set", "paper.taker_fee=0", "--set", "paper.maker_fee=0")
    head = result.out.split("Directory")[0]
    assert "taker 0.0000 %" in head or "taker 0 %" in head or "free" in head
    report = lab.run().report()
    assert report["fees_paid"] == "0"
    assert report["fills"] >= 8


@pytest.mark.behaviour("O2")
def test_orders_meet_the_market_after_their_latency_and_never_on_what_caused_them(lab: Any, trader: Any) -> None:
    lab.mock("--strategy", "trader", "--latency-ms", "1500")
    placed = {body["order_id"]: body for _, _, body in lab.run().rows("order_accepted")}
    for _, _, body in lab.run().rows("order_filled"):
        order = placed[body["fill"]["order_id"]]
        wait_ns = order["eligible_ns"] - order["placed_ns"]
        assert 1_000_000_000 < wait_ns < 2_000_000_000
        assert body["fill"]["time_ns"] >= order["eligible_ns"]


@pytest.mark.behaviour("P6")
def test_two_strategies_share_a_feed_and_never_each_others_money(lab: Any, trader: Any) -> None:
    both = ("--strategy", "one=trader", "--strategy", "two=trader", "--set", "two.quantity=0.03")
    assert lab.mock(*both).code == 0
    report, run = lab.run().report(), lab.run()
    assert report["starting_equity"] == "20000"
    assert set(report["books"]) == {"one", "two"}
    assert report["candles"] == 10
    for name, size in (("one", "0.01"), ("two", "0.03")):
        fills = [body for _, _, body in run.rows("order_filled") if body["strategy"] == name]
        assert {Decimal(body["fill"]["quantity"]) for body in fills} == {Decimal(size)}
        cash = Decimal(10000)
        for body in fills:
            sign = 1 if body["side"] == "buy" else -1
            cash -= sign * Decimal(body["fill"]["quantity"]) * Decimal(body["fill"]["price"])
            cash -= Decimal(body["fill"]["fee"])
        assert Decimal(report["books"][name]["equity"]) == cash
    together = [body for _, _, body in run.rows("order_filled") if body["strategy"] == "one"]
    lab.mock("--strategy", "one=trader")
    alone = [body for _, _, body in lab.run().rows("order_filled")]

    def figures(bodies: list[Any]) -> list[Any]:
        return [(body["side"], body["fill"]["time_ns"] // 10**9, body["fill"]["price"]) for body in bodies]

    assert figures(together) == figures(alone)


@pytest.mark.behaviour("P6")
def test_a_strategy_that_raises_is_stopped_alone_and_the_other_decides_as_before(lab: Any, trader: Any) -> None:
    trader.install(
        "their_bomb",
        """
        from attrs import define
        from lab import OrderRequest, Strategy, hookimpl

        @define(kw_only=True)
        class Bomb(Strategy):
            def on_candle(self, candle, view):
                if candle.open_ns >= 1704067320 * 10**9:
                    raise RuntimeError("boom")
                return []

        @hookimpl
        def lab_strategies():
            return {"bomb": Bomb}
        """,
    )
    lab.mock("--strategy", "trader")
    alone = [(body["side"], body["fill"]["price"]) for _, _, body in lab.run().rows("order_filled")]
    assert lab.mock("--strategy", "bomb", "--strategy", "trader").code == 0
    report = lab.run().report()
    stopped = [body for _, _, body in lab.run().rows("strategy_stopped")]
    assert [body["strategy"] for body in stopped] == ["bomb"]
    assert "boom" in stopped[0]["error"]
    assert report["error_count"] == 1
    assert [(body["side"], body["fill"]["price"]) for _, _, body in lab.run().rows("order_filled")] == alone
    result = lab.mock("--strategy", "bomb")
    report = lab.run().report()
    assert (result.code, report["exit_code"], report["reason"]) == (69, 69, "plugin_refused")
    assert report["status"] == "failed"


@pytest.mark.behaviour("V1")
@pytest.mark.usefixtures("holder")
def test_an_open_position_is_closed_at_the_end_on_a_fresh_price_or_said_to_be_open(lab: Any) -> None:
    lab.mock("--strategy", "holder", minutes=5)
    sides = [body["side"] for _, _, body in lab.run().rows("order_filled")]
    assert sides == ["buy", "sell"]
    assert lab.run().report()["books"]["holder"]["positions"] == {}
    lab.mock("--strategy", "holder", "--set", "run.close_on_stop=false", minutes=5)
    report = lab.run().report()
    assert "position_left_open holder 0.01 BTCUSDT" in report["degradations"]
    assert Decimal(report["books"]["holder"]["positions"]["BTCUSDT"]["quantity"]) == Decimal("0.01")


@pytest.mark.behaviour("T1")
@pytest.mark.parametrize(
    "begin", ["2024-01-01T09:00:00+09:00", "2024-01-01", "2024-01-01 00:00:00", "1704067200", "1704067200000"]
)
def test_every_way_to_write_a_time_is_one_moment_whatever_the_machines_zone(
    lab: Any, monkeypatch: pytest.MonkeyPatch, begin: str
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        lab.mock("--set", f"mock.begin={begin}", minutes=1)
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    quotes = [body for _, _, body in lab.run().rows("candle") if body[-1] != "backfilled"]
    assert quotes[0][1] == 1_704_067_200_000_000_000
    assert lab.run().report()["last_event"] == "2024-01-01T00:01:00Z"


@pytest.mark.parametrize("interval", ["1m", "90s", "5m", "1h"])
def test_a_session_warms_up_and_decides_on_candles_of_any_length(lab: Any, trader: Any, interval: str) -> None:
    minutes = 130 if interval == "1h" else 21
    result = lab.mock("--strategy", "trader", "--interval", interval, minutes=minutes)
    report = lab.run().report()
    assert result.code == 0, report
    assert report["degradations"] == []
    assert report["counters"]["malformed"] == 0
    length_s = {"1m": 60, "90s": 90, "5m": 300, "1h": 3600}[interval]
    assert report["candles"] == minutes * 60 // length_s == report["decisions"]
    opens = [body[1] for _, _, body in lab.run().rows("candle") if body[-1] != "backfilled"]
    assert all(after - before == length_s * 10**9 for before, after in pairwise(opens))


@pytest.mark.behaviour("J5")
def test_every_json_output_names_its_schema_version(lab: Any) -> None:
    lab.mock("--json", minutes=1)
    outputs = {
        "run": lab.mock("--json", minutes=1),
        "replay": lab("replay", "latest", "--json"),
        "backtest": lab("backtest", "--provider", "mock", "--set", "mock.minutes=5", "--json"),
        "report": lab("report", "--json"),
        "runs": lab("runs", "--json"),
        "verify": lab("verify", "--json"),
        "plugins": lab("plugins", "--json"),
        "config": lab("config", "--json"),
        "doctor": lab("doctor", "--provider", "mock", "--json"),
        "probe": lab("probe", "--provider", "mock", "--json"),
    }
    for name, result in outputs.items():
        assert result.out, (name, result.err)
        found = result.json()
        assert found["schema_version"] == (2 if name in ("run", "replay", "backtest", "report") else 1), name
        assert isinstance(found["kind"], str), name
        assert result.err == "", name
    for folder in (lab.folder / "runs").glob("2*"):
        if (folder / "events.jsonl").is_file():
            first = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()[0]
            assert json.loads(first)["schema_version"] == 1
        assert json.loads((folder / "final_report.json").read_text(encoding="utf-8"))["schema_version"] == 2


@pytest.mark.behaviour("M2", "J6")
def test_a_replay_of_a_session_with_its_own_settings_trades_as_the_session_did(lab: Any, trader: Any) -> None:
    """An odd number of candles: at the end of the session a position is held and closed."""
    lab.mock("--strategy", "trader", minutes=10)
    session = lab.run()
    assert session.rows("command")
    assert session.rows("order_accepted")[-1][2]["reason"].startswith("flatten by session")
    assert lab("replay", session.folder.name).code == 0
    again = lab.run()
    assert again.folder != session.folder
    figures = ("fills", "trades", "orders", "ending_equity", "fees_paid", "max_drawdown")
    assert [again.report()[key] for key in figures] == [session.report()[key] for key in figures]
    fills = [
        [(body["side"], body["fill"]["price"]) for _, _, body in run.rows("order_filled")] for run in (session, again)
    ]
    assert fills[0] == fills[1] != []


@pytest.mark.behaviour("M2")
def test_a_backtest_that_ends_with_a_position_says_so(lab: Any, trader: Any) -> None:
    result = lab("backtest", "--provider", "mock", "--set", "mock.minutes=10", "--strategy", "trader")
    assert result.code == 0, result
    report = lab.run().report()
    assert report["books"]["trader"]["positions"]["BTCUSDT"]["quantity"] == "0.01"
    assert "position_left_open trader 0.01 BTCUSDT" in report["degradations"]


def test_a_session_too_short_for_a_candle_says_that_none_closed(lab: Any, trader: Any) -> None:
    lab("run", "--provider", "mock", "--speed", "max", "--minutes", "0.5", "--strategy", "trader")
    report = lab.run().report()
    assert report["quotes"] > 0
    assert report["no_trade_reason"] == "the strategy never decided on a live candle: none closed"
