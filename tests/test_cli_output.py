"""Output may fill up, be closed or be very narrow: a run goes on, its files are whole, and the exit code says how."""

import contextlib
import os
import re
import signal
import struct
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from lab.cli.output import rounded
from lab.journal.report import build_report
from lab.runs.previous import running

RUN = ("run", "--provider", "mock", "--speed", "max", "--minutes", "2")
FULL = Path("/dev/full")
FILES = {"events.jsonl", "final_report.json", "journal.db", "journal.mark", "summary.html", "tape-0001.jsonl.zst"}


def _process(lab: Any, *args: str, **streams: Any) -> subprocess.CompletedProcess[str]:
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    buffered = {name: value for name, value in lab.environment.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(lab.command(*args), cwd=lab.folder, env=buffered, text=True, timeout=60, check=False, **given)


def _check_whole(lab: Any) -> None:
    report = lab.run().report()
    assert report == lab("report", "--json").json()
    names = {path.name for path in lab.run().folder.iterdir()}
    assert (report["exit_code"], names) == (0, FILES)


@pytest.mark.behaviour("V6", "S5")
@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_one_line_and_74_and_the_runs_files_are_whole(lab: Any) -> None:
    with FULL.open("w") as full:
        done = _process(lab, *RUN, stdout=full)
    assert done.returncode == 74
    assert done.stderr == "lab: standard output cannot be written: No space left on device\n"
    _check_whole(lab)
    for args in (("runs",), ("plugins", "--json"), ("--help",)):
        with FULL.open("w") as full:
            done = _process(lab, *args, stdout=full)
        assert (done.returncode, len(done.stderr.splitlines())) == (74, 1), args
    with FULL.open("w") as full:
        assert _process(lab, "run", "--provider", "nosuch", stderr=full).returncode == 64
        assert _process(lab, "run", "--provider", "nosuch", stdout=full).returncode == 64, "its own failure comes first"


@pytest.mark.behaviour("V6", "S3")
@pytest.mark.skipif(sys.platform == "win32", reason="terminals are files on POSIX only")
@pytest.mark.parametrize("more", [[], ["--supervise"]], ids=["alone", "supervised"])
def test_a_session_whose_terminal_is_closed_ends_in_order_and_with_0(lab: Any, more: list[str]) -> None:
    master, slave = os.openpty()
    process = subprocess.Popen(
        lab.command("run", "--provider", "mock", "--speed", "20", "--minutes", "60", *more), cwd=lab.folder,
        env=lab.environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    shown = b""
    while b"Equity" not in shown:
        shown += os.read(master, 65_536)
    os.close(master)
    process.send_signal(signal.SIGHUP)  # as the kernel does to the processes of a terminal that is gone
    assert process.wait(timeout=40) == 0
    report = lab.run().report()
    assert (report["reason"], report["exit_code"]) == ("stopped", 0)


@pytest.mark.behaviour("S4")
@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_supervised_run_that_is_complete_is_not_begun_again_because_its_output_was_lost(lab: Any) -> None:
    with FULL.open("w") as full:
        done = _process(lab, "run", "--provider", "mock", "--speed", "60", "--minutes", "1", "--supervise", stdout=full)
    assert (done.returncode, "starts again" in done.stderr) == (74, False), done.stderr
    assert len(list(lab.folder.glob("runs/2*"))) == 1
    assert lab.run().report()["reason"] == "completed"


@pytest.mark.behaviour("V6", "S5")
@pytest.mark.parametrize("more", [[], ["--json"], ["--no-write"], ["--reporter", "none"]], ids=" ".join)
def test_a_reader_that_leaves_changes_neither_run_nor_exit_code(lab: Any, more: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = _process(lab, *RUN, *more, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
    if not more:
        _check_whole(lab)


@pytest.mark.parametrize("args", [("plugins",), ("--help",), ("run", "--help"), ("completion", "bash")], ids=" ".join)
def test_a_listing_into_a_pipe_nobody_reads_is_no_failure(lab: Any, args: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = _process(lab, *args, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.behaviour("V6")
@pytest.mark.skipif(sys.platform == "win32", reason="closed descriptors are a POSIX affair")
def test_a_run_without_standard_output_is_a_run(lab: Any) -> None:
    done = _process(lab, *RUN, stdout=None, preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (0, "")
    _check_whole(lab)
    assert lab.run().report()["error_count"] == 0


@pytest.mark.behaviour("V6")
def test_no_line_of_lab_holds_what_a_terminal_acts_on(lab: Any) -> None:
    nasty = "\x1b[2J\x9b31m\rx\x07"
    (lab.folder / "a.csv").write_text(f"time,{nasty},close\n1,2,3\n", encoding="utf-8")
    commands = (
        ("backtest", "a.csv"), ("backtest", nasty), ("run", "--provider", nasty), ("run", "--symbol", nasty), (nasty,),
        ("report", nasty), ("run", f"--{nasty}"), ("config", "--set", nasty),
    )  # fmt: skip
    for command in commands:
        result = lab(*command, env={f"LAB_X{nasty}": "1"})
        assert result.code in {64, 78}, result
        assert result.err.startswith("lab: ")
        assert all(c.isprintable() or c == "\n" for c in result.err), (command, result.err)


def test_figures_are_rounded_for_people_and_exact_in_json(lab: Any) -> None:
    assert lab("backtest", "btcusd-1m", "--strategy", "sma", "--set", "sma.fast=7").code == 0
    exact = lab("report", "--json").json()
    assert len(exact["ending_equity"].partition(".")[2]) > 4
    shown = dict(line.split("  ", 1) for line in lab("report").out.splitlines() if "  " in line)
    for key in ("ending equity", "pnl absolute", "fees paid", "max drawdown", "pnl percent"):
        assert len(shown[key].strip().partition(".")[2]) <= 2, (key, shown[key])
    assert abs(float(shown["ending equity"]) - float(exact["ending_equity"])) <= 0.005
    assert shown["pnl absolute"].strip() in lab("runs").out.splitlines()[-1].split()


@pytest.mark.parametrize(
    ("exact", "shown"),
    [
        ("-522.732022542", "-522.73"), ("0.000412345", "0.0004123"), ("-0.001", "-0.001"), ("0.5", "0.5"),
        ("12.000", "12.00"), ("0.000", "0"), ("-0.0000000000", "0"), ("99999.999", "100000.00"),
    ],
)  # fmt: skip
def test_a_figure_is_shown_with_two_decimals_or_four_digits(exact: str, shown: str) -> None:
    assert rounded(Decimal(exact)) == shown


def test_times_are_in_seconds_and_degradations_a_line_each_for_people(lab: Any) -> None:
    assert lab.mock("--gate", "none", "--set", "paper.latency_ms=60000", minutes=40).code == 0
    report = lab("report", "--json").json()
    shown = lab("report").out
    assert re.search(rf"^started +{report['started'][:19]}Z$", shown, re.MULTILINE)
    first, second, *_ = map(re.escape, report["degradations"])
    assert re.search(rf"^degradations +{first}\n +{second}$", shown, re.MULTILINE)


def test_a_run_that_writes_nothing_says_so(lab: Any) -> None:
    for command in (("backtest", "btcusd-1m"), RUN):
        result = lab(*command, "--no-write", "--reporter", "html")
        assert result.code == 0
        assert result.out.splitlines()[-1].startswith("files: none")
    assert lab.files() == []


@pytest.mark.parametrize("command", [("verify",), ("backtest", "btcusd-1m", "--reporter", "html")], ids=" ".join)
def test_progress_is_shown_on_a_terminal_only_and_is_gone_at_the_end(
    lab: Any, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    assert lab("backtest", "btcusd-1m").code == 0
    assert lab(*command).err == ""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("lab.cli.progress._EVERY_S", 0.0)
    monkeypatch.setattr("lab.cli.progress._is_terminal", lambda: True)
    shown = lab(*command).err
    assert shown.endswith("\r\x1b[K")
    assert "\n" not in shown
    assert "inputs" in shown
    assert ("comparing" if command[0] == "verify" else "writing html") in shown


@pytest.mark.behaviour("V3")
def test_a_terminal_of_twenty_columns_is_wide_enough(lab: Any) -> None:
    narrow = {"COLUMNS": "20"}
    for args in (RUN, ("runs",), ("report",), ("plugins",), ("config",), ("--help",), ("run", "--help")):
        result = lab(*args, env=narrow)
        assert (result.code, result.err) == (0, ""), args
        assert result.out
    assert lab.run().report()["error_count"] == 0
    for odd in ("0", "-5", "x", "1"):
        assert lab("run", "--help", env={"COLUMNS": odd}).code == 0


@pytest.mark.behaviour("V3")
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_that_is_made_smaller_shows_nothing_of_the_view_it_had_before(lab: Any) -> None:
    import fcntl
    import pty
    import termios

    def resize(rows: int, columns: int) -> None:
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read_until(words: bytes) -> bytes:
        seen, until = b"", time.monotonic() + 10
        while words not in seen and time.monotonic() < until:
            seen += os.read(ours, 65536)
        return seen

    ours, theirs = pty.openpty()
    resize(40, 100)
    wild = {name: value for name, value in lab.environment.items() if name not in {"COLUMNS", "LINES"}}
    process = subprocess.Popen(
        lab.command("run", "--provider", "mock", "--minutes", "1", "--reporter", "terminal"), cwd=lab.folder,
        env={**wild, "TERM": "xterm-256color"}, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    try:
        os.close(theirs)
        assert "╯".encode() in read_until("╯".encode())
        resize(30, 50)
        wiped = read_until(b"\x1b[2J\x1b[H")
        assert b"\x1b[2J\x1b[H" in wiped, "the terminal broke the old lines anew: only wiping all of it leaves none"
        drawn = (wiped.rpartition(b"\x1b[2J\x1b[H")[2] + read_until("╯".encode())).decode()
        assert "Provider" in drawn, "the header is shown again"
        assert len(drawn[drawn.index("╭") :].partition("\r")[0]) == 50
    finally:
        process.kill()
        process.wait(timeout=10)
        os.close(ours)


def test_a_setting_is_written_in_one_way_by_header_list_and_report(lab: Any) -> None:
    header = lab.mock("--reporter", "terminal", "--set", "mock.volatility=0.00012345", minutes=1).out
    shown = lab("report").out
    assert "stop_percent 1, target_percent 2," in header
    assert re.search(r"settings sma .*stop_percent: 1, target_percent: 2$", shown, re.MULTILINE)
    assert re.search(r"sma.stop_percent +1 ", lab("plugins", "sma").out)
    assert "volatility 0.00012345" in header
    assert "volatility: 0.00012345" in shown, "a setting is no figure to be rounded"


def test_report_proof_and_replay_of_a_run_that_is_still_running_say_so_in_one_line(lab: Any) -> None:
    assert lab.mock("--reporter", "none", minutes=2).code == 0
    folder = lab.run().folder
    lab.run().take_the_end_back()
    with running(folder):
        shown = lab("report", "--json")
        report = shown.json()
        assert (report["status"], report["reason"], report["error"]) == ("running", "not ended yet", "")
        assert (report["error_count"], report["degradations"], report["no_trade_reason"]) == (0, [], None)
        assert shown.err.splitlines() == [
            f"lab: {folder.name} is still running; these are its figures at its last commit"
        ]
        for command in ("verify", "replay"):
            said = lab(command, folder.name)
            assert said.code == 0
            assert said.err.startswith(f"lab: {folder.name} is still running; "), said
            assert len(said.err.splitlines()) == 1
    assert lab("report", folder.name, "--json").json()["status"] == "failed"
    cut_off = f"lab: {folder.name} was cut off before its end; this is about what it had recorded by then\n"
    assert lab("verify", folder.name).err == cut_off


def test_a_run_that_ends_while_it_is_read_is_not_shown_as_failed(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lab.mock("--reporter", "none", minutes=2).code == 0
    folder = lab.run().folder
    lab.run().take_the_end_back()
    for command in (("report", "--json"), ("runs", "--json")):
        alive = contextlib.ExitStack()
        alive.enter_context(running(folder))

        def build(reader: Any, alive: contextlib.ExitStack = alive) -> Any:
            report = build_report(reader)
            alive.close()
            return report

        monkeypatch.setattr("lab.journal.report.build_report", build)
        shown = lab(*command).json()
        assert shown.get("runs", [shown])[0]["status"] == "running"


def test_the_proof_of_a_run_that_never_reached_its_provider_names_its_head(lab: Any) -> None:
    unreachable = ("--provider", "bitunix", "--set", "bitunix.rest_url=http://127.0.0.1:9", "--start-timeout", "1")
    assert lab("run", *unreachable, "--reporter", "none").code == 3
    said = lab("verify")
    assert said.code == 0
    assert f"head {lab.run().raw()[-1][6].hex()[:16]}" in said.out


def test_a_tilde_in_the_state_directory_is_the_home_folder(lab: Any, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path / "home"), "USERPROFILE": str(tmp_path / "home")}
    (lab.folder / "lab.toml").write_text('[run]\nstate_dir = "~/states"\n')
    assert lab.mock("--config", "lab.toml", "--reporter", "none", minutes=2, env=home).code == 0
    assert len(list((tmp_path / "home" / "states" / "runs").glob("*mock*"))) == 1
    assert "completed" in lab("runs", "--config", "lab.toml", env=home).out
    assert not (lab.folder / "~").exists()
