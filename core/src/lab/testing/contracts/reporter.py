"""The contract of reporters: R1 to R11."""

import contextlib
import io
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Final

import msgspec

from lab.ports import Record, Reporter, RunInfo
from lab.reporting.host import END_S, ReporterThread
from lab.reporting.rows import RowFeed
from lab.testing.contracts.base import Contract, rule
from lab.testing.contracts.purity import written_paths
from lab.testing.contracts.shared import SETTINGS_CURE, SETTINGS_WHY, check_settings
from lab.testing.sample_runs import SampleRun, sample_run

Make = Callable[[], Reporter]

_CANCELLED_S: Final = 1.0
_BODIES: Final = (
    b"", b"{", b"null", b"[]", b"{}", b"7", b'"x"', b"\xff\xfe", b'{"a":1}', b"[1,2,3]", b"[" * 2_000, b"NaN",
)  # fmt: skip
_FIGURES: Final[tuple[object, ...]] = (None, "NaN", "1e999999", [], -1)
_KINDS: Final = (
    "run_started", "run_ended", "candle", "quote", "funding", "trading_state", "notice",
    "timer", "command", "deposit", "signal",
    "order_accepted", "order_refused", "order_filled", "order_ended", "strategy_stopped", "candle_ignored", "gap",
)  # fmt: skip


class ReporterContract(Contract):
    """What lab relies on in every reporter. Inherit it, give the fixture ``make``, and run pytest.

        class TestMyReport(ReporterContract):
            @pytest.fixture
            def make(self):
                return MyReport

    ``make`` gives a fresh instance each time. As in a real run it works in a separate thread, on an event loop of
    its own in real time, so one that blocks for ever fails its rule and does not stop the suite. It is given the
    rows of a real run (see `sample_run`), in a directory that holds files it must leave alone. What it prints is
    caught.
    """

    patience_s: ClassVar[float] = END_S
    """How long a reporter may take after the last row."""

    @rule(
        "R1",
        SETTINGS_WHY,
        SETTINGS_CURE,
    )
    def test_settings_have_defaults_and_help(self, make: Make) -> None:
        check_settings(make(), Reporter)

    @rule(
        "R2",
        "five seconds after the end of the run a reporter that is not done is cancelled, and abandoned if it goes on.",
        "loop over the records to the end (async for), then finish and return; block for nothing that may not come.",
    )
    def test_takes_every_row_and_returns(self, make: Make) -> None:
        run = sample_run()
        with _directory() as directory:
            taken = self._report(make(), run.info(directory), run.records)
        assert taken == len(run.records), f"it took {taken} of {len(run.records)} rows"

    @rule(
        "R3",
        "a row that cannot be read must cost one line of a report, not the report.",
        "decode inside a try, leave a debug line and go on with the next row.",
    )
    def test_survives_malformed_bodies(self, make: Make) -> None:
        run = sample_run()
        for kind in _KINDS:
            with _directory() as directory, _noted(f"kind: {kind}"):
                self._report(make(), run.info(directory), _numbered([*run.records[:20], *_broken(run, kind)]))

    @rule(
        "R4",
        "a newer lab writes kinds an older reporter does not know.",
        "ignore kinds you do not know; match the ones you do.",
    )
    def test_survives_unknown_kinds(self, make: Make) -> None:
        run = sample_run()
        strange = [Record(0, 0, kind, b'{"what":1}') for kind in ("invented_tomorrow", "", "order", "run")]
        with _directory() as directory:
            self._report(make(), run.info(directory), _numbered([*run.records[:5], *strange, *run.records[5:]]))

    @rule(
        "R5",
        "a run can end before anything happened: without a price, without a row.",
        "guard every first, last and division.",
    )
    def test_survives_an_empty_run(self, make: Make) -> None:
        run = sample_run()
        for records in ((), run.records[:1], run.records[:2]):
            with _directory() as directory, _noted(f"{len(records)} rows"):
                self._report(make(), run.info(directory), records)

    @rule(
        "R6",
        "a reporter's place is the run's directory: anywhere else somebody may lose a file of theirs.",
        "build every path from run.directory.",
    )
    def test_writes_inside_the_runs_directory_only(self, make: Make) -> None:
        run = sample_run()
        with _directory() as directory:
            outside = [path for path in self._written(make, run, directory) if not _inside(path, directory)]
        assert not outside, f"it wrote {', '.join(map(str, outside))}"

    @rule(
        "R7",
        "--no-write promises that no file is left behind.",
        "write nothing when run.directory is None, but take the rows to the end.",
    )
    def test_writes_nothing_without_a_directory(self, make: Make) -> None:
        run = sample_run()
        written = self._written(make, run, None)
        assert not written, f"without a directory it wrote {', '.join(map(str, written))}"

    @rule(
        "R8",
        "the journal is the truth the report is made from, and other files belong to other writers.",
        "leave the files of the run's directory alone that you did not make.",
    )
    def test_leaves_the_runs_other_files_alone(self, make: Make) -> None:
        run = sample_run()
        with _directory() as directory:
            before = {path: path.read_bytes() for path in sorted(directory.iterdir())}
            self._report(make(), run.info(directory), run.records)
            for path, content in before.items():
                same = path.exists() and path.read_bytes() == content
                assert same, f"it changed {path.name}"

    @rule(
        "R9",
        "a second interrupt cancels reporters and leaves those behind that go on, with their work half done.",
        "let the cancellation through, and finish what must be finished without waiting.",
    )
    def test_a_cancelled_reporter_ends(self, make: Make) -> None:
        run = sample_run()
        with _directory() as directory, _caught():
            thread = _started(make(), run.info(directory), run.records, endless=True)
            time.sleep(0.05)
            thread.cancel()
            took = _seconds_to_end(thread, 3 * _CANCELLED_S)
        assert took is not None, "it went on after it was cancelled"
        assert took <= _CANCELLED_S, f"it ended {took:.1f} s after it was cancelled"

    @rule(
        "R10",
        "--json promises one document on standard output: a word beside it breaks who reads it.",
        "print nothing when run.quiet is true.",
    )
    def test_says_nothing_when_quiet(self, make: Make) -> None:
        run = sample_run()
        with _directory() as directory, _caught() as said:
            self._take(make(), run.info(directory, quiet=True), run.records)
        assert not said.getvalue(), f"it printed {said.getvalue()[:200]!r}"

    @rule(
        "R11",
        "a reporter shares its process with trading and with other reporters.",
        "use absolute paths instead of os.chdir, pass settings instead of setting os.environ, and end your threads.",
    )
    def test_leaves_the_process_as_it_was(self, make: Make) -> None:
        run = sample_run()
        folder, environment, threads = Path.cwd(), dict(os.environ), set(threading.enumerate())
        try:
            with _directory() as directory:
                self._report(make(), run.info(directory), run.records)
            assert Path.cwd() == folder, f"it changed the working folder to {Path.cwd()}"
            changed = sorted(name for name, _ in dict(os.environ).items() ^ environment.items())
            assert not changed, f"it changed the environment: {', '.join(changed)}"
            left = sorted(one.name for one in set(threading.enumerate()) - threads)
            assert not left, f"it left threads running: {', '.join(left)}"
        finally:
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environment)

    def _report(self, reporter: Reporter, info: RunInfo, records: Sequence[Record]) -> int:
        """Run a reporter to its end and return how many rows it took. What it prints is caught."""
        with _caught():
            return self._take(reporter, info, records)

    def _take(self, reporter: Reporter, info: RunInfo, records: Sequence[Record]) -> int:
        thread = _started(reporter, info, records)
        if _seconds_to_end(thread, self.patience_s) is None:
            thread.cancel()
            obeyed = _seconds_to_end(thread, _CANCELLED_S) is not None
            more = "" if obeyed else ", and went on after it was cancelled"
            raise AssertionError(f"it was not done {self.patience_s} s after the last row{more}")
        return thread.taken

    def _written(self, make: Make, run: SampleRun, directory: Path | None) -> list[Path]:
        """Return what a reporter writes, once everything it imports is imported."""
        with tempfile.TemporaryDirectory() as elsewhere:
            self._report(make(), run.info(Path(elsewhere) if directory is not None else None), run.records)
        found: list[str] = []
        with written_paths(found):
            self._report(make(), run.info(directory), run.records)
        return [Path(path) for path in found]


class _Thread(ReporterThread):
    """A reporter at work as in a run; what it raised is kept."""

    error: BaseException | None = None


def _started(reporter: Reporter, info: RunInfo, records: Sequence[Record], *, endless: bool = False) -> _Thread:
    """Return a reporter at work on these rows, which are all there before it starts; an endless run has no end."""

    def keep(_: ReporterThread, error: BaseException) -> None:
        thread.error = error

    feed = RowFeed(None)
    feed.add(records)
    if not endless:
        feed.end()
    thread = _Thread(type(reporter).__name__, reporter, info, feed, keep)
    thread.start()
    return thread


def _seconds_to_end(thread: _Thread, most_s: float) -> float | None:
    """Return how long a reporter took to end, ``None`` for one that goes on. Raises what it raised."""
    began = time.monotonic()
    if not thread.done.wait(most_s):
        return None
    took = time.monotonic() - began
    thread.join(_CANCELLED_S)
    if isinstance(thread.error, Exception):
        raise thread.error
    if thread.error is not None:
        raise AssertionError(f"it raised {thread.error!r}") from thread.error
    return took


def _broken(run: SampleRun, kind: str) -> Iterator[Record]:
    """Yield rows of a kind that are torn, of the wrong shape, and nearly right."""
    for body in _BODIES:
        yield Record(0, 0, kind, body)
    good = next((record.body for record in run.records if record.kind == kind), None)
    if good is not None:
        yield Record(0, 10**30, kind, good)
        yield Record(0, 0, kind, good[:-1])
        for bad in _FIGURES:
            for spoilt in _spoilt(msgspec.json.decode(good), bad):
                yield Record(0, 0, kind, msgspec.json.encode(spoilt))


def _spoilt(value: object, bad: object) -> Iterator[object]:
    """Yield copies of a body, each with one of its figures replaced."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from ({**value, key: one} for one in _spoilt(inner, bad))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from ([*value[:place], one, *value[place + 1 :]] for one in _spoilt(inner, bad))
    else:
        yield bad


def _numbered(records: Iterable[Record]) -> list[Record]:
    return [Record(number, one.time_ns, one.kind, one.body) for number, one in enumerate(records, start=1)]


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    """Make a run's directory with the files in it that others write."""
    with tempfile.TemporaryDirectory() as above:
        directory = Path(above).resolve() / "run"
        directory.mkdir()
        (directory / "journal.db").write_bytes(b"the journal")
        (directory / "tape-0001.jsonl.zst").write_bytes(b"the tape")
        (directory / "final_report.json").write_bytes(b"{}")
        (directory / "errors.log").write_bytes(b"what failed")
        yield directory


@contextlib.contextmanager
def _caught() -> Iterator[io.StringIO]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        yield said


@contextlib.contextmanager
def _noted(note: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        error.add_note(note)
        raise


def _inside(path: Path, directory: Path) -> bool:
    return path.absolute().resolve().is_relative_to(directory)
