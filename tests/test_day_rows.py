"""The ends of days in a journal: the audit and the independent checker take what is sound, and nothing else."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from checker_runs import checked
from checker_runs import put as put_anew
from checker_runs import rows_of as plain_rows
from wrong_journals import Wrongs, body, column, missed, more, without

CLOSES = [100.0 + (number * 7) % 13 for number in range(24 * 4)]
"""Four days of hours that cross often."""


@pytest.fixture
def hours(tmp_path: Path) -> Path:
    path = tmp_path / "hours.csv"
    lines = [
        f"{1_704_067_200 + 3_600 * number},{before},{max(before, close) + 1},{min(before, close) - 1},{close},100"
        for number, (before, close) in enumerate(zip([100.0, *CLOSES], CLOSES, strict=False))
    ]
    path.write_text("\n".join(["time,open,high,low,close,volume", *lines, ""]), encoding="ascii")
    return path


@pytest.fixture
def journal(lab: Any, hours: Path) -> Path:
    """Return the journal of a run that holds a position at the end of two days, and none at that of the first."""
    settings = ("fast=2", "slow=5", "confirmation=1", "stop_percent=0", "target_percent=0", "quantity=1")
    given = [word for setting in settings for word in ("--set", f"sma.{setting}")]
    given += ["--set", "replay.tick=0.01", "--set", "replay.confirm_ms=0"]
    done = lab("backtest", str(hours), "--interval", "1h", "--strategy", "sma", "--reporter", "none", *given)
    assert done.code == 0, done.err
    path: Path = lab.run().folder / "journal.db"
    ends = [row["body"] for row in plain_rows(path.parent) if row["kind"] == "day_ended"]
    assert len(ends) == 3
    assert all(Decimal(one["equity"]) == Decimal(one["books"]["sma"]) != 10_000 for one in ends)
    return path


WRONG: Wrongs = {
    "the equity is more": (body("day_ended", equity=more("1")), "its equity is"),
    "the equity is more in the book too": (
        body("day_ended", equity=more("1000"), books__sma=more("1000")), "the equity of sma is",
    ),
    "a book is missing": (body("day_ended", books={}), "the books is"),
    "a price is missing": (body("day_ended", 1, prices={}), "their prices are missing"),
    "a price is another": (body("day_ended", 1, prices__BTCUSDT="1"), "the equity of sma is"),
    "the day is no day": (body("day_ended", day_ns=lambda day_ns: day_ns + 1), "is no UTC day after"),
    "the day is the one after": (body("day_ended", day_ns=lambda day_ns: day_ns + 86_400 * 10**9), "was not over at"),
    "the day is one before": (body("day_ended", 1, day_ns=lambda day_ns: day_ns - 86_400 * 10**9), "is no UTC day"),
    "the key is of another day": (column("day_ended", key="day:1"), "its key is day:1"),
}  # fmt: skip


@pytest.mark.behaviour("J7")
def test_a_wrong_end_of_a_day_is_found_by_the_audit(lab: Any, journal: Path) -> None:
    assert lab("audit").code == 0
    assert not missed(lab, journal, WRONG)


@pytest.mark.behaviour("J7")
def test_a_wrong_or_missing_end_of_a_day_is_found_by_the_independent_checker(journal: Path, hours: Path) -> None:
    rows = plain_rows(journal.parent)
    put_anew(journal, rows)
    assert checked(journal.parent, hours)[0] == []
    changes = {
        "a row is missing": without("day_ended", 1),
        "the equity is a cent more": body("day_ended", 1, equity=more("0.01"), books__sma=more("0.01")),
        "a price is another": body("day_ended", prices__BTCUSDT="1"),
        "the day is another": body("day_ended", day_ns=0),
    }
    for what, change in changes.items():
        wrong = plain_rows(journal.parent)
        change(wrong)
        put_anew(journal, wrong)
        assert checked(journal.parent, hours)[0], what
        put_anew(journal, rows)
