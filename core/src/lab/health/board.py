"""Where a session posts its health, and where the server's thread reads it."""

import time
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from lab.records.health import Health

EVERY_S: Final = 0.5
SILENT_S: Final = 5.0
"""A session that has posted nothing for so long is stale, whatever it said before."""


class Board:
    """Holds the newest `Health`. One thread posts; any may read. Neither waits for the other."""

    def __init__(self, first: Health, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._posted = first, now_s()

    @property
    def newest(self) -> Health:
        """What was posted last."""
        return self._posted[0]

    @property
    def due(self) -> bool:
        """Whether the last post is half a real second old: to post more often is of no use."""
        return self._now_s() - self._posted[1] >= EVERY_S

    def post(self, health: Health) -> None:
        """Replace what was posted before."""
        self._posted = health, self._now_s()

    def read(self) -> Health:
        """Return what was posted last, with its age; `stale` where a session that runs has been silent too long."""
        health, posted_at = self._posted
        return judged(health, self._now_s() - posted_at)


def judged(health: Health, age_s: float) -> Health:
    """Return the health as it is to be told ``age_s`` seconds after it was posted.

    A session that starts or ends may be silent for longer: it waits for its provider, or for its reporters.
    """
    told = replace(health, age_seconds=round(max(0.0, age_s), 3))
    if age_s <= SILENT_S or health.status in {"starting", "ending"}:
        return told
    silent = f"the session has been busy or stuck for {age_s:.0f} s"
    return replace(told, status="stale", why_not_trading=(silent, *health.why_not_trading))
