"""Run header, live status and the degradations for positions that a run leaves open."""

from collections.abc import Mapping, Sequence
from decimal import Context, localcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lab.composition.assembly import Assembly, Part
from lab.domain.instrument import Instrument
from lab.engine.engine import Engine
from lab.engine.state import Market
from lab.errors import describe_error, text_of
from lab.journal.state import totals_of
from lab.ports import FeedState, Holding, Status
from lab.records.base import exact
from lab.records.report import Header
from lab.records.run import RunKind
from lab.secret import without_secrets


def make_header(assembly: Assembly, kind: RunKind, engine: Engine, *, run_id: str, directory: Path | None) -> Header:
    """Return the run's header: the venue, the money, effective fees, limits and settings in force."""
    run = assembly.settings
    view = engine.strategies[0].view
    instruments = {symbol: market.instrument for symbol, market in engine.state.markets.items()}
    return Header(
        run_id=run_id,
        kind=kind,
        version=version("lab-trading"),
        provider=assembly.provider.offer.name,
        venue=assembly.declared.origin,
        realm=assembly.declared.realm,
        strategies=tuple(part.name for part in assembly.strategies),
        symbol=", ".join(run.symbols),
        interval=run.interval,
        instrument=instruments[run.symbols[0]],
        instruments=instruments,
        starting_equity=exact(engine.valuation.starting_equity),
        account=run.account,
        fees=_terms(assembly.broker, instruments),
        gates=tuple(part.name for part in assembly.gates),
        limits={part.name: _described(part, view) for part in assembly.gates},
        settings=assembly.settings_in_force(),
        speed=run.speed,
        seconds=run.minutes * 60 if kind == "run" else None,
        no_orders=run.no_orders,
        directory=str(directory) if directory is not None else None,
    )


def _terms(broker: Part[Any], instruments: Mapping[str, Instrument]) -> dict[str, str]:
    """Return what a broker says is in force; where that is not the same for all symbols, with the symbol before it."""
    first, *others = [_described(broker, one) for one in instruments.values()]
    if all(one == first for one in others):
        return first
    described = zip(instruments, (first, *others), strict=True)
    return {f"{symbol} {name}": figure for symbol, one in described for name, figure in one.items()}


def _described(part: Part[Any], about: object) -> dict[str, str]:
    """Return a component's own description, as text whatever it is: it is for readers, and ends no run by failing."""
    try:
        figures = dict(part.component.describe(about))
    except BaseException as error:
        return {"unknown": without_secrets(f"describe failed: {describe_error(error)}")}
    return {text_of(str, name): without_secrets(text_of(str, figure)) for name, figure in figures.items()}


def status_of(engine: Engine, *, seconds_left: float, feed: FeedState, why_not_trading: Sequence[str]) -> Status:
    """Return the live status of an engine."""
    prices = {symbol: price_of(market) for symbol, market in engine.state.markets.items()}
    with localcontext(Context()):  # the one in force may be a component's
        positions = tuple(
            Holding(
                strategy=strategy.name,
                symbol=symbol,
                quantity=held.quantity,
                price=strategy.view.entry_price(symbol),
            )
            for strategy in engine.strategies
            for symbol, held in strategy.book.ledger.positions.items()
            if held.quantity
        )
    return Status(
        seconds_left=seconds_left,
        price=next(iter(prices.values())),
        prices=prices,
        feed=feed.value,
        why_not_trading=tuple(map(without_secrets, why_not_trading)),
        equity=engine.valuation.equity(),
        starting_equity=engine.valuation.starting_equity,
        positions=positions,
        totals=totals_of(engine),
    )


def price_of(market: Market) -> float | None:
    """Return the middle of the newest quote, without quotes the newest close; ``None`` before any."""
    quote, candles = market.quote, market.history.candles
    return (quote.bid + quote.ask) / 2 if quote else candles[-1].close if candles else None


def left_open(engine: Engine) -> list[str]:
    """Return a degradation for every position that is still held."""
    return [
        f"position_left_open {strategy.name} {exact(held.quantity):f} {symbol}"
        for strategy in engine.strategies
        for symbol, held in strategy.book.ledger.positions.items()
        if held.quantity
    ]
