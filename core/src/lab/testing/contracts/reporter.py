"""The contract of reporters: R1 to R11."""

import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from lab.ports import Record, Reporter, RunInfo
from lab.reporting.host import END_S
from lab.testing.contracts.base import Contract, rule
from lab.testing.contracts.broken_rows import KINDS, broken_rows, numbered
from lab.testing.contracts.purity import written_paths
from lab.testing.contracts.reporter_harness import (
    CANCELLED_S,
    noted,
    output_caught,
    run_directory,
    seconds_to_end,
    started,
)
from lab.testing.contracts.shared import SETTINGS_CURE, SETTINGS_WHY, check_settings
from lab.testing.sample_runs import SampleRun, sample_run

Make = Callable[[], Reporter]


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

    @rule("R1", SETTINGS_WHY, SETTINGS_CURE)
    def test_settings_have_defaults_and_help(self, make: Make) -> None:
        check_settings(make(), Reporter)

    @rule(
        "R2",
        "five seconds after the end of the run a reporter that is not done is cancelled, and abandoned if it goes on.",
        "loop over the records to the end (async for), then finish and return; block for nothing that may not come.",
    )
    def test_takes_every_row_and_returns(self, make: Make) -> None:
        run = sample_run()
        with run_directory() as directory:
            taken = self._report(make(), run.info(directory), run.records)
        assert taken == len(run.records), f"it took {taken} of {len(run.records)} rows"

    @rule(
        "R3",
        "a row that cannot be read must cost one line of a report, not the report.",
        "decode inside a try, leave a debug line and go on with the next row.",
    )
    def test_survives_malformed_bodies(self, make: Make) -> None:
        run = sample_run()
        for kind in KINDS:
            with run_directory() as directory, noted(f"kind: {kind}"):
                self._report(make(), run.info(directory), numbered([*run.records[:20], *broken_rows(run, kind)]))

    @rule(
        "R4",
        "a newer lab writes kinds an older reporter does not know.",
        "ignore kinds you do not know; match the ones you do.",
    )
    def test_survives_unknown_kinds(self, make: Make) -> None:
        run = sample_run()
        strange = [Record(0, 0, kind, b'{"what":1}') for kind in ("invented_tomorrow", "", "order", "run")]
        with run_directory() as directory:
            self._report(make(), run.info(directory), numbered([*run.records[:5], *strange, *run.records[5:]]))

    @rule(
        "R5",
        "a run can end before anything happened: without a price, without a row.",
        "guard every first, last and division.",
    )
    def test_survives_an_empty_run(self, make: Make) -> None:
        run = sample_run()
        for records in ((), run.records[:1], run.records[:2]):
            with run_directory() as directory, noted(f"{len(records)} rows"):
                self._report(make(), run.info(directory), records)

    @rule(
        "R6",
        "a reporter's place is the run's directory: anywhere else somebody may lose a file of theirs.",
        "build every path from run.directory.",
    )
    def test_writes_inside_the_runs_directory_only(self, make: Make) -> None:
        run = sample_run()
        with run_directory() as directory:
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
        with run_directory() as directory:
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
        with run_directory() as directory, output_caught():
            thread = started(make(), run.info(directory), run.records, endless=True)
            time.sleep(0.05)
            thread.cancel()
            took = seconds_to_end(thread, 3 * CANCELLED_S)
        assert took is not None, "it went on after it was cancelled"
        assert took <= CANCELLED_S, f"it ended {took:.1f} s after it was cancelled"

    @rule(
        "R10",
        "--json promises one document on standard output: a word beside it breaks who reads it.",
        "print nothing when run.quiet is true.",
    )
    def test_says_nothing_when_quiet(self, make: Make) -> None:
        run = sample_run()
        with run_directory() as directory, output_caught() as said:
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
            with run_directory() as directory:
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
        with output_caught():
            return self._take(reporter, info, records)

    def _take(self, reporter: Reporter, info: RunInfo, records: Sequence[Record]) -> int:
        thread = started(reporter, info, records)
        if seconds_to_end(thread, self.patience_s) is None:
            thread.cancel()
            obeyed = seconds_to_end(thread, CANCELLED_S) is not None
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


def _inside(path: Path, directory: Path) -> bool:
    return path.absolute().resolve().is_relative_to(directory)
