"""Trade the crossing of two simple moving averages, with a stop and a target that rest at the venue."""

from decimal import Decimal
from typing import Any, Literal

from attrs import Attribute, define, field, setters, validators
from lab import Strategy

from lab_sma_strategy.crossover import Crossover


def _below_100(instance: Any, attribute: "Attribute[Decimal]", value: Decimal) -> None:
    if not 0 <= value < 100:
        raise ValueError(f"{attribute.name} must be a percentage from 0 to under 100, not {value}")


# NO_OP: attrs would otherwise take each assignment of the state through Python, ten times what a candle costs.
@define(kw_only=True, on_setattr=setters.NO_OP)
class SmaCross(Crossover, Strategy):
    """Long while the fast average of closes is above the slow one, short while it is below.

    Of a run of several symbols it trades each by itself. It signals once, on the candle that confirms a crossing: what
    is held on the other side is closed (leg ``exit``), then the new side is entered (leg ``entry``). Averages
    equal within 1e-9 change nothing. ATR filter and ``direction`` hold back entries, never exits.

    Stop and target rest at the venue from the entry's fill on, as a stop and a limit order (legs ``entry/stop`` and
    ``entry/target``), around the price at which the entry was decided on; one cancels the other. The size loses
    ``risk_percent`` of equity at the stop, with both fees and the slippage that is expected where there are no quotes.
    """

    fast: int = field(default=10, validator=validators.gt(0), metadata={"help": "candles in the fast average"})
    slow: int = field(default=30, validator=validators.gt(1), metadata={"help": "candles in the slow average"})
    confirmation: int = field(
        default=2,
        validator=validators.gt(0),
        metadata={
            "help": "consecutive candles the new side must hold before it is traded; 1 trades the crossing itself"
        },
    )
    direction: Literal["both", "long", "short"] = field(
        default="both",
        validator=validators.in_(("both", "long", "short")),
        metadata={"help": "sides that may be entered"},
    )
    risk_percent: Decimal = field(
        default=Decimal(1),
        validator=[validators.gt(Decimal(0)), validators.le(Decimal(100))],
        metadata={"help": "% of equity lost if the stop is hit, costs included; sets the size unless quantity does"},
    )
    stop_percent: Decimal = field(
        default=Decimal(1),
        validator=_below_100,
        metadata={"help": "distance of the stop in % of the price; 0 = none"},
    )
    target_percent: Decimal = field(
        default=Decimal(2),
        validator=validators.ge(Decimal(0)),
        metadata={"help": "distance of the target in % of the price; 0 = none"},
    )
    atr_period: int = field(
        default=0, validator=validators.ge(0), metadata={"help": "candles in the average true range; 0 = no filter"}
    )
    atr_min_percent: Decimal = field(
        default=Decimal("0.05"),
        validator=validators.ge(Decimal(0)),
        metadata={
            "help": "enter only when the average true range is at least this % of the price; lower gives more entries"
        },
    )
    quantity: Decimal = field(
        default=Decimal(0),
        validator=validators.ge(Decimal(0)),
        metadata={"help": "fixed size in coins; 0 = size by risk"},
    )
    max_leverage: Decimal = field(
        default=Decimal(3),
        validator=validators.gt(Decimal(0)),
        metadata={"help": "cap of a position's notional, as a multiple of equity, when sized by risk"},
    )

    slippage_bps: Decimal = field(
        default=Decimal(1),
        validator=[validators.ge(Decimal(0)), validators.lt(Decimal(1_000))],
        metadata={"help": "slippage in basis points that a size by risk reckons with where there are no quotes"},
    )

    def __attrs_post_init__(self) -> None:
        if self.fast >= self.slow:
            raise ValueError(f"fast must be below slow, not {self.fast} with slow {self.slow}")
        if not self.quantity and not self.stop_percent:
            raise ValueError("stop_percent 0 leaves nothing to size by: set stop_percent, or a fixed quantity")
        Crossover.__init__(
            self,
            fast=self.fast,
            slow=self.slow,
            confirmation=self.confirmation,
            direction=self.direction,
            risk_percent=self.risk_percent,
            stop_percent=self.stop_percent,
            target_percent=self.target_percent,
            atr_period=self.atr_period,
            atr_min_percent=self.atr_min_percent,
            quantity=self.quantity,
            max_leverage=self.max_leverage,
            slippage_bps=self.slippage_bps,
        )

    @property
    def lookback(self) -> int:
        """Candles needed before the first decision: a slow average for each candle that confirms, and the ATR's."""
        return max(self.slow + self.confirmation, self.atr_period + 1)
