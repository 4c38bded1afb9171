"""Public REST calls: one attempt each, ten seconds at most, evenly paced. Retries are the caller's business."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import anyio
import attrs
from attrs import define, field
from lab.domain.circuit_breaker import CircuitBreaker
from lab.domain.instrument import Instrument
from lab.domain.market import Candle, Funding
from lab.domain.time import MILLISECOND_NS
from lab.errors import AuthenticationFailed, ProviderError, ProviderUnavailable, RateLimited, describe_error
from lab.feed.pacing import CoolDown, Pacer

from lab_bitunix.connections import BODY_LIMIT, CALL_ERRORS, Answer, Connections, date_ns, encoding_of
from lab_bitunix.rows import (
    BAD_JSON,
    Envelope,
    PairRow,
    closed_by,
    decode_candles,
    decode_envelope,
    decode_funding,
    decode_pairs,
    instrument_of,
    with_tiers,
)
from lab_bitunix.wire import SAMPLE_BYTES, supported

PAGE: Final = 200
DEADLINE_S: Final = 10.0
_PREFIX: Final = "/api/v1/futures/"
_NO_KEY: Final = "public data needs no key; whoever answers there is not the venue, or does not serve this address"
_TOO_FAST: Final = frozenset({10005, 10006})
_UNKNOWN_SYMBOL: Final = frozenset({2, 20001, 20012, 20015})
_OUR_FAULT: Final = frozenset({404, 10002, 10008})
_NOT_ACCEPTED: Final = frozenset({403, 10003, 10004, 10007})
"""The key may not do this, there is none, its address is not on the list, its signature is wrong."""


class UnknownSymbolError(ProviderError):
    """The venue does not list the symbol (or no longer does)."""


class _LateError(ProviderUnavailable):
    """A call was not answered in time."""


@attrs.frozen
class Reply:
    """The data of a good answer. ``date_ns`` is the ``Date`` header (whole seconds), ``took_s`` the real round trip."""

    data: bytes
    date_ns: int | None
    took_s: float


@define(kw_only=True)
class RestClient:
    """The venue's public REST interface.

    ``now_ns`` gives the venue's time where the frames of the socket have shown it, else ``None``. ``malformed`` gets
    what is not as the protocol says, ``contacted`` the host after each answer. ``deadline_s`` is in real seconds,
    ``pace`` as `lab.ports.Runtime.pace`.
    """

    base_url: str
    cool_down: CoolDown = field(factory=CoolDown)
    now_ns: Callable[[], int | None] = lambda: None
    malformed: Callable[[str, bytes], None] = lambda _reason, _sample: None
    contacted: Callable[[str], None] = lambda _host: None
    pacer: Pacer = field(factory=lambda: Pacer(0.21))
    breaker: CircuitBreaker = field(factory=lambda: CircuitBreaker(anyio.current_time))
    deadline_s: float = DEADLINE_S
    pace: float = 1.0
    symbols: list[str] = field(init=False, factory=list)
    _connections: Connections = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._connections = Connections(base_url=self.base_url, timeout_s=self.deadline_s, pace=self.pace)

    @property
    def host(self) -> str:
        """The host and, where given, port that is called."""
        return urlsplit(self.base_url).netloc

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connections.aclose()

    async def klines(self, symbol: str, interval_ns: int, *, end_ns: int | None, count: int) -> list[Candle]:
        """Return the newest closed candles that open before ``end_ns``, ascending, at most ``count``.

        One deadline covers all pages; when it passes after the first page, what came by then is returned: the newest.
        """
        name = supported(interval_ns)
        found: dict[int, Candle] = {}
        pages_left = count // PAGE + 10
        end_ms = None if end_ns is None else -(-end_ns // MILLISECOND_NS)
        until = anyio.current_time() + self.deadline_s * self.pace
        while len(found) < count and pages_left > 0:
            pages_left -= 1
            # One more than wanted: the newest row is usually the open candle.
            limit = min(PAGE, count - len(found) + 1)
            try:
                oldest_ms = await self._page(symbol, interval_ns, name, end_ms, limit, found, until)
            except _LateError:
                if not found:
                    raise
                break
            # No rows, or none older than those there: the venue has no more, or does not obey endTime.
            if oldest_ms is None or (end_ms is not None and oldest_ms >= end_ms):
                break
            end_ms = oldest_ms
        return [found[open_ns] for open_ns in sorted(found)][-count:] if count else []

    async def _page(
        self,
        symbol: str,
        interval_ns: int,
        name: str,
        end_ms: int | None,
        limit: int,
        found: dict[int, Candle],
        until: float,
    ) -> int | None:
        """Add one page's closed candles to ``found`` and return the oldest open time of the page, in ms."""
        params = {"symbol": symbol, "interval": name, "limit": str(limit)}
        if end_ms is not None:
            params["endTime"] = str(end_ms)
        reply = await self.get("kline", params, until=until)
        try:
            candles, bad = decode_candles(reply.data, symbol, interval_ns)
        except BAD_JSON as error:
            raise self._not_as_agreed("kline", str(error), reply.data) from None
        for reason, sample in bad:
            self.malformed(reason, sample[:SAMPLE_BYTES])
        if not candles:
            return None
        candles.sort(key=lambda candle: candle.open_ns)
        oldest_ns = candles[0].open_ns
        before_ns = None if end_ms is None else end_ms * MILLISECOND_NS
        now_ns = self.now_ns()
        if now_ns is None:
            now_ns = closed_by(candles, reply.date_ns, first=not found, newest=end_ms is None)
        elif _is_open(candles[-1], reply.date_ns):
            candles.pop()
        for candle in candles:
            if candle.time_ns <= now_ns and (before_ns is None or candle.open_ns < before_ns):
                found.setdefault(candle.open_ns, candle)
        return oldest_ns // MILLISECOND_NS

    def _newest(self, date_ns: int | None) -> int | None:
        """Return the venue's time: by its frames, or else by the reply's ``Date`` header, if it has one."""
        told_ns = self.now_ns()
        return date_ns if told_ns is None else told_ns

    async def instrument(self, symbol: str, vip: int) -> Instrument:
        """Return the contract's steps, the fees of a VIP tier, and the margin tiers.

        Where the margin tiers do not come, those that lab assumes count, and ``origin`` says why. Raises
        `UnknownSymbolError` naming near ones.
        """
        reply = await self._get_known("trading_pairs", {"symbols": symbol}, symbol)
        pairs = self._pairs(reply)
        for pair in pairs:
            if pair.symbol.upper() == symbol:
                return with_tiers(instrument_of(pair, vip), await self._tiers(pair.symbol))
        raise await self._unknown(symbol)

    async def _tiers(self, symbol: str) -> bytes | str:
        """Return the reply with the margin tiers, or as text why there is none: a run needs no such reply."""
        try:
            return (await self.get("get_position_tiers", {"symbol": symbol}, group="position")).data
        except AuthenticationFailed:
            raise
        except ProviderError as error:
            return str(error)

    async def funding(self, symbol: str) -> Funding:
        """Return the rate of the running period, as a fraction (the wire has percent)."""
        reply = await self._get_known("funding_rate", {"symbol": symbol}, symbol)
        now_ns = self._newest(reply.date_ns)
        try:
            return decode_funding(reply.data, symbol, now_ns or 0)
        except BAD_JSON as error:
            raise self._not_as_agreed("funding_rate", str(error), reply.data) from None

    async def get(
        self, path: str, params: Mapping[str, str], *, group: str = "market", until: float | None = None
    ) -> Reply:
        """Make one call and return its data. ``group`` is the part of the address before the path.

        It ends at the monotonic time ``until``, ten seconds from now unless given. Raises `ProviderUnavailable` for
        what may pass (no answer, 429, 403, HTML, 5xx, most codes), `AuthenticationFailed`, `UnknownSymbolError` and
        `ProviderError` for what will not.
        """
        if until is None:
            until = anyio.current_time() + self.deadline_s * self.pace
        self._refuse_for_now()
        with anyio.CancelScope(deadline=until) as scope:
            await self.pacer.wait()
        if scope.cancelled_caught:
            raise self._late(path)
        self._refuse_for_now()
        with self.breaker.call():
            started = anyio.current_time()
            answer = await self._fetch(group, path, params, until)
            envelope = self._envelope(path, answer)
            self._check_code(path, params, envelope)
        self.cool_down.succeeded()
        return Reply(bytes(envelope.data), date_ns(answer.headers), (anyio.current_time() - started) / self.pace)

    def _refuse_for_now(self) -> None:
        """Raise `ProviderUnavailable` while nothing may be called."""
        left = self.cool_down.remaining(anyio.current_time())
        if left:
            raise ProviderUnavailable(f"{self.host}: cooling down for {left:.0f} s more after {self.cool_down.reason}")
        refused = self.breaker.refusal()
        if refused:
            raise ProviderUnavailable(refused)

    def _late(self, path: str) -> ProviderUnavailable:
        return _LateError(f"{self.host}: no answer within {self.deadline_s:g} s ({path})")

    async def _fetch(self, group: str, path: str, params: Mapping[str, str], until: float) -> Answer:
        try:
            with anyio.CancelScope(deadline=until) as scope:
                answer = await self._connections.fetch(f"{_PREFIX}{group}/{path}", params)
        except CALL_ERRORS as error:
            raise ProviderUnavailable(f"{self.host}: {describe_error(error)[:200].rstrip(': ')} ({path})") from None
        if scope.cancelled_caught:
            raise self._late(path)
        self.contacted(self.host)
        return answer

    def _envelope(self, path: str, answer: Answer) -> Envelope:
        status, headers, body = answer
        start = (body or b"").lstrip()[:1]
        if status == 401:
            raise AuthenticationFailed(f"{self.host}: HTTP 401 ({path}): {_NO_KEY}")
        if status in {403, 429}:
            page = " (challenge page)" if headers.get("cf-mitigated") or start == b"<" else ""
            self.cool_down.begin(anyio.current_time(), f"HTTP {status}{page}")
            raise RateLimited(f"{self.host}: HTTP {status}{page} ({path}): calling less for a while")
        if status != 200:
            raise ProviderUnavailable(f"{self.host}: HTTP {status} ({path})")
        encoding = encoding_of(headers)
        if encoding:
            raise self._not_as_agreed(path, f"Content-Encoding {encoding[:40]}, which was not asked for", b"")
        if body is None:
            raise ProviderUnavailable(f"{self.host}: more than {BODY_LIMIT} bytes, or in too many parts ({path})")
        try:
            return decode_envelope(body)
        except BAD_JSON as error:
            what = "HTML instead of JSON" if start == b"<" else str(error)
            raise self._not_as_agreed(path, what, body) from None

    def _check_code(self, path: str, params: Mapping[str, str], envelope: Envelope) -> None:
        code, words = envelope.code, (envelope.msg or "")[:200]
        if code == 0:
            return
        text = f"{self.host}: code {code} {words!r} ({path})"
        if code in _UNKNOWN_SYMBOL:
            symbol = params.get("symbol") or params.get("symbols", "")
            raise UnknownSymbolError(f"bitunix: symbol {symbol} is not traded there (code {code} {words!r})")
        if code in _NOT_ACCEPTED:
            raise AuthenticationFailed(f"{text}: {_NO_KEY}")
        if code in _OUR_FAULT:
            raise ProviderError(f"{text}; the call was {path}?{'&'.join(f'{k}={v}' for k, v in params.items())}")
        if code in _TOO_FAST:
            self.cool_down.begin(anyio.current_time(), f"code {code}")
            raise RateLimited(text)
        raise ProviderUnavailable(text)

    def _not_as_agreed(self, path: str, what: str, body: bytes) -> ProviderUnavailable:
        self.malformed(f"{path}: {what}", body[:SAMPLE_BYTES])
        return ProviderUnavailable(f"{self.host}: {what} ({path})")

    def _pairs(self, reply: Reply) -> Sequence[PairRow]:
        try:
            return decode_pairs(reply.data)
        except BAD_JSON as error:
            raise self._not_as_agreed("trading_pairs", str(error), reply.data) from None

    async def _get_known(self, path: str, params: Mapping[str, str], symbol: str) -> Reply:
        try:
            return await self.get(path, params)
        except UnknownSymbolError:
            raise await self._unknown(symbol) from None

    async def _unknown(self, symbol: str) -> UnknownSymbolError:
        """Return the error for a symbol that is not there, with the nearest that trade, where the list is available."""
        try:
            if not self.symbols:
                pairs = self._pairs(await self.get("trading_pairs", {}))
                self.symbols = sorted(pair.symbol for pair in pairs if pair.symbol_status in {None, "OPEN"})
        except ProviderError:
            near: list[str] = []
        else:
            near = [s for s in self.symbols if s.startswith(symbol)][:3]
            near += [s for s in difflib.get_close_matches(symbol, self.symbols, 4, 0.6) if s not in near]
        hint = f"; near ones are {', '.join(near)}" if near else "; symbols look like BTCUSDT"
        return UnknownSymbolError(f"bitunix: symbol {symbol} is not traded there{hint}")


def _is_open(newest: Candle, date_ns: int | None) -> bool:
    """Return whether the newest row was still open when it was sent, by the answer's own date.

    The frames may be stamped ahead of the time, and by theirs the candle has closed. A date that is behind costs the
    confirmation of the newest candle and no other.
    """
    return date_ns is not None and newest.time_ns > date_ns
