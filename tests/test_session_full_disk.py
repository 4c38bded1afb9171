"""A full disk and a busy journal: entries stop, what is not written is not shown, and trading resumes with space."""

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
from lab.campaign.busy import WithBusy
from lab.campaign.disk import Disk, storage_on
from lab.campaign.plan import Recipe
from lab.campaign.watch import Watch
from lab.errors import LabError, RunError
from lab.exit_codes import EndReason
from lab.journal.reserve import SIZE, Reserve
from lab.journal.tape import TapeWriter, read_tape
from lab.live.launch import clock_for, run_session
from lab.live.signals import Interrupts
from lab.runs.cut_off import finalize_interrupted
from lab.simulation.loop import SimLoop
from steady import RUN, proved


@pytest.fixture
def small_disk(lab: Any) -> Iterator[Path]:
    """A file system of 16 MB below the working folder."""
    folder = lab.folder / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def session(lab: Any, steady: Any) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(*args: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(lab.command(*RUN, "--minutes", "5", *args), cwd=lab.folder, env=lab.environment)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(LabError):
            if found := condition():
                return found
        time.sleep(0.02)
    raise AssertionError(f"not so within {seconds} s")


def fill(folder: Path) -> Path:
    """Take all the space there is, but not the reserve that a session gives up meanwhile."""
    filler = folder / "filler"
    reserves = list(folder.glob("runs/*/.reserve"))
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while all(one.exists() for one in reserves):
            file.write(bytes(4096))
    return filler


def fills(run: Any) -> int:
    return len(run().rows("order_filled"))


def halts(run: Any) -> list[list[str]]:
    return [body[1] for _, _, body in run().rows("trading_state")]


@pytest.mark.behaviour("J4")
@pytest.mark.parametrize("freed", [True, False])
def test_a_full_disk_halts_entries_and_trading_resumes_with_space(
    lab: Any, small_disk: Path, session: Any, freed: bool
) -> None:
    """The halt is written in the reserve's room at once; where space never comes, the end and its report are, too."""
    process = session("--state-dir", "disk")

    def run() -> Any:
        return type(lab.run())((small_disk / "runs" / "latest").resolve())

    until(lambda: fills(run) > 3)
    assert (run().folder / ".reserve").stat().st_size == SIZE
    filler, full_at = fill(small_disk), time.time_ns()
    until(lambda: any("the disk is full" in reasons for reasons in halts(run)))
    halt = next(body[0] for _, _, body in run().rows("trading_state") if "the disk is full" in body[1])
    assert abs(halt - full_at) < 3 * 10**9
    if freed:
        known = fills(run)
        filler.unlink()
        until(lambda: halts(run)[-1] == [] and fills(run) > known)
        assert (run().folder / ".reserve").is_file()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    report = run().report()
    assert (report["reason"], report["status"]) == ("stopped", "stopped")
    assert any(one.startswith("journal_waited ") for one in report["degradations"])
    # Rows tell what came before what; times do not: a quote of before the gate's opening may be taken after it.
    gate = [(seq, body[1]) for seq, _, body in run().rows("trading_state")]
    shut = next(seq for seq, reasons in gate if "the disk is full" in reasons)
    opened = next((seq for seq, reasons in gate if seq > shut and not reasons), float("inf"))
    entries = [seq for seq, _, body in run().rows("order_accepted") if not body.get("reduce_only")]
    assert min(entries) < shut
    assert not [seq for seq in entries if shut < seq < opened]
    assert not (run().folder / ".reserve").exists()
    for command in ("verify", "audit"):
        result = lab(command, str(run().folder))
        assert result.code == 0, result.out + result.err


@pytest.mark.behaviour("J3")
def test_a_program_that_holds_the_journal_shuts_the_gate_until_it_lets_go(lab: Any, session: Any) -> None:
    process = session()
    until(lambda: fills(lab.run) > 3)
    other = sqlite3.connect(lab.run().folder / "journal.db", isolation_level=None, timeout=10)
    other.execute("BEGIN EXCLUSIVE")
    time.sleep(2.0)  # what is to be survived takes time
    known = fills(lab.run)
    other.execute("ROLLBACK")
    other.close()
    until(lambda: fills(lab.run) > known)
    assert any("another program holds the journal" in reasons for reasons in halts(lab.run))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    proved(lab)


@pytest.mark.behaviour("J4")
def test_a_frame_that_did_not_fit_is_taken_back_and_written_when_there_is_space(small_disk: Path) -> None:
    from lab.domain.control import Notice

    tape = TapeWriter(small_disk)
    events = [Notice(number, "noise", {"text": os.urandom(3000).hex()}) for number in range(1, 400)]
    for event in events[:5]:
        tape.add(event)
    tape.flush(sync=True)
    filler = fill(small_disk)
    with filler.open("r+b") as file:
        file.truncate(filler.stat().st_size - 8192)  # a part of the next frame fits
    for event in events[5:]:
        tape.add(event)
    with pytest.raises(OSError, match="No space left"):
        tape.flush(sync=True)
    assert len(list(read_tape(small_disk))) == 5
    filler.unlink()
    tape.close()
    assert list(read_tape(small_disk)) == events


def test_a_reserve_is_room_that_is_given_back_and_taken_again(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path)
    file = tmp_path / ".reserve"
    assert (file.stat().st_size, reserve.spent, reserve.restore()) == (SIZE, False, True)
    reserve.spend()
    reserve.spend()
    assert (file.exists(), reserve.spent) == (False, True)
    assert reserve.restore()
    assert file.stat().st_size == SIZE
    reserve.close()
    reserve.close()
    assert not file.exists()
    assert Reserve(tmp_path / "nowhere").spent


@pytest.mark.behaviour("J4")
def test_a_run_whose_first_row_never_finds_room_takes_no_input_and_ends_with_74(tmp_path: Path) -> None:
    """A crash after an input would have left a tape without a journal, which is damage to the next start."""
    assembly = Recipe({"run.provider": "mock", "run.strategies": ["busy"]}).assembly(WithBusy(), 3, 0.5, {}, tmp_path)
    said: list[str] = []

    async def session() -> object:
        loop = asyncio.get_running_loop()
        watch = Watch(loop.time, lambda: 0, lambda: 0, lambda reasons: None)
        disk = Disk(crash=lambda: None, stall=lambda seconds: None, watch=watch, full=True)
        storage = attrs.evolve(storage_on(disk), reserve=Reserve)  # its room is on another disk
        clock = clock_for("max", time.time_ns)
        return await run_session(
            assembly, clock, wall_ns=time.time_ns, speed="max", interrupts=Interrupts(), quiet=True, say=said.append,
            storage=storage,
        )  # fmt: skip

    with pytest.raises(RunError, match=r"the disk is full: the run.s first row was not written") as caught:
        anyio.run(session, backend_options={"loop_factory": partial(SimLoop, 3)})
    assert caught.value.reason is EndReason.STORAGE
    assert said == ["the disk is full: the run waits to write its first row"]
    assert finalize_interrupted(tmp_path).damaged == {}
    assert list((tmp_path / "runs").glob("2*")) == [], "it never began, and the next start removes its folder"


@pytest.mark.behaviour("J2", "J4")
@pytest.mark.parametrize("strict", [(), ("--strict-state",)], ids=["", "strict"])
def test_a_run_that_was_cut_off_is_not_taken_for_damaged_where_the_disk_is_full(
    lab: Any, small_disk: Path, session: Any, strict: tuple[str, ...]
) -> None:
    process = session("--state-dir", "disk")
    run = type(lab.run())
    until(lambda: fills(lambda: run((small_disk / "runs" / "latest").resolve())) > 3)
    process.kill()
    process.wait()
    [folder] = (small_disk / "runs").glob("2*")
    filler = fill(small_disk)
    with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"0")
    done = lab(*RUN, "--minutes", "1", "--state-dir", "disk", *strict)
    assert done.code == 74
    assert "No space left on device" in done.err
    assert "damaged" not in done.err
    assert folder.is_dir()
    filler.unlink()
    again = lab(*RUN, "--minutes", "0.02", "--state-dir", "disk", *strict)
    assert f"{folder.name} was cut off before its end; its report is written now" in again.err
    assert (folder / "final_report.json").is_file()


@pytest.mark.behaviour("J4")
def test_a_session_whose_folder_is_removed_ends_within_seconds_and_says_that_the_run_is_lost(
    lab: Any, session: Any
) -> None:
    process = session()
    until(lambda: fills(lab.run) > 3)
    shutil.rmtree(lab.run().folder)
    assert process.wait(timeout=15) == 74
    assert list((lab.folder / "runs").glob("2*")) == [], "nothing makes it again"
