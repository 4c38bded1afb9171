"""When something that did not succeed is tried again."""

from collections.abc import Sequence

from attrs import define


@define
class Retry:
    """Waits that grow from try to try; the last one is repeated. ``due`` is a monotonic time, now at first."""

    waits: Sequence[float]
    tries: int = 0
    due: float = float("-inf")

    def later(self, now: float) -> float:
        """Put the next try off, and return by how many seconds."""
        wait = self.waits[min(self.tries, len(self.waits) - 1)]
        self.tries += 1
        self.due = now + wait
        return wait

    def at_once(self) -> None:
        """Let the next try be due now, and the waits be short again."""
        self.tries = 0
        self.due = float("-inf")
