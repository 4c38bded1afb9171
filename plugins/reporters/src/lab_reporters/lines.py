"""What happened, one line an event: shared by the live view and the plain lines."""

from typing import Any, Literal

from attrs import frozen
from lab.domain.events import GapFound, OrderEnded, OrderFilled, OrderRefused, Signal, StrategyStopped
from lab.domain.market import Gate, Notice, Stop
from lab.domain.orders import OrderRequest
from lab.ports import Record

from lab_reporters import text
from lab_reporters.reading import event_of

Topic = Literal["fill", "end", "refusal", "signal", "gate", "feed", "notice", "stop"]


@frozen
class Line:
    """One event worth showing. ``time_ns`` is the row's, in venue time."""

    topic: Topic
    time_ns: int
    text: str


def line_of(record: Record) -> Line | None:
    """Return the line of a row, ``None`` for what is not shown one by one (candles, quotes) and for malformed rows."""
    event = event_of(record)
    said = None if event is None else _said(event)
    return None if said is None else Line(said[0], record.time_ns, text.clean(said[1]))


def wish(request: OrderRequest) -> str:
    """Return what was asked for: ``buy 0.01 BTCUSDT at 43,000``."""
    where = "" if request.limit is None else f" at {text.exact(request.limit)}"
    return f"{request.side} {text.exact(request.quantity)} {request.symbol}{where}"


def _said(event: Any) -> tuple[Topic, str] | None:
    match event:
        case OrderFilled():
            return "fill", _fill(event)
        case OrderEnded():
            left = text.exact(event.remaining)
            return "end", f"order {event.outcome} {event.symbol}, {left} left: {event.reason} [{event.order_id}]"
        case OrderRefused():
            figures = f" ({text.joined(event.numbers)})" if event.numbers else ""
            return "refusal", f"{event.by} refused {wish(event.request)}: {event.reason}{figures}"
        case Signal():
            return "signal", f"{event.strategy} would {wish(event.request)}, not placed: {event.why}"
        case StrategyStopped():
            return "stop", f"strategy {event.strategy} stopped: {event.error}"
        case Stop():
            return "stop", f"stopping: {event.reason}{', closing positions' if event.close_positions else ''}"
        case _:
            return _condition(event)


def _condition(event: Any) -> tuple[Topic, str] | None:
    match event:
        case Gate():
            return "gate", f"trading shut: {'; '.join(event.reasons)}" if event.reasons else "trading open"
        case Notice():
            topic: Topic = "feed" if event.topic == "feed" else "notice"
            return topic, f"{event.topic}: {text.joined(event.detail)}"
        case GapFound():
            first, last = text.second(event.first_ns), text.second(event.last_ns)
            return "feed", f"gap: {event.missing} candles of {event.symbol} missing, {first} to {last}"
        case _:
            return None


def _fill(event: OrderFilled) -> str:
    fill = event.fill
    left = f", {text.exact(event.remaining)} left" if event.remaining else ""
    return (
        f"{event.side} {text.exact(fill.quantity)} {event.symbol} @ {text.exact(fill.price)}"
        f", fee {text.money(fill.fee)} {fill.liquidity}, position {text.exact(event.position)}{left} [{event.strategy}]"
    )
