"""The power is cut under a session: what was shown is on disk afterwards, and the run goes on from there, proved.

The disk is a file mounted in a loop, and the cut an ioctl of ext4's that loses whatever was not synced.
"""

import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from disks import Disk, disk
from lives import RESUME, SESSION, Lives, check_shown, lives

AT: tuple[str, ...] = ("--state-dir", "disk")


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


def cut_again_and_again(lab: Any, live: Lives, own_disk: Disk, times: int, seed: int) -> int:
    """Cut the power at a random moment of one session so often, and resume it each time; return how much was shown."""
    chance, begin, shown = random.Random(seed), (*SESSION, "4"), 0
    for number in range(times):
        killed = live(
            *(RESUME if shown else begin), *AT, killed_after=chance.uniform(0.0, 0.15), trading=bool(number % 3),
            disk=own_disk.folder,
        )  # fmt: skip
        assert killed.code in (-signal.SIGKILL, 74), killed
        if killed.code == 74: print(killed.said)
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
def test_after_a_power_cut_all_that_was_shown_is_there_and_the_run_goes_on(
    lab: Any, live: Lives, own_disk: Disk
) -> None:
    assert cut_again_and_again(lab, live, own_disk, 20, seed=1) > 100
    finished(lab, live, own_disk)
