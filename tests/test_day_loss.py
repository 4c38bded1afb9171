"""The day's loss counts over all sessions of a state directory, however they ended and whatever their settings."""

import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from lab.domain.time import DAY_NS
from lab.exit_codes import EndReason
from lab.journal.report import empty_state
from lab.journal.schema import FIRST_SEGMENT
from lab.journal.state import ended
from lab.journal.store import Journal
from lab.ports import Realm
from lab.records.run import CarriedLoss, RunStarted
from lab.runs.directory import create
from lab.runs.restart import taken_over
from lab.testing.sample_runs import run_started
from msgspec.structs import replace

TODAY = 20_000 * DAY_NS
LABEL = "20241004T101500Z-sample-tested"


def session(
    state_dir: Path,
    lost: str,
    *,
    day_ns: int = TODAY,
    reason: EndReason | None = EndReason.STOPPED,
    label: str = LABEL,
    **fields: Any,
) -> Path:
    """Write a session that lost so much on a day: with what it was told of others, as the engine counts it."""
    started: RunStarted = replace(run_started(), **{"realm": Realm.REAL, "venue": "there", **fields})
    folder = create(state_dir, label)
    (folder / FIRST_SEGMENT).touch()
    state = empty_state(started)
    carried = started.carried_loss.lost if started.carried_loss.day_ns == day_ns else Decimal(0)
    state = replace(state, day_ns=day_ns, day_starting_equity=state.equity + Decimal(lost) + carried)
    journal = Journal(folder, durable=True, labels={})
    journal.append_record(started, 0, 0)
    if reason is not None:
        journal.append_record(ended(state, reason, ""), 0, 0)
    journal.commit(state)
    journal.close()
    return folder


NEW: RunStarted = replace(run_started(), realm=Realm.REAL, venue="there")


@pytest.mark.behaviour("R1")
@pytest.mark.parametrize("reason", [None, EndReason.COMPLETED, EndReason.STOPPED, EndReason.KILLED, EndReason.INTERNAL])
def test_a_loss_counts_however_its_session_ended_and_with_whatever_settings(
    tmp_path: Path, reason: EndReason | None
) -> None:
    session(tmp_path, "3.5", reason=reason)
    for new in (NEW, replace(NEW, config_hash="other", strategies=())):
        taken = taken_over(tmp_path, new, LABEL)
        assert (taken.loss, taken.runs) == (CarriedLoss(day_ns=TODAY, lost=Decimal("3.5")), 1)


@pytest.mark.behaviour("R1")
def test_each_session_of_the_day_counts_once_and_other_days_do_not(tmp_path: Path) -> None:
    session(tmp_path, "100", day_ns=TODAY - DAY_NS)
    session(tmp_path, "3")
    session(tmp_path, "2", carried_loss=CarriedLoss(day_ns=TODAY, lost=Decimal(3)))
    session(tmp_path, "-1", carried_loss=CarriedLoss(day_ns=TODAY, lost=Decimal(5)))
    session(tmp_path, "0.5", carried_loss=CarriedLoss(day_ns=TODAY - DAY_NS, lost=Decimal(7)))
    taken = taken_over(tmp_path, NEW, LABEL)
    assert (taken.loss, taken.runs) == (CarriedLoss(day_ns=TODAY, lost=Decimal("4.5")), 4)


@pytest.mark.behaviour("R1")
@pytest.mark.parametrize("other", [{"realm": Realm.SYNTHETIC}, {"venue": "elsewhere"}], ids=["realm", "venue"])
def test_sessions_of_another_realm_or_venue_do_not_count(tmp_path: Path, other: dict[str, Any]) -> None:
    session(tmp_path, "3")
    assert taken_over(tmp_path, replace(NEW, config_hash="other", **other), LABEL).loss == CarriedLoss()


@pytest.mark.behaviour("R1")
def test_a_day_that_is_lived_again_counts_only_the_sessions_of_the_same_date_and_none_in_virtual_time(
    tmp_path: Path,
) -> None:
    made: dict[str, Any] = {"realm": Realm.SYNTHETIC, "config_hash": "other"}
    new = replace(NEW, realm=Realm.SYNTHETIC)
    session(tmp_path, "3", **made, speed="max")
    session(tmp_path, "3", **made, label=LABEL.replace("1004", "1003"))
    assert taken_over(tmp_path, new, LABEL).loss == CarriedLoss()
    session(tmp_path, "3", **made, speed="60")
    assert taken_over(tmp_path, new, LABEL).loss == CarriedLoss(day_ns=TODAY, lost=Decimal(3))


@pytest.mark.behaviour("R1")
def test_sessions_that_cannot_be_read_are_named_three_of_them(tmp_path: Path) -> None:
    folders = [session(tmp_path, "3") for _ in range(5)]
    for folder in folders:
        with sqlite3.connect(folder / "journal.db") as db:
            db.execute("UPDATE event SET body = replace(body, '10003', '10001') WHERE kind = 'run_ended'")
        db.close()
    taken = taken_over(tmp_path, NEW, LABEL)
    assert (taken.loss, taken.damaged, len(taken.left_out)) == (CarriedLoss(), True, 4)
    newest = folders[-1].name
    assert taken.left_out[0] == f"not_restarted {newest}: {newest}/journal.db: row 2 was changed after it was written"
    assert taken.left_out[3] == "not_restarted: 2 more runs cannot be read"
