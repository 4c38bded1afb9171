"""`backtest`: one run of strategies over recorded prices, from a program."""

import time
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any

from lab.backtesting.runner import Progress, conduct
from lab.domain.ledger import own_context
from lab.errors import ConfigError, text_of
from lab.ports import Broker, Provider, Reporter, RiskGate
from lab.research.interrupts import interruptible
from lab.research.offered import Money, Offered, Stopped, StrategyLike, fees_of
from lab.research.prices import Prices, Time, load
from lab.research.result import Result
from lab.research.words import said_in_python
from lab.runs.result import to_stderr


@said_in_python()
@own_context()
def backtest(
    strategy: StrategyLike | Sequence[StrategyLike] | Mapping[str, StrategyLike],
    data: "Prices | str | PathLike[str] | Provider | Iterable[Any] | Mapping[str, Any] | Any",
    *,
    symbol: str | None = None,
    interval: str | None = None,
    since: Time | None = None,
    until: Time | None = None,
    equity: Money | None = None,
    account: str | None = None,
    leverage: Money | None = None,
    margin: str | None = None,
    gates: Sequence[RiskGate | str] | None = None,
    broker: Broker | str | None = None,
    fees: Money | tuple[Money, Money] | None = None,
    latency_ms: int | None = None,
    fills: str | None = None,
    seed: int | None = None,
    no_orders: bool | None = None,
    reporters: Sequence[Reporter | str] = (),
    settings: Mapping[str, Any] | None = None,
    config: str | PathLike[str] | None = None,
    state_dir: str | PathLike[str] | None = None,
    stopped: Stopped | None = None,
    progress: Progress | None = None,
) -> Result:
    """Run strategies over recorded prices: the engine, gates, broker and journal of ``lab backtest``, the same figures.

    ``strategy`` is an instance (which stands for its class and settings: each run makes a new one), a name, a reference
    (``./mine.py:Mine``), several of these, or a mapping of the names they shall have in the run. ``data`` is whatever
    `load` takes, or what it returned: read once, for many runs. ``symbol``, ``interval``, ``since`` and ``until`` are
    those of `load`.

    ``equity`` is the starting money, ``gates=[]`` a run without gates, ``fees`` one fraction of the notional or (maker,
    taker), ``latency_ms`` that of orders, ``fills`` ``"pessimistic"``, ``"expected"`` or ``"optimistic"``; the others
    are the command's options of their names. ``settings`` holds what it takes with ``--set``, ``{"sma.fast": 5}``;
    ``config`` is a TOML file. Neither the environment nor a ``lab.toml`` that is not named is read.

    Nothing is written, unless ``state_dir`` names the folder that shall hold ``runs/``. ``stopped`` is asked now and
    then, and ends the run in order; Ctrl-C does so too, and is raised. ``progress`` is told what is done.

    A run that fails (a strategy that raises, say) returns its `Result` all the same: see ``result.report.error``.
    Raises `LabError` for what keeps it from beginning: `ConfigError`, `PluginError` or `RunError`.
    """
    prices = priced(
        data, symbol=symbol, interval=interval, since=since, until=until, seed=seed, settings=settings, config=config
    )
    offered = offered_run(
        prices, equity=equity, account=account, leverage=leverage, margin=margin, gates=gates, broker=broker,
        fees=fees, latency_ms=latency_ms, fills=fills, seed=seed, no_orders=no_orders, settings=settings,
        config=config,
    )  # fmt: skip
    offered.strategies(strategy)
    offered.components("reporters", "reporter", reporters)
    offered.run(state_dir=state_dir, no_write=state_dir is None)
    assembly = offered.assembly(prices.part)
    with interruptible(stopped) as asked:
        ended = conduct(
            assembly, wall_ns=time.time_ns, seconds=time.perf_counter, stopped=asked, progress=progress, quiet=True,
            data=prices.data,
        )  # fmt: skip
    if asked() and not (stopped is not None and stopped()):
        ended.journal.close()
        raise KeyboardInterrupt
    return Result.of_backtest(ended)


def priced(
    data: Any,
    *,
    symbol: str | None,
    interval: str | None,
    since: Time | None,
    until: Time | None,
    seed: int | None,
    settings: Mapping[str, Any] | None,
    config: str | PathLike[str] | None,
) -> Prices:
    """Return the prices that a program gives, read once. Raises `LabError`."""
    if not isinstance(data, Prices):
        prices = load(
            data, symbol=symbol, interval=interval, since=since, until=until, seed=seed, settings=settings,
            config=config,
        )  # fmt: skip
        source = prices.data.source()
        if form := source.get("form"):  # what was inferred of a file
            to_stderr(f"{source.get('file', prices.part.name)}: {form}")
        return prices
    _check_fits(data, symbol, interval, settings)
    for key, given in (("since", since), ("until", until)):
        if given is not None:
            raise ConfigError(
                f"{key} = {text_of(str, given, 40)}: the prices are loaded already; give {key} to lab.load"
            )
    return data


def offered_run(
    prices: Prices,
    *,
    settings: Mapping[str, Any] | None = None,
    config: str | PathLike[str] | None = None,
    gates: Sequence[RiskGate | str] | None = None,
    broker: Broker | str | None = None,
    fees: Money | tuple[Money, Money] | None = None,
    latency_ms: int | None = None,
    fills: str | None = None,
    equity: Money | None = None,
    account: str | None = None,
    leverage: Money | None = None,
    margin: str | None = None,
    seed: int | None = None,
    no_orders: bool | None = None,
) -> Offered:
    """Return what a program gives for runs over these prices, without strategies. Raises `LabError`."""
    offered = Offered(config, settings)
    offered.run(
        provider=prices.part.offer.name, symbol=prices.symbol, interval=prices.interval, equity=equity, account=account,
        leverage=leverage, margin=margin, seed=seed, no_orders=no_orders,
    )  # fmt: skip
    offered.components("gates", "risk gate", gates)
    if broker is not None:
        offered.run(broker=offered.component("broker", broker, "").rpartition("=")[2])
    offered.of_broker(latency_ms=latency_ms, fills=fills, **fees_of(fees))
    return offered


def _check_fits(prices: Prices, symbol: str | None, interval: str | None, settings: Mapping[str, Any] | None) -> None:
    """Refuse what is decided when prices are loaded. Raises `ConfigError`."""
    for key, given, has in (("symbol", symbol, prices.symbol), ("interval", interval, prices.interval)):
        if given is not None and given != has:
            raise ConfigError(f"{key} = {given!r:.40}: the prices were loaded with {has}; give {key} to lab.load")
    table = prices.part.name
    for dotted in settings or ():
        if str(dotted).partition(".")[0] == table:
            raise ConfigError(f"settings: {dotted}: the prices are loaded already; give it to lab.load")
