"""Makes a run's subscription, and refuses what its provider does not offer or gives of another kind."""

from lab.domain.instrument import Instrument, check_instrument
from lab.errors import ProviderError, RunError, class_name
from lab.exit_codes import EndReason
from lab.ports import Channel, Provider, Subscription
from lab.ports.provider import RUN_CHANNELS


def run_subscription(name: str, provider: Provider, symbol: str, interval_ns: int) -> Subscription:
    """Return a run's subscription: of the channels a run takes, those the provider has.

    Raises `ProviderError` where it has no candles, or refuses symbol or interval.
    """
    offered = provider.channels()
    if Channel.CANDLES not in offered:
        has = ", ".join(sorted(offered)) or "none"
        raise ProviderError(f"provider {name!r} has no channel {Channel.CANDLES}, which a run needs; it has {has}")
    wanted = Subscription(symbol, interval_ns, RUN_CHANNELS & offered)
    provider.check([wanted])
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
