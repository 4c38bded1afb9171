"""Finds and keeps the reason of a run's end: who asked for it, its exception, or what it failed to do in its time."""

from collections.abc import Callable

import anyio
from msgspec.structs import replace

from lab.errors import JournalError, LabError, StateRefused, describe_error, message_of, sole_of
from lab.exit_codes import EndReason
from lab.live.provider_calls import is_cancellation
from lab.live.runner import Runner
from lab.live.status import warmth
from lab.records.report import Report
from lab.runs.failures import FailureLog


class EndCause:
    """Why a session ends. ``reason`` is ``None`` while it goes on, ``detail`` what there is to say in one line.

    ``killed`` is who threw the kill switch, and why; ``None`` while nobody did. It counts whatever the reason is.
    ``asked`` is set and ``wake`` called whenever something asks for the end; ``errors`` counts what went wrong.
    ``final`` says that to start again would change nothing.
    """

    def __init__(self, failures: FailureLog, wake: Callable[[], None]) -> None:
        self.reason: EndReason | None = None
        self.detail = ""
        self.errors = 0
        self.killed: tuple[str, str] | None = None
        self.final = False
        self.asked = anyio.Event()
        self._failures = failures
        self._wake = wake

    def stop(self, reason: EndReason, detail: str = "") -> None:
        """Ask for the orderly end; a more serious reason replaces a milder one."""
        if self.reason is None or (self.reason.exit_code == 0 and reason.exit_code != 0):
            self.reason, self.detail = reason, detail or self.detail
        self.asked.set()
        self._wake()

    def kill(self, who: str, why: str) -> None:
        """Throw the kill switch; the first one counts."""
        if self.killed is None:
            self.killed = who, why
            self.stop(EndReason.KILLED, f"killed by {who}: {why}")

    def fail(self, reason: EndReason, detail: str) -> None:
        """Count an error and end because of it."""
        self.errors += 1
        self.stop(reason, detail)

    def failed(self, error: BaseException) -> None:
        """Make an exception the reason of the end; raise it again where it is the cancellation of this task."""
        if is_cancellation(error):
            raise error
        reason, detail = diagnose(error)
        self.final = self.final or isinstance(sole_of(error), StateRefused)
        if reason is EndReason.INTERNAL:
            self._failures.note("the", "session", "its loop", error)
        self.fail(reason, detail)


def diagnose(error: BaseException) -> tuple[EndReason, str]:
    """Return the reason and the text of the error that ended a run."""
    leaves = [error]
    while groups := [leaf for leaf in leaves if isinstance(leaf, BaseExceptionGroup)]:
        leaves = [leaf for leaf in leaves if not isinstance(leaf, BaseExceptionGroup)]
        leaves += [inner for group in groups for inner in group.exceptions]
    for leaf in leaves:
        if isinstance(leaf, JournalError | OSError):
            return EndReason.STORAGE, message_of(leaf)
    for leaf in leaves:
        if isinstance(leaf, LabError):
            return leaf.reason, message_of(leaf)
    return EndReason.INTERNAL, describe_error(leaves[0])


def unwritten(report: Report, reason: EndReason, detail: str, errors: int = 0) -> Report:
    """Return the report of an end that the journal, or the report's own file, could not take any more."""
    return replace(
        report,
        status=reason.status,
        reason=reason.code,
        exit_code=reason.exit_code,
        error=detail,
        error_count=max(report.error_count, errors, 1),
    )


def shortfall(runner: Runner | None, unknown: str) -> tuple[EndReason, str] | None:
    """Return what a run failed to do before its time was up, or ``None``.

    ``unknown`` says which instrument is not known where there is no runner.
    """
    if runner is None:
        return EndReason.NEVER_WARMED, unknown
    cold = warmth(runner)
    if cold:
        return EndReason.NEVER_WARMED, f"the strategy never decided: {cold}"
    totals = runner.engine.counters
    if not totals.quotes and not totals.candles:
        return EndReason.FEED_STALE, f"no market data came: feed {runner.inbox.state.value}"
    return None
