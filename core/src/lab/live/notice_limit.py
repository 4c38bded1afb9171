"""Bounds how many notices a provider can cause: a hostile server must fill neither the journal nor the screen."""

from typing import Final

_WINDOW_S: Final = 60.0
_EACH_KIND: Final = 20
_ALL_KINDS: Final = 120


class NoticeLimit:
    """Admits 20 notices of a kind and 120 in all in a minute, and counts the rest."""

    def __init__(self) -> None:
        self._since = float("-inf")
        self._admitted: dict[str, int] = {}
        self._all = 0
        self._left_out = 0

    def admit(self, kind: str, now: float) -> bool:
        """Return whether a notice of this kind may go out at the monotonic time ``now``."""
        if now >= self._since + _WINDOW_S:
            self._since = now
            self._admitted.clear()
            self._all = 0
        seen = self._admitted.get(kind, 0)
        if seen >= _EACH_KIND or self._all >= _ALL_KINDS:
            self._left_out += 1
            return False
        self._admitted[kind] = seen + 1
        self._all += 1
        return True

    def take_left_out(self, now: float) -> int:
        """Return how many were left out, once their minute is over, and forget them."""
        if not self._left_out or now < self._since + _WINDOW_S:
            return 0
        left_out, self._left_out = self._left_out, 0
        return left_out
