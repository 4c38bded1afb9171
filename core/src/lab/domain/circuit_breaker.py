"""Keeps callers from a source whose calls only fail. Any provider can use it, one for each host it calls."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from lab.errors import ProviderError, ProviderUnavailable, RateLimited, message_of

WEIGHT_LIMIT: Final = 5
"""The weight of failures in a row at which a breaker opens."""
OPEN_S: Final = 30.0
"""How long it stays open before one call may find out whether the source answers again, in seconds."""


def weight_of(error: BaseException) -> int:
    """Return how much a failed call counts: 1, for a source that asks for fewer calls 2, and 0 for any answer.

    An unknown symbol, say, is an answer: the source works.
    """
    if isinstance(error, RateLimited):
        return 2
    return 1 if isinstance(error, ProviderUnavailable) else 0


class CircuitBreaker:
    """Closed, it lets every call through. Failures in a row that weigh `WEIGHT_LIMIT` together open it.

    Open, it refuses all calls for `OPEN_S`, then lets one through: the probe. An answer closes it, a failure opens it
    again. A call that is cancelled says nothing about the source.
    """

    __slots__ = ("_failures", "_last", "_monotonic", "_open_until", "_probing", "_weight")

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._weight = 0
        self._failures = 0
        self._last = ""
        self._open_until: float | None = None
        self._probing = False

    def refusal(self) -> str:
        """Return why no call may be made now, or an empty text."""
        if self._open_until is None:
            return ""
        left_s = self._open_until - self._monotonic()
        if left_s <= 0 and not self._probing:
            return ""
        when = f"for {left_s:.0f} s more" if left_s > 0 else "while one call finds out whether it answers again"
        return f"not called {when}: {self._failures} failures in a row, the last: {self._last}"

    @contextmanager
    def call(self) -> Iterator[None]:
        """Enclose one call, and learn from how it ends.

        Raises `ProviderUnavailable` instead where no call may be made now. The call itself raises `ProviderUnavailable`
        for what counts as a failure, its own time-out included.
        """
        refused = self.refusal()
        if refused:
            raise ProviderUnavailable(refused)
        probes = self._open_until is not None
        self._probing = probes
        try:
            yield
        except ProviderError as error:
            weight = weight_of(error)
            if not weight:
                self._close()
            elif probes or self._open_until is None:  # else it began before others opened the breaker
                self._fail(weight, message_of(error))
            raise
        else:
            self._close()
        finally:
            if probes:
                self._probing = False

    def _close(self) -> None:
        self._weight = self._failures = 0
        self._open_until = None

    def _fail(self, weight: int, last: str) -> None:
        self._weight += weight
        self._failures += 1
        self._last = last
        if self._weight >= WEIGHT_LIMIT:
            self._open_until = self._monotonic() + OPEN_S
