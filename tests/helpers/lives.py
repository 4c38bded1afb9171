"""Lives of ``lab``, one process each, forked from one that has it imported: killed at a moment, or under a tracer.

``strace`` counts the system calls of a life and breaks the n-th of a kind: it kills the process there, or lets the call
fail. Each thread is counted alone, and each kind of call.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import define, frozen
from disks import NO_LOG_FLUSH, SHUTDOWN
from lab.journal.reader import JournalReader
from lab.runs.directory import find
from steady import proved

CALLS: Final = (
    "write", "pwrite64", "fsync", "fdatasync", "rename", "unlink", "ftruncate", "mkdir", "symlink",
)  # fmt: skip
"""The system calls by which lab and SQLite change files."""

_FORKER: Final = """
import fcntl, glob, json, os, signal, subprocess, sys, time
import lab.live.launch, lab.live.recovery, lab_paper_broker.broker, lab_risk_limits, websockets, httpx
from lab.cli.main import run_command_line
from lab.live.signals import Interrupts

def size(path):
    try:
        return os.path.getsize(path)
    except OSError:  # a link to it was just turned
        return 0

def recorded():
    return sum(size(path) for path in glob.glob(os.environ.get("LIVES_IN", "runs") + "/2*/tape-*"))

def traced(child, options):
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(child), *options]
    tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 10
    while time.monotonic() < until and tracer.poll() is None:
        with open(f"/proc/{child}/status") as file:
            if "TracerPid:\\t0\\n" not in file.read():
                return tracer
        time.sleep(0.001)
    return tracer

def cut(disk):
    folder, shown = os.open(disk, os.O_RDONLY), size(os.environ["WITNESS"])
    fcntl.ioctl(folder, SHUTDOWN, NO_LOG_FLUSH)
    os.close(folder)
    return shown

def live(args, killed_after, trading, options, signalled, said, disk):
    before, patience = recorded(), time.monotonic() + 5
    waits, go = os.pipe()
    child = os.fork()
    if not child:
        os.close(go)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.read(waits, 1)
        os.close(waits)
        sys.argv = ["lab", *args]
        code = 70
        try:
            interrupts = Interrupts()
            interrupts.install()
            interrupts.own_process = True
            code = run_command_line(interrupts)
            interrupts.ignore()
        finally:
            os._exit(code)
    os.close(waits)
    tracer = traced(child, options) if options and not signalled else None
    os.close(go)
    if killed_after is not None or signalled:
        while trading and recorded() <= before and time.monotonic() < patience:
            time.sleep(0.005)
        time.sleep(killed_after or 0.0)
    if signalled:
        tracer = traced(child, options) if options else None
        os.kill(child, signalled)
    elif killed_after is not None:
        shown = cut(disk) if disk else 0
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if disk and shown < size(os.environ["WITNESS"]):
        os.truncate(os.environ["WITNESS"], shown)  # a sync that the cut meets may say that it went well, and did not
    if tracer is not None:
        tracer.wait()
    return os.waitstatus_to_exitcode(status)

for line in sys.stdin:
    print(live(**json.loads(line)), flush=True)
"""

_WITNESS: Final = '''
"""A reporter that writes each row it is shown to the file named by WITNESS, by a call that no tracer here looks at."""
import os
from attrs import define
from lab import Reporter, hookimpl

@define(kw_only=True)
class Witness(Reporter):
    """Notes what was shown."""

    async def report(self, run, records):
        file = os.open(os.environ["WITNESS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        async for record in records:
            os.writev(file, [b"%d %s %s\\n" % (record.seq, record.kind.encode(), record.body)])
        os.close(file)

@hookimpl
def lab_reporters():
    return {"witness": Witness}
'''


@frozen
class Life:
    """What a life came to: its exit code (below 0: the signal), and what it said on standard error."""

    code: int
    said: str

    def check_said(self) -> None:
        """Check that nothing was said but lines of lab's own."""
        lines = [line for line in self.said.splitlines() if not line.startswith("lab: ")]
        assert not lines, self.said


@define
class Lives:
    """Runs lives of ``lab`` in a test's working folder. ``witness`` holds every row that was ever shown."""

    lab: Any
    witness: Path
    _process: "subprocess.Popen[str]"

    def __call__(
        self,
        *args: str,
        killed_after: float | None = None,
        trading: bool = True,
        strace: tuple[str, ...] = (),
        signalled: int = 0,
        disk: Path | None = None,
    ) -> Life:
        """Run ``lab`` with arguments to its end.

        With ``disk`` the power of the disk mounted there is cut just before the kill.
        It is killed so many seconds after it has begun (with ``trading``, after its first new input), sent a signal
        then, or run under ``strace`` with options: from its beginning, or from just before the signal.
        """
        asks, answers = self._process.stdin, self._process.stdout
        assert asks is not None
        assert answers is not None
        said = self.witness.with_name("said")
        request = {
            "args": args, "killed_after": killed_after, "trading": trading, "options": strace, "signalled": signalled,
            "said": str(said), "disk": disk and str(disk),
        }  # fmt: skip
        print(json.dumps(request), file=asks, flush=True)
        code = int(answers.readline())
        return Life(code, said.read_text(encoding="utf-8"))

    def shown(self) -> dict[int, str]:
        """Return the rows that were shown to the witness since it was last forgotten, by number."""
        found: dict[int, str] = {}
        if self.witness.exists():
            for line in self.witness.read_text(encoding="utf-8").splitlines():
                seq, _, row = line.partition(" ")
                assert found.setdefault(int(seq), row) == row, f"row {seq} was shown twice, and not the same"
        return found

    def forget(self) -> None:
        """Begin anew: no run, nothing shown."""
        self.witness.unlink(missing_ok=True)
        shutil.rmtree(self.lab.folder / "runs", ignore_errors=True)


@contextlib.contextmanager
def lives(lab: Any, site: Any, environment: Mapping[str, str] | None = None, before: str = "") -> Iterator[Lives]:
    """Give a function that runs lives; ``before`` is code that the process they are forked from runs first."""
    site.install("their_witness", _WITNESS)
    witness = lab.folder.parent / "witness"
    told = {**lab.environment, **lab.see(site), "WITNESS": str(witness), **(environment or {})}
    code = f"{SHUTDOWN=}\n{NO_LOG_FLUSH=}\n{before}{_FORKER}"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=lab.folder, env=told, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:  # fmt: skip
        yield Lives(lab, witness, process)
        assert process.stdin is not None
        process.stdin.close()
    assert process.returncode == 0


def check_shown(lives: Lives, folder: Path) -> int:
    """Check that every row that was shown is in a run's journal, as it was shown; return how many there were."""
    shown = lives.shown()
    with contextlib.closing(JournalReader.open(folder)) as reader:
        there = {row[0]: f"{row[3]} {row[5].decode()}" for row in reader.rows()} if shown else {}
    lost = {seq: row for seq, row in shown.items() if there.get(seq) != row}
    assert not lost, f"shown, and not in {folder.name}: {lost}"
    return len(shown)


# -- what comes after --------------------------------------------------------------------------------------------------

SESSION: Final = (
    "run", "--provider", "steady", "--strategy", "counter", "--gate", "none", "--reporter", "witness", "--speed", "40",
    "--minutes",
)  # fmt: skip
SHORT: Final = (*SESSION, "0.12")
RESUME: Final = ("run", "--resume", "--reporter", "witness")


def put_right(lives: Lives) -> None:
    """Resume the newest session, where it can be, and start another one.

    Whatever was shown is in the journal, a session that had begun is proved, and nothing is left of what broke.
    """
    lab, runs = lives.lab, lives.lab.folder / "runs"
    resumed = lives(*RESUME)
    resumed.check_said()
    assert resumed.code in (0, 74, 78), resumed
    if resumed.code == 0:
        assert lab.run().report()["reason"] in ("completed", "stopped")
    if resumed.code == 0 or "it ended" in resumed.said:
        proved(lab)
    if lives.witness.exists():
        check_shown(lives, find(lab.folder, "latest"))
    for folder in runs.glob("2*"):
        os.utime(folder, (0, 0))  # a young one without a journal may be that of a backtest that begins now
    result = lab("run", "--provider", "mock", "--speed", "max", "--minutes", "1", "--reporter", "none")
    assert (result.code, "Traceback" in result.err) == (0, False), result.err
    everything_in_its_place(runs)


def everything_in_its_place(runs: Path) -> None:
    """Check that each run has its report, that the newest is found, and that nothing is left of what was killed."""
    for folder in runs.glob("2*"):
        assert (folder / "final_report.json").is_file(), sorted(folder.iterdir())
        left = [path.name for path in folder.iterdir() if path.name.startswith(".") or path.name == "running"]
        assert left == [], folder
    assert (runs / "latest" / "final_report.json").is_file()
    assert list(runs.glob("2*"))


# -- what the machine can do -------------------------------------------------------------------------------------------


def why_not_traced() -> str:
    """Return why no process can be traced here; an empty text where one can."""
    if shutil.which("strace") is None:
        return "strace is not installed (apt install strace)"
    # With a path: where SQLite, or a file system, makes other calls than these, the counts are of nothing.
    with tempfile.TemporaryDirectory() as folder:
        code = f"import os; os.mkdir({f'{folder}/made'!r})"
        done = subprocess.run(
            ["strace", "-f", "-qq", "-o", "/dev/null", *broken("mkdir", 1, "error=EIO"), sys.executable, "-c", code],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode and "Input/output error" in done.stderr:
            return ""
        return f"strace cannot break a system call here: {(done.stderr or 'nothing failed').strip().splitlines()[-1]}"


def broken(call: str, number: int, how: str, *, on: bool = False) -> tuple[str, ...]:
    """Return the options that break the n-th call of a kind, with ``on`` every later one too.

    ``how`` is ``signal=KILL`` or ``error=EIO``.
    """
    return ("-e", f"trace={call}", "-e", f"inject={call}:{how}:when={number}{'+' if on else ''}")
