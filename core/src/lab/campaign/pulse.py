"""Hears the beats of a simulated session, and judges them: that they come, and what they say of the trading gate."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from lab.records.health import Health
from lab.supervision.beats import VARIABLE, Beats

_SILENT_MOST_S: Final = 1.5
"""How long a session may be silent while nothing keeps its loop."""
_KNOWN_WITHIN_S: Final = 2.0
"""How soon a gate that was opened or shut must show in health."""
_SHOWN_MOST: Final = 3


class Pulse(Beats):
    """A supervisor's ears, in virtual time. ``kept_s`` says how long the loop was kept from turning so far."""

    def __init__(self, now_s: Callable[[], float], kept_s: Callable[[], float]) -> None:
        super().__init__({VARIABLE: "0"})
        self.now_s = now_s
        self.wrong: list[str] = []
        self.shut_by: tuple[str, ...] | None = None
        """Why trading is halted, by the newest row that says so; ``None`` before the first."""
        self._kept_s = kept_s
        self._heard: float | None = None
        self._turned = 0.0
        self._wrong_since: float | None = None

    def gate(self, shut_by: tuple[str, ...]) -> None:
        """Note that the trading gate was opened, or shut for these reasons."""
        self.shut_by, self._turned = shut_by, self._free_s()

    def end_with_supervisor(self) -> None:
        """Nobody is gone."""

    def keep_stacks(self, directory: Path) -> None:
        """Keep none: the process is not the session's own."""

    def tell(self, state: Mapping[str, Any]) -> None:
        """Judge a beat."""
        self.over()
        now = self._heard = self._free_s()
        told = state.get("health")
        wrong = "" if told is None or self.shut_by is None else self._not_so(self.shut_by, str(told))
        if not wrong or self._wrong_since is None:
            self._wrong_since = now if wrong else None
        elif now - max(self._turned, self._wrong_since) > _KNOWN_WITHIN_S:
            self._note(f"I16: {wrong}")

    def over(self) -> None:
        """Judge the time since the newest beat: another one comes, or the session's life is over."""
        silent_s = 0.0 if self._heard is None else self._free_s() - self._heard
        if silent_s > _SILENT_MOST_S:
            self._note(f"I11: no beat for {silent_s:.1f} s, though nothing kept the session's loop")

    @staticmethod
    def _not_so(shut_by: tuple[str, ...], told: str) -> str:
        """Return what health says of the trading gate that is not so."""
        health = msgspec.json.decode(told, type=Health)
        if health.status == "ending":
            return ""
        if not shut_by:
            if health.status not in {"starting", "warming", "stale"}:
                return ""
            return f"trading is open, and health says {health.status}: {'; '.join(health.why_not_trading)}"
        if health.status == "trading":
            return f"trading is halted by {'; '.join(shut_by)}, and health says that it trades"
        missing = "; ".join(reason for reason in shut_by if reason not in health.why_not_trading)
        return f"trading is halted by {missing}, which health does not say" if missing else ""

    def _free_s(self) -> float:
        """Return the time in which the loop was free to turn."""
        return self.now_s() - self._kept_s()

    def _note(self, text: str) -> None:
        if len(self.wrong) < _SHOWN_MOST:
            self.wrong.append(f"{text} (at {self.now_s():.2f} s)")
