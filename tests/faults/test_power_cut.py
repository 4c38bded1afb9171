"""The power is cut under a session: what was shown is on disk afterwards, and the run goes on from there, proved.

The disk is a file mounted in a loop, and the cut an ioctl of ext4's that loses whatever was not synced.
"""

import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from disks import Disk, disk
from lab.errors import LabError
from lives import RESUME, SESSION, Lives, check_shown, lives

AT: Final = ("--state-dir", "disk")


@pytest.fixture
def own_disk(lab: Any) -> Iterator[Disk]:
    try:
        with disk(lab.folder / "image", lab.folder / "disk") as made:
            made.cut()
            made.restart()
            yield made
    except OSError as error:
        pytest.skip(f"no disk whose power can be cut: {error}")


@pytest.fixture
def live(lab: Any, steady: Any) -> Iterator[Lives]:
    with lives(lab, steady, {"LIVES_IN": "disk/runs"}) as found:
        yield found


def cut_again_and_again(live: Lives, own_disk: Disk, times: int, seed: int) -> int:
    """Cut the power at a random moment of one session so often, and resume it each time; return how much was shown.

    A process that comes to see the failing disk before it is killed ends with 74, and says why.
    """
    chance, begin, shown = random.Random(seed), (*SESSION, "30"), 0
    for number in range(times):
        life = live(
            *(RESUME if shown else begin), *AT, killed_after=chance.uniform(0.0, 0.2), trading=bool(number % 3),
            disk=own_disk.folder,
        )  # fmt: skip
        assert life.code in (-signal.SIGKILL, 74), life
        assert "this is a defect in lab" not in life.said, life
        assert "/running" not in life.said, "not the cause"
        own_disk.restart()
        if live.shown():
            shown = check_shown(live, newest(own_disk))
    return shown


def newest(own_disk: Disk) -> Path:
    return (own_disk.folder / "runs" / "latest").resolve()


def finished(lab: Any, live: Lives, own_disk: Disk) -> None:
    """Resume the session, stop it, and prove it."""
    resumed = live(*RESUME, *AT, signalled=signal.SIGTERM)
    assert resumed.code == 0, resumed
    run = newest(own_disk)
    for command in ("verify", "audit"):
        result = lab(command, str(run))
        assert result.code == 0, result.out + result.err
    check_shown(live, run)


@pytest.mark.behaviour("J1", "J2", "S11")
def test_after_each_of_twenty_power_cuts_all_that_was_shown_is_there_and_the_run_goes_on(
    lab: Any, live: Lives, own_disk: Disk
) -> None:
    assert cut_again_and_again(live, own_disk, 20, seed=1) > 50
    finished(lab, live, own_disk)


@pytest.mark.night
@pytest.mark.timeout(3600)
@pytest.mark.behaviour("J1", "J2", "S11")
@pytest.mark.parametrize("seed", range(10, 30))
def test_after_each_of_fifty_power_cuts_all_that_was_shown_is_there_and_the_run_goes_on(
    lab: Any, live: Lives, own_disk: Disk, seed: int
) -> None:
    cut_again_and_again(live, own_disk, 50, seed)
    finished(lab, live, own_disk)


UNSYNCED: Final = """
from lab.journal.store import Journal
made = Journal.__init__
def make(journal, *args, **options):
    made(journal, *args, **options)
    journal._db.execute("PRAGMA synchronous=NORMAL")
Journal.__init__ = make
"""


@pytest.mark.night
def test_the_test_finds_a_journal_that_is_not_synced(lab: Any, steady: Any, own_disk: Disk) -> None:
    with (
        lives(lab, steady, {"LIVES_IN": "disk/runs"}, UNSYNCED) as careless,
        pytest.raises((AssertionError, LabError), match=r"shown, and not in|journal"),
    ):
        cut_again_and_again(careless, own_disk, 10, seed=1)
