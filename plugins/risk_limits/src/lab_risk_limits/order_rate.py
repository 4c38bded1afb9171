"""The gate ``order_rate``: limits how many entry orders a strategy may send in a span of time."""

from collections import deque
from collections.abc import Mapping

from attrs import define, field
from lab import PASS, SECOND_NS, OrderRequest, Refuse, RiskGate, Verdict, View

from lab_risk_limits.figures import above_0, as_ns, as_seconds, figures_of, record, texts


@define(kw_only=True)
class OrderRate(RiskGate):
    """Refuse a strategy's entry orders beyond a number in any span of venue time.

    Every order that this gate passes counts, also one that a later gate or the broker does not take; one that it
    refuses does not. Orders that only close are not counted.
    """

    orders: int = field(
        default=10, validator=above_0, metadata={"help": "entry orders of a strategy in any span of `seconds`"}
    )
    seconds: int = field(
        default=60, validator=above_0, metadata={"help": "length of the span, in seconds of venue time"}
    )
    _passed_ns: dict[str, deque[int]] = field(init=False, factory=dict)  # of each strategy, oldest first

    def review(self, request: OrderRequest, view: View) -> Verdict:
        """Pass an order where fewer than the limit passed in the span that ends now."""
        now_ns, span_ns = view.now_ns, self.seconds * SECOND_NS
        passed = self._passed_ns.get(view.strategy)
        if passed is None:
            passed = self._passed_ns[view.strategy] = deque()
        if passed and passed[-1] > now_ns:  # the clock of a restart is an earlier one: they count as of now
            passed = self._passed_ns[view.strategy] = deque(min(passed_ns, now_ns) for passed_ns in passed)
        while passed and passed[0] <= now_ns - span_ns:
            passed.popleft()
        if len(passed) < self.orders:
            passed.append(now_ns)
            return PASS
        left_ns = passed[0] + span_ns - now_ns
        return Refuse(
            f"{len(passed)} entry orders in the last {self.seconds} s, the limit is {self.orders}",
            texts(passed=len(passed), limit=self.orders, seconds=self.seconds, seconds_left=as_seconds(left_ns)),
        )

    def snapshot(self) -> Mapping[str, str]:
        """Return when each strategy's newest orders passed."""
        return {name: record(*passed) for name, passed in self._passed_ns.items() if passed}

    def restore(self, memory: Mapping[str, str]) -> None:
        """Take that over."""
        found = {name: deque(as_ns(time_ns) for time_ns in figures_of(text)) for name, text in memory.items()}
        if any(len(passed) > self.orders for passed in found.values()):
            raise ValueError(f"more than {self.orders} orders in {self.seconds} s, which it never lets pass")
        self._passed_ns = found

    def describe(self, view: View) -> Mapping[str, str]:
        """Return the limit in force."""
        return {"limit": f"{self.orders} entry orders in any {self.seconds} s"}
