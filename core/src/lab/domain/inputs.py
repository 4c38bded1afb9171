"""Everything the engine can be given. An engine learns of nothing else."""

from typing import Final

from lab.domain.control import Command, Notice, Timer, TradingState
from lab.domain.market import Backfill, Candle, Depth, Funding, Quote, Trade

Input = Candle | Quote | Trade | Depth | Funding | Backfill | TradingState | Notice | Timer | Command
INPUTS: Final[tuple[type, ...]] = (
    Candle, Quote, Trade, Depth, Funding, Backfill, TradingState, Notice, Timer, Command,
)  # fmt: skip
