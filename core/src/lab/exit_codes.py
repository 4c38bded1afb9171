"""Why a run ended, and the exit code that says so: one table, in the report and for the shell."""

from enum import Enum
from typing import Final


class EndReason(Enum):
    """Reason, exit code and what it means. ``completed`` and ``stopped`` are ends that were asked for."""

    COMPLETED = ("completed", 0, "the time was up, or the recorded data ended")
    STOPPED = ("stopped", 0, "asked to stop, by a signal or by `lab stop`")
    UNKNOWN = ("unknown", 1, "an error that has no other code")
    RISK_HALT = ("risk_halt", 2, "the equity was gone: every book was liquidated")
    NEVER_WARMED = ("never_warmed", 3, "the strategy never received the history it needs")
    FEED_STALE = ("feed_stale", 4, "no market data came in the whole run")
    CRASH_LOOP = ("crash_loop", 10, "too many abnormal ends in a row")
    USAGE = ("usage", 64, "the command line was wrong")
    PLUGIN = ("plugin_refused", 69, "a plugin could not be used, failed or gave up")
    INTERNAL = ("internal_error", 70, "a defect in lab")
    STORAGE = ("storage", 74, "the journal could not be written or read")
    IN_USE = ("state_directory_in_use", 75, "another session uses the state directory")
    CONFIG = ("configuration", 78, "a setting was wrong")
    KILLED = ("kill_switch", 99, "the kill switch was thrown")
    INTERRUPTED = ("interrupted", 130, "a second interrupt cut the orderly end short")

    def __init__(self, code: str, exit_code: int, meaning: str) -> None:
        self.code: Final = code
        self.exit_code: Final = exit_code
        self.meaning: Final = meaning

    @property
    def status(self) -> str:
        """``completed``, ``stopped`` or ``failed``."""
        if self.exit_code == 0:
            return "completed" if self is EndReason.COMPLETED else "stopped"
        return "failed"


CRASHES: Final = frozenset(
    reason.exit_code for reason in (EndReason.UNKNOWN, EndReason.PLUGIN, EndReason.INTERNAL, EndReason.STORAGE)
)
"""Exit codes of sessions that a supervisor starts again; every other one is a verdict."""
