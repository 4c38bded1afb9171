"""Finishes a session: its report, its reporters, and its files."""

from lab.errors import JournalError, RunError
from lab.exit_codes import EndReason
from lab.live.outcome import unwritten
from lab.live.session import Session
from lab.live.signals import Interrupts
from lab.records.report import Report
from lab.runs import directory as directories
from lab.runs.result import Echo, RunResult


def finish(session: Session, interrupts: Interrupts, say: Echo) -> RunResult:
    """Write the report, wait for reporters, write it again where one of them failed, and close the files."""
    try:
        report = _write_report(session, session.conclude(), say)
        if session.wait_for_reporters(report, hurried=lambda: interrupts.count > 1):
            report = _write_report(session, session.report(), say)
    except JournalError as error:
        detail = session.end.detail
        raise RunError(EndReason.STORAGE, f"{detail}; {error}" if detail else str(error)) from None
    finally:
        code = session.end.reason.exit_code if session.end.reason is not None else EndReason.UNKNOWN.exit_code
        with session.last_words.in_time(code):
            session.close()
    return RunResult(report, session.directory, report.exit_code, reached=session.engine is not None)


def _write_report(session: Session, report: Report, say: Echo) -> Report:
    """Write a report and return it. Where it can't be written that is said, with the first cause before it."""
    if session.directory is None:
        return report
    try:
        with session.last_words.in_time():
            directories.write_report(session.directory, report)
    except OSError as error:
        text = f"{session.directory / directories.REPORT_NAME}: cannot be written: {error.strerror or error}"
        first = report.error if report.exit_code else ""
        later = "the next start writes it" if session.journal.is_there() else "the run is lost"
        say("; ".join(filter(None, (first, text, later))))
        return unwritten(report, EndReason.STORAGE, first or text)
    return report
