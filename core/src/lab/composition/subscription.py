"""Settles a run's interval, makes its subscriptions, and refuses what its provider does not offer."""

from collections.abc import Iterable

import attrs

from lab.composition.assembly import Assembly
from lab.composition.config import RunSettings
from lab.domain.instrument import Instrument, check_instrument
from lab.domain.time import format_interval
from lab.errors import (
    ConfigError,
    PluginError,
    ProviderError,
    RunError,
    class_name,
    describe_error,
    message_of,
    text_of,
)
from lab.exit_codes import EndReason
from lab.ports import Channel, Provider, Subscription
from lab.ports.provider import RUN_CHANNELS


def with_interval(run: RunSettings, provider: str, own_ns: int) -> RunSettings:
    """Return settings with the interval of a provider's data. Raises `ConfigError` for a length no run can have."""
    try:
        return attrs.evolve(run, interval=format_interval(own_ns))
    except ValueError as error:
        raise ConfigError(f"{provider}: its data has candles of {own_ns} ns: {error}") from None


def settle_interval(assembly: Assembly) -> None:
    """Give a run whose interval nobody chose that of its provider's data, where it has one of its own.

    Raises `RunError` for a provider that refuses, `ConfigError` for a length that no run can have, `PluginError`.
    """
    place, in_force = next((at, one) for at, one in enumerate(assembly.in_force) if one.key == "run.interval")
    if in_force.origin != "default":
        return
    provider = assembly.provider
    try:
        own_ns = provider.component.own_interval()
        if own_ns is not None and (own_ns.__class__ is not int or own_ns <= 0):
            raise TypeError(f"it gave {text_of(repr, own_ns, 60)}, expected nanoseconds or None")
    except KeyboardInterrupt:
        raise
    except ProviderError as error:
        raise RunError(EndReason.CONFIG, message_of(error)) from None
    except BaseException as error:
        raise PluginError(f"{provider.name}: its own_interval fails: {describe_error(error)}") from None
    if own_ns is None or own_ns == assembly.settings.interval_ns:
        return
    assembly.settings = run = with_interval(assembly.settings, provider.name, own_ns)
    assembly.in_force[place] = attrs.evolve(in_force, value=run.interval, origin=f"the data of {provider.name}")


def run_subscriptions(name: str, provider: Provider, symbols: Iterable[str], interval_ns: int) -> list[Subscription]:
    """Return a run's subscriptions, one a symbol: of the channels a run takes, those the provider has.

    Raises `ProviderError` where it has no candles, or refuses a symbol or the interval.
    """
    offered = provider.channels()
    if Channel.CANDLES not in offered:
        has = ", ".join(sorted(offered)) or "none"
        raise ProviderError(f"provider {name!r} has no channel {Channel.CANDLES}, which a run needs; it has {has}")
    wanted = [Subscription(symbol, interval_ns, RUN_CHANNELS & offered) for symbol in symbols]
    provider.check(wanted)
    return wanted


def run_instrument(name: str, symbol: str, call: str, found: object) -> Instrument:
    """Return the instrument that a provider gave in a call. Raises `RunError` for what is none, or another one."""
    if type(found) is not Instrument:
        raise RunError(EndReason.PLUGIN, f"provider {name}: {call}() gave {class_name(found)}, expected an Instrument")
    if (problem := check_instrument(found)) is not None:
        raise RunError(EndReason.PLUGIN, f"provider {name}: {call}() gave an Instrument that cannot be used: {problem}")
    if found.symbol != symbol:
        raise RunError(EndReason.CONFIG, f"{name} has no {symbol!r}, but {found.symbol!r}; use --symbol {found.symbol}")
    return found
