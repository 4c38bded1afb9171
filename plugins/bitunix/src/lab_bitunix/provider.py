"""The provider ``bitunix``: its settings, and the assembly of its parts."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

import anyio
from attrs import Attribute, define, field, validators
from lab.domain.instrument import Instrument
from lab.domain.market import Candle
from lab.domain.venue_clock import VenueClock
from lab.errors import ProviderError
from lab.feed.pacing import CoolDown
from lab.ports import (
    Channel,
    Check,
    Evidence,
    Provider,
    Realm,
    Rehearsal,
    Runtime,
    Sink,
    Subscription,
)

from lab_bitunix.wire import DEPTH_CHANNELS, supported

if TYPE_CHECKING:
    from lab_bitunix.rest import RestClient

_PLAIN: Final = re.compile(r"([a-z]*://)?([\w.-]*|\[[\da-f:.]*\])(:\d*)?(/[\w./-]*)?", re.ASCII | re.IGNORECASE)
"""An address that can be shown: of host, port and path nothing else than what these are made of."""
_VENUES: Final = ("live", "local")
_LEVELS: Final = (0, *DEPTH_CHANNELS)


def _loopback(*urls: str) -> bool:
    return all(urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"} for url in urls)


def _url(*schemes: str) -> Any:
    def check(_: object, attribute: "Attribute[str]", value: str) -> None:
        expected = f"expected {schemes[0]}://host, without a user name, password or query"
        try:
            parts = urlsplit(value)
            sound = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
            sound = sound and not parts.query and not parts.fragment and "@" not in value
        except ValueError:  # of the port, or of brackets
            sound = False
        if not sound and _PLAIN.fullmatch(value):
            raise ValueError(f"{attribute.name} = {value!r}: {expected}")
        if not sound:
            raise ValueError(f"{attribute.name}: {expected}; the value is not shown, it may hold a password")

    return [validators.instance_of(str), check]


def _is_venue(_: object, attribute: "Attribute[str]", value: str) -> None:
    if value not in _VENUES:
        raise ValueError(f"{attribute.name} = {value!r}: expected {' or '.join(_VENUES)}")


def _is_renewal(_: object, attribute: "Attribute[float]", value: float) -> None:
    if value != 0 and not 0.1 <= value <= 168:
        raise ValueError(f"{attribute.name} = {value!r}: expected 0.1 to 168 hours, or 0")


@define(kw_only=True)
class Bitunix(Provider):
    """Quotes, depth, trades and candles of Bitunix USDT-M and USDC-M perpetuals. Public data: no key is needed or read.

    A closed candle is confirmed by its REST row, or marked ``unconfirmed`` 5 s after it closed. Its ``time_ns`` is the
    newest venue time known when it goes out. Intervals: 1m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d.
    """

    venue: Literal["live", "local"] = field(
        default="live",
        validator=_is_venue,
        metadata={"help": "live: the venue itself; local: a server on loopback that plays a recording"},
    )
    rest_url: str = field(
        default="https://fapi.bitunix.com", validator=_url("https", "http"), metadata={"help": "base of the REST calls"}
    )
    ws_url: str = field(
        default="wss://fapi.bitunix.com/public/", validator=_url("wss", "ws"), metadata={"help": "public socket"}
    )
    vip: int = field(
        default=0,
        validator=[validators.instance_of(int), validators.ge(0), validators.le(8)],
        metadata={"help": "VIP tier (0 to 8) whose maker and taker fees apply"},
    )
    recording: str = field(
        default="btcusdt-ticks",
        validator=validators.instance_of(str),
        metadata={"help": "recording the local venue plays"},
    )
    depth: int = field(
        default=5,
        validator=[validators.instance_of(int), validators.in_(_LEVELS)],
        metadata={"help": "displayed levels a side, beside the quotes: 5, 15, 1, or 0 for none"},
    )
    trades: bool = field(default=True, metadata={"help": "trades of the market, for resting limits and on_trade"})
    renew_hours: float = field(
        default=0.0,
        validator=[validators.instance_of((int, float)), _is_renewal],
        metadata={"help": "hours, 0.1 to 168, after which another socket takes over; 0 draws 12 to 20 each time"},
    )
    faults: str = field(
        default="",
        validator=validators.instance_of(str),
        metadata={"help": "faults of the local venue, comma separated; see lab bitunix-venue --help"},
    )
    port: int = field(
        default=0,
        validator=[validators.instance_of(int), validators.ge(0), validators.le(65535)],
        metadata={"help": "port of the local venue; 0 takes a free one"},
    )

    _runtime: Runtime | None = field(init=False, default=None)
    _rest: Any = field(init=False, default=None)  # a RestClient: its module, and httpx, are imported when it is made
    _local: Any = field(init=False, default=None)  # a LocalVenue, likewise
    _played: Any = field(init=False, default=None)  # the same, kept for `objections`
    _cool_down: CoolDown = field(init=False, factory=CoolDown)
    _clock: VenueClock = field(init=False, factory=lambda: VenueClock(anyio.current_time))
    _sink: Sink | None = field(init=False, default=None)
    _urls: tuple[str, str] = field(init=False, default=("", ""))
    rejected: int = field(init=False, default=0)

    def realm(self) -> Realm:
        """Return ``real``, or ``recorded`` where the local venue plays a recording."""
        return Realm.RECORDED if self.venue == "local" else Realm.REAL

    def channels(self) -> frozenset[Channel]:
        """Return candles, quotes, funding rates, depth unless ``depth`` is 0, and trades unless ``trades`` is off."""
        channels = frozenset({Channel.CANDLES, Channel.QUOTES, Channel.FUNDING})
        channels |= {Channel.DEPTH} if self.depth else frozenset()
        return channels | {Channel.TRADES} if self.trades else channels

    def origin(self) -> str:
        """Return the host, or the local venue with its recording."""
        if self.venue == "local":
            return f"local venue playing {self.recording}"
        return urlsplit(self.rest_url).netloc

    async def start(self, runtime: Runtime) -> None:
        """Get ready; with ``venue = "local"`` start that one and call it instead."""
        from lab_bitunix.rest import RestClient

        self._runtime = runtime
        self._urls = self.rest_url, self.ws_url
        if self.venue == "local":
            from lab_bitunix.venue import LocalVenue, reason_of

            try:
                self._local = self._played = LocalVenue(
                    recording=self.recording, faults=self.faults, seed=runtime.seed, port=self.port
                )
                if runtime.speed == "max":  # a session that is killed and resumed finds the venue where it was
                    self._local.began_s = 0.0
                await self._local.start(runtime.tasks)
            except (ValueError, OSError) as error:
                self._local = None
                reason = reason_of(error) if isinstance(error, OSError) else str(error)
                cure = f" (port {self.port}; --set bitunix.port=0 takes a free one)" if self.port else ""
                raise ProviderError(f"bitunix: the local venue cannot start: {reason}{cure}") from None
            self._urls = self._local.rest_url, self._local.ws_url
        elif runtime.speed == "max" or (runtime.speed != 1 and not _loopback(self.rest_url, self.ws_url)):
            raise ProviderError(
                f"bitunix: speed {runtime.speed} is not for a real venue, whose time is its own; "
                "leave speed at 1, or --set bitunix.venue=local"
            )
        self._rest = RestClient(
            base_url=self._urls[0],
            cool_down=self._cool_down,
            now_ns=self._clock.now_ns,
            malformed=self._malformed,
            contacted=runtime.contacted,
            pace=runtime.pace,
        )

    async def stop(self) -> None:
        """Close the connections and the local venue."""
        rest, self._rest = self._rest, None
        local, self._local = self._local, None
        pace = self._runtime.pace if self._runtime is not None else 1.0
        with anyio.move_on_after(0.5 * pace, shield=True):
            if rest is not None:
                await rest.aclose()
        with anyio.move_on_after(0.5 * pace, shield=True):
            if local is not None:
                await local.stop()

    def check(self, wanted: Sequence[Subscription]) -> None:
        """Refuse an interval the venue does not have."""
        for one in wanted:
            supported(one.interval_ns)

    async def instrument(self, symbol: str) -> Instrument:
        """Return steps and minimum as the venue lists them now, and the fees of the VIP tier."""
        return await self._client().instrument(symbol.upper(), self.vip)

    def offline_settings(self) -> Mapping[str, str]:
        """Return what starts the local venue instead."""
        return {"venue": "local"} if self.venue == "live" else {}

    async def history(self, symbol: str, interval_ns: int, *, end_ns: int | None, count: int) -> Sequence[Candle]:
        """Return closed candles, in pages of 200. More than 10 s can bring (some 9,000) is cut to the newest."""
        return await self._client().klines(symbol.upper(), interval_ns, end_ns=end_ns, count=count)

    async def stream(self, wanted: Sequence[Subscription], sink: Sink) -> None:
        """Put quotes, depth, trades, closed candles and funding rates into the sink until cancelled."""
        from lab_bitunix.live import LiveStream

        runtime = self._started()
        self._sink = sink
        live = LiveStream(
            rest=self._client(),
            ws_url=self._urls[1],
            wanted=[Subscription(one.symbol.upper(), one.interval_ns, one.channels) for one in wanted],
            sink=sink,
            contacted=runtime.contacted,
            clock=self._clock,
            cool_down=self._cool_down,
            seed=runtime.seed,
            wall_ns=runtime.clock.wall_ns,
            levels=self.depth,
            trades=self.trades,
            renew_hours=self.renew_hours,
            pace=runtime.pace,
        )
        try:
            await live.run()
        finally:
            self._sink = None

    def rehearsal(self, seed: int, seconds: float) -> Rehearsal:
        """Return settings of the local venue, without depth and trades, and the faults drawn for it.

        One session in four has both symbols of the local venue.
        """
        from lab_bitunix.venue.swarm import draw

        settings = {"venue": "local", "depth": "0", "trades": "false"}
        symbols = ("BTCUSDT", "ETHUSDT") if seed % 4 == 3 else ()
        faults = draw(seed, seconds)
        return Rehearsal(settings=settings, faults=faults, faults_setting="faults", symbols=symbols, goes_on=True)

    def objections(self, evidence: Evidence) -> Sequence[str]:
        """Return where the local venue's budgets were not kept, and which candles were not its own."""
        if self._played is None:
            return ()
        from lab_bitunix.venue.verdict import objections

        return objections(self._played, evidence)

    async def probe(self, wanted: Subscription) -> Sequence[Check]:
        """Try candles, prices, the socket's channels, clock skew and round trip."""
        from lab_bitunix.probe import probe

        runtime = self._started()
        return await probe(self, self._client(), wanted, runtime.clock.wall_ns, runtime.pace)

    def _started(self) -> Runtime:
        if self._runtime is None:
            raise ProviderError("bitunix: not started")
        return self._runtime

    def _client(self) -> "RestClient":
        if self._rest is None:
            raise ProviderError("bitunix: not started, or stopped")
        client: RestClient = self._rest
        return client

    def _malformed(self, reason: str, sample: bytes) -> None:
        self.rejected += 1
        if self._sink is not None:
            self._sink.malformed(reason, sample)
