"""Fetching candles of the past: the warm-up history, and gaps found later. It never blocks the session."""

from collections.abc import Callable, Sequence
from decimal import Context, setcontext
from typing import Final

import anyio

from lab.domain.market import Candle
from lab.errors import AuthenticationFailed, ProviderError, ProviderUnavailable, describe_error, message_of, text_of
from lab.ports import Provider
from lab.session.inbox import Inbox
from lab.session.provider_calls import is_cancellation

_WAIT_FIRST_S: Final = 1.0
_WAIT_MOST_S: Final = 30.0
_GAP_WAITS_S: Final = (2.0, 5.0, 15.0)


class HistoryLoader:
    """Puts back-filled candles into the inbox. Progress is judged by the engine's history, not by what was fetched.

    It asks for no more than ``keep`` candles, which is what the engine holds, and at first for ``depth`` at most.
    ``failed`` is called with an exception of `Provider.history` that is no `ProviderError`, or `AuthenticationFailed`.
    """

    def __init__(
        self,
        provider: Provider,
        inbox: Inbox,
        symbol: str,
        interval_ns: int,
        *,
        need: int,
        keep: int,
        depth: int | None,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._provider = provider
        self._inbox = inbox
        self._symbol = symbol
        self._interval_ns = interval_ns
        self._keep = keep
        self._depth = depth
        self._failed = failed
        self._filling = anyio.Lock()
        self.need = need
        self.failures = 0
        self.refused = ""
        self.done = need == 0

    async def load(self) -> None:
        """Fetch the history until a call succeeds, or the provider says that none will."""
        wait, count = _WAIT_FIRST_S, self._keep if self._depth is None else min(self._keep, self._depth)
        while not self.done:
            try:
                candles = await self._ask(None, count)
            except ProviderUnavailable as error:
                self._inbox.notice("warm-up", state="failed", error=message_of(error), retry_seconds=f"{wait:g}")
                await anyio.sleep(wait)
                wait = min(2 * wait, _WAIT_MOST_S)
                continue
            except ProviderError as error:
                self.refused = message_of(error)
                self.done = True
                self._inbox.notice("warm-up", state="refused", error=message_of(error))
                return
            loaded = self._inbox.backfill(self._symbol, self._inbox.history_of(self._symbol, candles))
            self.done = True
            self._inbox.notice("warm-up", state="done", candles=str(len(loaded)), needed=str(self.need))

    async def fill(self, first_ns: int, last_ns: int) -> None:
        """Fetch the candles that open from ``first_ns`` to ``last_ns``; after three failed tries a notice says so.

        Of a gap longer than the history that is kept, only the newest candles are fetched, and a notice says so.
        """
        missing = (last_ns - first_ns) // self._interval_ns + 1
        if missing > self._keep:
            self._inbox.notice("backfill", state="too long", candles=str(missing), fetched=str(self._keep))
            first_ns = last_ns - (self._keep - 1) * self._interval_ns
        async with self._filling:  # one call at a time, however many gaps there are
            await self._fill(first_ns, last_ns)

    async def _fill(self, first_ns: int, last_ns: int) -> None:
        missing = set(range(first_ns, last_ns + 1, self._interval_ns))
        for wait in _GAP_WAITS_S:
            try:
                candles = await self._ask(last_ns + self._interval_ns, len(missing))
            except ProviderUnavailable as error:
                self._inbox.notice("backfill", state="failed", error=message_of(error))
            except ProviderError as error:
                self._inbox.notice("backfill", state="refused", error=message_of(error))
                return
            else:
                wanted = [candle for candle in candles if candle.open_ns in missing]
                taken = self._inbox.backfill(self._symbol, wanted)
                missing.difference_update(candle.open_ns for candle in taken)
                if not missing:
                    self._inbox.notice("backfill", state="done", candles=str(len(taken)))
                    return
            await anyio.sleep(wait)
        self._inbox.notice("backfill", state="missing", candles=str(len(missing)), first_ns=str(min(missing)))

    async def _ask(self, end_ns: int | None, count: int) -> Sequence[Candle]:
        """Make one call. Raises `ProviderUnavailable` or `ProviderError`, whatever the provider raises."""
        setcontext(Context())  # a task shares its starter's, in which the strategies compute
        try:
            candles = await self._provider.history(self._symbol, self._interval_ns, end_ns=end_ns, count=count)
            strange = next((candle for candle in candles if candle.__class__ is not Candle), None)
        except ProviderUnavailable:
            self.failures += 1
            raise
        except AuthenticationFailed as error:
            self._failed(error)
            raise
        except ProviderError:
            raise
        except BaseException as error:
            if is_cancellation(error):
                raise
            self._failed(error)
            raise ProviderError(f"history() failed: {describe_error(error)}") from error
        if strange is not None:
            raise ProviderError(f"history() gave {text_of(repr, strange, 150)}, which is no Candle")
        return candles[-count:] if count else []
