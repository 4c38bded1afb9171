"""Calls of a provider's history, one at a time, with whatever it raises made an error of the provider."""

import contextlib
from collections.abc import Callable, Sequence
from decimal import Context, setcontext
from functools import partial

import anyio
from attrs import define, field

from lab.domain.market import Candle
from lab.errors import AuthenticationFailed, ProviderError, ProviderUnavailable, describe_error, text_of
from lab.live.inbox import Inbox
from lab.live.provider_calls import is_cancellation
from lab.ports import Provider


@define
class HistorySource:
    """The history of one symbol's candles.

    ``turn`` lets one symbol of several ask at a time. ``failed`` is called with an exception of `Provider.history` that
    is no `ProviderError`, or `AuthenticationFailed`.
    """

    provider: Provider
    symbol: str
    interval_ns: int
    failed: Callable[[BaseException], None]
    turn: anyio.Lock | None = None
    failures: int = field(init=False, default=0)
    """How often the provider had no answer."""

    def notice_of(self, inbox: Inbox) -> Callable[..., None]:
        """Return how to note what becomes of the history: of several symbols, with its symbol."""
        return inbox.notice if self.turn is None else partial(inbox.notice, symbol=self.symbol)

    async def ask(self, end_ns: int | None, count: int) -> Sequence[Candle]:
        """Make one call. Raises `ProviderUnavailable` or `ProviderError`, whatever the provider raises."""
        setcontext(Context())  # a task shares its starter's, in which the strategies compute
        try:
            async with self.turn or contextlib.nullcontext():
                candles = await self.provider.history(self.symbol, self.interval_ns, end_ns=end_ns, count=count)
            strange = next((candle for candle in candles if candle.__class__ is not Candle), None)
        except ProviderUnavailable:
            self.failures += 1
            raise
        except AuthenticationFailed as error:
            self.failed(error)
            raise
        except ProviderError:
            raise
        except BaseException as error:
            if is_cancellation(error):
                raise
            self.failed(error)
            raise ProviderError(f"history() failed: {describe_error(error)}") from error
        if strange is not None:
            raise ProviderError(f"history() gave {text_of(repr, strange, 150)}, which is no Candle")
        return candles[-count:] if count else []
