"""The fills of an audit: what each cost and by which rule it was made, and what all of them come to."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from lab.domain.events import Fill, OrderAccepted, OrderFilled
from lab.domain.ledger import ZERO
from lab.domain.orders import Side, TimeInForce
from lab.journal.audit_findings import Checks, Findings
from lab.journal.audit_money import Money
from lab.records.base import exact
from lab.records.run import FillTotals

_LABELS: Final = {
    "quote": "taker", "stop": "taker", "limit_touched": "maker", "limit_traded": "maker",
    "candle_open": "taker", "candle_close": "taker", "candle_through": "maker",
    "stop_open": "taker", "stop_level": "taker", "stop_close": "taker",
}  # fmt: skip
"""Whether a fill by a rule of the paper broker makes or takes liquidity. Another broker names its rules as it likes."""
_PAPER: Final = "lab-paper-broker"
_RULES_MOST: Final = 100
IMMEDIATE: Final = (TimeInForce.IOC, TimeInForce.FOK)


class Fills(Checks):
    """Checks each fill by itself, and adds up what the totals say of all."""

    def __init__(self, at: Findings, money: Money) -> None:
        super().__init__(at)
        self._money = money
        self._rules: dict[str, FillTotals] = {}
        self._gained = self._lost = ZERO

    def take(self, event: OrderFilled, order: OrderAccepted, limit: Decimal | None) -> None:
        """Check price, label and fee of a fill, and count it. ``limit`` is the order's now."""
        fill = event.fill
        if fill.displayed is not None and fill.quantity > fill.displayed:
            self._note(f"it is larger than what was displayed: {fill.displayed}")
        self._liquidity(fill, order, limit)
        buys = order.side is Side.BUY
        if limit is not None and (fill.price > limit if buys else fill.price < limit):
            self._note(f"its price {fill.price} is worse than the limit {limit}")
        self._expect("its fee", fill.fee, self._money.notional(event.symbol, fill.quantity, fill.price) * fill.fee_rate)
        distance = fill.price - fill.reference if buys else fill.reference - fill.price
        self._expect("its slippage", fill.slippage, abs(distance))
        started = self._money.started
        if started is not None and started.broker.distribution == _PAPER:
            self._by_the_paper_broker(event, started.broker.settings)
        self._count(event)

    def _liquidity(self, fill: Fill, order: OrderAccepted, limit: Decimal | None) -> None:
        """Check that a fill made or took liquidity as its label says: by its order and its price."""
        if fill.liquidity != "maker":
            self._expect("its liquidity", fill.liquidity, "taker")
            if order.post_only:
                self._note("a post-only order took liquidity")
            if fill.queue is not None:
                self._note(f"it took liquidity, and waited behind {fill.queue} in a queue")
            return
        if order.time_in_force in IMMEDIATE:
            self._note(f"it made liquidity, and an {order.time_in_force} order does not rest")
        if fill.price != limit or fill.slippage:
            price, slipped = exact(fill.price), exact(fill.slippage)
            where = "it has no limit" if limit is None else f"its limit is {exact(limit):f}, its slippage {slipped:f}"
            self._note(f"it made liquidity at {price:f}, and {where}")

    def _by_the_paper_broker(self, event: OrderFilled, settings: Mapping[str, Any]) -> None:
        """Check what follows from the rules and the settings of the broker ``paper``."""
        fill = event.fill
        known = _LABELS.get(fill.rule)
        if known is None:
            self._note(f"the paper broker has no rule {fill.rule}")
        elif known != fill.liquidity:
            self._note(f"it is called {fill.liquidity}, and its rule {fill.rule} makes it {known}")
        instrument = self._money.instruments.get(event.symbol)
        if instrument is None:
            return
        if fill.price % instrument.tick:
            self._note(f"its price {exact(fill.price):f} is not on the tick {exact(instrument.tick):f}")
        if fill.liquidity in ("maker", "taker") and not settings.get("fee_model"):
            given = settings.get(f"{fill.liquidity}_fee")
            makes = fill.liquidity == "maker"
            listed = instrument.maker_fee_rate if makes else instrument.taker_fee_rate
            self._expect("its fee rate", fill.fee_rate, listed if given is None else Decimal(str(given)))

    def _count(self, event: OrderFilled) -> None:
        """Add a fill to its rule, and what it would have come to at the best and the worst of its references."""
        fill, worth = event.fill, self._money.notional
        name = fill.rule if fill.rule in self._rules or len(self._rules) < _RULES_MOST else "others"
        before, at_reference = self._rules.get(name, FillTotals()), worth(event.symbol, fill.quantity, fill.reference)
        self._rules[name] = FillTotals(
            fills=before.fills + 1,
            late=before.late + (fill.age_ns < 0),
            fees=before.fees + fill.fee,
            slippage=before.slippage + abs(worth(event.symbol, fill.quantity, fill.price) - at_reference),
        )
        for other, is_best in ((fill.best, True), (fill.worst, False)):
            if other is not None:
                apart = abs(worth(event.symbol, fill.quantity, other) - at_reference)
                if is_best:
                    self._gained += apart
                else:
                    self._lost += apart

    def totals(self) -> Iterator[tuple[str, object]]:
        """Yield the totals that follow from the fills, each with the name it has among the run's."""
        yield "fill_rules", self._rules
        yield "gain_at_best", self._gained
        yield "loss_at_worst", self._lost
