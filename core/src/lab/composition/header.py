"""Run header, live status and the degradations for positions that a run leaves open."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from lab.composition.assembly import Assembly
from lab.domain.instrument import Instrument
from lab.engine.engine import Engine
from lab.journal.state import totals_of
from lab.ports import FeedState, Holding, Status
from lab.records.base import exact
from lab.records.report import Header
from lab.records.run import RunKind


def make_header(
    assembly: Assembly, kind: RunKind, instrument: Instrument, engine: Engine, *, run_id: str, directory: Path | None
) -> Header:
    """Return the run's header: the venue, the money, effective fees, limits and settings in force."""
    run = assembly.settings
    view = engine.strategies[0].view
    provider = assembly.provider
    return Header(
        run_id=run_id,
        kind=kind,
        version=version("lab-trading"),
        provider=provider.offer.name,
        venue=provider.component.origin(),
        realm=provider.component.realm(),
        strategies=tuple(part.name for part in assembly.strategies),
        symbol=run.symbol,
        interval=run.interval,
        instrument=instrument,
        starting_equity=exact(engine.valuation.starting_equity),
        fees=_as_text(assembly.broker.component.describe(instrument)),
        gates=tuple(part.name for part in assembly.gates),
        limits={part.name: _as_text(part.component.describe(view)) for part in assembly.gates},
        settings=assembly.settings_in_force(),
        speed=run.speed,
        seconds=run.minutes * 60 if kind == "run" else None,
        no_orders=run.no_orders,
        directory=str(directory) if directory is not None else None,
    )


def _as_text(described: object) -> dict[str, str]:
    """Return what a component describes, as text whatever it is: the record of the run's end must be readable."""
    return {str(name): str(figure) for name, figure in dict(described).items()}  # type: ignore[call-overload]


def status_of(
    engine: Engine, symbol: str, *, seconds_left: float, feed: FeedState, why_not_trading: Sequence[str]
) -> Status:
    """Return the live status of an engine."""
    market = engine.state.markets[symbol]
    quote, candles = market.quote, market.history.candles
    return Status(
        seconds_left=seconds_left,
        price=(quote.bid + quote.ask) / 2 if quote else candles[-1].close if candles else None,
        feed=feed.value,
        why_not_trading=tuple(why_not_trading),
        equity=engine.valuation.equity(),
        starting_equity=engine.valuation.starting_equity,
        positions=tuple(
            Holding(strategy=strategy.name, symbol=symbol, quantity=held.quantity, price=held.price)
            for strategy in engine.strategies
            for symbol, held in strategy.book.ledger.positions.items()
            if held.quantity
        ),
        totals=totals_of(engine),
    )


def left_open(engine: Engine) -> list[str]:
    """Return a degradation for every position that is still held."""
    return [
        f"position_left_open {strategy.name} {exact(held.quantity):f} {symbol}"
        for strategy in engine.strategies
        for symbol, held in strategy.book.ledger.positions.items()
        if held.quantity
    ]
