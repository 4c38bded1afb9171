"""The ``[run]`` table of a configuration: the settings of a run that belong to no component."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal

from attrs import define, field, validators

from lab.domain.margin import ACCOUNT_MODES, MARGIN_MODES
from lab.domain.time import DAY_NS, parse_interval
from lab.errors import ConfigError
from lab.records.run import symbols_of

_PLACES: Final = 18  # as many as the engine keeps exactly
SYMBOLS_MOST: Final = 20
"""How many symbols one run may have: one loop steps them all, one socket brings them and one page shows them."""


def _interval(instance: object, attribute: Any, value: str) -> None:
    if parse_interval(value) > 31 * DAY_NS:
        raise ValueError(f"interval = {value!r}: expected 31d at the most")


def _symbol(instance: object, attribute: Any, value: str) -> None:
    symbols = symbols_of(value)
    for symbol in symbols:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,32}", symbol):
            raise ValueError(f"symbol = {symbol[:80]!r}: expected 1 to 32 letters, digits, '.', '_' or '-'")
        if symbols.count(symbol) > 1:
            raise ValueError(f"symbol = {symbol} is given twice; give each symbol once")
    if len(symbols) > SYMBOLS_MOST:
        raise ValueError(f"symbol gives {len(symbols)} symbols; a run takes {SYMBOLS_MOST} at most: start a second run")


def _joined(value: str) -> str:
    return ",".join(symbols_of(value))


def _speed(instance: object, attribute: Any, value: str) -> None:
    try:
        good = value == "max" or 0 < float(value) <= 1000
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"speed = {value!r}: expected a number above 0, at most 1000, or max")


def _strategies(instance: object, attribute: Any, value: list[str]) -> None:
    for entry in value:
        alias, equals, name = (part.strip() for part in entry.partition("="))
        if not alias or (equals and not name):
            raise ValueError(f"strategies: {entry!r}: expected NAME, or ALIAS=NAME to run one twice")


def _names(instance: object, attribute: Any, value: list[str]) -> None:
    if "none" in value:
        raise ValueError(f"{attribute.name} = {value!r}: expected names; {attribute.name} = [] stands for none")


def _money(instance: object, attribute: Any, value: Decimal) -> None:
    places = value.as_tuple().exponent
    if isinstance(places, int) and places < -_PLACES:
        raise ValueError(f"equity = {value:.30}: expected at most {_PLACES} decimals")


def _folder(instance: object, attribute: Any, value: Path) -> None:
    if "\0" in str(value):
        raise ValueError(f"state_dir = {str(value)!r}: expected the name of a folder")


def _key(text: str, **more: Any) -> Any:
    return field(metadata={"help": text}, **more)


@define(kw_only=True)
class RunSettings:
    """What every run has. Money is in the quote currency, with an inverse contract in the base coin."""

    provider: str = _key("where market data comes from", default="bitunix")
    strategies: list[str] = _key(
        "strategies, each as name or alias=name", factory=lambda: ["sma"], validator=_strategies
    )
    broker: str = _key("what works on orders", default="paper")
    gates: list[str] = _key(
        "risk gates, in order; none = no gates", factory=lambda: ["max_daily_loss", "margin"], validator=_names
    )
    reporters: list[str] = _key(
        "what shows and writes the run", factory=lambda: ["terminal", "jsonl", "html"], validator=_names
    )
    symbol: str = _key(
        "the instrument; several with commas between them", default="BTCUSDT", converter=_joined, validator=_symbol
    )
    interval: str = _key("length of a candle: 1m, 5m, 1h ...", default="1m", validator=_interval)
    minutes: float = _key(
        "how long a live run lasts", default=10.0, validator=[validators.gt(0), validators.le(525_600)]
    )
    start_timeout: float = _key(
        "real seconds until a provider that can't be reached ends the run; 0 = wait for ever",
        default=30.0,
        validator=[validators.ge(0), validators.le(31_536_000)],
    )
    health_port: int | None = _key(
        "port on loopback for /health and /metrics of a live run; 0 = any that is free; none = not served",
        default=None,
        validator=validators.optional([validators.ge(0), validators.le(65_535)]),
    )
    equity: Decimal = _key(
        "starting money: each strategy's, or that of the shared account",
        default=Decimal(10_000),
        validator=[validators.gt(0), validators.le(10**12), _money],
    )
    account: Literal["separate", "shared"] = _key(
        "separate: each strategy has an account of its own; shared: all strategies trade one account",
        default="separate",
        validator=validators.in_(ACCOUNT_MODES),
    )
    leverage: Decimal = _key(
        "margin is notional / leverage", default=Decimal(10), validator=[validators.ge(1), validators.le(1000)]
    )
    margin: Literal["cross", "isolated"] = _key(
        "cross: the account's whole equity backs its positions; isolated: each position has a margin of its own",
        default="cross",
        validator=validators.in_(MARGIN_MODES),
    )
    seed: int = _key("seed of everything drawn", default=0, validator=validators.ge(0))
    speed: str = _key("1, n times faster, or max (virtual time)", default="1", validator=_speed)
    no_orders: bool = _key("compute and record signals, place none", default=False)
    no_write: bool = _key("leave no file behind", default=False)
    strict_state: bool = _key("end with 74 where an earlier session is damaged, and leave it as it is", default=False)
    close_on_stop: bool = _key("close positions at the end, on a fresh price", default=True)
    state_dir: Path = _key(
        "the folder that holds runs/, from the current folder on; ~ is the home folder",
        default=Path(),
        converter=Path.expanduser,
        validator=_folder,
    )

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, in the order in which they were given."""
        return symbols_of(self.symbol)

    def only_symbol(self, taker: str) -> str:
        """Return the symbol, for what takes one. Raises `ConfigError` where there are several."""
        if len(self.symbols) > 1:
            raise ConfigError(f"symbol = {self.symbol[:80]}: {taker} takes one symbol at a time; give one of them")
        return self.symbol

    @property
    def interval_ns(self) -> int:
        """The candle length in nanoseconds."""
        return parse_interval(self.interval)

    def named_strategies(self) -> list[tuple[str, str]]:
        """Return (alias, name) of each strategy."""
        pairs = [entry.partition("=") for entry in self.strategies]
        return [(alias.strip(), (name or alias).strip()) for alias, _, name in pairs]
