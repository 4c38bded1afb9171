"""Checks what a simulated session left: the invariants, each with its number, on the files alone."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from attrs import define, field

from lab.backtesting.verify import verify
from lab.campaign.plan import Lived
from lab.domain.control import ClockStepped, Command, Notice, SymbolState, TradingState
from lab.domain.events import OrderAccepted, OrderEnded, OrderFilled
from lab.domain.market import BACKFILLED, Backfill, Candle, Quote
from lab.domain.time import SECOND_NS
from lab.domain.venue_clock import TOLERANCE_NS
from lab.errors import JournalError, LabError
from lab.exit_codes import EndReason
from lab.journal.audit import audit
from lab.journal.codec import ROW_KINDS, decode_as
from lab.journal.reader import JournalReader
from lab.journal.report import build_report
from lab.journal.tape import read_tape
from lab.plugins.discovery import Registry
from lab.ports import Evidence
from lab.records.report import Report
from lab.runs.directory import REPORT_NAME

_CLASSES: Final = {kind: cls for cls, kind in ROW_KINDS.items()}
_WATCHED: Final = frozenset(
    ROW_KINDS[cls] for cls in (TradingState, SymbolState, Notice, Command, OrderAccepted, OrderFilled, OrderEnded)
)
_FAILURES: Final = frozenset({"strategy_stopped", "gate_failed", "broker_failed"})
_OVERRUN_S: Final = 5.0
FULL_DISK: Final = "the disk is full"
_SHOWN_MOST: Final = 5
_SHUT_WITHIN_NS: Final = 2 * SECOND_NS
"""How long after the newest quote has grown stale trading may still be open."""
_TIMELESS: Final = ("stall", "lag", "skew", "late", "reorder", "full")


@define
class Findings:
    """What is wrong with a session, and which interesting states it was in."""

    violations: list[str] = field(factory=list)
    states: set[str] = field(factory=set)
    rows: int = 0
    head: str = ""
    feed: Counter[str] = field(factory=Counter)


def check(lived: Lived, registry: Registry, quote_silence_s: float) -> Findings:
    """Check a session's files by every invariant that can be checked on them."""
    found = Findings()
    found.violations += lived.wrong
    found.violations += _liveness(lived)
    directory = lived.directory
    if directory is None:
        found.violations.append(f"I9: no session was written: {lived.problem or 'it never began'}")
        return found
    try:
        with contextlib.closing(JournalReader.open(directory)) as reader:
            found.violations += [f"I1 to I6: {line}" for line in audit(reader).findings[:_SHOWN_MOST]]
            _read_rows(reader, lived, found, quote_silence_s)
            found.violations += _report(directory, reader, lived)
        verdict = verify(directory, registry)
        if not verdict.identical:
            found.violations.append(f"I1: {verdict.difference} ({verdict.cause})")
        found.violations += _candles(directory, lived, found)
        found.violations += _gate(directory, lived, round(quote_silence_s * SECOND_NS))
    except LabError as error:
        found.violations.append(f"I1: the files cannot be read: {error}")
    return found


def _liveness(lived: Lived) -> Iterator[str]:
    result = lived.result
    if lived.problem:
        yield f"I11: {lived.problem}"
    if lived.halted_by:
        yield f"I11: trading was still halted when it should have been open again: {'; '.join(lived.halted_by)}"
    if lived.overrun_s > _OVERRUN_S:
        yield f"I11: the session ended {lived.overrun_s:.0f} s late"
    if lived.left_over:
        yield f"I10: outlived the session: {lived.left_over}"
    if result is not None and result.exit_code != EndReason.COMPLETED.exit_code:
        yield f"I11: the session ended {result.report.reason} ({result.exit_code}): {result.report.error}"


def _read_rows(reader: JournalReader, lived: Lived, found: Findings, quote_silence_s: float) -> None:
    """Follow the rows: the trading gate, the age of prices, what the kills left, and interesting states."""
    cuts = {(cut.rows, cut.head): cut for cut in lived.cuts if cut.rows}
    watch = _Rows(found, round(quote_silence_s * SECOND_NS))
    for seq, _, _, kind, _, body, row_hash in reader.rows():
        found.rows, found.head = seq, row_hash.hex()
        if kind in _WATCHED:
            watch.see(seq, decode_as(_CLASSES[kind], body))
        elif kind in _TELLING:
            found.states.add(_TELLING[kind])
        elif kind in _FAILURES:
            found.violations.append(f"I11: row {seq}: {kind}: {body.decode()[:200]}")
        cuts.pop((seq, row_hash), None)
    for cut in cuts.values():
        what = f"{cut.rows} rows were committed before the {cut.kind} at {cut.at_s:.2f} s"
        found.violations.append(f"I4: {what}, and they are gone or have changed")
    if lived.no_room and "disk full" not in found.states:
        found.violations.append("I16: there was no room on the disk, and trading was not halted for it")


_TELLING: Final = {
    "order_refused": "request refused",
    "order_triggered": "stop triggered",
    "order_amended": "order amended",
    "amend_refused": "amendment refused",
    "entries_halted": "breaker tripped",
    "gap": "gap in the candles",
    "candle_ignored": "candle came too late",
    "funding_paid": "funding paid",
    "funding_skipped": "funding without a rate",
    "liquidated": "liquidated",
    "clock_stepped": "clock stepped",
}
"""Kinds of rows, and the interesting state each shows."""


@define
class _Rows:
    """What is known at a row: whether trading is halted, and whether the run is ending."""

    found: Findings
    silence_ns: int
    halted: bool = True
    opened: bool = False
    stopping: bool = False
    alone: set[str] = field(factory=set)
    """The symbols that are halted by themselves."""
    working: set[str] = field(factory=set)

    def see(self, seq: int, row: object) -> None:
        """Take the next row."""
        match row:
            case TradingState() | SymbolState():
                self._state(row)
            case Notice():
                self._notice(row)
            case Command():
                self.stopping = True
            case OrderAccepted():
                self._accepted(seq, row)
            case OrderFilled():
                self._filled(seq, row)
            case OrderEnded():
                self.working.discard(row.order_id)
                self.found.states.add(f"order {row.outcome}")
                if self.halted:
                    self.found.states.add("order ended while trading was shut")

    def _state(self, row: TradingState | SymbolState) -> None:
        if isinstance(row, SymbolState):
            (self.alone.add if row.halted_by else self.alone.discard)(row.symbol)
            if row.halted_by and self.opened:
                self.found.states.add("one symbol shut")
            return
        self.halted = bool(row.halted_by)
        if self.halted and self.opened:
            self.found.states.add("trading shut")
        self.opened |= not self.halted
        if FULL_DISK in row.halted_by:
            self.found.states.add("disk full")
            if self.working:
                self.found.states.add("disk full with a working order")

    def _notice(self, row: Notice) -> None:
        if row.topic == "feed":
            self.found.feed[row.detail.get("state", "")] += 1
        elif row.topic == "session":
            self.found.states.add("resumed")
        elif row.topic == "malformed":
            self.found.states.add("malformed messages")

    def _accepted(self, seq: int, row: OrderAccepted) -> None:
        self.working.add(row.order_id)
        if not row.reduce_only and (self.halted or row.symbol in self.alone or self.stopping):
            when = "at the end" if self.stopping else "while trading was halted"
            self.found.violations.append(f"I8: row {seq}: the entry {row.order_id} was accepted {when}")

    def _filled(self, seq: int, row: OrderFilled) -> None:
        states = self.found.states
        if row.fill.age_ns > self.silence_ns:
            text = f"{row.fill.order_id} was filled at a price {row.fill.age_ns / SECOND_NS:.1f} s old"
            self.found.violations.append(f"I8: row {seq}: {text}")
        if row.remaining:
            states.add("filled in part")
        else:
            self.working.discard(row.fill.order_id)
        if self.halted:
            states.add("filled while trading was shut")
        if self.stopping:
            states.add("closed at the end")


def _report(directory: Path, reader: JournalReader, lived: Lived) -> Iterator[str]:
    """Check that the report is there, and is what the journal gives."""
    try:
        written = msgspec.json.decode((directory / REPORT_NAME).read_bytes(), type=Report)
    except (OSError, msgspec.DecodeError) as error:
        yield f"I9: the report: {error}"
        return
    made = build_report(reader)
    if written != made:
        yield "I9: the report is not what the journal gives"
    if lived.result is not None and written.exit_code != lived.result.exit_code:
        yield f"I9: the report has exit code {written.exit_code}, the session {lived.result.exit_code}"


def _candles(directory: Path, lived: Lived, found: Findings) -> Sequence[str]:
    """Check the order of the candles on the tape, then ask the provider of each life whether they are the venue's."""
    wrong: list[str] = []
    candles: list[Candle] = []
    newest: dict[str, int] = {}
    malformed = 0
    for event in read_tape(directory):
        if isinstance(event, Candle):
            candles.append(event)
            if event.open_ns <= newest.get(event.symbol, 0) and event.status != BACKFILLED:
                wrong.append(f"I7: the candle that opened at {event.open_ns} came twice, or after a later one")
            newest[event.symbol] = max(newest.get(event.symbol, 0), event.open_ns)
            if event.status == "unconfirmed":
                found.states.add("candle not confirmed")
        elif isinstance(event, Backfill):
            candles += event.candles
            found.states.add("back-filled")
        elif isinstance(event, ClockStepped) and event.clock == "venue":  # those of a time that was wrong are no more
            candles = [one for one in candles if one.time_ns <= event.time_ns + TOLERANCE_NS]
            # One that ended within the tolerance may have been fetched before, and come once more by the new time.
            sure = [one for one in candles if one.time_ns <= event.time_ns]
            newest = {one.symbol: one.open_ns for one in sorted(sure, key=lambda one: one.open_ns)}
    degradations: Sequence[str] = ()
    with contextlib.closing(JournalReader.open(directory)) as reader, contextlib.suppress(JournalError):
        report = build_report(reader)
        degradations, malformed = report.degradations, report.counters.malformed
    wrong += [f"I4: {text}" for text in degradations if text.startswith("quarantined")]
    evidence = Evidence(
        candles=candles, feed=dict(found.feed), malformed=malformed, degradations=degradations,
        lives=len(lived.cuts) + 1,
    )  # fmt: skip
    for provider in lived.providers:
        wrong += provider.objections(evidence)
    return wrong[:_SHOWN_MOST]


def _gate(directory: Path, lived: Lived, silence_ns: int) -> Sequence[str]:
    """Check that trading was halted whenever no quote came for too long, by the times on the tape.

    Where nothing runs, or times are wrong, these say nothing: sessions with such faults are left out.
    """
    if any(fault.startswith(_TIMELESS) for fault in lived.plan.faults):
        return ()
    halted, alone, newest, wrong = True, set[str](), dict[str, int](), list[str]()
    for event in read_tape(directory):
        if isinstance(event, TradingState):
            halted = bool(event.halted_by)
        elif isinstance(event, SymbolState):
            (alone.add if event.halted_by else alone.discard)(event.symbol)
        elif isinstance(event, Quote):
            passed_ns = event.time_ns - newest.get(event.symbol, event.time_ns)
            if not halted and event.symbol not in alone and passed_ns > silence_ns + _SHUT_WITHIN_NS:
                passed_s = passed_ns / SECOND_NS
                wrong.append(f"I8: no quote came for {passed_s:.1f} s before {event.time_ns}, and trading stayed open")
            newest[event.symbol] = event.time_ns
    return wrong[:_SHOWN_MOST]
