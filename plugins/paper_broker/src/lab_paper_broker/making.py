"""Makes fills: the price on the tick and never beyond a limit, the exact fee, and how the price was made."""

from decimal import Decimal
from typing import Final

from lab import Fill
from lab.domain.money import step_down, step_up

from lab_paper_broker.resting import Resting
from lab_paper_broker.terms import Terms

# Compiled code reads a name that is Final at once, where it looks any other up in its module.
_fill: Final = Fill
_step_down: Final = step_down
_step_up: Final = step_up
_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)


def take(
    resting: Resting,
    quantity: Decimal,
    reference: Decimal,
    spread: Decimal | None,
    typical: float,
    rule: str,
    time_ns: int,
    terms: Terms,
    displayed: Decimal | None = None,
    best: Decimal | None = None,
    worst: Decimal | None = None,
) -> Fill:
    """Take liquidity at the reference price ± slippage, on the tick, never beyond the order's limit."""
    price, order = reference, resting.order
    instrument = terms.instrument
    slippage = terms.beyond(resting, quantity, typical, spread is not None)
    if slippage or price % instrument.tick:
        if resting.buys:
            price = _step_up(price * (_ONE + slippage), instrument.tick)
        else:
            price = _step_down(price * (_ONE - slippage), instrument.tick)
            if not price:
                price = instrument.tick  # a price of 0 is none: even the worst sale gets a tick
        limit = order.limit
        if limit is not None:
            price = min(price, limit) if resting.buys else max(price, limit)
    rate = terms.taker if terms.fees is None else terms.fee_rate(order, "taker")
    lost = price - reference if resting.buys else reference - price
    resting.fill(quantity)
    fee = (price * quantity if terms.linear else instrument.notional(quantity, price)) * rate
    return _fill(
        resting.id, quantity, price, fee, rate, "taker", rule, reference, spread, lost, time_ns,
        resting.age_ns, displayed, None, best, worst,
    )  # fmt: skip


def make(
    resting: Resting,
    quantity: Decimal,
    spread: Decimal | None,
    rule: str,
    time_ns: int,
    terms: Terms,
    displayed: Decimal | None = None,
) -> Fill:
    """Make liquidity: at the limit, without slippage."""
    order, price = resting.order, resting.order.limit
    assert price is not None, f"{order.id} rests without a limit"  # submit refuses one
    rate = terms.maker if terms.fees is None else terms.fee_rate(order, "maker")
    resting.fill(quantity)
    fee = terms.instrument.notional(quantity, price) * rate
    return Fill(
        resting.id, quantity, price, fee, rate, "maker", rule, price, spread, _ZERO, time_ns,
        0, displayed, resting.queue,
    )  # fmt: skip


def take_at_limit(
    resting: Resting, quantity: Decimal, reference: Decimal, rule: str, time_ns: int, terms: Terms
) -> Fill:
    """Take liquidity at the limit itself, though the reference price is better: nobody knows when it was passed."""
    order, price = resting.order, resting.order.limit
    assert price is not None, f"{order.id} has no limit"  # submit refuses one
    rate = terms.taker if terms.fees is None else terms.fee_rate(order, "taker")
    resting.fill(quantity)
    fee = terms.instrument.notional(quantity, price) * rate
    return Fill(
        resting.id, quantity, price, fee, rate, "taker", rule, reference, None,
        abs(price - reference), time_ns,
    )  # fmt: skip
