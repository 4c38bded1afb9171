"""The inputs of the engine. It receives nothing else."""

from typing import Final

from lab.domain.control import ClockStepped, Command, Notice, SymbolState, Timer, TradingState
from lab.domain.market import MARKET_DATA, Backfill, MarketData

Input = MarketData | Backfill | TradingState | SymbolState | Notice | Timer | Command | ClockStepped
INPUTS: Final[tuple[type, ...]] = (
    *MARKET_DATA, Backfill, TradingState, SymbolState, Notice, Timer, Command, ClockStepped,
)  # fmt: skip
