"""What a run records of itself: typed, strict, and told to whoever looks at the run."""

import json
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from lab.domain.events import Deposited
from lab.engine.counters import RunCounters
from lab.errors import JournalError
from lab.journal.chain import GENESIS, row_hash, state_seal
from lab.journal.codec import decode_as, encode
from lab.journal.reader import JournalReader
from lab.journal.report import build_report
from lab.journal.store import Journal
from lab.records.base import as_data, exact
from lab.records.report import Report
from lab.records.run import CarriedLoss, RunEnded, RunStarted, RunState, SessionState, Totals
from lab.testing.sample_runs import run_started, sample_run


def test_totals_are_what_the_engine_counts() -> None:
    assert set(Totals.__struct_fields__) == {name for name in dir(RunCounters()) if not name.startswith("_")}


@pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "1e999999"])
def test_a_record_with_a_figure_that_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"lost: .* is not an amount"):
        CarriedLoss(lost=Decimal(text))
    with pytest.raises(ValueError, match=r"is not an amount"):
        decode_as(RunStarted, encode(run_started()).replace(b'"10000"', f'"{text}"'.encode()))


def test_a_record_is_the_same_after_it_was_written_and_read() -> None:
    started = run_started(changed=("sma.fast",), carried_loss=CarriedLoss(day_ns=1, lost=Decimal("0.5")))
    assert decode_as(RunStarted, encode(started)) == started


def test_money_is_plain_decimal_text_however_small_or_large() -> None:
    assert [str(exact(Decimal(text))) for text in ("10.500", "1E+3", "-0", "0E-8")] == ["10.5", "1000", "0", "0"]
    assert as_data(CarriedLoss(lost=Decimal("1E-9"))) == {"day_ns": 0, "lost": "0.000000001"}


def _state(totals: Totals | None = None) -> RunState:
    equity = Decimal(10_000)
    return RunState(
        totals=totals or Totals(), equity=equity, day_starting_equity=equity, books={}, session=SessionState()
    )


def _journal(directory: Path) -> Journal:
    journal = Journal(directory, durable=True, labels={"run_id": "r"})
    journal.append_record(run_started(), 0, 0)
    equity = Decimal(9_990)
    session = SessionState(degradations=("feed_down 1",))
    journal.commit(
        RunState(totals=Totals(fills=2), equity=equity, day_starting_equity=equity, books={}, session=session)
    )
    return journal


@pytest.mark.parametrize("text", ["1e-999999999", "1e999999999", "-1e101", "0e-999999999"])
def test_a_figure_that_is_no_amount_is_never_written_out(text: str) -> None:
    with pytest.raises(ValueError, match="is not an amount"):
        exact(Decimal(text))


def test_a_run_without_an_end_reports_what_was_committed_last(tmp_path: Path) -> None:
    _journal(tmp_path).close()
    reader = JournalReader.open(tmp_path)
    report = build_report(reader)
    reader.close()
    assert (report.reason, report.status, report.fills) == ("unfinished", "failed", 2)
    assert (report.ending_equity, report.pnl_absolute) == (Decimal(9_990), Decimal(-10))
    assert report.degradations[0] == "feed_down 1"


def _report_of(state: RunState, labels: dict[str, str] | None = None, **started: Any) -> Report:
    journal = Journal(None, durable=False, labels=labels or {})
    journal.append_record(run_started(**started), 0, 0)
    journal.commit(state)
    return build_report(journal.reader())


@pytest.mark.parametrize(
    ("lost", "labels", "said"),
    [
        (
            "-7.91048",
            {"restarts": "20240809T101500Z-mock-sma"},
            "restarted 20240809T101500Z-mock-sma: a profit of 7.91",
        ),
        ("7.915001", {"restarts": "killed"}, "restarted killed: a loss of 7.92"),
        ("12", {"day_runs": "3"}, "earlier_runs: a loss of 3 runs of 12.00"),
        ("-0.00012345", {"day_runs": "1"}, "earlier_runs: a profit of 0.00012"),
    ],
)
def test_a_restart_names_the_run_it_restarts_and_what_is_carried_over_from_that_day(
    lost: str, labels: dict[str, str], said: str
) -> None:
    carried = CarriedLoss(day_ns=1_723_161_600 * 10**9, lost=Decimal(lost))
    report = _report_of(_state(), labels, carried_loss=carried)
    assert f"{said} on 2024-08-09 is carried over" in report.degradations


@pytest.mark.parametrize(("decisions", "said"), [(1, "1 candle"), (2, "2 candles")])
def test_a_strategy_that_asked_for_nothing_did_so_on_so_many_candles(decisions: int, said: str) -> None:
    report = _report_of(_state(Totals(candles=2, decisions=decisions)))
    assert report.no_trade_reason == f"the strategy asked for nothing on {said}"


@pytest.mark.behaviour("J2")
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"seed":0', '"seed":"x"', r"row 1 cannot be read: run_started: Expected `int`, got `str` - at `\$.seed`"),
        ('"seed":0', '"seed":0,"invented":1', "run_started: Object contains unknown field `invented`"),
        ('"venue":"seed 0",', "", "run_started: Object missing required field `venue`"),
        ('"tick":"0.1"', '"tick":"0"', "run_started: instrument BTCUSDT: tick must be above 0"),
        ('"tick":"0.1"', '"tick":"NaN"', "run_started: "),
    ],
)
def test_a_damaged_start_is_named_with_file_row_and_what_is_wrong(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    _journal(tmp_path).close()
    db = sqlite3.connect(tmp_path / "journal.db")
    with db:
        assert db.execute("UPDATE event SET body = replace(body, ?, ?) WHERE seq = 1", (old, new)).rowcount
    db.close()
    reader = JournalReader.open(tmp_path)
    with pytest.raises(JournalError, match=said) as caught:
        build_report(reader)
    reader.close()
    assert str(tmp_path / "journal.db") in str(caught.value)


@pytest.mark.behaviour("J2")
@pytest.mark.parametrize("body", ["[]", "null", "7", '"x"', "{}", '{"totals":[]}'])
def test_a_damaged_state_is_named_and_never_a_traceback(tmp_path: Path, body: str) -> None:
    _journal(tmp_path).close()
    db = sqlite3.connect(tmp_path / "journal.db")
    with db:
        [(head,)] = db.execute("SELECT hash FROM event ORDER BY seq DESC LIMIT 1")
        db.execute("UPDATE state SET body = ?, seal = ?", (body, state_seal(head, body.encode())))
    db.close()
    reader = JournalReader.open(tmp_path)
    with pytest.raises(JournalError, match=r"journal\.db: state run cannot be read"):
        build_report(reader)
    reader.close()


@pytest.mark.behaviour("J2", "S8")
def test_a_damaged_body_ends_no_command_with_a_traceback(lab: Any) -> None:
    assert lab.mock("--reporter", "none", minutes=2).code in {0, 3}
    path = lab.run().folder / "journal.db"
    whole = [tuple(row) for row in lab.run().raw()]
    for kind in ("run_started", "run_ended", "candle", "trading_state", "deposit"):
        for body in (b"[]", b"null", b"{}"):
            _put(path, [(*row[:5], body, row[6]) if row[3] == kind else row for row in whole])
            for command in (
                ["report"],
                ["verify"],
                *([["runs"], ["replay", "latest"]] if kind == "run_started" else []),
            ):
                result = lab(*command)
                assert "Traceback" not in result.err, (kind, body, command)
                assert result.code in {0, 1, 74}, (kind, body, command, result)
    assert lab.mock("--reporter", "none", minutes=2).code in {0, 3}, "and the next start is not stopped by it"


def _put(path: Path, rows: list[tuple[Any, ...]]) -> None:
    """Write rows over those of a journal, with a chain that follows: whoever edits one may be thorough."""
    previous = GENESIS
    values = []
    for row in rows:
        previous = row_hash(previous, *row[:6])
        values.append((row[5].decode(), previous, row[0]))
    db = sqlite3.connect(path)
    with db:
        db.executemany("UPDATE event SET body = ?, hash = ? WHERE seq = ?", values)
    db.close()


@pytest.mark.parametrize("column", ["body", "hash"])
def test_a_row_that_lost_a_column_is_named(tmp_path: Path, column: str) -> None:
    _journal(tmp_path).close()
    db = sqlite3.connect(tmp_path / "journal.db")
    db.executescript(
        "CREATE TABLE loose AS SELECT * FROM event; DROP TABLE event; ALTER TABLE loose RENAME TO event;"
        f"UPDATE event SET {column} = NULL;"
    )
    db.close()
    reader = JournalReader.open(tmp_path)
    with pytest.raises(JournalError, match="row 1 cannot be read: its body or its hash is of another type"):
        list(reader.rows())
    reader.close()


def test_the_end_and_the_report_agree_and_the_tape_is_not_named_where_there_is_none() -> None:
    run = sample_run()
    ended = msgspec.json.decode(run.records[-1].body, type=RunEnded)
    assert (ended.reason, ended.exit_code, ended.tape_sha256) == ("completed", 0, None)
    assert ended.equity == run.report.ending_equity
    assert (ended.totals.fills, ended.totals.trades) == (run.report.fills, run.report.trades)
    assert run.report.fills > run.report.trades > 0
    assert isinstance(run.report, Report)


def test_settings_in_force_stand_in_report_header_runs_and_page(lab: Any) -> None:
    chosen = ("--set", "sma.fast=7", "--equity", "5000", "--reporter", "terminal", "--reporter", "jsonl")
    result = lab("backtest", "btcusd-1m", *chosen, "--reporter", "html")
    assert result.code == 0, result
    assert "sma: fast 7 (--set), slow 30" in result.out
    report = lab.run().report()
    assert report["settings"]["sma"]["fast"] == "7"
    assert report["settings"]["sma"]["slow"] == "30"
    assert report["settings"]["run"]["equity"] == "5000"
    assert report["changed"]["sma.fast"] == "7"
    assert "sma.slow" not in report["changed"]
    assert report["instrument"]["symbol"] == "BTCUSDT"
    assert Decimal(report["instrument"]["tick"]) > 0
    header = json.loads((lab.run().folder / "events.jsonl").read_text(encoding="utf-8").splitlines()[0])["run"]
    assert {"component": "sma", "key": "fast", "value": "7", "origin": "--set", "changed": True} in header["settings"]
    page = (lab.run().folder / "summary.html").read_text(encoding="utf-8")
    assert '<th scope="row">sma.fast</th><td>7</td><td>--set</td>' in page
    listed = lab("runs").out
    assert "sma.fast=7" in listed
    assert "equity=5000" in listed


def test_after_three_tries_the_list_of_runs_says_which_was_which(lab: Any) -> None:
    for fast in (5, 7, 9):
        assert lab("backtest", "btcusd-1m", "--set", f"sma.fast={fast}", "--reporter", "none").code == 0
    lines = lab("runs").out.splitlines()[2:]
    assert [f"  sma.fast={fast} provider=replay " in line for fast, line in zip((5, 7, 9), lines, strict=True)] == [
        True
    ] * 3


def test_a_backtest_reports_the_span_of_its_data_and_not_only_the_computing_time(lab: Any) -> None:
    assert lab("backtest", "btcusd-1m", "--reporter", "none").code == 0
    report = lab.run().report()
    assert (report["first_event"], report["last_event"]) == ("2020-01-01T00:01:00Z", "2020-01-02T00:00:00Z")
    assert report["data_seconds"] == 1439 * 60
    assert report["duration_seconds"] < 60


def test_trades_are_round_trips_and_fills_are_fills(lab: Any) -> None:
    assert lab("backtest", "btcusd-1m", "--reporter", "html").code == 0
    report = lab.run().report()
    assert report["fills"] == len(lab.run().rows("order_filled"))
    assert report["fills"] > report["trades"] > 0
    page = (lab.run().folder / "summary.html").read_text(encoding="utf-8")
    assert f"Trades ({report['trades']})" in page
    assert f"Fills ({report['fills']})" in page


def test_why_nothing_was_traded_counts_each_outcome(lab: Any) -> None:
    result = lab("backtest", "btcusd-1m", "--latency-ms", "99999999", "--reporter", "none", "--json")
    report = result.json()
    assert (report["fills"], report["orders"] > 0) == (0, True)
    assert "every order was refused" not in report["no_trade_reason"]
    ended = report["expired"] + report["cancelled"] + report["rejected"]
    assert ended == report["orders"]


def test_rows_that_wait_are_counted_until_they_are_committed(tmp_path: Path) -> None:
    journal = Journal(tmp_path, durable=False, labels={})
    journal.append([], 1, 1)
    assert journal.waiting == 0
    journal.append_record(run_started(), 0, 0)
    journal.append([Deposited("s", Decimal(1), ()), Deposited("t", Decimal(1), ())], 1, 1)
    assert journal.waiting == 3
    journal.commit()
    assert journal.waiting == 0
    assert journal.reader().count() == 3
    journal.close()
