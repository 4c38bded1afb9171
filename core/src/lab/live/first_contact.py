"""The first minutes of a live session: every call to the provider before it streams, bounded and guarded."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import anyio

from lab.composition.assembly import Part
from lab.composition.config import RunSettings
from lab.composition.subscription import run_instrument, run_subscriptions
from lab.domain.instrument import Instrument
from lab.errors import LabError, ProviderError, ProviderUnavailable, RunError, describe_error, message_of
from lab.exit_codes import EndReason
from lab.live.provider_calls import is_cancellation, provider_failure
from lab.ports import Clock, Provider, Runtime, Subscription
from lab.runs.failures import FailureLog

CALL_S: Final = 30.0
"""How long a provider may take to start, and to answer one question about an instrument."""

_STOP_S: Final = 2.0
_RETRY_MOST_S: Final = 30.0

Waiting = Callable[[str, float | None], None]
"""Takes what a provider said that can't be reached, and the seconds left (``None``: no limit); ``""`` ends the wait."""


def no_waiting(cause: str, left: float | None) -> None:
    """Show nothing."""


class Guarded:
    """A provider whose calls end in time, and whose failures are named errors of lab. Limits are in real seconds."""

    def __init__(self, part: Part[Provider], failures: FailureLog, *, pace: float = 1.0) -> None:
        self.name = part.name
        self._failures = failures
        self.component = part.component
        self.pace = pace

    async def start(self, runtime: Runtime) -> None:
        """Start it. Raises `RunError`."""
        self.pace = runtime.pace
        text = f"provider {self.name}: start() was not done within {CALL_S:g} s"
        await self._call("start", lambda: self.component.start(runtime), RunError(EndReason.PLUGIN, text))

    def subscriptions(self, symbols: Iterable[str], interval_ns: int) -> list[Subscription]:
        """Return the run's subscriptions. Raises `RunError` for what the provider never has."""
        try:
            return run_subscriptions(self.name, self.component, symbols, interval_ns)
        except ProviderError as error:
            raise RunError(EndReason.CONFIG, message_of(error)) from None
        except BaseException as error:
            raise self._failure("check", error) from None

    async def instrument(self, symbol: str, limit: float) -> Instrument:
        """Ask for the instrument, for ``limit`` seconds at most. Raises `ProviderUnavailable` or `RunError`."""
        limit = min(limit, CALL_S)
        late = ProviderUnavailable(f"{self.name}: no answer about {symbol} within {limit:.3g} s")
        found = await self._call("instrument", lambda: self.component.instrument(symbol), late, limit)
        return run_instrument(self.name, symbol, "instrument", found)

    async def stop(self) -> str:
        """Stop it, whatever it does; return what went wrong (already printed), or an empty text."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(_STOP_S * self.pace) as scope:
            try:
                await self.component.stop()
            except BaseException as error:
                if scope.cancel_called:
                    raise
                self._failures.note("provider", self.name, "stop", error)
                return f"provider {self.name} failed in stop: {describe_error(error)}"
        if not scope.cancelled_caught:
            return ""
        self._failures.say(text := f"provider {self.name} did not stop within {_STOP_S:g} s")
        return text

    async def _call(self, name: str, call: Callable[[], Awaitable[Any]], late: LabError, limit: float = CALL_S) -> Any:
        """Await one call; ``late`` is raised where it takes too long. Cancellation from outside passes through."""
        with anyio.move_on_after(limit * self.pace):
            try:
                return await call()
            except ProviderUnavailable:
                raise
            except ProviderError as error:
                raise RunError(EndReason.CONFIG, message_of(error)) from None
            except LabError:
                raise
            except BaseException as error:
                if is_cancellation(error):
                    raise
                raise self._failure(name, error) from None
        raise late

    def _failure(self, call: str, error: BaseException) -> RunError:
        return RunError(EndReason.PLUGIN, provider_failure(self._failures, self.name, call, error))


class FirstContact:
    """Asks a provider for the instruments until it answers, for ``start_timeout`` real seconds after the start."""

    def __init__(self, provider: Guarded, settings: RunSettings, clock: Clock, waiting: Waiting) -> None:
        self.provider = provider
        self._found: dict[str, Instrument] = {}
        self._symbols = settings.symbols
        self._limit = settings.start_timeout or float("inf")
        self._run_s = settings.minutes * 60
        self._clock = clock
        self._waiting = waiting
        self.began = clock.monotonic()
        self._wait = 1.0
        self.failures = 0
        self.cause = ""

    @property
    def left(self) -> float:
        """Real seconds until the provider counts as out of reach."""
        return self._limit - self._passed

    @property
    def _passed(self) -> float:
        return (self._clock.monotonic() - self.began) / self.provider.pace

    @property
    def given_up(self) -> str:
        """Why the run ends now, or nothing while there is time left."""
        if self.left > 0:
            return ""
        return f"{self.provider.name} was not reached within {self._limit:g} s: {self.cause}"

    @property
    def unknown(self) -> str:
        """The symbols that the provider has not described yet, in words."""
        return ", ".join(symbol for symbol in self._symbols if symbol not in self._found)

    async def ask(self) -> Mapping[str, Instrument] | None:
        """Ask once for each that is not known yet; return ``None`` where it has no answer now.

        Raises `RunError` for a failure that is permanent.
        """
        try:
            for symbol in self._symbols:
                if symbol not in self._found:
                    self._found[symbol] = await self.provider.instrument(symbol, max(self.left, 0.001))
        except ProviderUnavailable as error:
            self.failures += 1
            self.cause = message_of(error)
            self.show()
            return None
        self.end()
        return self._found

    async def pause(self, stopping: anyio.Event) -> None:
        """Wait before the next question, longer each time, counting down; return early when the run is to stop."""
        until = self._clock.monotonic() + min(self._wait, max(self.left, 0.0) * self.provider.pace)
        self._wait = min(2 * self._wait, _RETRY_MOST_S)
        while not stopping.is_set() and (rest := until - self._clock.monotonic()) > 0:
            with anyio.move_on_after(min(rest, self.provider.pace)):
                await stopping.wait()
            self.show()

    def show(self) -> None:
        """Show how long there is left."""
        left = min(self._limit, self._run_s / self.provider.pace) - self._passed
        self._waiting(self.cause, max(0.0, left) if self._limit != float("inf") else None)

    def end(self) -> None:
        """Stop showing."""
        if self.failures:
            self._waiting("", None)
