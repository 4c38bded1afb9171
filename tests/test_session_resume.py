"""``lab run --resume``: a session that was killed goes on with the same money, positions, orders and strategies."""

import contextlib
import hashlib
import os
import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from lab.composition.assembly import reassemble
from lab.domain.control import Command, CommandAction
from lab.domain.market import Quote
from lab.journal.reader import JournalReader, read_run_started
from lab.journal.store import Journal
from lab.journal.tape import RecordedTape, TapeWriter, read_tape, segments_of
from lab.live.recovery import Interrupted, recover
from lab.plugins.discovery import Registry
from lab.records.run import SessionState
from lab.runs.failures import FailureLog
from lives import lives
from steady import RUN, proved, resumptions

RESUME: Final = ("run", "--resume", "--reporter", "none")


@pytest.fixture
def life(lab: Any, steady: Any) -> Iterator[Callable[..., int]]:
    """Give a function that runs ``lab`` in a process, killed so long after its start or first input.

    It returns the exit code.
    """
    with lives(lab, steady) as live:
        yield lambda *args, **how: live(*args, **how).code


def killed_again_and_again(lab: Any, life: Any, times: int, seed: int) -> None:
    """Kill a session so often and resume it each time: it is one run, proved, and the strategy's count goes on.

    It is also killed while it recovers: nothing is there before its first commit.
    """
    assert life(*RUN, "--minutes", "9", killed_after=0.3) == -signal.SIGKILL
    chance = random.Random(seed)
    for number in range(times):  # by turns before it trades again, perhaps, and after
        trading, longest = bool(number % 2), 0.2 if number % 2 else 0.3
        assert life(*RESUME, killed_after=chance.uniform(0.03, longest), trading=trading) == -signal.SIGKILL
    proved(lab)
    killed = lab.run()
    assert life(*RESUME, killed_after=0.1, signalled=signal.SIGTERM) == 0
    proved(lab)
    run = lab.run()
    report = run.report()
    assert run.folder == killed.folder
    assert (report["reason"], report["exit_code"]) == ("stopped", 0)
    assert times // 2 <= resumptions(run) <= times + 1
    counted = [int(body["reason"].split()[1]) for _, _, body in run.rows("order_accepted") if body["reason"][:1] == "q"]
    assert counted == sorted(set(counted))
    assert all(number % 4 == 0 for number in counted)
    assert report["books"]["counter"]["positions"] == {}


@pytest.mark.behaviour("S11", "J1")
def test_killed_a_hundred_times_at_any_moment_it_is_still_one_run_proved_from_its_first_input(
    lab: Any, life: Any
) -> None:
    killed_again_and_again(lab, life, 100, seed=7)


@pytest.mark.night
@pytest.mark.timeout(1800)
@pytest.mark.behaviour("S11", "J1")
@pytest.mark.parametrize("seed", range(100, 120))
def test_killed_two_thousand_times_in_twenty_runs_each_is_one_run_proved(lab: Any, life: Any, seed: int) -> None:
    killed_again_and_again(lab, life, 100, seed)


@pytest.mark.behaviour("S11")
def test_a_run_goes_on_for_the_time_it_had_left(lab: Any, life: Any) -> None:
    life(*RUN, "--speed", "10", "--minutes", "0.5", killed_after=0.4)
    assert life(*RESUME) == 0
    proved(lab)
    report = lab.run().report()
    assert (report["reason"], report["exit_code"]) == ("completed", 0)
    assert 30 <= report["duration_seconds"] < 38


@pytest.mark.behaviour("S11")
def test_a_session_that_had_no_row_for_long_goes_on_for_the_time_it_had_left_all_the_same(lab: Any, life: Any) -> None:
    """Its state is as old as its newest row; what it lasted since is what the tape says."""
    quiet = ["sma" if one == "counter" else one for one in RUN]
    life(*quiet, "--interval", "1h", "--speed", "60", "--minutes", "5", killed_after=3.0)
    with contextlib.closing(JournalReader.open(lab.run().folder)) as reader:
        state = reader.run_state()
        rows_ns = next(reader.times("DESC"))
    newest_ns = max(event.time_ns for event in read_tape(lab.run().folder, torn_ok=True))
    since_s = (newest_ns - rows_ns) / 10**9
    assert since_s > 60, "nothing was traded since"
    assert life(*RESUME) == 0
    assert 300 <= lab.run().report()["duration_seconds"] < 330
    assert state.session.duration_seconds < 200


@pytest.mark.behaviour("S11")
def test_resume_auto_goes_on_with_what_was_cut_off_and_else_begins_a_run(lab: Any, life: Any) -> None:
    auto = (*RUN, "--minutes", "0.05", "--resume", "auto")
    assert life(*auto) == 0, "there is none"
    first = lab.run().folder
    time.sleep(1.1)  # a folder is named by the second
    done = lab(*auto, env=lab.environment)
    assert done.code == 0, done.err
    assert f"a new run begins: {first.name} was not cut off: it ended, completed" in done.err
    second = lab.run().folder
    assert second != first
    time.sleep(1.1)
    life(*RUN, "--minutes", "1", killed_after=0.8)
    third = lab.run().folder
    assert life(*RUN, "--minutes", "1", "--resume", "auto", killed_after=0.8, signalled=signal.SIGTERM) == 0
    assert lab.run().folder == third
    assert resumptions(lab.run()) == 1


@pytest.mark.behaviour("J1", "J6")
def test_cut_off_at_any_input_and_resumed_a_run_comes_to_what_it_would_have_come_to(
    lab: Any, tmp_path: Path, sma_session: Any
) -> None:
    """The rest of the inputs, given to the recovered engine, makes the rows that the whole run has, byte for byte."""
    whole = lab.run().folder
    inputs = list(read_tape(whole))
    wanted = lab.run().raw()
    chance = random.Random(3)
    for number in sorted(chance.sample(range(1, len(inputs)), 60)):
        folder = tmp_path / f"cut-{number}" / "runs" / whole.name
        folder.mkdir(parents=True)
        written = chance.randrange(number + 1)  # rows of later inputs were not committed
        cut(whole, folder, inputs[:number], written)
        rows = anyio.run(resumed_rows, lab, folder, inputs[number:])
        assert rows == wanted[: len(rows)]
        assert len(rows) == len(wanted) - 1, "all but the end"
        shutil.rmtree(folder.parents[1])


def cut(whole: Path, folder: Path, inputs: list[Any], written: int) -> None:
    """Make the folder that the run would have left if it had been killed behind those inputs."""
    shutil.copy(whole / "journal.db", folder)
    with sqlite3.connect(folder / "journal.db") as db:
        db.execute("DELETE FROM event WHERE input_n > ? OR kind = 'run_ended'", (written,))
    db.close()
    tape = TapeWriter(folder)
    for event in inputs:
        tape.add(event)
    tape.close()


async def resumed_rows(lab: Any, folder: Path, rest: list[Any]) -> list[Any]:
    """Recover the run, step the rest of the inputs, and return all rows."""
    run = Interrupted(folder, read_run_started(folder), SessionState(), 0)
    journal = Journal(folder, durable=True, labels=None)
    recovered = await recover(run, reassemble(Registry(), run.started), journal, FailureLog())
    for event in rest:
        number = recovered.tape.add(event)
        journal.append(recovered.engine.step(event), recovered.engine.state.now_ns, number)
    journal.commit()
    recovered.tape.close()
    rows = list(journal.reader().rows())
    journal.close()
    digest = hashlib.sha256()
    assert sum(1 for _ in read_tape(folder, digest=digest)) == recovered.tape.inputs
    assert digest.hexdigest() == recovered.tape.digest()
    return rows


@pytest.mark.behaviour("S4", "S11")
@pytest.mark.parametrize("committed", ["its first rows", "history", "live"])
def test_the_time_of_history_is_no_time_that_a_run_lasted(
    lab: Any, tmp_path: Path, sma_session: Any, committed: str
) -> None:
    inputs = list(read_tape(lab.run().folder))
    first = next(number for number, event in enumerate(inputs) if type(event) is Quote)
    written = {"its first rows": 0, "history": first, "live": first + 70}[committed]
    folder = tmp_path / "cut" / "runs" / lab.run().folder.name
    folder.mkdir(parents=True)
    cut(lab.run().folder, folder, inputs[: first + 100], written)
    with contextlib.closing(JournalReader.open(folder)) as reader:
        rows_ns = next(reader.times("DESC"), 0)
    live_ns, newest_ns = inputs[first].time_ns, max(event.time_ns for event in inputs[: first + 100])
    assert (rows_ns < live_ns - 60 * 10**9) == (committed != "live")

    async def lasted() -> float:
        run = Interrupted(folder, read_run_started(folder), SessionState(duration_seconds=7.0), rows_ns)
        journal = Journal(folder, durable=True, labels=None)
        recovered = await recover(run, reassemble(Registry(), run.started), journal, FailureLog())
        recovered.tape.close()
        journal.close()
        return recovered.run.state.duration_seconds

    assert anyio.run(lasted) == pytest.approx(7 + (newest_ns - max(rows_ns, live_ns)) / 10**9, abs=0.001)


@pytest.fixture
def sma_session(lab: Any) -> None:
    """Record a session that trades."""
    result = lab.mock("--set", "sma.fast=2", "--set", "sma.slow=3", "--set", "sma.confirmation=1", minutes=60)
    assert result.code == 0
    assert lab.run().report()["fills"] > 10


@pytest.mark.behaviour("S11")
def test_a_frame_that_was_being_written_is_cut_off_the_tape(lab: Any, life: Any) -> None:
    life(*RUN, "--minutes", "1", killed_after=0.9)
    [segment] = segments_of(lab.run().folder)
    whole = segment.read_bytes()
    segment.write_bytes(whole + b"(\xb5/\xfd torn")
    assert life(*RESUME, killed_after=0.6) == -signal.SIGKILL
    assert segment.read_bytes() == whole
    assert len(segments_of(lab.run().folder)) == 2
    proved(lab)


@pytest.mark.behaviour("S11")
def test_a_session_killed_while_it_was_ending_comes_to_that_end(lab: Any, life: Any) -> None:
    life(*RUN, "--speed", "10", "--minutes", "1", killed_after=0.4)
    folder = lab.run().folder
    inputs = list(read_tape(folder))
    stopping = Command(max(one.time_ns for one in inputs), CommandAction.STOP, "session", "stopped")
    tape = TapeWriter(folder, _recorded(folder))
    tape.add(stopping)
    tape.close()
    started = time.monotonic()
    assert life(*RESUME) == 0
    assert time.monotonic() - started < 5
    assert lab.run().report()["reason"] == "stopped"
    proved(lab)


def _recorded(folder: Path) -> Any:
    recorded = RecordedTape(folder)
    for _ in recorded:
        pass
    return recorded


# -- what can't be resumed ---------------------------------------------------------------------------------------------


@pytest.mark.behaviour("S11")
def test_what_cannot_be_resumed_is_refused_with_its_reason(lab: Any, life: Any, one_line: Any) -> None:
    one_line(lab("run", "--resume"), 78, "no session to resume")
    assert lab.mock(minutes=1).code == 0
    one_line(lab("run", "--resume"), 78, "it ended, completed")
    life(*RUN, "--minutes", "1", killed_after=0.8)
    first = lab.run().folder.name
    one_line(lab("run", "--resume", "--seed", "3"), 78, "run.seed = 3", "was started with 0")
    one_line(lab("run", "--resume", "--set", "paper.latency_ms=3"), 78, "paper.latency_ms = 3", "was started with 200")
    one_line(lab("run", "--resume", "nowhere"), 78, "no run 'nowhere'")
    assert lab("backtest", "--provider", "mock", "--set", "mock.minutes=5").code == 0
    one_line(lab("run", "--resume", "latest", "--strategy", "sma"), 78, "was started with")
    time.sleep(1.1)  # a folder is named by the second
    life(*RUN, "--minutes", "1", killed_after=0.8)
    one_line(lab("run", "--resume", first), 78, "is not the newest session")


@pytest.mark.behaviour("S11", "J2")
@pytest.mark.parametrize("missing", ["journal.db", "tape-0001.jsonl.zst"])
def test_a_session_that_lacks_a_file_is_told_with_the_file(lab: Any, life: Any, one_line: Any, missing: str) -> None:
    life(*RUN, "--minutes", "5", killed_after=1.0)
    name = lab.run().folder.name
    (lab.run().folder / missing).unlink()
    one_line(lab(*RESUME), 78, f"no session to resume whole (missing in {name}: {missing})")
    if missing == "journal.db":
        for command in ("report", "verify", "audit"):
            one_line(lab(command), 74, f"{name}: journal.db is missing; the next `lab run` puts")


@pytest.mark.behaviour("S11", "J2")
@pytest.mark.parametrize("what", ["row", "tape"])
def test_a_run_whose_rows_do_not_follow_from_its_inputs_is_not_resumed(lab: Any, life: Any, what: str) -> None:
    life(*RUN, "--minutes", "1", killed_after=1.0)
    folder = lab.run().folder
    if what == "row":
        with sqlite3.connect(folder / "journal.db") as db:
            db.execute("UPDATE event SET body = replace(body, '0.001', '0.002') WHERE kind = 'order_accepted'")
        db.close()
    else:
        [segment] = segments_of(folder)
        segment.write_bytes(b"")
    result = lab("run", "--resume")
    assert result.code == 74
    assert "Traceback" not in result.err
    assert "start a new run without --resume" in result.err


@pytest.mark.behaviour("S11", "V1")
def test_a_start_that_was_killed_before_it_began_leaves_the_session_before_it_the_newest(lab: Any, life: Any) -> None:
    life(*RUN, "--speed", "20", "--minutes", "0.25", killed_after=0.2)
    session = lab.run().folder
    unborn = session.with_name(f"{session.name}-2")
    unborn.mkdir()
    os.utime(unborn, (0, 0))
    (session.parent / "latest").unlink()
    (session.parent / "latest").symlink_to(unborn.name)
    assert life(*RESUME) == 0
    assert (lab.run().folder, unborn.exists()) == (session, False)
    proved(lab)
