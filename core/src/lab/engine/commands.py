"""Obeys commands from outside the strategies, and ends a run's trading."""

from decimal import getcontext, setcontext

from lab.domain.control import Command, CommandAction
from lab.domain.events import EquityExhausted
from lab.domain.ledger import EXACT
from lab.engine.orders import OrderEntry
from lab.engine.state import EngineState, Outputs
from lab.engine.strategies import Strategies
from lab.engine.valuation import Valuation
from lab.errors import ComponentError

_ENDING = (CommandAction.STOP, CommandAction.KILL)
_CLOSING = (CommandAction.FLATTEN, CommandAction.KILL)


class Commands:
    """Obeys commands. Each action may be given at any time, and again."""

    __slots__ = ("_entry", "_state", "_strategies", "_valuation")

    def __init__(self, state: EngineState, valuation: Valuation, entry: OrderEntry, strategies: Strategies) -> None:
        self._state = state
        self._valuation = valuation
        self._entry = entry
        self._strategies = strategies

    def obey(self, command: Command, out: Outputs) -> None:
        """Do what the command says. An order that closes a position carries the command as its reason."""
        action = command.action
        reason = f"{action} by {command.who}: {command.why}"
        if action is CommandAction.PAUSE:
            self._state.halt(self._state.halted_by, f"paused by {command.who}: {command.why}")
        elif action is CommandAction.RESUME:
            self._state.halt(self._state.halted_by, "")
        else:
            if action in _ENDING:
                self._strategies.retire_all()
            self._wind_down(reason, out, close=action in _CLOSING)

    def exhaust(self, out: Outputs) -> None:
        """End the run's trading because the equity is 0 or less; a venue would liquidate earlier."""
        if not self._state.exhausted:
            self._state.exhausted = True
            out.append(EquityExhausted(self._valuation.equity()))
            self._strategies.retire_all()
            self._wind_down("the equity is exhausted", out, close=True)

    def _wind_down(self, reason: str, out: Outputs, *, close: bool) -> None:
        """Cancel working orders and, with ``close``, close each position by an order; nothing if the broker failed."""
        if self._state.failure is not None:
            return
        before = getcontext()
        setcontext(EXACT)
        known = len(out)
        try:
            changes = self._entry.changes
            for open_ in list(self._state.working.values()):
                if self._state.stopping:  # nobody waits for a cancel to arrive
                    changes.withdraw(open_, reason, out)
                else:
                    changes.cancel_open(open_, reason, out)
            for book in self._state.books if close else ():
                for symbol, held in book.ledger.positions.items():
                    if held.quantity:
                        self._entry.close_position(book, symbol, held.quantity, reason, out)
            if self._strategies.listening:
                self._strategies.tell(out, known)
        except ComponentError as error:
            self._strategies.fail(error, out)
        finally:
            setcontext(before)
