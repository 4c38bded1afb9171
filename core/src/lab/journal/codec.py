"""Events and inputs as JSON bytes, and back. The same value always gives the same bytes."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from lab.domain import events
from lab.domain.control import Command, Notice, Timer, TradingState
from lab.domain.inputs import Input
from lab.domain.market import Backfill, Candle, Depth, Funding, Quote, Trade

INPUT_KINDS: Final[dict[type, str]] = {
    Candle: "candle",
    Quote: "quote",
    Funding: "funding",
    TradingState: "trading_state",
    Notice: "notice",
    Timer: "timer",
    Trade: "trade",
    Depth: "depth",
    Backfill: "backfill",
    Command: "command",
}
KINDS: Final[dict[type, str]] = {
    **INPUT_KINDS,
    events.Deposited: "deposit",
    events.Signal: "signal",
    events.OrderAccepted: "order_accepted",
    events.OrderRefused: "order_refused",
    events.OrderFilled: "order_filled",
    events.OrderEnded: "order_ended",
    events.StrategyStopped: "strategy_stopped",
    events.GateFailed: "gate_failed",
    events.BrokerFailed: "broker_failed",
    events.EquityExhausted: "equity_exhausted",
    events.CandleIgnored: "candle_ignored",
    events.GapFound: "gap",
}
RUN_STARTED: Final = "run_started"
RUN_ENDED: Final = "run_ended"

_encoder: Final = msgspec.json.Encoder(order="deterministic")
encode: Final[Callable[[Any], bytes]] = _encoder.encode
_input_decoders: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(cls) for cls, kind in INPUT_KINDS.items()
}
_raw_line: Final = msgspec.json.Decoder(tuple[str, msgspec.Raw])


def decode(body: bytes | str) -> Any:
    """Return a body as plain data. Raises ``ValueError`` for what is no JSON, or nested deeper than our bodies."""
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise ValueError("nested too deep") from None


def decode_input(kind: str, body: bytes | msgspec.Raw) -> Input:
    """Return the input whose body this is. Raises ``ValueError`` for an unknown kind or a body that does not fit."""
    decoder = _input_decoders.get(kind)
    if decoder is None:
        raise ValueError(f"unknown input kind {kind!r}")
    try:
        decoded: Input = decoder.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"{kind}: {error}") from None
    return decoded


def tape_line(event: Input) -> bytes:
    """Return an input as one line of the tape."""
    return b'["%s",%s]\n' % (INPUT_KINDS[event.__class__].encode(), encode(event))


def read_tape_line(line: bytes) -> Input:
    """Return the input of one tape line. Raises ``ValueError``."""
    try:
        kind, body = _raw_line.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return decode_input(kind, body)
