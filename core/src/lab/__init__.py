"""lab: autonomous paper trading on real market data, with proof of what happened.

The names that a plugin, a script or a notebook needs are here; each is imported when first used, so that ``import
lab`` costs next to nothing.
"""

from typing import TYPE_CHECKING

from lab.compiled import choose

if TYPE_CHECKING:
    from lab.domain.control import ClockStepped as ClockStepped
    from lab.domain.control import Command as Command
    from lab.domain.control import CommandAction as CommandAction
    from lab.domain.control import Notice as Notice
    from lab.domain.control import Timer as Timer
    from lab.domain.control import TradingState as TradingState
    from lab.domain.events import Fill as Fill
    from lab.domain.events import OrderEnded as OrderEnded
    from lab.domain.events import OrderFilled as OrderFilled
    from lab.domain.inputs import Input as Input
    from lab.domain.instrument import Instrument as Instrument
    from lab.domain.instrument import MarginTier as MarginTier
    from lab.domain.market import BACKFILLED as BACKFILLED
    from lab.domain.market import FINAL as FINAL
    from lab.domain.market import UNCONFIRMED as UNCONFIRMED
    from lab.domain.market import Backfill as Backfill
    from lab.domain.market import Candle as Candle
    from lab.domain.market import Depth as Depth
    from lab.domain.market import Funding as Funding
    from lab.domain.market import MarketData as MarketData
    from lab.domain.market import Quote as Quote
    from lab.domain.market import Trade as Trade
    from lab.domain.orders import PASS as PASS
    from lab.domain.orders import AmendRequest as AmendRequest
    from lab.domain.orders import CancelRequest as CancelRequest
    from lab.domain.orders import Feature as Feature
    from lab.domain.orders import Order as Order
    from lab.domain.orders import OrderRequest as OrderRequest
    from lab.domain.orders import OrderType as OrderType
    from lab.domain.orders import Pass as Pass
    from lab.domain.orders import Refuse as Refuse
    from lab.domain.orders import Shrink as Shrink
    from lab.domain.orders import Side as Side
    from lab.domain.orders import TimeInForce as TimeInForce
    from lab.domain.orders import Verdict as Verdict
    from lab.domain.time import MILLISECOND_NS as MILLISECOND_NS
    from lab.domain.time import SECOND_NS as SECOND_NS
    from lab.domain.time import format_time as format_time
    from lab.domain.time import parse_time as parse_time
    from lab.engine.sizing import size_by_equity as size_by_equity
    from lab.engine.sizing import size_by_risk as size_by_risk
    from lab.engine.sizing import size_by_volatility as size_by_volatility
    from lab.engine.sizing import size_fixed as size_fixed
    from lab.engine.view import MarketView as MarketView
    from lab.engine.view import View as View
    from lab.errors import AuthenticationFailed as AuthenticationFailed
    from lab.errors import ConfigError as ConfigError
    from lab.errors import EngineError as EngineError
    from lab.errors import JournalError as JournalError
    from lab.errors import LabError as LabError
    from lab.errors import PluginError as PluginError
    from lab.errors import ProviderError as ProviderError
    from lab.errors import ProviderUnavailable as ProviderUnavailable
    from lab.errors import RateLimited as RateLimited
    from lab.errors import RunError as RunError
    from lab.plugins.hookspecs import PluginCommand as PluginCommand
    from lab.plugins.hookspecs import hookimpl as hookimpl
    from lab.ports import Accepted as Accepted
    from lab.ports import Amended as Amended
    from lab.ports import Broker as Broker
    from lab.ports import Channel as Channel
    from lab.ports import Check as Check
    from lab.ports import Ended as Ended
    from lab.ports import Evidence as Evidence
    from lab.ports import FeedState as FeedState
    from lab.ports import PriceSource as PriceSource
    from lab.ports import Provider as Provider
    from lab.ports import Realm as Realm
    from lab.ports import Record as Record
    from lab.ports import Rehearsal as Rehearsal
    from lab.ports import Rejected as Rejected
    from lab.ports import Reporter as Reporter
    from lab.ports import RiskGate as RiskGate
    from lab.ports import RunInfo as RunInfo
    from lab.ports import Runtime as Runtime
    from lab.ports import Sink as Sink
    from lab.ports import Status as Status
    from lab.ports import Strategy as Strategy
    from lab.ports import Subscription as Subscription
    from lab.ports import Triggered as Triggered
    from lab.research.backtests import backtest as backtest
    from lab.research.found import Best as Best
    from lab.research.found import Sweep as Sweep
    from lab.research.prices import Prices as Prices
    from lab.research.prices import load as load
    from lab.research.result import Result as Result
    from lab.research.result import open_run as open_run
    from lab.research.sessions import Session as Session
    from lab.research.sessions import session as session
    from lab.research.sweep import sweep as sweep
    from lab.research.tables import Table as Table
    from lab.research.walk import WalkForward as WalkForward
    from lab.research.walkforward import walkforward as walkforward
    from lab.secret import Secret as Secret

_HOMES = {
    "lab.domain.events": ("Fill", "OrderEnded", "OrderFilled"),
    "lab.domain.instrument": ("Instrument", "MarginTier"),
    "lab.domain.control": ("ClockStepped", "Command", "CommandAction", "Notice", "Timer", "TradingState"),
    "lab.domain.inputs": ("Input",),
    "lab.domain.market": (
        "BACKFILLED", "FINAL", "UNCONFIRMED", "Backfill", "Candle", "Depth", "Funding", "MarketData", "Quote", "Trade",
    ),
    "lab.domain.orders": (
        "PASS", "AmendRequest", "CancelRequest", "Feature", "Order", "OrderRequest", "OrderType", "Pass", "Refuse",
        "Shrink", "Side", "TimeInForce", "Verdict",
    ),
    "lab.domain.time": ("MILLISECOND_NS", "SECOND_NS", "format_time", "parse_time"),
    "lab.engine.sizing": ("size_by_equity", "size_by_risk", "size_by_volatility", "size_fixed"),
    "lab.engine.view": ("MarketView", "View"),
    "lab.errors": (
        "AuthenticationFailed", "ConfigError", "EngineError", "JournalError", "LabError", "PluginError",
        "ProviderError", "ProviderUnavailable", "RateLimited", "RunError",
    ),
    "lab.plugins.hookspecs": ("PluginCommand", "hookimpl"),
    "lab.ports": (
        "Accepted", "Amended", "Broker", "Channel", "Check", "Ended", "Evidence", "FeedState", "PriceSource",
        "Provider", "Realm", "Record", "Rehearsal", "Rejected", "Reporter", "RiskGate", "RunInfo", "Runtime", "Sink",
        "Status", "Strategy", "Subscription", "Triggered",
    ),
    "lab.research.backtests": ("backtest",),
    "lab.research.prices": ("Prices", "load"),
    "lab.research.result": ("Result", "open_run"),
    "lab.research.sessions": ("Session", "session"),
    "lab.research.found": ("Best", "Sweep"),
    "lab.research.sweep": ("sweep",),
    "lab.research.tables": ("Table",),
    "lab.research.walk": ("WalkForward",),
    "lab.research.walkforward": ("walkforward",),
    "lab.secret": ("Secret",),
}  # fmt: skip
_HOME = {name: home for home, names in _HOMES.items() for name in names}

choose("lab", __file__)
__all__ = sorted(_HOME)  # noqa: PLE0605 - the names of the table above


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'lab' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return __all__
