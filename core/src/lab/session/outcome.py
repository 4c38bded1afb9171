"""Finds the reason of a run's end: by its exception, or by what it failed to do in its time."""

from msgspec.structs import replace

from lab.errors import JournalError, LabError, describe_error, message_of
from lab.exit_codes import EndReason
from lab.records.report import Report
from lab.session.runner import Runner
from lab.session.status import warmth


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
        return EndReason.NEVER_WARMED, cold
    totals = runner.engine.counters
    if not totals.quotes and not totals.candles:
        return EndReason.FEED_STALE, f"no market data came: feed {runner.inbox.state.value}"
    return None
