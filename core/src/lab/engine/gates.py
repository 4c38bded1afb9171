"""Calls the risk gates of a run: for reviews, and with fills, ends and timers."""

from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal, getcontext, setcontext
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from lab.domain.events import GateFailed
from lab.domain.ledger import EXACT, EXACT_DIGITS, exact_context, renew
from lab.domain.orders import PASS, OrderRequest, Pass, Refuse, Shrink
from lab.engine.checks import checked_reason, figures
from lab.engine.protocols import OnFailure, RiskGateProtocol, declared, describe_failure, describe_value, overridden
from lab.engine.state import Market, Outputs
from lab.engine.view import View

# Compiled code reads a name that is Final at once, where it looks any other up in its module.
_PASS: Final = PASS
_PASS_TYPE: Final = Pass
_getcontext: Final = getcontext
_replace: Final = replace
_setcontext: Final = setcontext
_FAILED: Final = "the gate failed"
_ENTRIES_MOST: Final = 100
_CHARACTERS_MOST: Final = 100_000
Memory = Mapping[str, Mapping[str, str]]
"""What gates knew in an earlier run, by the gate's name."""


class BoundGate:
    """A gate, its bound methods, and its failure, if it failed."""

    __slots__ = (
        "context", "failure", "name", "next_timer_ns", "on_end", "on_fill", "on_timer", "restore", "review", "snapshot",
        "timer_ns", "tripped",
    )  # fmt: skip

    def __init__(self, name: str, gate: RiskGateProtocol) -> None:
        self.name = name
        self.context = exact_context()
        self.failure = ""
        self.review = gate.review
        self.on_fill: Callable[..., Any] | None = overridden(gate, "on_fill")
        self.on_end: Callable[..., Any] | None = overridden(gate, "on_end")
        self.on_timer: Callable[..., Any] | None = overridden(gate, "on_timer")
        self.tripped: Callable[..., Any] | None = overridden(gate, "tripped")
        self.snapshot: Callable[..., Any] | None = overridden(gate, "snapshot")
        self.restore: Callable[..., Any] | None = overridden(gate, "restore")
        self.timer_ns = int(getattr(gate, "timer_ns", 0)) if self.on_timer is not None else 0
        self.next_timer_ns = 0


class Approval:
    """The gates' approval of a request: the quantity, remarks on what was taken away, and whether it only closes."""

    __slots__ = ("closes", "quantity", "remarks")

    def __init__(self, quantity: Decimal, remarks: tuple[str, ...] = (), *, closes: bool = False) -> None:
        self.quantity = quantity
        self.remarks = remarks
        self.closes = closes


class Gates:
    """Asks the gates in their order. A gate that raises refuses; a gate whose memory may be wrong goes on refusing."""

    __slots__ = ("_on_failure", "bound", "breakers", "listening")

    def __init__(
        self, gates: Sequence[tuple[str, RiskGateProtocol]], on_failure: OnFailure, memory: Memory | None = None
    ) -> None:
        """Bind them; ``memory`` is what gates knew in the run that this one restarts. Raises `ComponentError`."""
        self.bound = tuple(
            declared("gate", name, "its attributes", partial(BoundGate, name, gate), on_failure) for name, gate in gates
        )
        self.breakers = tuple(gate for gate in self.bound if gate.tripped is not None)
        self.listening = bool(self.breakers) or any(gate.on_fill or gate.on_end for gate in self.bound)
        self._on_failure = on_failure
        for gate in self.bound:
            known = (memory or {}).get(gate.name)
            if known is not None and gate.restore is not None:
                declared("gate", gate.name, "restore", partial(gate.restore, dict(known)), on_failure)

    def review(
        self, view: View, request: OrderRequest, quantity: Decimal, reducible: Decimal, market: Market
    ) -> Approval | tuple[str, Refuse]:
        """Return the gates' approval, or the name of a gate with its refusal. The exact context is in force afterwards.

        Where they refuse an order that would turn a position, the part that closes it goes on.
        """
        remarks: tuple[str, ...] = ()
        verdict: object
        for gate in self.bound:
            if gate.failure:
                verdict = Refuse(gate.failure)
            else:
                # A copy: a gate that writes to what it is shown changes nothing.
                verdict = self._ask(gate, _replace(request, quantity=quantity), view)
                if verdict is _PASS or type(verdict) is _PASS_TYPE:
                    continue
                _setcontext(EXACT)
                if type(verdict) is Shrink:
                    smaller = self._shrunk(gate, verdict, quantity, market)
                    if isinstance(smaller, Approval):
                        quantity = smaller.quantity
                        remarks += smaller.remarks
                        continue
                    verdict = smaller
            refusal = self._refusal(gate, verdict)
            _setcontext(EXACT)
            if reducible:
                return Approval(
                    min(quantity, reducible),
                    (*remarks, f"{gate.name} refused what would open: {refusal.reason}"),
                    closes=True,
                )
            return gate.name, refusal
        _setcontext(EXACT)
        return Approval(quantity, remarks)

    def _ask(self, gate: BoundGate, shown: OrderRequest, view: View) -> object:
        """Return a gate's verdict. Its context is in force afterwards: most often the next gate's follows at once."""
        _setcontext(gate.context)
        try:
            return gate.review(shown, view)
        except BaseException as error:
            self._on_failure("gate", gate.name, "review", error)
            return Refuse(f"{_FAILED}: {describe_failure(error)}")
        finally:
            if gate.context.prec != EXACT_DIGITS or gate.context.rounding != ROUND_HALF_EVEN:
                renew(gate.context)

    @staticmethod
    def _shrunk(gate: BoundGate, verdict: Shrink, quantity: Decimal, market: Market) -> Approval | Refuse:
        wanted = verdict.quantity
        try:
            reason, numbers = checked_reason(verdict.reason), figures(verdict.numbers)
        except BaseException as error:  # the gate's own mapping may raise anything
            return Refuse(f"{_FAILED}: {describe_failure(error)}")
        if type(wanted) is not Decimal or not wanted.is_finite():
            return Refuse(
                f"the gate asked for {describe_value(wanted)} of {quantity}; expected a finite Decimal", numbers
            )
        smaller = market.instrument.floor_quantity(wanted) if wanted > 0 else wanted
        if not market.instrument.quantity_min <= smaller <= quantity:
            return Refuse(f"the gate asked for {wanted} of {quantity}: {reason}", numbers)
        return Approval(smaller, (f"{gate.name} shrank {quantity} to {smaller}: {reason} {numbers}",))

    @staticmethod
    def _refusal(gate: BoundGate, verdict: object) -> Refuse:
        """Return a refusal whose texts can be journalled."""
        if type(verdict) is not Refuse:
            return Refuse(
                f"the gate answered {describe_value(verdict)}, not Pass, Refuse or a Shrink to a finite Decimal"
            )
        try:
            return Refuse(checked_reason(verdict.reason), figures(verdict.numbers))
        except BaseException as error:
            return Refuse(f"{_FAILED}: {describe_failure(error)}")

    def tell(self, name: str, what: object, view: View, out: Outputs) -> None:
        """Call the gates' ``on_fill`` or ``on_end``."""
        for gate in self.bound:
            call = gate.on_fill if name == "on_fill" else gate.on_end
            if call is not None and not gate.failure:
                self._call(gate, name, call, (what, view), out)

    def timer(self, gate: BoundGate, now_ns: int, views: Sequence[View], out: Outputs) -> None:
        """Call a gate's ``on_timer`` once for each book."""
        for view in views:
            if gate.on_timer is not None and not gate.failure:
                self._call(gate, "on_timer", gate.on_timer, (now_ns, view), out)

    def trip(self, gate: BoundGate, view: View, out: Outputs) -> str:
        """Return why a gate refuses every entry of a book for the rest of the run, an empty text where it does not."""
        ask = gate.tripped
        if ask is None or gate.failure:
            return ""
        before = _getcontext()
        _setcontext(gate.context)
        try:
            reason = ask(view)
            return "" if reason == "" else checked_reason(reason)
        except BaseException as error:
            self._fail(gate, "tripped", error, out)
            return ""
        finally:
            _setcontext(before)
            if gate.context.prec != EXACT_DIGITS or gate.context.rounding != ROUND_HALF_EVEN:
                renew(gate.context)

    def memory(self) -> dict[str, tuple[dict[str, str], str]]:
        """Return what each gate that has a memory would have to know in a restart, or why there is no saying."""
        return {gate.name: self._remembered(gate) for gate in self.bound if gate.snapshot is not None}

    def _remembered(self, gate: BoundGate) -> tuple[dict[str, str], str]:
        if gate.failure or gate.snapshot is None:
            return {}, gate.failure
        before = getcontext()
        setcontext(gate.context)
        try:
            return _memory_of(gate.snapshot()), ""
        except BaseException as error:
            self._on_failure("gate", gate.name, "snapshot", error)
            return {}, f"{_FAILED} in snapshot: {describe_failure(error)}"
        finally:
            setcontext(before)
            renew(gate.context)

    def _call(
        self, gate: BoundGate, name: str, call: Callable[..., Any], arguments: tuple[object, ...], out: Outputs
    ) -> None:
        before = getcontext()
        setcontext(gate.context)
        try:
            call(*arguments)
        except BaseException as error:
            self._fail(gate, name, error, out)
        finally:
            setcontext(before)
            renew(gate.context)

    def _fail(self, gate: BoundGate, name: str, error: BaseException, out: Outputs) -> None:
        text = describe_failure(error)
        gate.failure = f"{_FAILED} in {name} and refuses ever since: {text}"
        out.append(GateFailed(gate.name, name, text))
        self._on_failure("gate", gate.name, name, error)


def _memory_of(memory: object) -> dict[str, str]:
    """Return what a gate's ``snapshot`` gave as a fresh dictionary that can be journalled."""
    if not isinstance(memory, Mapping):
        raise TypeError(f"it gave {describe_value(memory)}; expected a mapping of text to text")
    taken = dict(memory)
    if len(taken) > _ENTRIES_MOST:
        raise ValueError(f"it has {len(taken)} entries; expected at most {_ENTRIES_MOST}")
    size = 0
    for name, value in taken.items():
        if type(name) is not str or type(value) is not str:
            raise TypeError(f"it holds {describe_value(name)}: {describe_value(value)}; expected text by text")
        size += len(name.encode()) + len(value.encode())
    if size > _CHARACTERS_MOST:
        raise ValueError(f"it has {size} bytes; expected at most {_CHARACTERS_MOST}")
    return taken
