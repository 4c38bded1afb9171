"""What a session tells of itself: the header at the start, its state for live views, its counts for the report."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.domain.instrument import Instrument
from lab.engine.engine import Engine
from lab.journal.report import plain
from lab.ports import FeedState, Status
from lab.session.assembly import Assembly
from lab.session.runner import Runner

if TYPE_CHECKING:
    from lab.session.session import Session

_COUNTS = ("candles", "quotes", "decisions", "orders", "trades", "refusals")


def make_header(
    assembly: Assembly, instrument: Instrument, engine: Engine, *, run_id: str, directory: Path | None
) -> dict[str, Any]:
    """Return what is said aloud at the start: the venue, the money, effective fees, and the limits in force."""
    run = assembly.settings
    view = engine.seats[0].view
    return {
        "run_id": run_id,
        "version": assembly.provider.offer.plugin.version,
        "provider": assembly.provider.offer.name,
        "venue": assembly.provider.component.venue(),
        "strategies": [part.name for part in assembly.strategies],
        "symbol": run.symbol,
        "interval": run.interval,
        "starting_equity": plain(engine.worth.starting_equity),
        "fees": dict(assembly.broker.component.describe(instrument)),
        "gates": [part.name for part in assembly.gates],
        "limits": {part.name: dict(part.component.describe(view)) for part in assembly.gates},
        "speed": run.speed,
        "seconds": run.minutes * 60,
        "no_orders": run.no_orders,
        "directory": str(directory) if directory is not None else None,
    }


def status_of(
    engine: Engine, symbol: str, *, seconds_left: float, feed: FeedState, why_not_trading: Sequence[str]
) -> Status:
    """Return what an engine has come to, for live views."""
    market = engine.markets[symbol]
    quote, candles = market.quote, market.history.candles
    price = (quote.bid + quote.ask) / 2 if quote else candles[-1].close if candles else None
    totals = engine.totals
    return Status(
        seconds_left=seconds_left,
        price=price,
        feed=feed.value,
        why_not_trading=why_not_trading,
        equity=engine.worth.equity(),
        starting_equity=engine.worth.starting_equity,
        positions=[
            (seat.name, symbol, held.quantity, held.price)
            for seat in engine.seats
            for symbol, held in seat.ledger.positions.items()
            if held.quantity
        ],
        counts={name: int(getattr(totals, name)) for name in _COUNTS},
    )


def warmth(runner: Runner | None) -> str:
    """Return how far the warm-up came where it is not complete, else nothing."""
    if runner is None:
        return ""
    have = runner.engine.markets[runner.symbol].history.count
    return f"seed_incomplete {have}/{runner.lookback}" if have < runner.lookback else ""


def session_state(session: "Session", *, ended: bool) -> dict[str, Any]:
    """Return what the session itself counted; with the engine's totals the report is made from it."""
    intake = session.intake
    return {
        "errors": session.errors,
        "duration_seconds": round(session.elapsed(), 3),
        "contacted_hosts": list(intake.hosts),
        "degradations": _degradations(session, ended=ended),
        "limits": session.header.get("limits", {}),
        "fees": session.header.get("fees", {}),
        "warm": warmth(session.runner),
        "counters": {
            "conflated_quotes": intake.conflated,
            "malformed": intake.malformed_count,
            "inputs": session.tape.inputs,
        },
    }


def _degradations(session: "Session", *, ended: bool) -> list[str]:
    runner = session.runner
    found = [warmth(runner)] if warmth(runner) else []
    if runner is not None and runner.seeder.failures:
        found.append(f"history_failures {runner.seeder.failures}")
    if session.waits:
        found.append(f"instrument_failures {session.waits}")
    if runner is not None and runner.shut_seconds >= 1.0:
        found.append(f"trading_shut {runner.shut_seconds:.0f} s after it had been open")
    drops = session.intake.states.get(FeedState.DOWN.value, 0)
    if drops:
        found.append(f"feed_down {drops}")
    if session.intake.malformed_count:
        found.append(f"malformed {session.intake.malformed_count}")
    if ended and session.engine is not None:
        found += left_open(session.engine)
    return found


def left_open(engine: Engine) -> list[str]:
    """Return a degradation for every position that is still held."""
    return [
        f"position_left_open {seat.name} {plain(held.quantity)} {symbol}"
        for seat in engine.seats
        for symbol, held in seat.ledger.positions.items()
        if held.quantity
    ]


def describe(error: BaseException) -> str:
    """Return an exception as one line; a group of one as the one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
