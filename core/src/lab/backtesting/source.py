"""Checks recorded data before it reaches the engine, and names the failures of its source."""

from collections.abc import Iterator, Sequence
from typing import Final, cast

from attrs import define, field

from lab.domain.batches import CheckedBatch
from lab.domain.control import SymbolState
from lab.domain.guard import InputGuard
from lab.domain.inputs import INPUTS, Input
from lab.domain.market import BACKFILLED, MARKET_DATA, Backfill, Candle, MarketData
from lab.domain.venue_clock import TOLERANCE_NS
from lab.errors import ProviderError, class_name, describe_error, message_of, text_of
from lab.journal.codec import decode_as, encode
from lab.ports import Subscription
from lab.runs.failures import FailureLog

_READ_BACK: Final = frozenset(INPUTS) - frozenset(MARKET_DATA)
_TIME_MOST: Final = 1 << 62  # the year 2116


@define(eq=False)
class GuardedSource:
    """A provider's batches, with what is malformed or from the future held out and counted.

    Recorded data has no clock but its own order: an event is from the future where the one behind it is stamped more
    than 5 s earlier and the one before it is not. An event that is no market data, or of a symbol that was not
    subscribed to, is the provider's failure: `ProviderError`. So is whatever the provider raises.
    """

    name: str
    wanted: Sequence[Subscription]
    batches: Iterator[Sequence[Input]]
    failures: FailureLog = field(factory=FailureLog)
    """Where the traceback of what the provider raises goes."""
    held_out: int = field(init=False, default=0)
    reason: str = field(init=False, default="")
    """Why the first event was held out."""
    _guard: InputGuard = field(init=False)

    def __attrs_post_init__(self) -> None:
        symbols = [one.symbol for one in self.wanted]
        self._guard = InputGuard(symbols, self.wanted[0].interval_ns, phase_ns=None)

    def degradations(self) -> list[str]:
        """Return the degradations for the report."""
        return [f"held_out {self.held_out}: {self.reason}"] if self.held_out else []

    def __iter__(self) -> Iterator[Sequence[Input]]:
        waiting: Input | None = None  # the newest market event; the next one shows whether it is from the future
        before_ns = 0
        symbols = self._guard.symbols
        while (batch := self._next()) is not None:
            if batch.__class__ is CheckedBatch and batch.symbol in symbols:  # type: ignore[attr-defined]
                if waiting is not None:
                    yield (waiting,)
                    waiting = None
                yield batch
                continue
            let_in: list[Input] = []
            for event in batch:
                if not self._sound(event):
                    continue
                if _stamped(event):
                    if waiting is not None:
                        ahead_ns = waiting.time_ns - event.time_ns
                        if ahead_ns > TOLERANCE_NS and event.time_ns >= before_ns:
                            self._hold_out(f"time_ns {waiting.time_ns} is {ahead_ns / 1e9:.0f} s ahead of what follows")
                        else:
                            before_ns = waiting.time_ns
                            let_in.append(waiting)
                    waiting = event
                else:
                    if waiting is not None:
                        before_ns = waiting.time_ns
                        let_in.append(waiting)
                        waiting = None
                    let_in.append(event)
            if let_in:
                yield let_in
        if waiting is not None:
            yield (waiting,)

    def _next(self) -> Sequence[Input] | None:
        try:
            batch = next(self.batches)
            if not isinstance(batch, Sequence):
                raise TypeError(f"it gave {text_of(repr, batch, 60)}, expected sequences of inputs")
            return batch
        except StopIteration:
            return None
        except ProviderError:
            raise
        except BaseException as error:
            self.failures.note("provider", self.name, "batches", error)
            raise ProviderError(f"provider {self.name} failed in batches: {describe_error(error)}") from None

    def _sound(self, event: Input) -> bool:
        """Return whether an event is sound; hold it out where it is not. Raises `ProviderError` for a foreign one."""
        if event.__class__ in _READ_BACK:
            try:  # of a recorded run: few, so reading each back costs nothing
                decode_as(event.__class__, encode(event))
                if not 0 <= event.time_ns < _TIME_MOST:
                    raise ValueError(f"time_ns {event.time_ns} is no time in nanoseconds")
            except (TypeError, ValueError, OverflowError) as error:
                self._hold_out(f"{class_name(event)}: {message_of(error)}")
                return False
            if isinstance(event, SymbolState) and event.symbol not in self._guard.symbols:
                self._hold_out(f"symbol_state: {event.symbol[:80]!r} is none of this run's symbols")
                return False
            if event.__class__ is not Backfill:
                return True
        for part in event.candles if isinstance(event, Backfill) else (cast("MarketData", event),):
            foreign = self._guard.foreign(part)
            if foreign is not None:
                raise ProviderError(f"provider {self.name} failed: batches() gave {foreign}")
            problem = self._guard.malformed(part)
            if problem is not None:
                self._hold_out(problem)
                return False
        return True

    def _hold_out(self, reason: str) -> None:
        self.held_out += 1
        self.reason = self.reason or reason


def _stamped(event: Input) -> bool:
    """Return whether an event's time is the present one: a back-filled candle carries a time of the past."""
    return event.__class__ in MARKET_DATA and not (event.__class__ is Candle and event.status == BACKFILLED)
