"""The port of risk gates, which limit entries. Synchronous, without clock, I/O or chance."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from lab.domain.events import OrderEnded, OrderFilled
from lab.domain.orders import OrderRequest, Verdict
from lab.engine.protocols import optional
from lab.engine.view import View
from lab.ports.component import Component


class RiskGate(Component, ABC):
    """Reviews what would open or enlarge a position. Orders that only reduce one are never put before a gate.

    A gate is shared by all strategies of a run; the view it is given is that of the strategy concerned
    (``view.strategy``), and ``view.now_ns`` is the venue time. It may keep memory: `on_fill`, `on_end`, `on_timer`,
    `tripped`, `snapshot` and `restore` are optional and only those that a class defines are called. A gate that raises
    in one of the first four refuses everything from then on, since its memory may be wrong.
    """

    @property
    def timer_ns(self) -> int:
        """Nanoseconds between calls of `on_timer`, which come at whole multiples of it in UTC; 0 for none."""
        return 0

    @abstractmethod
    def review(self, request: OrderRequest, view: View) -> Verdict:
        """Return `PASS`, a `Shrink` to a smaller quantity, or a `Refuse`; the latter two with their figures.

        ``request`` is a copy; its quantity is already on the lot and shrunk by the gates before. Raising counts as a
        refusal.
        """

    @optional
    def on_fill(self, fill: OrderFilled, view: View) -> None:
        """Learn of any strategy's fill, after all fills of that moment were booked and before the strategy does."""

    @optional
    def on_end(self, end: OrderEnded, view: View) -> None:
        """Learn that any strategy's order was cancelled, expired or rejected, before the strategy does."""

    @optional
    def on_timer(self, now_ns: int, view: View) -> None:
        """Learn that a due time of `timer_ns` came; called once for each strategy's book."""

    @optional
    def tripped(self, view: View) -> str:
        """Return why it refuses every entry of this strategy for the rest of the run; an empty text while it does not.

        Asked after each of the run's fills, ends and refusals. What it once says stays in force: the strategy sees it
        in ``view.halt_reasons``, and is asked no more once it holds nothing and has no order.
        """
        return ""

    @optional
    def snapshot(self) -> Mapping[str, str]:
        """Return what this gate would have to know if the run were cut off now: text by text, at most 100 entries.

        Called at every commit of a live session, so it is to be quick, and it changes nothing.
        """
        return {}

    @optional
    def restore(self, memory: Mapping[str, str]) -> None:
        """Take what `snapshot` returned in the run that this one restarts, before the first review.

        The gate has the same name and settings. From then on it answers as the other one would have. Raise
        ``ValueError`` for what is no such memory: it is then left out, and the report says so.
        """

    def describe(self, view: View) -> Mapping[str, str]:
        """Return the limits in force, for the run's header and report: name to figure with its unit."""
        return {}
