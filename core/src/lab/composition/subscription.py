"""Makes a run's subscription and refuses what its provider does not offer."""

from lab.errors import ProviderError
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
