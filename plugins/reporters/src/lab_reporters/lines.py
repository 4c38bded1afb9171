"""One line of text for each event, shared by the live view and the plain lines."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from attrs import frozen
from lab.domain.control import ClockStepped, Command, CommandAction, Notice, SymbolState, TradingState
from lab.domain.events import (
    BrokerFailed,
    EntriesHalted,
    EquityExhausted,
    FundingPaid,
    FundingSkipped,
    GapFound,
    GateFailed,
    Liquidated,
    LiquidationSettled,
    OrderEnded,
    OrderFilled,
    OrderRefused,
    Signal,
    StrategyStopped,
)
from lab.domain.orders import PRICE_FIELDS, OrderRequest
from lab.domain.time import SECOND_NS
from lab.ports import Record

from lab_reporters import text
from lab_reporters.decoding import event_of, moment_of
from lab_reporters.notices import sentence

Topic = Literal["fill", "end", "refusal", "signal", "trading", "feed", "notice", "stop", "command", "margin"]


_TOPICS: Final[Mapping[type, Topic]] = {
    OrderFilled: "fill",
    OrderEnded: "end",
    OrderRefused: "refusal",
    Signal: "signal",
    StrategyStopped: "stop",
    GateFailed: "stop",
    EntriesHalted: "stop",
    BrokerFailed: "stop",
    EquityExhausted: "stop",
    FundingPaid: "margin",
    FundingSkipped: "margin",
    Liquidated: "margin",
    LiquidationSettled: "margin",
    Command: "command",
    TradingState: "trading",
    SymbolState: "trading",
    Notice: "notice",
    GapFound: "feed",
    ClockStepped: "feed",
}


@frozen
class Line:
    """One event worth showing. ``time_ns`` is venue time."""

    topic: Topic
    time_ns: int
    _event: Any

    @property
    def text(self) -> str:
        """The event as text, made on request: most lines of a long run are only counted."""
        return text.clean(_said(self._event))

    @property
    def ends_the_run(self) -> bool:
        """Whether it is the command with which the run begins its end."""
        return isinstance(self._event, Command) and self._event.action in {CommandAction.STOP, CommandAction.KILL}


def line_of(record: Record) -> Line | None:
    """Return the line of a row, ``None`` for what is not shown one by one (candles, quotes) and for malformed rows."""
    event = event_of(record)
    topic = _TOPICS.get(type(event))
    if topic is None:
        return None
    topic = "feed" if isinstance(event, Notice) and event.topic == "feed" else topic
    return Line(topic, moment_of(record, event), event)


def describe_request(request: OrderRequest) -> str:
    """Return what was asked for: ``buy 0.01 BTCUSDT limit 43,000``."""
    prices = {name: getattr(request, name) for name in PRICE_FIELDS}
    where = [f" {name} {text.exact(price)}" for name, price in prices.items() if price is not None]
    return f"{request.side} {text.exact(request.quantity)} {request.symbol}{''.join(where)}"


def _said(event: Any) -> str:
    match event:
        case OrderFilled():
            return _fill(event)
        case OrderEnded():
            left = text.exact(event.remaining)
            return f"order {event.outcome} {event.symbol}, {left} left: {event.reason} [{event.order_id}]"
        case OrderRefused():
            figures = f" ({text.joined(event.numbers)})" if event.numbers else ""
            return f"{event.by} refused {describe_request(event.request)}: {event.reason}{figures}"
        case Signal():
            return f"{event.strategy} would {describe_request(event.request)}, not placed: {event.why}"
        case StrategyStopped():
            return f"strategy {event.strategy} stopped: {event.error}"
        case GateFailed():
            return f"gate {event.gate} failed in {event.call} and refuses ever since: {event.error}"
        case EntriesHalted():
            return f"{event.gate} halts the entries of {event.strategy} for the rest of the run: {event.reason}"
        case BrokerFailed():
            return event.error
        case EquityExhausted():
            return f"every book was liquidated, the equity is {text.money(event.equity)}"
        case Command():
            return f"{event.action} by {event.who}: {event.why}"
        case _:
            return _condition(event)


def _condition(event: Any) -> str:
    match event:
        case FundingPaid() | FundingSkipped() | Liquidated() | LiquidationSettled():
            return _margin(event)
        case TradingState():
            return _gate(event.halted_by)
        case SymbolState():
            return f"{event.symbol} {_gate(event.halted_by)}"
        case Notice():
            return sentence(event)
        case ClockStepped():
            whose = "venue" if event.clock == "venue" else "machine"
            return f"the {whose}'s clock stepped by {event.by_ns / SECOND_NS:+.1f} s: {event.why}"
        case GapFound():
            first, last = text.second(event.first_ns), text.second(event.last_ns)
            return f"gap: {event.missing} candles of {event.symbol} missing, {first} to {last}"
        case _:
            raise TypeError(f"{type(event).__name__} is never shown")


def _gate(reasons: Sequence[str]) -> str:
    return f"halted: {'; '.join(reasons)}" if reasons else "open"


def _margin(event: FundingPaid | FundingSkipped | Liquidated | LiquidationSettled) -> str:
    match event:
        case FundingPaid():
            verb = "received" if event.amount < 0 else "paid"
            rate = f"rate {text.exact(event.rate * 100)} %"
            of = f"{text.exact(event.quantity)} {event.symbol} at {text.exact(event.mark)}, {rate}"
            return f"funding {verb} {text.money(abs(event.amount))} for {of} [{event.strategy}]"
        case FundingSkipped():
            times = f"{event.windows} times from {text.second(event.window_ns)} on" if event.windows > 1 else "once"
            of = f"{text.exact(event.quantity)} {event.symbol}"
            return f"funding of {of} skipped {times}: {event.why} [{event.strategy}]"
        case Liquidated():
            held = ", ".join(
                f"{text.exact(one.quantity)} {one.symbol} at {text.exact(one.mark)}" for one in event.positions
            )
            figures = f"{text.money(event.balance)} left, maintenance margin {text.money(event.maintenance)}"
            return f"liquidated, the {event.scope}: {held or 'no position'}, {figures} [{event.strategy}]"
        case _:
            figures = f"fee {text.money(event.fee)}, paid by the insurance fund {text.money(event.insurance)}"
            return f"liquidation settled: {figures} [{event.strategy}]"


def _fill(event: OrderFilled) -> str:
    fill = event.fill
    left = f", {text.exact(event.remaining)} left" if event.remaining else ""
    return (
        f"{event.side} {text.exact(fill.quantity)} {event.symbol} @ {text.exact(fill.price)}"
        f", fee {text.money(fill.fee)} {fill.liquidity}, position {text.exact(event.position)}{left} [{event.strategy}]"
    )
