"""The pieces that keep reporters apart from trading: rows handed over, snapshots, threads, and the log of failures."""

import io
import sys
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from lab import Record, Reporter, RunInfo
from lab.errors import JournalError, describe_error
from lab.reporting import rows as rows_module
from lab.reporting.host import ReporterHost
from lab.reporting.rows import RowFeed
from lab.reporting.snapshot import Snapshot
from lab.runs.failures import FailureLog
from lab.testing import sample_run


def records(first: int, last: int) -> list[Record]:
    return [Record(seq, seq, "notice", b"{}") for seq in range(first, last + 1)]


def seqs(found: Any) -> list[int]:
    return [record.seq for record in found]


# -- rows --------------------------------------------------------------------------------------------------------------


def test_the_newest_rows_come_from_memory_and_older_ones_from_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "KEPT_BESIDE_A_FILE", 4)
    asked: list[int] = []

    def read(seq: int, limit: int) -> list[Record]:
        asked.append(seq)
        return records(seq + 1, min(20, seq + limit))

    feed = RowFeed(read)
    assert (seqs(feed.after(0)), asked) == ([], []), "a run that has begun has no row yet"
    for first in range(1, 21, 2):
        feed.add(records(first, first + 1))
    assert (seqs(feed.after(18)), asked) == ([19, 20], [])
    assert seqs(feed.after(20)) == []
    assert (seqs(feed.after(0))[:3], asked) == ([1, 2, 3], [0])
    feed.close()
    assert seqs(feed.after(0)) == [], "the journal is being closed"


def test_rows_that_are_kept_are_bounded_and_a_page_is_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "KEPT_WITHOUT", 10)
    monkeypatch.setattr(rows_module, "PAGE", 3)
    feed = RowFeed(None)
    for seq in range(1, 101):
        feed.add(records(seq, seq))
    assert seqs(feed.after(99)) == [100]
    page = seqs(feed.after(0))
    assert len(page) == 3
    assert 81 <= page[0] <= 91, "the oldest that is kept"


def test_a_page_that_was_given_out_does_not_change() -> None:
    feed = RowFeed(None)
    feed.add(records(1, 3))
    page = feed.after(0)
    feed.add(records(4, 5))
    assert seqs(page) == [1, 2, 3]


def test_a_record_cannot_be_changed() -> None:
    (record,) = records(1, 1)
    for change in (setattr, object.__setattr__):
        with pytest.raises(AttributeError):
            change(record, "body", b"HACKED")


# -- snapshots ---------------------------------------------------------------------------------------------------------


def test_a_snapshot_that_nobody_reads_is_not_made_again() -> None:
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return len(made)

    snapshot = Snapshot(make)
    for _ in range(5):
        snapshot.refresh()
    assert len(made) == 1
    assert snapshot.read() == 1, "it is fresh"
    time.sleep(0.25)
    snapshot.refresh()
    snapshot.refresh()
    assert len(made) == 2, "somebody reads it, and five times a second is enough"


def test_reading_waits_for_a_fresh_value_but_not_for_long_and_not_after_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lab.reporting.snapshot._FRESH_S", 0.0)
    monkeypatch.setattr("lab.reporting.snapshot._APART_S", 0.0)
    value = [1]
    snapshot = Snapshot(lambda: value[0])
    value[0] = 2
    trading = threading.Timer(0.1, snapshot.refresh)
    trading.start()
    assert snapshot.read() == 2
    trading.join()
    began = time.monotonic()
    assert snapshot.read() == 2, "trading does not come to make one"
    assert 0.9 < time.monotonic() - began < 1.5
    value[0] = 3
    snapshot.finish()
    began = time.monotonic()
    assert snapshot.read() == 3
    assert time.monotonic() - began < 0.1


# -- the host ----------------------------------------------------------------------------------------------------------


@attrs.define(kw_only=True)
class Slow(Reporter):
    """Takes its time for each row."""

    seconds: float = attrs.field(default=0.0, metadata={"help": "for each row"})
    blocking: bool = attrs.field(default=True, metadata={"help": "sleep in the loop's way"})
    taken: list[int] = attrs.field(init=False, factory=list)

    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        async for record in records:
            self.taken.append(record.seq)
            if self.seconds:
                time.sleep(self.seconds)


def host_of(
    *reporters: Reporter, said: list[str] | None = None, feed: RowFeed | None = None
) -> tuple[ReporterHost, RowFeed]:
    feed = feed or RowFeed(None)
    named = [(f"r{number}", one) for number, one in enumerate(reporters)]
    return ReporterHost(named, feed, sample_run().info(None), FailureLog(say=(said or []).append)), feed


def test_handing_rows_over_never_waits_for_a_reporter() -> None:
    slow = Slow(seconds=0.5)
    host, _ = host_of(slow, Slow())
    host.start()
    began = time.monotonic()
    for seq in range(1, 1001):
        host.publish(records(seq, seq))
    assert time.monotonic() - began < 0.4
    host.end()
    host.finish(hurried=lambda: True)


def test_every_reporter_is_given_every_row_in_order() -> None:
    several = [Slow(), Slow(), Slow()]
    host, _ = host_of(*several)
    host.start()
    for seq in range(1, 2001, 4):
        host.publish(records(seq, seq + 3))
    host.end()
    host.finish()
    assert host.degradations == []
    assert [one.taken for one in several] == [list(range(1, 2001))] * 3


@pytest.mark.parametrize("real_time", [True, False])
def test_only_beside_trading_in_real_time_a_reporter_gives_the_interpreter_back_sooner(real_time: bool) -> None:
    before = sys.getswitchinterval()
    host, _ = host_of(Slow())
    host.start(real_time=real_time)
    assert sys.getswitchinterval() == pytest.approx(0.001 if real_time else before)
    host.end()
    host.finish()
    assert sys.getswitchinterval() == before


def test_rows_and_the_end_that_come_while_a_reporter_looks_for_rows_are_not_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lab.reporting.host.END_S", 1.0)

    class Overtaken(RowFeed):
        """The trading thread commits its last rows just after a reporter looked and found none."""

        looks = 0

        def after(self, seq: int) -> Sequence[Record]:
            page = super().after(seq)
            self.looks += 1
            if self.looks == 1:
                host.publish(records(1, 3))
                host.end()
            return page

    reporter = Slow()
    host, _ = host_of(reporter, feed=Overtaken(None))
    host.start()
    time.sleep(0.2)
    host.finish()
    assert reporter.taken == [1, 2, 3]
    assert host.degradations == []


def test_a_backtests_reporter_has_five_seconds_from_the_last_row_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.reporting.host.END_S", 0.3)
    steady, stuck = Slow(seconds=0.1), Slow(seconds=1.5)
    feed = RowFeed(None)
    feed.add(records(1, 8))
    feed.end()
    host, _ = host_of(steady, stuck, feed=feed)
    host.start()
    host.finish(while_taking=True)
    assert steady.taken == list(range(1, 9)), "eight tenths of a second, always at work"
    assert host.degradations == ["reporter_unfinished r1: not done 0.3 s after the end, after 1 rows"]


def test_nobody_waits_for_reporters_that_were_never_started() -> None:
    host, _ = host_of(Slow())
    began = time.monotonic()
    host.finish()
    assert time.monotonic() - began < 0.5
    assert host.degradations == []


def test_a_second_signal_ends_the_waiting_at_once() -> None:
    said = ["before"]
    host, _ = host_of(Slow(seconds=2.0), said=said)
    host.start()
    host.publish(records(1, 1))
    time.sleep(0.1)
    host.end()
    began = time.monotonic()
    host.finish(hurried=lambda: time.monotonic() - began > 0.1)
    assert time.monotonic() - began < 0.6
    assert host.degradations == ["reporter_unfinished r0: not done when a second signal came, after 1 rows"]
    assert said[1:] == ["reporter r0 was not done when a second signal came and was abandoned"]


def test_rows_that_cannot_be_read_are_told_in_one_line_and_are_no_defect_of_the_reporter(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = ["before"]

    def read(seq: int, limit: int) -> list[Record]:
        raise JournalError("runs/x/journal.db: cannot be read: disk I/O error")

    host, feed = host_of(Slow(), said=said, feed=RowFeed(read))
    host._failures.directory = tmp_path  # noqa: SLF001 - where a traceback would be written
    host.start()
    feed.add(records(5, 5))
    host.end()
    host.finish()
    assert host.degradations == ["reporter_failed r0: runs/x/journal.db: cannot be read: disk I/O error"]
    assert said[1:] == [
        "reporter r0 ended early, as rows can't be read: runs/x/journal.db: cannot be read: disk I/O error"
    ]
    assert capsys.readouterr().err == ""
    assert list(tmp_path.iterdir()) == []


# -- the log of failures -----------------------------------------------------------------------------------------------


def failure(text: str = "missing") -> BaseException:
    def helper() -> None:
        raise KeyError(text)

    try:
        helper()
    except KeyError as error:
        return error
    raise AssertionError


def test_each_failure_is_written_once_with_its_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = FailureLog(tmp_path)
    for _ in range(3):
        log.note("strategy", "dip", "on_candle", failure())
    log.note("strategy", "dip", "on_quote", failure())
    text = (tmp_path / "errors.log").read_text(encoding="utf-8")
    for found in (capsys.readouterr().err, text):
        assert found.count("strategy dip failed in on_candle: KeyError: 'missing'\n") == 1
        assert found.count("strategy dip failed in on_quote: KeyError: 'missing'\n") == 1
        assert found.count("Traceback (most recent call last)") == 2
        assert "in helper\n" in found
    assert text.splitlines()[0][:2] == "20"


def test_what_the_log_writes_is_bounded_in_number_and_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = FailureLog(tmp_path)
    for number in range(200):
        log.note("gate", "margin", "review", failure(f"{number} {'x' * 100_000}"))
    said = capsys.readouterr().err
    assert said.count("Traceback") == 50
    assert "lab: 50 different failures of components are written; further ones are not\n" in said
    assert (tmp_path / "errors.log").stat().st_size < 200_000

    def deep(levels: int) -> None:
        if levels:
            return other(levels - 1)
        raise ValueError("deep down")

    def other(levels: int) -> None:
        return deep(levels)

    try:
        deep(400)
    except ValueError as error:
        FailureLog().note("broker", "paper", "submit", error)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) < 200
    assert lines[-1] == "ValueError: deep down"
    assert any("lines left out" in line for line in lines)


def test_nothing_a_component_says_in_an_error_acts_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    FailureLog(say=lambda text: None).note("strategy", "dip", "on_candle", ValueError("\x1b[2Jgone"))
    assert "ValueError: \\x1b[2Jgone\n" in capsys.readouterr().err


def test_the_log_never_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("and this one too")

    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr("sys.stderr", closed)
    FailureLog(tmp_path / "gone").note("strategy", "dip", "on_candle", Unprintable())
    assert describe_error(Unprintable()) == "Unprintable: <Unprintable that cannot be described: RuntimeError>"
