"""kill -9 at a system call that writes: in a session's start, while it trades, in its end, and in what repairs it.

However a session is killed, the next command puts things right: what was shown is in the journal, the run is proved
from its first input, and whatever cannot go on has its report. What repairs is killed in the same way.
"""

import signal
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from lives import (
    CALLS,
    RESUME,
    SESSION,
    SHORT,
    Life,
    Lives,
    broken,
    check_shown,
    lives,
    put_right,
    why_not_traced,
)

KILL: Final = "signal=KILL"

_reason = why_not_traced()
pytestmark = pytest.mark.skipif(bool(_reason), reason=_reason)


@pytest.fixture
def live(lab: Any, steady: Any) -> Iterator[Lives]:
    with lives(lab, steady) as found:
        yield found


def cut_off(live: Lives) -> None:
    """Leave a session that was killed while it traded: one that is short, and may be through before that."""
    while live(*SHORT, killed_after=0.03).code != -signal.SIGKILL:
        live.forget()


def in_its_life(live: Lives, strace: tuple[str, ...]) -> Life:
    """From the first line of lab's to its last, the whole session."""
    return live(*SHORT, strace=strace)


def in_its_end(live: Lives, strace: tuple[str, ...]) -> Life:
    """From SIGTERM on."""
    return live(*SESSION, "0.5", strace=strace, signalled=signal.SIGTERM)


def in_its_recovery(live: Lives, strace: tuple[str, ...]) -> Life:
    cut_off(live)
    return live(*RESUME, strace=strace)


def in_the_next_start(live: Lives, strace: tuple[str, ...]) -> Life:
    """Where the report of the session before is written."""
    cut_off(live)
    check_shown(live, live.lab.run().folder)
    live.witness.unlink(missing_ok=True)
    return live(*SHORT, strace=strace)


def in_its_quarantine(live: Lives, strace: tuple[str, ...]) -> Life:
    """Where the session before, which is damaged, is put aside."""
    cut_off(live)
    live.witness.unlink(missing_ok=True)
    with (live.lab.run().folder / "journal.db").open("r+b") as file:
        file.write(b"no journal")
    return live(*SHORT, strace=strace)


PHASES: Final[dict[str, Callable[[Lives, tuple[str, ...]], Life]]] = {
    phase.__name__: phase for phase in (in_its_life, in_its_end, in_its_recovery, in_the_next_start, in_its_quarantine)
}


def killed(live: Lives, phase: str, call: str, number: int) -> bool:
    """Kill at the n-th call of a kind in a phase, and check what comes after; return whether it got so far."""
    live.forget()
    life = PHASES[phase](live, broken(call, number, KILL))
    assert life.code in (0, -signal.SIGKILL), life
    life.check_said()
    put_right(live)
    return life.code != 0


SAMPLE: Final[dict[str, tuple[tuple[str, int], ...]]] = {
    "in_its_life": (
        ("mkdir", 2), ("symlink", 1), ("rename", 2), ("pwrite64", 20), ("pwrite64", 62), ("pwrite64", 101),
        ("fdatasync", 1), ("fdatasync", 3), ("fsync", 6), ("write", 2),
    ),
    "in_its_end": (("write", 2), ("fdatasync", 2), ("rename", 1), ("ftruncate", 2), ("unlink", 2)),
    "in_its_recovery": (("ftruncate", 1), ("pwrite64", 12), ("fdatasync", 1)),
    "in_the_next_start": (("fsync", 1), ("rename", 1), ("unlink", 1)),
    "in_its_quarantine": (("mkdir", 3), ("rename", 1)),
}  # fmt: skip


@pytest.mark.behaviour("J1", "J2", "S11", "V1")
@pytest.mark.parametrize("phase", SAMPLE)
def test_a_session_killed_at_a_system_call_that_writes_is_put_right(live: Lives, phase: str) -> None:
    for call, number in SAMPLE[phase]:
        killed(live, phase, call, number)


@pytest.mark.night
@pytest.mark.timeout(3600)
@pytest.mark.behaviour("J1", "J2", "S11", "V1")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("phase", PHASES)
def test_a_session_killed_at_any_system_call_that_writes_is_put_right(live: Lives, phase: str, call: str) -> None:
    number = 1
    while killed(live, phase, call, number) and number < 1_000:
        number += 1 if number < 150 else 7
