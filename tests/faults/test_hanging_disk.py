"""A disk that hangs at the end of a session: the process ends within five seconds, and the next start does the rest."""

import signal
import time
from typing import Any, Final

import pytest
from lives import SESSION, check_shown, everything_in_its_place, lives

HANGING: Final = """
import os, time
from lab.journal.store import Journal

def hanging(call, when):
    def hang(*args, **options):
        if when(*args):
            time.sleep(60)  # as the call does: it lets other threads run, and heeds no signal's handler
        return call(*args, **options)
    return hang

def of_a_report(descriptor):
    return ".final_report" in os.readlink(f"/proc/self/fd/{descriptor}")

def of_the_end(journal, *args):
    return any('"stopped"' in row[5] for row in journal._rows if row[3] == "run_ended")
"""
PLACES: Final = {
    "its last rows": ("Journal.commit = hanging(Journal.commit, of_the_end)", 74),
    "its report": ("os.fsync = hanging(os.fsync, of_a_report)", 74),
    "its closing": ("Journal.close = hanging(Journal.close, lambda journal: True)", 0),
}
"""Where it hangs, and the exit code: where the report is written, that of the report."""


@pytest.mark.behaviour("S3", "V1")
@pytest.mark.parametrize("place", PLACES)
def test_a_disk_that_hangs_at_the_end_keeps_no_process(lab: Any, steady: Any, place: str) -> None:
    code, exit_code = PLACES[place]
    with lives(lab, steady, before=f"{HANGING}\n{code}\n") as live:
        began = time.monotonic()
        life = live(*SESSION, "4", killed_after=0.1, signalled=signal.SIGTERM)
        took = time.monotonic() - began
    said = "lab: the disk has not taken the end of the run within 3 s; the next start writes what is missing\n"
    assert (life.code, life.said) == (exit_code, said)
    assert 3 < took < 45, took  # what ended it is told; the disk hangs for a minute, and the start is included
    if place == "its last rows":
        check_shown(live, lab.run().folder)
        return  # it can be resumed
    assert lab.mock("--reporter", "none", minutes=1).code == 0
    everything_in_its_place(lab.folder / "runs")
