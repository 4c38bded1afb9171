"""Events and inputs as JSON bytes, and back. The same value always gives the same bytes."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from lab.domain import events
from lab.domain.control import ClockStepped, Command, Notice, SymbolState, Timer, TradingState
from lab.domain.inputs import Input
from lab.domain.market import MARKET_KINDS, Backfill
from lab.records.run import ReportersState, RunEnded, RunStarted, RunState
from lab.secret import bytes_without_secrets, knows_secrets

T = TypeVar("T")

INPUT_KINDS: Final[dict[type, str]] = {
    **MARKET_KINDS,
    Backfill: "backfill",
    TradingState: "trading_state",
    SymbolState: "symbol_state",
    Notice: "notice",
    Timer: "timer",
    Command: "command",
    ClockStepped: "clock_stepped",
}
KINDS: Final[dict[type, str]] = {
    **INPUT_KINDS,
    events.Deposited: "deposit",
    events.Signal: "signal",
    events.OrderAccepted: "order_accepted",
    events.OrderRefused: "order_refused",
    events.OrderFilled: "order_filled",
    events.OrderEnded: "order_ended",
    events.OrderTriggered: "order_triggered",
    events.OrderAmended: "order_amended",
    events.CancelSent: "cancel_sent",
    events.AmendSent: "amend_sent",
    events.AmendRefused: "amend_refused",
    events.StrategyStopped: "strategy_stopped",
    events.GateFailed: "gate_failed",
    events.EntriesHalted: "entries_halted",
    events.BrokerFailed: "broker_failed",
    events.EquityExhausted: "equity_exhausted",
    events.CandleIgnored: "candle_ignored",
    events.GapFound: "gap",
    events.FundingPaid: "funding_paid",
    events.FundingSkipped: "funding_skipped",
    events.Liquidated: "liquidated",
    events.LiquidationSettled: "liquidation_settled",
    events.DayEnded: "day_ended",
}
RUN_STARTED: Final = "run_started"
RUN_ENDED: Final = "run_ended"
ROW_KINDS: Final[dict[type, str]] = {**KINDS, RunStarted: RUN_STARTED, RunEnded: RUN_ENDED}
"""The kind of each class that is the body of a row."""

_encoder: Final = msgspec.json.Encoder(order="deterministic")
encode: Final[Callable[[Any], bytes]] = _encoder.encode
_decoders: Final[dict[type, msgspec.json.Decoder[Any]]] = {
    cls: msgspec.json.Decoder(cls) for cls in (*ROW_KINDS, RunState, ReportersState)
}
_input_decoders: Final = {kind: _decoders[cls] for cls, kind in INPUT_KINDS.items()}
_line_begins: Final = {cls: b'["%s",' % kind.encode() for cls, kind in INPUT_KINDS.items()}
_decoders_by_begin: Final = {b'["%s"' % kind.encode(): decoder for kind, decoder in _input_decoders.items()}
_raw_line: Final = msgspec.json.Decoder(tuple[str, msgspec.Raw])


def decode_as(cls: type[T], body: bytes | str) -> T:
    """Return the body of a row, or a state, as its class. Raises ``ValueError`` saying what does not fit, and where."""
    try:
        decoded: T = _decoders[cls].decode(body)
    except RecursionError:
        raise ValueError("nested too deep") from None
    except (ValueError, TypeError, ArithmeticError) as error:  # msgspec's errors are ValueErrors
        raise ValueError(_short(error)) from None
    return decoded


def _short(error: Exception) -> str:
    """Return what is wrong, which may repeat what was read, as one line of bounded length."""
    return " ".join(str(error).split())[:300]


def decode_input(kind: str, body: bytes | msgspec.Raw) -> Input:
    """Return the input whose body this is. Raises ``ValueError`` for an unknown kind or a body that does not fit."""
    decoder = _input_decoders.get(kind)
    if decoder is None:
        raise ValueError(f"unknown input kind {kind!r:.60}")
    try:
        decoded: Input = decoder.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"{kind}: {_short(error)}") from None
    return decoded


def tape_line(event: Input) -> bytes:
    """Return an input as one line of the tape."""
    line: bytes = _line_begins[event.__class__] + encode(event) + b"]\n"
    return bytes_without_secrets(line) if knows_secrets() else line


def read_tape_line(line: bytes) -> Input:
    """Return the input of one tape line, with its end or without. Raises ``ValueError``."""
    begin, _, rest = line.partition(b",")
    decoder = _decoders_by_begin.get(begin)
    if decoder is not None and rest.endswith(b"]"):  # as lab writes them: half the time that JSON in general takes
        try:
            decoded: Input = decoder.decode(rest[:-1])
        except (msgspec.DecodeError, RecursionError):
            pass  # said below
        else:
            return decoded
    try:
        kind, body = _raw_line.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(_short(error)) from None
    return decode_input(kind, body)
