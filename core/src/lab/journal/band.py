"""The profit at the worst and at the best prices of a run's fills, where no account loses more than it has."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from attrs import define, field

from lab.domain.events import Fill, Liquidated, LiquidationSettled, OrderFilled
from lab.domain.instrument import Instrument
from lab.domain.ledger import ZERO
from lab.domain.orders import Side
from lab.journal.codec import KINDS
from lab.journal.reader import JournalReader
from lab.records.base import exact
from lab.records.report import ProfitBand
from lab.records.run import RunStarted, RunState


@define
class _Other:
    """What fills would have lost at the worst of their prices, and gained at the best."""

    lost: Decimal = ZERO
    gained: Decimal = ZERO

    def add(self, other: "_Other") -> None:
        self.lost += other.lost
        self.gained += other.gained

    def insured(self, part: "_Other", paid: Decimal) -> None:
        """Take back what the insurance fund bears of a part: all it would have lost more, and first what it was paid.

        At worse prices the fund would have paid as much more. At better ones it would have paid less, and only what is
        beyond that is gained.
        """
        self.lost -= part.lost
        self.gained -= min(part.gained, paid)


@define
class _Account:
    """What the fills of an account would have come to at other prices, and each of its positions since it was opened.

    ``called`` are the positions of each strategy that are being liquidated by themselves.
    """

    all: _Other = field(factory=_Other)
    positions: dict[tuple[str, str], _Other] = field(factory=dict)
    called: dict[str, list[str]] = field(factory=dict)

    def take(self, event: object, instruments: Mapping[str, Instrument]) -> None:
        """Take a row, in their order."""
        if isinstance(event, OrderFilled):
            instrument = instruments.get(event.symbol)
            if instrument is not None:
                self._fill(event, _at_other_prices(event.fill, instrument))
        elif isinstance(event, Liquidated):
            if event.scope == "position":
                self.called.setdefault(event.strategy, []).extend(one.symbol for one in event.positions)
            else:
                self.called.pop(event.strategy, None)
        elif isinstance(event, LiquidationSettled):
            self._settle(event)

    def _fill(self, event: OrderFilled, other: _Other) -> None:
        self.all.add(other)
        key, moved = (event.strategy, event.symbol), event.fill.quantity
        before = event.position - (moved if event.side is Side.BUY else -moved)
        if not before * event.position > ZERO and event.position:  # it was opened, or turned
            self.positions[key] = _Other()
        self.positions.setdefault(key, _Other()).add(other)

    def _settle(self, event: LiquidationSettled) -> None:
        called = self.called.get(event.strategy, [])
        closed = list(event.symbols or called)  # without symbols the run ended before they were closed
        by_itself = [symbol for symbol in closed if symbol in called]
        if event.insurance and not by_itself:
            self.all.insured(_Other(self.all.lost, self.all.gained), event.insurance)
        elif event.insurance:
            part = _Other()
            for symbol in by_itself:
                part.add(self.positions.pop((event.strategy, symbol), _Other()))
            self.all.insured(part, event.insurance)
        self.called[event.strategy] = [symbol for symbol in called if symbol not in closed]


def profit_band(reader: JournalReader, started: RunStarted, end: RunState, starting: Decimal) -> ProfitBand:
    """Return the band of a run that began with ``starting``. Raises `lab.errors.JournalError` for a damaged row.

    The rows are read only where the insurance fund paid, or where an account could have lost all it has.
    """
    worst, best = end.equity - end.totals.loss_at_worst, end.equity + end.totals.gain_at_best
    equities = _equities(started, end)
    if end.totals.insurance_paid or any(equity < end.totals.loss_at_worst for equity in equities.values()):
        worst = best = ZERO
        accounts = _accounts(reader, started)
        for name, equity in equities.items():
            other = accounts.get(name, _Account()).all
            worst += min(equity, max(equity - other.lost, ZERO))
            best += equity + other.gained
    return ProfitBand(
        pessimistic=exact(worst - starting), expected=exact(end.equity - starting), optimistic=exact(best - starting)
    )


def _equities(started: RunStarted, end: RunState) -> dict[str, Decimal]:
    """Return the equity of each account, by the name that `_accounts` gives it."""
    if started.account == "shared":
        return {"": end.equity}
    return {name: book.equity for name, book in end.books.items()}


def _accounts(reader: JournalReader, started: RunStarted) -> dict[str, _Account]:
    """Return the accounts by the name of their strategy; a shared one has none."""
    classes = {KINDS[cls]: cls for cls in (OrderFilled, Liquidated, LiquidationSettled)}
    accounts: dict[str, _Account] = {}
    for seq, _, _, kind, _, body, _ in reader.rows():
        if kind in classes:
            event: Any = reader.decoded(classes[kind], seq, body)
            name = "" if started.account == "shared" else event.strategy
            accounts.setdefault(name, _Account()).take(event, started.instruments)
    return accounts


def _at_other_prices(fill: Fill, instrument: Instrument) -> _Other:
    """Return what a fill would have lost and gained, as `lab.engine.fills` adds it up."""
    booked = instrument.notional(fill.quantity, fill.reference)
    lost, gained = (
        abs(booked - instrument.notional(fill.quantity, price)) if price is not None else ZERO
        for price in (fill.worst, fill.best)
    )
    return _Other(lost, gained)
