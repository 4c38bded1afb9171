"""What a run says of itself to people: the header at its start, its status while it runs, the positions it leaves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from lab.composition.assembly import Assembly
from lab.domain.instrument import Instrument
from lab.engine.engine import Engine
from lab.journal.report import described_instrument, plain
from lab.ports import FeedState, Status

_COUNTS: Final = ("candles", "quotes", "decisions", "orders", "trades", "refusals")


def make_header(
    assembly: Assembly, instrument: Instrument, engine: Engine, *, run_id: str, directory: Path | None
) -> dict[str, Any]:
    """Return what is said aloud at the start: the venue, the money, effective fees, and the limits in force."""
    run = assembly.settings
    view = engine.strategies[0].view
    return {
        "run_id": run_id,
        "version": assembly.provider.offer.plugin.version,
        "provider": assembly.provider.offer.name,
        "venue": assembly.provider.component.venue(),
        "strategies": [part.name for part in assembly.strategies],
        "symbol": run.symbol,
        "interval": run.interval,
        "instrument": described_instrument(attrs.asdict(instrument)),
        "starting_equity": plain(engine.valuation.starting_equity),
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
    market = engine.state.markets[symbol]
    quote, candles = market.quote, market.history.candles
    price = (quote.bid + quote.ask) / 2 if quote else candles[-1].close if candles else None
    totals = engine.counters
    return Status(
        seconds_left=seconds_left,
        price=price,
        feed=feed.value,
        why_not_trading=why_not_trading,
        equity=engine.valuation.equity(),
        starting_equity=engine.valuation.starting_equity,
        positions=[
            (strategy.name, symbol, held.quantity, held.price)
            for strategy in engine.strategies
            for symbol, held in strategy.book.ledger.positions.items()
            if held.quantity
        ],
        counts={name: int(getattr(totals, name)) for name in _COUNTS},
    )


def left_open(engine: Engine) -> list[str]:
    """Return a degradation for every position that is still held."""
    return [
        f"position_left_open {strategy.name} {plain(held.quantity)} {symbol}"
        for strategy in engine.strategies
        for symbol, held in strategy.book.ledger.positions.items()
        if held.quantity
    ]
