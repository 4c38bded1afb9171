"""A run's header and its final report."""

from collections.abc import Mapping
from decimal import Decimal

from lab.domain.instrument import Instrument
from lab.domain.ledger import ZERO
from lab.domain.margin import AccountMode
from lab.records.base import Record
from lab.records.run import BookState, Counters, FillTotals, RunKind
from lab.records.statistics import Statistics

REPORT_SCHEMA_VERSION = 2


class Setting(Record, frozen=True, kw_only=True):
    """A setting in force."""

    component: str
    """the component's name in this run, or `run`"""
    key: str
    """the setting's key"""
    value: str
    """its value as text"""
    origin: str
    """where it came from: `default`, a file, an environment variable, a command line option"""
    changed: bool
    """whether it differs from its default"""


class Header(Record, frozen=True, kw_only=True):
    """The facts that are known when a run starts: printed in its header and shown in ``summary.html``."""

    run_id: str
    """the run's id: start, provider, strategies; also the name of its folder"""
    kind: RunKind
    """`run` (a live session), `backtest` or `replay`"""
    version: str
    """version of lab"""
    provider: str
    """the provider's name"""
    venue: str
    """where the data come from: a host, a file, a seed"""
    realm: str
    """`real`, `recorded` or `synthetic`"""
    strategies: tuple[str, ...]
    """names of the strategies"""
    symbol: str
    """the instrument's symbol; of several, all of them with commas between"""
    interval: str
    """length of a candle: `1m`"""
    instrument: Instrument
    """what is traded: steps, minimum, fees, and where the steps come from; of several, the first"""
    instruments: Mapping[str, Instrument] = {}
    """the same of each symbol, in the order in which they were given"""
    starting_equity: Decimal
    """the deposits of all accounts"""
    account: AccountMode = "separate"
    """`separate`: each strategy has an account of its own; `shared`: all trade one"""
    fees: Mapping[str, str]
    """what the broker says is in force: fees, latency, slippage"""
    gates: tuple[str, ...]
    """names of the risk gates, in their order"""
    limits: Mapping[str, Mapping[str, str]]
    """the limits of each gate, as it describes them"""
    settings: tuple[Setting, ...]
    """settings in force: the run's, then each component's"""
    speed: str
    """`1`, a factor, or `max`"""
    seconds: float | None
    """how long a live session is to last; null for a backtest or a replay"""
    no_orders: bool
    """whether signals are recorded and no order is placed"""
    directory: str | None
    """the run's folder; null when nothing is written"""


class ProfitBand(Record, frozen=True, kw_only=True):
    """The profit if all that is not known about the fills had gone badly or well: the same decisions, other prices.

    A fill's prices are the touch when it was decided, when it arrived and after; on candles, open and close.
    """

    pessimistic: Decimal
    """at the worst price of each fill"""
    expected: Decimal
    """as it was booked"""
    optimistic: Decimal
    """at the best price of each fill"""


class Report(Record, frozen=True, kw_only=True):
    """The final report of a run."""

    schema_version: int
    """version of this layout: 2"""
    kind: RunKind
    """`run` (a live session), `backtest` or `replay`"""
    run_id: str
    """the run's id: start, provider, strategies; also the name of its folder"""
    status: str
    """`completed`, `stopped` or `failed`; `running` while `lab report` shows a run that has not ended"""
    reason: str
    """why it ended; see [exit codes](exit-codes.md). `unfinished`: the journal holds no end"""
    exit_code: int
    """the process's exit code"""
    error: str
    """what went wrong, in one line; empty when nothing did"""
    error_count: int
    """errors on the way (reporters, strategies, provider), and 1 for a failed run"""
    started: str
    """the machine's UTC time at the start: a label"""
    duration_seconds: float
    """how long it ran by the session's clock; a backtest's by the machine's"""
    provider: str
    """the provider's name"""
    venue: str
    """where the data came from: a host, a file, a seed"""
    realm: str
    """`real`, `recorded` or `synthetic`"""
    strategy: str
    """names of the strategies"""
    symbol: str
    """the instrument's symbol; of several, all of them with commas between"""
    interval: str
    """length of a candle"""
    instrument: Instrument | None
    """what was traded: steps, minimum, fees, and where the steps come from; of several symbols the first's; null where
    the provider never gave them"""
    instruments: Mapping[str, Instrument] = {}
    """the same of each of several symbols; empty in a run of one"""
    settings: Mapping[str, Mapping[str, str]]
    """settings in force: component, key, value as text; `run` has the run's own"""
    changed: Mapping[str, str]
    """the settings that differ from their defaults: `sma.fast` and its value"""
    candles: int
    """closed candles taken, without back-filled ones"""
    backfilled: int
    """candles of history, for warm-up and gaps"""
    quotes: int
    """quotes the engine took"""
    decisions: int
    """times a strategy was asked about a live candle"""
    signals: int
    """requests that were recorded and not placed, with the reason"""
    orders: int
    """orders accepted"""
    fills: int
    """fills of orders, partial ones included"""
    trades: int
    """round trips: times a position was closed or turned"""
    refusals: int
    """requests refused by a gate, by the engine's rules or by the broker, amendments included"""
    amended: int
    """times a working order's figures changed: as it was asked for, or with its group or its entry"""
    amendments_refused: int
    """amendments among the refusals; the orders work on as they were"""
    cancelled: int
    """orders that were cancelled"""
    expired: int
    """orders that expired"""
    rejected: int
    """orders the broker rejected"""
    starting_equity: Decimal
    """the deposits of all accounts"""
    account: AccountMode = "separate"
    """`separate`: each strategy has an account of its own; `shared`: all trade one"""
    ending_equity: Decimal
    """cash and unrealised profit of all books at the end"""
    pnl_absolute: Decimal
    """ending less starting equity, fees included"""
    pnl_percent: Decimal
    """the same in % of the starting equity"""
    pnl_band: ProfitBand
    """the profit at the worst, the booked and the best prices of the same fills; no account loses more than it has"""
    fees_paid: Decimal
    """fees of all fills"""
    fill_rules: Mapping[str, FillTotals]
    """how fills were made, by the broker's rule"""
    funding_paid: Decimal = ZERO
    """funding of all positions; below 0: received"""
    liquidations: int = 0
    """times a book, or with isolated margin a position, was liquidated"""
    liquidation_fees: Decimal = ZERO
    """what the venue took for liquidations, beside the fees of the fills"""
    insurance_paid: Decimal = ZERO
    """losses beyond the margin, which the venue's insurance fund paid"""
    max_drawdown: Decimal
    """largest fall of equity from a peak"""
    statistics: Statistics = Statistics()
    """what trades, days and months came to; see [statistics](statistics.md)"""
    books: Mapping[str, BookState]
    """per strategy: cash, equity, profit, fills, trades, balances of the accounts, open positions"""
    limits: Mapping[str, Mapping[str, str]]
    """the limits of each gate, as it describes them"""
    fee_rates: Mapping[str, str]
    """what the broker said was in force: fees, latency, slippage"""
    gates: tuple[str, ...]
    """names of the risk gates, in their order"""
    degradations: tuple[str, ...]
    """what did not go as planned, each entry with its figures"""
    counters: Counters
    """inputs, malformed messages, conflated quotes"""
    contacted_hosts: tuple[str, ...]
    """every host a connection was opened to"""
    first_event: str | None
    """venue time of the first input"""
    last_event: str | None
    """venue time of the last input"""
    data_seconds: float
    """time from the first to the last input, by the venue's clock"""
    no_trade_reason: str | None
    """why nothing was traded; null when something was"""
