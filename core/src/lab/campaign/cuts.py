"""What is on the disk when a simulated session is cut off, and how it can go on."""

import contextlib
import shutil
from pathlib import Path

from attrs import frozen

from lab.domain.control import SymbolState, TradingState
from lab.domain.events import OrderAccepted, OrderEnded, OrderFilled
from lab.errors import JournalError
from lab.journal.codec import decode_as
from lab.journal.reader import JournalReader
from lab.live.recovery import Interrupted, interrupted
from lab.runs.previous import newest_session


@frozen
class Cut:
    """A moment at which the session was cut off, and what it had committed by then."""

    kind: str
    at_s: float
    rows: int = 0
    """The number of the newest row."""
    head: bytes = b""
    """That row's hash."""
    held: bool = False
    working: bool = False
    recovering: bool = False
    """Whether a session that goes on had not committed anything yet."""


def saved(state_dir: Path, copy: Path, cut: Cut) -> Cut:
    """Copy what is written at this moment, which is what a kill leaves; return the cut with what is in it."""
    shutil.rmtree(copy, ignore_errors=True)
    if not state_dir.exists():
        state_dir.mkdir()
    shutil.copytree(state_dir, copy, symlinks=True)
    newest = newest_session(copy)
    if newest is None:
        return cut
    with contextlib.closing(JournalReader.open(newest)) as reader:
        head, count = b"", 0
        begun: dict[str, None] = {}
        for seq, _, _, kind, _, body, row_hash in reader.rows():
            head, count = row_hash, seq
            _follow(begun, kind, body)
        state = reader.run_state()
    held = state is not None and any(book.positions for book in state.books.values())
    return Cut(cut.kind, cut.at_s, count, head, held, bool(begun), cut.recovering)


def _follow(begun: dict[str, None], kind: str, body: bytes) -> None:
    """Keep which orders are working, from row to row."""
    if kind not in {"order_accepted", "order_filled", "order_ended"}:
        return
    if kind == "order_accepted":
        begun[decode_as(OrderAccepted, body).order_id] = None
    elif kind == "order_ended":
        begun.pop(decode_as(OrderEnded, body).order_id, None)
    else:
        filled = decode_as(OrderFilled, body)
        if not filled.remaining:
            begun.pop(filled.fill.order_id, None)


def cut_off(state_dir: Path) -> tuple[Interrupted | None, Path | None]:
    """Return the session that can go on, or the one that has ended; neither where a new one has to begin."""
    newest = newest_session(state_dir)
    if newest is None:
        return None, None
    with contextlib.closing(JournalReader.open(newest)) as reader:
        if reader.count() == 0:
            return None, None  # killed before its first commit
        if reader.run_ended() is not None:
            return None, newest
        if not reader.run_started().instruments:
            return None, None
    return interrupted(state_dir, newest, same_time=True), None


def halted_by(state_dir: Path) -> tuple[str, ...] | None:
    """Return why trading is halted at this moment, as the journal says; ``None`` for a session that has ended."""
    newest = newest_session(state_dir)
    if newest is None:
        return ("no session has begun",)
    try:
        with contextlib.closing(JournalReader.open(newest)) as reader:
            if reader.run_ended() is not None:
                return None
            states = list(reader.events(TradingState))
            symbols = {one.symbol: one.halted_by for one in reader.events(SymbolState)}
    except JournalError as error:
        return (str(error),)
    alone = [f"{symbol}: {why}" for symbol, reasons in symbols.items() for why in reasons]
    return (*states[-1].halted_by, *alone) if states else ("trading never opened",)
