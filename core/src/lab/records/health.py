"""The health of a session at a moment: what ``/health`` answers, and what ``/metrics`` is made from."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from lab.records.base import Record
from lab.records.run import Counters, Totals

HEALTH_SCHEMA_VERSION = 1

HealthStatus = Literal["starting", "warming", "trading", "stale", "halted", "ending"]


class HeldPosition(Record, frozen=True, kw_only=True):
    """A position that is held."""

    strategy: str
    """the strategy that holds it"""
    symbol: str
    """the instrument's symbol"""
    quantity: Decimal
    """signed: above 0 is long"""
    price: Decimal
    """the average entry price"""


class Health(Record, frozen=True, kw_only=True):
    """How a session is. Counts and money are those of the whole run, also where it was resumed."""

    schema_version: int = HEALTH_SCHEMA_VERSION
    """version of this layout: 1"""
    status: HealthStatus
    """`starting` (the provider has not described the instrument, or a supervised session starts again), `warming`
    (history is missing), `trading`, `stale` (no live feed, no fresh quote, or the session itself is silent), `halted`
    (trading is halted for another reason, or every strategy was stopped by a breaker) or `ending`"""
    why_not_trading: tuple[str, ...] = ()
    """every reason why an entry is refused now; one that names a strategy or one of several symbols holds for that
    alone"""
    run_id: str = ""
    """the run's id; empty until the run has begun"""
    version: str
    """version of lab"""
    provider: str
    """the provider's name"""
    venue: str = ""
    """where the data come from: a host, a file, a seed; empty until the run has begun"""
    realm: str = ""
    """`real`, `recorded` or `synthetic`; empty until the run has begun"""
    strategies: tuple[str, ...]
    """names of the strategies"""
    symbol: str
    """the instrument's symbol; of several, all of them with commas between"""
    symbols: tuple[str, ...] = ()
    """each of them"""
    interval: str
    """length of a candle: `1m`"""
    currency: str = ""
    """the currency of the money; empty until it is known"""
    feed: str = "down"
    """state of the connection to the provider: `connecting`, `live` or `down`, for example"""
    feed_ages: Mapping[str, float] = {}
    """seconds since the newest of each kind of market data, of several symbols the oldest; a kind that never came is
    left out"""
    price: float | None = None
    """the middle of the newest quote, without quotes the newest close; null before any; of several symbols the
    first's"""
    prices: Mapping[str, float | None] = {}
    """the same of each of several symbols; empty in a run of one"""
    equity: Decimal | None = None
    """cash and unrealised profit of all books; null until the run has begun"""
    starting_equity: Decimal | None = None
    """the deposits of all accounts; null until the run has begun"""
    positions: tuple[HeldPosition, ...] = ()
    """open positions"""
    working_orders: int = 0
    """orders that have neither been filled nor ended"""
    lives: int = 1
    """how many processes have run the session under a supervisor, this one included; 1 without one"""
    uptime_seconds: float = 0.0
    """how long this process has run the session, by the session's clock"""
    duration_seconds: float = 0.0
    """how long the run has lasted, in all processes that ran it"""
    seconds_left: float | None = None
    """how long it goes on; null until the run has begun"""
    errors: int = 0
    """errors on the way: reporters, strategies, provider"""
    degradations: tuple[str, ...] = ()
    """what did not go as planned so far, each entry with its figures"""
    totals: Totals = Totals()
    """what the engine counted"""
    counters: Counters = Counters()
    """what the session counted"""
    age_seconds: float = 0.0
    """real seconds since the session said all this: below 2 unless something keeps it from its work"""
