"""The journal's records of a run: its start, its state and its end."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

from lab.domain.instrument import Instrument
from lab.domain.ledger import ZERO
from lab.domain.margin import AccountMode, MarginMode
from lab.records.base import Record

RunKind = Literal["run", "backtest", "replay"]


def symbols_of(text: str) -> tuple[str, ...]:
    """Return the symbols of a run's setting ``symbol``, in their order: one, or several with commas between them."""
    return tuple(part.strip() for part in text.split(","))


class ComponentRecord(Record, frozen=True, kw_only=True):
    """A component of a run, from which it can be made again."""

    name: str
    """its name in this run, which is also the name of its table of settings"""
    type: str
    """the name its plugin offers it under"""
    distribution: str
    """the installed distribution it comes from"""
    version: str
    """that distribution's version"""
    settings: Mapping[str, Any]
    """every setting in force, by key, as JSON values"""


class CarriedLoss(Record, frozen=True, kw_only=True):
    """The loss of the run that this one restarts, on the day it was cut off."""

    day_ns: int = 0
    """beginning of that UTC day; 0: nothing is carried"""
    lost: Decimal = ZERO
    """loss of that day in the quote currency; below 0: profit"""


class GateMemory(Record, frozen=True, kw_only=True):
    """What a risk gate would have to know if the run were restarted."""

    values: Mapping[str, str]
    """text by text, as the gate gives it"""
    seal: str
    """SHA-256 of `config_hash`, the gate's name and the values: a memory that was changed, or is of other settings, is
    found by it"""
    error: str = ""
    """why the gate could not say it; empty where it could"""


class RunStarted(Record, frozen=True, kw_only=True):
    """How a run was started: enough to assemble it again. It holds no label of place or time."""

    schema_version: int
    """version of the journal's schema"""
    kind: RunKind
    """`run` (a live session), `backtest` or `replay`"""
    lab: str
    """version of lab"""
    config_hash: str
    """hash of strategies, gates, broker, symbol, interval, equity, account, leverage, margin and seed; order ids are
    made from it"""
    provider: ComponentRecord
    """where market data came from"""
    venue: str
    """the provider's source: a host, a file, a seed"""
    realm: str
    """`real`, `recorded` or `synthetic`"""
    strategies: tuple[ComponentRecord, ...]
    """strategies, in the order in which they are asked"""
    gates: tuple[ComponentRecord, ...]
    """risk gates, in the order in which they review"""
    broker: ComponentRecord
    """what worked on the orders"""
    symbol: str
    """the instrument's symbol; of several, all of them with commas between"""
    interval: str
    """length of a candle, as given: `1m`"""
    interval_ns: int
    """length of a candle in nanoseconds"""
    minutes: float | None
    """how long a live session was to last; null otherwise"""
    equity: Decimal
    """starting money of each account"""
    account: AccountMode = "separate"
    """`separate`: each strategy has an account of its own; `shared`: all trade one"""
    leverage: Decimal
    """margin is notional / leverage"""
    margin: MarginMode = "cross"
    """`cross`: the account backs all its positions; `isolated`: each is backed by its own margin"""
    seed: int
    """seed of everything drawn"""
    speed: str
    """`1`, a factor, or `max`"""
    no_orders: bool
    """whether signals were recorded and no order placed"""
    lookback: int
    """candles needed before every strategy can decide"""
    instruments: Mapping[str, Instrument]
    """what is traded, by symbol; empty where the provider never gave it"""
    source: Mapping[str, str]
    """what identifies recorded data: the file's SHA-256, the seed"""
    carried_loss: CarriedLoss = CarriedLoss()
    """the loss of the run that this one restarts, on that day"""
    gate_memory: Mapping[str, Mapping[str, str]] = {}
    """what each gate was told of the run that this one restarts, by the gate's name"""
    changed: tuple[str, ...] = ()
    """settings that differ from their defaults: `sma.fast`"""

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of the run, in the order in which they were given."""
        return symbols_of(self.symbol)


class FillTotals(Record, frozen=True, kw_only=True):
    """The fills of one rule of the broker."""

    fills: int = 0
    """how many there were"""
    late: int = 0
    """those whose price came only after the order's arrival, because nothing fresh was there"""
    fees: Decimal = ZERO
    """their fees"""
    slippage: Decimal = ZERO
    """what they lost against their reference prices"""


class Totals(Record, frozen=True, kw_only=True):
    """What a run counted, and the extremes of its equity."""

    # The engine counts in RunCounters, which change with every step; this is what is written of them. Neither can
    # derive from the other: a frozen class from one that is not is no type mypy knows.

    candles: int = 0
    """closed candles taken, without back-filled ones"""
    backfilled: int = 0
    """candles of history, for warm-up and gaps"""
    unconfirmed: int = 0
    """closed candles that the venue did not confirm in time"""
    quotes: int = 0
    """quotes the engine took"""
    late_quotes: int = 0
    """quotes and depth that came too late and were left out"""
    decisions: int = 0
    """times a strategy was asked about a live candle"""
    signals: int = 0
    """requests that were recorded and not placed, with the reason"""
    orders: int = 0
    """orders accepted"""
    fills: int = 0
    """fills of orders, partial ones included"""
    trades: int = 0
    """round trips: times a position was closed or turned"""
    refusals: int = 0
    """requests refused by a gate, by the engine's rules or by the broker, amendments included"""
    amended: int = 0
    """times a working order's figures changed: as it was asked for, or with its group or its entry"""
    amendments_refused: int = 0
    """amendments among the refusals; the orders work on as they were"""
    cancelled: int = 0
    """orders that were cancelled"""
    expired: int = 0
    """orders that expired"""
    rejected: int = 0
    """orders the broker rejected"""
    gaps: int = 0
    """holes found in the candles"""
    ignored_candles: int = 0
    """candles that came after the strategies had passed them"""
    fees_paid: Decimal = ZERO
    """fees of all fills"""
    fill_rules: Mapping[str, FillTotals] = {}
    """fills by the broker's rule"""
    gain_at_best: Decimal = ZERO
    """what all fills together would have gained at the best of their reference prices, for the same fees"""
    loss_at_worst: Decimal = ZERO
    """what they would have lost at the worst"""
    funding_paid: Decimal = ZERO
    """funding of all positions; below 0: received"""
    funding_skipped: int = 0
    """times a position was held when funding was due and no rate had been fetched for it"""
    liquidations: int = 0
    """times a book, or with isolated margin a position, was liquidated"""
    liquidation_fees: Decimal = ZERO
    """what the venue took for liquidations, beside the fees of the fills"""
    insurance_paid: Decimal = ZERO
    """losses beyond the margin, which the venue's insurance fund paid"""
    peak_equity: Decimal = ZERO
    """highest equity"""
    max_drawdown: Decimal = ZERO
    """largest fall of equity from a peak"""
    max_drawdown_percent: Decimal = ZERO
    """the fall that was the largest part of its peak, in % of it, on 1e-10"""
    longest_drawdown_ns: int = 0
    """longest time from a peak of equity to the next, the one that goes on at the end included"""
    lowest_equity: Decimal = ZERO
    """lowest equity; the peak, the falls and this are those at every event, not only at the ends of days"""
    live_since_ns: int = 0
    """venue time of the first price that was no history; 0: there was none"""
    first_prices: Mapping[str, Decimal] = {}
    """the first price of each symbol that was no history: the middle of its quote, without quotes its close"""
    last_prices: Mapping[str, Decimal] = {}
    """the newest price of each of them"""


class PositionState(Record, frozen=True, kw_only=True):
    """A position that is held."""

    quantity: Decimal
    """signed: above 0 is long"""
    cost: Decimal
    """signed sum of quantity × price of what is held"""
    mark: Decimal
    """the price it is valued at"""


class BookState(Record, frozen=True, kw_only=True):
    """A strategy's book. The deposit of a shared account is in the first strategy's; others begin at 0."""

    cash: Decimal
    """money of the book, without unrealised profit"""
    equity: Decimal
    """cash and unrealised profit"""
    pnl: Decimal
    """its profit: equity less the deposit that is in this book"""
    fills: int
    """fills of its orders"""
    trades: int
    """its round trips"""
    balances: Mapping[str, Decimal]
    """balance of each account that is not 0; they sum to 0"""
    positions: Mapping[str, PositionState]
    """open positions by symbol"""
    stopped: bool
    """whether its strategy failed and was stopped"""


class Counters(Record, frozen=True, kw_only=True):
    """Counters of a run's host, beside the engine's."""

    inputs: int = 0
    """inputs the engine took"""
    malformed: int = 0
    """messages that were not what the protocol says"""
    conflated_quotes: int = 0
    """quotes and depth that a newer one replaced before the engine took them"""


class SessionState(Record, frozen=True, kw_only=True):
    """The state of a run's host, beside the engine's figures."""

    errors: int = 0
    """errors on the way: reporters, strategies, provider"""
    duration_seconds: float = 0.0
    """how long it ran by the session's clock; a backtest's by the machine's"""
    first_ns: int = 0
    """venue time of the first input; 0: there was none"""
    contacted_hosts: tuple[str, ...] = ()
    """every host a connection was opened to"""
    degradations: tuple[str, ...] = ()
    """the entries of the report that the host found, beside those of the engine"""
    limits: Mapping[str, Mapping[str, str]] = {}
    """the limits of each gate, as it describes them"""
    fees: Mapping[str, str] = {}
    """what the broker said was in force"""
    warm: str = ""
    """how far the warm-up came where it is not complete"""
    counters: Counters = Counters()
    """what the host counted"""


class RunState(Record, frozen=True, kw_only=True):
    """The state of a run. It is written with every commit, so that the report of a killed run can be made."""

    totals: Totals
    """what the run counted"""
    equity: Decimal
    """cash and unrealised profit of all books"""
    day_starting_equity: Decimal
    """equity at the beginning of the UTC day"""
    day_ns: int = 0
    """beginning of that day; 0: no data came"""
    books: Mapping[str, BookState]
    """the strategies' books"""
    session: SessionState
    """what the host counted"""
    gate_memory: Mapping[str, GateMemory] = {}
    """what each gate that has a memory would have to know in a restart, by the gate's name"""


class RunEnded(RunState, frozen=True, kw_only=True):
    """How a run ended, and its state then."""

    reason: str
    """why it ended; see [exit codes](exit-codes.md)"""
    exit_code: int
    """the process's exit code"""
    error: str
    """what went wrong, in one line; empty when nothing did"""
    tape_sha256: str | None = None
    """SHA-256 of all lines of the tape; null where there is none"""


class ReportersState(Record, frozen=True, kw_only=True):
    """The reporters' failures, written once all of them have ended, which is after the run's end.

    It is no row: when a reporter failed depends on the machine, and the rows of a run do not depend on its reporters.
    """

    degradations: tuple[str, ...] = ()
    """reporters that failed, were not done in time or missed rows"""
