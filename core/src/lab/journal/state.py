"""Makes the journal's records of an engine's state. No other module reads an engine for the journal."""

from collections.abc import Mapping
from hashlib import sha256

from lab.domain.ledger import EXACT, ZERO
from lab.domain.time import DAY_NS
from lab.engine.engine import Engine
from lab.exit_codes import EndReason
from lab.journal.codec import encode
from lab.records.base import exact
from lab.records.run import (
    BookState,
    FillTotals,
    GateMemory,
    PositionState,
    RunEnded,
    RunState,
    SessionState,
    Totals,
)


def end_state(engine: Engine, session: SessionState) -> RunState:
    """Return an engine's state: for the commits, and for the figures of ``run_ended``.

    Raises `lab.errors.EngineError` where the balances of a book do not sum to zero.
    """
    books = {}
    for strategy in engine.strategies:
        book, ledger = strategy.book, strategy.book.ledger
        ledger.check_balance()
        equity = engine.valuation.book_equity(book)
        positions = {
            symbol: PositionState(
                quantity=exact(held.quantity),
                cost=exact(held.cost),
                mark=exact(engine.valuation.mark(symbol, held.quantity)),
            )
            for symbol, held in ledger.positions.items()
            if held.quantity
        }
        books[strategy.name] = BookState(
            cash=exact(ledger.cash),
            equity=exact(equity),
            pnl=exact(EXACT.subtract(equity, book.deposit)),
            fills=book.fills,
            trades=book.trades,
            balances={account: exact(amount) for account, amount in ledger.balances.items() if amount != ZERO},
            positions=positions,
            stopped=strategy.failed,
        )
    return RunState(
        totals=totals_of(engine),
        equity=exact(engine.valuation.equity()),
        day_starting_equity=exact(engine.valuation.day_starting_equity),
        day_ns=max(0, engine.valuation.day_end_ns - DAY_NS),
        books=books,
        session=session,
        gate_memory={
            name: GateMemory(values=values, seal=seal_of(engine.state.config_hash, name, values), error=error)
            for name, (values, error) in engine.gate_memory().items()
        },
    )


def seal_of(config_hash: str, gate: str, values: Mapping[str, str]) -> str:
    """Return what tells a gate's memory from one that was changed, or that is of other settings."""
    return sha256(encode((config_hash, gate, values))).hexdigest()


def totals_of(engine: Engine) -> Totals:
    """Return the engine's counters at this moment."""
    counters = engine.counters
    figures = {name: getattr(counters, name) for name in Totals.__struct_fields__}
    figures["fill_rules"] = {
        rule: FillTotals(fills=one.fills, late=one.late, fees=exact(one.fees), slippage=exact(one.slippage))
        for rule, one in counters.fill_rules.items()
    }
    figures["lowest_equity"] = exact(counters.lowest_equity)
    figures["max_drawdown_percent"] = exact(counters.max_drawdown_percent)
    for name in ("first_prices", "last_prices"):
        figures[name] = {symbol: exact(price) for symbol, price in figures[name].items()}
    return Totals(**figures)


def ended(state: RunState, reason: EndReason, error: str, *, tape_sha256: str | None = None) -> RunEnded:
    """Return the record of a run's end: its state and the reason."""
    return RunEnded(
        totals=state.totals,
        equity=state.equity,
        day_starting_equity=state.day_starting_equity,
        day_ns=state.day_ns,
        books=state.books,
        session=state.session,
        gate_memory=state.gate_memory,
        reason=reason.code,
        exit_code=reason.exit_code,
        error=error,
        tape_sha256=tape_sha256,
    )
