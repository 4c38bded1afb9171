"""A system call that writes fails: an exit code of the table, a line that names file and cause, and nothing wrong.

A disk that takes nothing now is waited for, with the gate shut; what failed otherwise may be on disk or not, and ends
the session. Either way what was shown is in the journal, and the next command puts things right.
"""

from collections.abc import Iterator
from typing import Any, Final

import pytest
from lives import CALLS, SHORT, Lives, broken, lives, put_right, why_not_traced

_reason = why_not_traced()
pytestmark = pytest.mark.skipif(bool(_reason), reason=_reason)

CAUSES: Final = {
    "EIO": ("Input/output error", "disk I/O error"),
    "ENOSPC": ("No space left on device", "database or disk is full", "disk I/O error"),
}
FIRST_ROW_WAITS: Final = "the disk is full: the run waits to write its first row"
SAMPLE: Final = (
    ("EIO", "mkdir", 2, 74), ("EIO", "rename", 2, 74), ("EIO", "pwrite64", 50, 74), ("EIO", "fsync", 6, 74),
    ("EIO", "fdatasync", 5, 74), ("EIO", "write", 20, 74), ("EIO", "ftruncate", 2, 0), ("EIO", "symlink", 1, 0),
    ("ENOSPC", "pwrite64", 70, 0), ("ENOSPC", "fsync", 6, 0), ("ENOSPC", "write", 20, 0),
)  # fmt: skip
"""What fails, and the exit code of the session."""


@pytest.fixture
def live(lab: Any, steady: Any) -> Iterator[Lives]:
    with lives(lab, steady) as found:
        yield found


def failing(live: Lives, error: str, call: str, number: int, *, on: bool) -> int:
    """Let the n-th call of a kind fail, with ``on`` every later one too; check what comes, and return the exit code."""
    live.forget()
    life = live(*SHORT, strace=broken(call, number, f"error={error}", on=on))
    if life.code == 4 and error == "ENOSPC" and FIRST_ROW_WAITS in life.said:
        put_right(live)  # a fifth of a second is over before data come, where the first row had to wait for room
        return 0
    assert life.code in (0, 74), life
    life.check_said()
    lines = life.said.splitlines()
    assert len(lines) <= 2, "a report that cannot be written, and the end"
    if life.code == 74 and not (on and call == "write"):  # standard error is written by that, too
        assert any(cause in lines[-1] for cause in CAUSES[error]), life.said
        named = ("runs", "standard output") if call == "write" else ("runs",)
        assert any(name in lines[-1] for name in named), f"the file, its folder or the stream is named: {life.said}"
    put_right(live)
    return life.code


def ended_by(live: Lives, error: str, call: str, number: int, *, on: bool = False) -> int:
    """Let the n-th call fail, or one before it, as a session on a busy machine makes fewer; return the exit code."""
    code = failing(live, error, call, number, on=on)
    while code == 0 and number > 2:
        number = number * 2 // 3
        code = failing(live, error, call, number, on=on)
    return code


def outlived(live: Lives, error: str, call: str, number: int) -> int:
    """Let the n-th call fail, or one after it; return the exit code of the session that went on, or of the third.

    On a busy machine more calls may come before the run has begun, and which of them is one that prints is no rule.
    """
    for later in (number, number * 3 // 2, number * 2):
        code = failing(live, error, call, later, on=False)
        if code == 0:
            break
    return code


@pytest.mark.behaviour("J1", "J4", "S5")
def test_a_write_or_a_sync_that_fails_is_told_with_its_file_and_loses_nothing(live: Lives) -> None:
    for error, call, number, code in SAMPLE:
        ends = ended_by if code else outlived
        assert ends(live, error, call, number) == code, (error, call, number)


@pytest.mark.behaviour("J1", "J4", "S5")
def test_a_disk_that_fails_from_now_on_ends_the_session_with_74(live: Lives) -> None:
    for call, number in (("fsync", 6), ("fdatasync", 5), ("pwrite64", 90)):
        assert ended_by(live, "EIO", call, number, on=True) == 74


@pytest.mark.night
@pytest.mark.timeout(3600)
@pytest.mark.behaviour("J1", "J4", "S5")
@pytest.mark.parametrize("on", [False, True])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("error", CAUSES)
def test_whichever_write_or_sync_fails_is_told_and_loses_nothing(live: Lives, error: str, call: str, on: bool) -> None:
    for number in (*range(1, 40), *range(40, 200, 7)):
        failing(live, error, call, number, on=on)
