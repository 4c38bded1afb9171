"""Every error of lab, one tree. The message of each is one line for the user: the culprit, and the cure.

::

    LabError
    ├── ConfigError              a setting is wrong
    ├── PluginError              a component that was asked for is not available
    │   └── UnknownPlugin        nothing installed offers that name
    ├── ProviderError            a market-data source that retrying can't repair
    │   ├── AuthenticationFailed it does not accept who asks: the run ends at once
    │   └── ProviderUnavailable  a call to it failed now and may succeed later
    │       └── RateLimited      it asks for fewer calls
    ├── ComponentError           a component the run can't do without raised or broke its promise
    ├── EngineError              lab has a defect
    ├── JournalError             a journal or tape can't be written or read
    │   ├── NotBegunError        its process was killed before it was made
    │   ├── JournalWaits         it can't be written now, and may be later
    │   └── SchemaVersionError   its version is one this lab does not read
    └── RunError                 a run can't start or go on, for any reason of the table

Each class names the `lab.exit_codes.EndReason` that a command ends with when nothing handles the error.
"""

import contextlib
import difflib
from collections.abc import Callable
from typing import Any

from lab.exit_codes import EndReason


class LabError(Exception):
    """Base of every error whose message is meant for the user."""

    reason: EndReason = EndReason.UNKNOWN


class ConfigError(LabError):
    """A setting is wrong: the message names where it comes from, the key, the value and what was expected."""

    reason = EndReason.CONFIG


class PluginError(LabError):
    """A component asked for by name is not available: the message names plugin, hook and cure."""

    reason = EndReason.PLUGIN


class UnknownPlugin(PluginError):
    """Nothing installed offers that name."""

    reason = EndReason.USAGE


class ProviderError(LabError):
    """Retrying can't help (an unknown symbol, say). The message names the culprit and the cure."""

    reason = EndReason.PLUGIN


class AuthenticationFailed(ProviderError):
    """The source does not accept the key, or the address, of the caller. Whoever meets this ends the run at once."""


class ProviderUnavailable(ProviderError):
    """A call failed now and may succeed later."""


class RateLimited(ProviderUnavailable):
    """The source asks for fewer calls. It weighs more than a call that merely failed."""


class ComponentError(LabError):
    """A component the run can't do without raised or broke its promise; the message names it and the call."""

    reason = EndReason.PLUGIN


class EngineError(LabError):
    """Lab has a defect: results would be wrong, so the run ends."""

    reason = EndReason.INTERNAL


class JournalError(LabError):
    """The journal can't be written or read; the message names the file and the reason."""

    reason = EndReason.STORAGE


class NotBegunError(JournalError):
    """The run was cut off before it began: its journal was never made whole."""


class JournalWaits(JournalError):
    """The journal can't be written now: the disk is full, or another program holds the file. Nothing was written.

    ``why`` says it in a few words.
    """

    def __init__(self, why: str, message: str) -> None:
        super().__init__(message)
        self.why = why


class SchemaVersionError(JournalError):
    """A journal has a version that this lab neither reads nor can bring up to date; the message says what to do."""


class RunError(LabError):
    """A run can't start or go on, for a reason of the table of exit codes."""

    def __init__(self, reason: EndReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StateRefused(RunError):
    """An earlier session is damaged, and ``--strict-state`` lets none begin: starting again changes nothing."""

    def __init__(self, why: str) -> None:
        super().__init__(EndReason.STORAGE, f"{why}; move it away, or start without --strict-state")


def describe_error(error: BaseException) -> str:
    """Return an exception's type and message on one line of at most 500 characters; of a group of one, its member's.

    Whatever the exception's class does, the text can be written as UTF-8.
    """
    error = sole_of(error)
    return f"{class_name(error)}: {' '.join(text_of(str, error).split())}"[:500]


def sole_of(error: BaseException) -> BaseException:
    """Return the member of a group of one, through all its levels; else the exception itself."""
    with contextlib.suppress(BaseException):  # a component's own class of error may be broken too
        while issubclass(type(error), BaseExceptionGroup) and len(error.exceptions) == 1:  # type: ignore[attr-defined]
            error = error.exceptions[0]  # type: ignore[attr-defined]
    return error


def message_of(error: BaseException) -> str:
    """Return an exception's message alone, in one line, as `describe_error` does."""
    return " ".join(text_of(str, error, 1_000).split())


def class_name(value: object) -> str:
    """Return the name of a value's class, whatever its class's own class says."""
    return str(type.__dict__["__name__"].__get__(type(value)))


def text_of(describe: Callable[[Any], str], value: object, most: int = 500) -> str:
    """Return what ``describe`` says of a component's value: at most ``most`` characters that can be written as UTF-8.

    ``str`` and ``repr`` call the value's own method, which may raise, or return a text whose class does.
    """
    try:
        text = str.__str__(describe(value))
    except BaseException as worse:
        text = f"<{class_name(value)} that cannot be described: {class_name(worse)}>"
    return text[:most].encode("utf-8", "backslashreplace").decode()


def did_you_mean(wrong: str, known: list[str]) -> str:
    """Return ``"; did you mean 'x'?"``, or the list of what is known, or nothing when nothing is."""
    near = difflib.get_close_matches(wrong, known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(sorted(known))}" if known else ""
