"""What the command line costs, everything as a user runs it: start-up, the first quote, memory, an idle session."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from benchmarks import install
from benchmarks.children import installed, server
from benchmarks.measure import LAB, cost, ended, median
from benchmarks.suite import Suite
from benchmarks.table import row

_QUOTES_A_SECOND: Final = 3


def run(suite: Suite) -> None:
    """Measure ``lab --help``, ``lab run`` to its first quote, a quiet session, and the installation."""
    _help(suite)
    _first_quote(suite)
    _sessions(suite)
    install.run(suite)


def _help(suite: Suite) -> None:
    runs = 5 if suite.quick else 15
    shown = [cost([str(LAB), "--help"], suite.folder) for _ in range(runs)]
    empty = [cost([sys.executable, "-c", "pass"], suite.folder) for _ in range(runs)]
    if any("backtest" not in one.output for one in shown):
        raise RuntimeError("lab --help does not show its commands")
    raw = {"help_cpu_s": [one.cpu_s for one in shown], "empty_cpu_s": [one.cpu_s for one in empty]}
    cpu_s = median(raw["help_cpu_s"])
    note = (
        f"user + system, median of {runs}, best {min(raw['help_cpu_s']):.3f} s; wall "
        f"{median(one.wall_s for one in shown):.3f} s; an interpreter that does nothing "
        f"{median(raw['empty_cpu_s']):.3f} s"
    )
    shown_row = row("`lab --help`, CPU", f"{cpu_s:.3f} s", target="≤ 0.2 s", met=cpu_s <= 0.2, note=note)
    suite.add("help", raw, shown_row)


def _first_quote(suite: Suite) -> None:
    """Measure from the start of the process to the strategy's first ``on_quote``, on the local venue."""
    seconds = []
    with installed() as environment:
        for number in range(2 if suite.quick else 5):
            note = suite.folder / f"first-quote-{number}"
            command = [str(LAB), "run", "--set", "bitunix.venue=local", "--strategy", "clocked"]
            command += ["--set", f"clocked.note={note}", "--state-dir", str(suite.folder / "first-quote-runs")]
            with tempfile.TemporaryFile() as errors:
                began_ns = time.monotonic_ns()
                child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=errors)
                with ended(child):
                    while not (note.is_file() and note.stat().st_size):
                        if child.poll() is not None or time.monotonic_ns() - began_ns > 30 * 10**9:
                            errors.seek(0)
                            raise RuntimeError(f"lab run showed no quote in 30 s: {errors.read().decode()[-500:]}")
                        time.sleep(0.01)
            seconds.append((int(note.read_text(encoding="utf-8")) - began_ns) / 1e9)
    middle = median(seconds)
    text = f"wall, `bitunix.venue=local`, default reporters; median of {len(seconds)}, best {min(seconds):.2f} s"
    what = "`lab run` to the first quote at the strategy"
    suite.add("first quote", seconds, row(what, f"{middle:.2f} s", target="≤ 2 s", met=middle <= 2, note=text))


@frozen
class Usage:
    """What a running process has taken so far, as Linux tells it."""

    at_s: float
    cpu_s: float
    rss_mib: float
    peak_mib: float

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """Read it from /proc."""
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        kib = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "VmHWM"))}
        cpu_s = ticks / os.sysconf("SC_CLK_TCK")
        return cls(time.monotonic(), cpu_s, int(kib["VmRSS"]) / 1024, int(kib["VmHWM"]) / 1024)


def _sessions(suite: Suite) -> None:
    """Measure two quiet sessions side by side: one whose output is a file, one whose output is a terminal."""
    if not Path("/proc/self/status").is_file():
        suite.add("session", None, row("a quiet session", "not measured", note="its figures are read from /proc"))
        return
    settle_s, window_s = (3.0, 6.0) if suite.quick else (5.0, 32.0)
    with server("--rate", str(_QUOTES_A_SECOND)) as port, contextlib.ExitStack() as held:
        pids = {
            where: held.enter_context(_session(suite.folder / where, port, where)) for where in ("file", "terminal")
        }
        time.sleep(settle_s)
        before = {where: Usage.of(pid) for where, pid in pids.items()}
        time.sleep(window_s)
        after = {where: Usage.of(pid) for where, pid in pids.items()}
    for where in pids:
        _show_session(suite, where, before[where], after[where], _report(suite.folder / where, settle_s + window_s))


def _show_session(suite: Suite, where: str, before: Usage, after: Usage, report: dict[str, Any]) -> None:
    seconds = after.at_s - before.at_s
    percent = 100 * (after.cpu_s - before.cpu_s) / seconds
    raw = {"percent": percent, "seconds": seconds, "rss_mib": after.rss_mib, "peak_mib": after.peak_mib,
           "quotes": report["quotes"], "start_cpu_s": before.cpu_s}  # fmt: skip
    note = (
        f"over {seconds:.0f} s, start and end left out; bitunix at {_QUOTES_A_SECOND} quotes/s, default strategy and "
        f"reporters; {report['quotes']} quotes, {report['candles'] + report['backfilled']} candles"
    )
    what, figure = f"a quiet session, output to a {where}", f"{percent:.2f} % of a core"
    rss, peak = (mib * 2**20 / 1e6 for mib in (after.rss_mib, after.peak_mib))
    suite.add(
        f"session, {where}", raw,
        row(f"{what}: CPU", figure, target="< 1 %", met=percent < 1, note=note),
        row(f"{what}: RSS", f"{rss:.0f} MB, peak {peak:.0f} MB", target="≤ 80 MB", met=peak <= 80, note="at its end"),
    )  # fmt: skip


@contextlib.contextmanager
def _session(folder: Path, port: int, where: str) -> Iterator[int]:
    """Run ``lab run`` until the block is left; yield its process id."""
    folder.mkdir()
    command = [str(LAB), "run", "--minutes", "5", "--set", f"bitunix.rest_url=http://127.0.0.1:{port}"]
    command += ["--set", f"bitunix.ws_url=ws://127.0.0.1:{port}/public/"]
    with _terminal() if where == "terminal" else (folder / "output").open("wb") as out:
        child = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        with ended(child):
            yield child.pid
            if child.poll() is not None:
                raise RuntimeError(f"lab run ended before it was asked to, with {child.returncode}")


@contextlib.contextmanager
def _terminal() -> Iterator[int]:
    """Yield the descriptor of a terminal of 40 × 120 that somebody reads."""
    import fcntl
    import pty
    import struct
    import termios

    reading, writing = pty.openpty()
    fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))

    def read() -> None:
        with contextlib.suppress(OSError):  # EIO: the last writer has left
            while os.read(reading, 1 << 16):
                pass

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield writing
    finally:
        os.close(writing)
        reader.join()
        os.close(reading)


def _report(folder: Path, seconds: float) -> dict[str, Any]:
    """Return the report of a session. Raises ``RuntimeError`` unless it took in what was sent."""
    found = [path for path in folder.glob("runs/*/final_report.json") if not path.parent.is_symlink()]
    if len(found) != 1:
        raise RuntimeError(f"{len(found)} final reports of a session")
    report: dict[str, Any] = json.loads(found[0].read_text(encoding="utf-8"))
    least = 0.5 * _QUOTES_A_SECOND * seconds
    if report["reason"] != "stopped" or report["quotes"] < least:
        raise RuntimeError(
            f"the session ended with {report['reason']} after {report['quotes']} quotes, expected {least:.0f}"
        )
    return report
