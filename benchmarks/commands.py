"""What the command line costs, everything as a user runs it: start-up, the first quote, memory, an idle session."""

import contextlib
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from benchmarks import install
from benchmarks.children import plugin, server
from benchmarks.forms import Form
from benchmarks.measure import cost, ended, median
from benchmarks.suite import Suite
from benchmarks.table import judged, row

_QUOTES_A_SECOND: Final = 3
_HELP_S: Final = 0.2
_FIRST_S: Final = 0.6
_IDLE: Final = {"file": 0.3, "terminal": 0.6}
"""Percent of a core."""
_PEAK_MB: Final = 80


def run(suite: Suite) -> None:
    """Measure ``lab --help``, ``lab run`` to its first quote, a quiet session, and the installation."""
    _help(suite)
    _first_quote(suite)
    _sessions(suite)
    install.run(suite)


def _help(suite: Suite) -> None:
    runs = 5 if suite.quick else 15
    raw: dict[str, list[float]] = {"empty": [], **{form.name: [] for form in suite.both()}}
    wall = []
    for _ in range(runs):
        raw["empty"].append(cost([str(suite.first.python), "-c", "pass"], suite.folder).cpu_s)
        for form in suite.both():
            shown = cost([form.lab, "--help"], suite.folder, form.environment())
            if "backtest" not in shown.output:
                raise RuntimeError("lab --help does not show its commands")
            raw[form.name].append(shown.cpu_s)
            wall += [shown.wall_s] if form is suite.first else []
    figures = {form.name: f"{median(raw[form.name]):.3f} s" for form in suite.both()}
    one = raw[suite.first.name]
    note = (
        f"user + system, median of {runs}, best {min(one):.3f} s; wall {median(wall):.3f} s; an interpreter that does "
        f"nothing {median(raw['empty']):.3f} s"
    )
    targets = [judged(f"≤ {_HELP_S} s", median(one) <= _HELP_S)]
    suite.add("help", raw, row("`lab --help`, CPU", figures, targets=targets, note=note))


def _first_quote(suite: Suite) -> None:
    """Measure from the start of the process to the strategy's first ``on_quote``, on the local venue."""
    seconds: dict[str, list[float]] = {form.name: [] for form in suite.both()}
    for number in range(2 if suite.quick else 5):
        for form in suite.both():
            seconds[form.name].append(_until_first_quote(suite, form, number))
    one = seconds[suite.first.name]
    figures = {name: f"{median(each):.2f} s" for name, each in seconds.items()}
    text = f"wall, `bitunix.venue=local`, default reporters; median of {len(one)}, best {min(one):.2f} s"
    targets = [judged(f"≤ {_FIRST_S} s", median(one) <= _FIRST_S)]
    what = "`lab run` to the first quote at the strategy"
    suite.add("first quote", seconds, row(what, figures, targets=targets, note=text))


def _until_first_quote(suite: Suite, form: Form, number: int) -> float:
    note = suite.folder / f"first-quote-{form.name}-{number}"
    command = [form.lab, "run", "--set", "bitunix.venue=local", "--strategy", "clocked"]
    command += ["--set", f"clocked.note={note}", "--state-dir", str(suite.folder / "first-quote-runs")]
    with plugin() as with_plugin, tempfile.TemporaryFile() as errors:
        variables = form.environment() | with_plugin
        began_ns = time.monotonic_ns()
        child = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=errors)
        with ended(child):
            while not (note.is_file() and note.stat().st_size):
                if child.poll() is not None or time.monotonic_ns() - began_ns > 30 * 10**9:
                    errors.seek(0)
                    raise RuntimeError(f"lab run showed no quote in 30 s: {errors.read().decode()[-500:]}")
                time.sleep(0.01)
    return (int(note.read_text(encoding="utf-8")) - began_ns) / 1e9


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
    """Measure quiet sessions side by side: of each form one whose output is a file, and one that has a terminal."""
    if not Path("/proc/self/status").is_file():
        suite.add("session", None, row("a quiet session", {}, note="not measured: its figures are read from /proc"))
        return
    settle_s, window_s = (3.0, 6.0) if suite.quick else (5.0, 32.0)
    keys = [(where, form) for where in _IDLE for form in suite.both()]
    with server("--rate", str(_QUOTES_A_SECOND)) as port, contextlib.ExitStack() as held:
        pids = [
            held.enter_context(_session(suite.folder / f"{where}-{form.name}", port, where, form))
            for where, form in keys
        ]
        time.sleep(settle_s)
        before = [Usage.of(pid) for pid in pids]
        time.sleep(window_s)
        after = [Usage.of(pid) for pid in pids]
    found: dict[str, dict[str, dict[str, Any]]] = {where: {} for where in _IDLE}
    for (where, form), first, last in zip(keys, before, after, strict=True):
        report = _report(suite.folder / f"{where}-{form.name}", settle_s + window_s)
        seconds = last.at_s - first.at_s
        found[where][form.name] = {
            "percent": 100 * (last.cpu_s - first.cpu_s) / seconds, "seconds": seconds, "rss_mib": last.rss_mib,
            "peak_mib": last.peak_mib, "start_cpu_s": first.cpu_s, "quotes": report["quotes"],
            "candles": report["candles"] + report["backfilled"],
        }  # fmt: skip
    for where, of_form in found.items():
        _show_session(suite, where, of_form)


def _show_session(suite: Suite, where: str, found: dict[str, dict[str, Any]]) -> None:
    one, most = found[suite.first.name], _IDLE[where]
    note = (
        f"over {one['seconds']:.0f} s, start and end left out; bitunix at {_QUOTES_A_SECOND} quotes/s, default "
        f"strategy and reporters; {one['quotes']} quotes, {one['candles']} candles"
    )
    what = f"a quiet session, {'output to a file' if where == 'file' else 'with a terminal'}"
    cpu = {name: f"{each['percent']:.2f} % of a core" for name, each in found.items()}
    mb = {
        name: [each[key] * 2**20 / 1e6 for key in ("rss_mib", "peak_mib")] for name, each in found.items()
    }  # fmt: skip
    memory = {name: f"{rss:.0f} MB, peak {peak:.0f} MB" for name, (rss, peak) in mb.items()}
    fits = mb[suite.first.name][1] <= _PEAK_MB
    suite.add(
        f"session, {where}", found,
        row(f"{what}: CPU", cpu, targets=[judged(f"≤ {most} % of a core", one["percent"] <= most)], note=note),
        row(f"{what}: RSS", memory, targets=[judged(f"≤ {_PEAK_MB} MB", fits)], note="at its end"),
    )  # fmt: skip


@contextlib.contextmanager
def _session(folder: Path, port: int, where: str, form: Form) -> Iterator[int]:
    """Run ``lab run`` until the block is left; yield its process id."""
    folder.mkdir()
    command = [form.lab, "run", "--minutes", "5", "--set", f"bitunix.rest_url=http://127.0.0.1:{port}"]
    command += ["--set", f"bitunix.ws_url=ws://127.0.0.1:{port}/public/"]
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    with _terminal() if where == "terminal" else (folder / "output").open("wb") as out:
        child = subprocess.Popen(command, cwd=folder, env=form.environment(), stdout=out, **streams)
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
