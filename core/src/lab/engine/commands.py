"""Obeys commands from outside the strategies."""

from decimal import getcontext, setcontext

from lab.domain.control import Command, CommandAction
from lab.domain.ledger import EXACT
from lab.engine.orders import OrderEntry
from lab.engine.state import Book, EngineState, Outputs
from lab.engine.strategies import Strategies
from lab.errors import ComponentError

_ENDING = (CommandAction.STOP, CommandAction.KILL)
_CLOSING = (CommandAction.FLATTEN, CommandAction.KILL)


class Commands:
    """Obeys commands. Each action may be given at any time, and again."""

    __slots__ = ("_entry", "_state", "_strategies")

    def __init__(self, state: EngineState, entry: OrderEntry, strategies: Strategies) -> None:
        self._state = state
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
            self._wind_down(reason, out, close=action in _CLOSING, final=action is CommandAction.STOP)

    def _wind_down(self, reason: str, out: Outputs, *, close: bool, final: bool) -> None:
        """Cancel working orders and, with ``close``, close each position by an order; nothing if the broker failed.

        What is being liquidated is left alone, as its orders are on their way, except by a command that is ``final``:
        the run ends and nothing will be closed, so each order needs its end now.
        """
        if self._state.failure is not None:
            return
        before = getcontext()
        setcontext(EXACT)
        known = len(out)
        try:
            changes = self._entry.changes
            for open_ in list(self._state.working.values()):
                if self._state.stopping and (final or open_.order.symbol not in open_.book.closing):
                    changes.withdraw(open_, reason, out)  # nobody waits for a cancel to arrive
                elif open_.order.symbol not in open_.book.closing:
                    changes.cancel_open(open_, reason, out)
            for book in self._state.books if close else ():
                for symbol, held in book.ledger.positions.items():
                    if held.quantity and not self._is_closing(book, symbol):
                        self._entry.close_position(book, symbol, held.quantity, reason, out)
            if self._strategies.listening:
                self._strategies.tell(out, known)
        except ComponentError as error:
            self._strategies.fail(error, out)
        finally:
            setcontext(before)

    @staticmethod
    def _is_closing(book: Book, symbol: str) -> bool:
        """Return whether an order of a liquidation works on the position."""
        return symbol in book.closing and any(open_.order.symbol == symbol for open_ in book.orders.values())
