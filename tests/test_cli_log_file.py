"""``lab run --log-file`` and ``--verbose``: what is said on standard error, more of it, and a bounded file of it."""

import logging
import re
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from lab.cli import logs
from lab.cli.logs import Lines, LogFile, library_logs
from lab.live.notices import told

NOISY = """
import logging, sys, warnings
from attrs import define, field
from lab import Strategy, hookimpl

log = logging.getLogger("their_noise.market")

@define(kw_only=True)
class Noisy(Strategy):
    lookback = 0
    _said: bool = field(init=False, default=False)

    def on_candle(self, candle, view):
        if not self._said:
            self._said = True
            log.debug("a debug line")
            log.info("an info line")
            log.warning("red \\x1b[31m and %s", "two\\nlines")
            warnings.warn("an old way", stacklevel=1)
            print("printed \\x1b]0;title\\x07", file=sys.stderr)
            raise ValueError("no \\x1b[2J more")
        return []

@hookimpl
def lab_strategies():
    return {"noisy": Noisy}
"""
STAMPED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ")


def lines_of(path: Path) -> list[str]:
    """Return the lines without their stamps; each must have one."""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert all(STAMPED.match(line) for line in lines), lines
    return [STAMPED.sub("", line) for line in lines]


@pytest.fixture
def noisy(lab: Any, site: Any) -> Any:
    site.install("their_noise", NOISY)
    return lambda *args: lab.mock("--strategy", "noisy", "--reporter", "none", *args, minutes=3)


# -- sessions --------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("default")
def test_what_is_said_on_standard_error_is_in_the_file_line_by_line_and_without_escapes(noisy: Any, lab: Any) -> None:
    result = noisy("--log-file", "lab.log")
    assert result.code == 69
    path = lab.folder / "lab.log"
    text, lines = path.read_text(encoding="utf-8"), lines_of(path)
    assert "lab: warning: their_noise.market: red \\x1b[31m and two lines" in lines
    assert "printed \\x1b]0;title\\x07" in lines
    assert any(line.startswith("lab: warning: py.warnings: ") and "an old way" in line for line in lines)
    assert any(line.startswith("lab: strategy noisy failed in on_candle: ValueError: no ") for line in lines)
    assert any(line.startswith("Traceback") for line in lines)
    assert lines[-1].startswith("lab: plugin_refused: ")
    assert not re.search(r"[^\n -~]", text)
    assert "a debug line" not in text
    assert "an info line" not in text
    assert len(lines) == len(result.err.splitlines())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.filterwarnings("default")
def test_without_a_file_library_logs_are_lines_of_lab_without_escapes(noisy: Any) -> None:
    result = noisy()
    assert "lab: warning: their_noise.market: red \\x1b[31m and two lines\n" in result.err
    assert "an info line" not in result.err


def test_verbose_says_what_feed_warm_up_and_trading_gate_do(lab: Any) -> None:
    quiet = lab.mock("--strategy", "sma", "--reporter", "none", minutes=3)
    loud = lab.mock("--strategy", "sma", "--reporter", "none", "--verbose", minutes=3)
    assert (quiet.code, loud.code) == (0, 0)
    assert quiet.err == ""
    said = loud.err.splitlines()
    assert "lab: feed: detail seed 0, state live" in said
    assert "lab: warm-up: candles 64, needed 32, state done" in said
    assert "lab: trading open" in said
    assert "lab: command stop by session: completed" in said
    assert "trading open" not in loud.out


@pytest.mark.filterwarnings("default")
def test_verbose_says_what_libraries_log_from_info_on(noisy: Any) -> None:
    result = noisy("--verbose")
    assert "lab: their_noise.market: an info line\n" in result.err
    assert "a debug line" not in result.err
    root = logging.getLogger()
    assert (root.level, logging.getLogger("lab").level) == (logging.WARNING, logging.NOTSET)
    assert not [handler for handler in root.handlers if isinstance(handler, Lines)]


def test_an_error_of_the_command_line_and_a_second_run_go_into_the_same_file(lab: Any) -> None:
    for _ in range(2):
        assert lab.mock("--log-file", "lab.log", "--set", "sma.fast=x").code == 78
    lines = lines_of(lab.folder / "lab.log")
    assert len(lines) == 2
    assert all(line.startswith("lab: --set: sma.fast = ") for line in lines)


def test_a_session_writes_into_the_file_as_it_goes_from_a_process_of_its_own(lab: Any) -> None:
    result = lab.process(
        "run", "--provider", "mock", "--speed", "max", "--minutes", "3", "--verbose", "--log-file", "deep.log"
    )
    assert result.code == 0
    assert lines_of(lab.folder / "deep.log") == result.err.splitlines()
    assert "lab: trading open" in result.err


@pytest.mark.parametrize("place", ["", ".", "no/such/folder/lab.log", "/dev/null"])
def test_what_can_be_no_log_file_is_refused_before_anything_is_written(lab: Any, one_line: Any, place: str) -> None:
    one_line(lab.mock("--log-file", place), 74, "--log-file", "name a file in a folder that exists")
    assert lab.files() == []


# -- the file --------------------------------------------------------------------------------------------------------


def test_the_file_rotates_at_its_size_and_five_old_ones_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (logs.FILE_BYTES, logs.KEEP) == (10_000_000, 5)
    monkeypatch.setattr(logs, "FILE_BYTES", 1000)
    path = tmp_path / "lab.log"
    path.write_text("2024-01-01T00:00:00Z from before\n", encoding="utf-8")
    log = LogFile(path)
    for number in range(500):
        log.write(f"line {number}\n")
    log.close()
    names = ["lab.log", *(f"lab.log.{number}" for number in range(1, 6))]
    assert sorted(one.name for one in tmp_path.iterdir()) == names
    assert all((tmp_path / name).stat().st_size <= 1000 for name in names)
    kept = [line for name in reversed(names) for line in lines_of(tmp_path / name)]
    assert kept == [f"line {number}" for number in range(500 - len(kept), 500)]


def test_a_line_is_written_when_it_is_whole_each_threads_apart(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "lab.log")
    log.write("one ")
    other = threading.Thread(target=lambda: log.write("other\n"))
    other.start()
    other.join()
    log.write("line\nbegun")
    assert lines_of(tmp_path / "lab.log") == ["other", "one line"]
    log.write("x" * 10_000)
    log.close()
    log.write("too late\n")
    assert [len(line) for line in lines_of(tmp_path / "lab.log")] == [5, 8, 4000]


def test_what_the_disk_did_not_take_is_counted_and_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogFile(tmp_path / "lab.log")
    with monkeypatch.context() as patch:
        patch.setattr(logs.os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        log.write("one\ntwo\n")
    log.write("three\n")
    log.close()
    text = (tmp_path / "lab.log").read_text(encoding="utf-8").splitlines()
    assert text[0] == "2 lines are missing here: the disk did not take them"
    assert text[1].endswith(" three")


# -- library logs ----------------------------------------------------------------------------------------------------


def test_a_flood_of_log_lines_is_cut_at_a_hundred_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now, said = 100.0, []
    monkeypatch.setattr(logs.time, "monotonic", lambda: now)
    with library_logs(said.append, verbose=False):
        for number in range(250):
            logging.getLogger("their").warning("line %d", number)
        now = 101.5
        logging.getLogger("their").error("at last")
    assert len(said) == 102
    assert said[99:] == [
        "warning: their: line 99",
        "150 further lines of the log were left out",
        "error: their: at last",
    ]


def test_a_record_that_cannot_be_put_into_words_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    handler, their = Lines(said.append), logging.getLogger("their")
    handler.emit(their.makeRecord("their", logging.WARNING, __file__, 1, "%d figures", ("no",), None))
    error = KeyError("lost")
    handler.emit(their.makeRecord("their", logging.ERROR, __file__, 1, "failed", (), (KeyError, error, None)))
    assert said[0].startswith("warning: their: <LogRecord that cannot be described")
    assert said[1] == "error: their: failed"
    assert "KeyError: 'lost'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("notice", [1, "feed", {"state": "down", "detail": ""}], "feed: state down"),
        ("trading_state", [1, ["feed down", "warm-up"]], "trading halted: feed down; warm-up"),
        ("trading_state", [1, []], "trading open"),
        ("command", [1, "kill", "SIGUSR1", "a signal"], "command kill by SIGUSR1: a signal"),
        ("gap", {"symbol": "BTCUSDT", "first_ns": 0}, "gap: symbol BTCUSDT, first_ns 0"),
        ("notice", None, "notice: None"),
    ],
)
def test_each_kind_of_notice_has_its_words(kind: str, body: Any, words: str) -> None:
    assert told(kind, body) == words
