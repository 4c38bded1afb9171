"""The feed of a provider with a socket: connected for ever, watched for silence, within its budgets, its candles whole.

A provider brings a `Connection`, a `Dialect` and a way to open the one; `SocketFeed` does the rest. All times are
monotonic, all waits have bounds, and silence is judged by a task of its own, never by the reader. Every state is
reported to the sink. These are all the edges:

| edge | from | to | when | what is done |
| --- | --- | --- | --- | --- |
| E1 | down | connecting | the wait is over | a connection is opened |
| E2 | connecting | down | none within `open_s`, refused, or any other error | the wait grows: 0.5 s to 36 s |
| E3 | down | down | refused with HTTP 403 or 429 | nobody calls for 30 s, doubling to 5 minutes |
| E4 | connecting | the end | refused with HTTP 401 | `AuthenticationFailed` |
| E5 | connecting | subscribed | the venue greets | every channel is asked for |
| E6 | connecting | subscribed | no greeting within `hello_within_s` | every channel is asked for |
| E7 | subscribed | warm, live | the last wanted channel spoke | after 30 s live the waits start over |
| E8 | subscribed | live | no channel is wanted | |
| E9 | subscribed | subscribed | a wanted channel says nothing within `first_data_s` | it is asked for once more |
| E10 | subscribed | down | nor within `first_data_s` of that | the connection is replaced |
| E11 | live | degraded | a wanted channel is silent for `degraded_s` | it is asked for again |
| E12 | degraded | degraded | another one falls silent, or one of two speaks again | whichever is silent is asked for |
| E13 | degraded | live | the last silent one speaks again | |
| E14 | degraded | down | a wanted channel is silent for `dead_s` | replaced; the next one allows the channel more |
| E15 | any | suspect | no frame for `silent_s` | a ping is sent |
| E16 | suspect | connecting, subscribed, degraded, live | any frame comes | back to what it was |
| E17 | suspect | down | no frame within `pong_within_s` | the connection is replaced |
| E18 | live | live | an optional channel is silent for `quiet_s` | said once; asked for at a falling pace |
| E19 | live | live | the hours of `renew_after_hours` are over | a second connection takes over |
| E20 | live | live | the second one is not live within `renewed_within_s` | the first is kept; tried again later |
| E21 | any | down | the connection is lost, or takes no more frames | the wait grows |
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.feed.candles import CandleAssembler as CandleAssembler
    from lab.feed.candles import Revision as Revision
    from lab.feed.chain import CandleChain as CandleChain
    from lab.feed.chain import FetchCandles as FetchCandles
    from lab.feed.doubles import Doubles as Doubles
    from lab.feed.habits import Habits as Habits
    from lab.feed.liveness import ChannelMonitor as ChannelMonitor
    from lab.feed.liveness import Paces as Paces
    from lab.feed.pacing import Backoff as Backoff
    from lab.feed.pacing import CoolDown as CoolDown
    from lab.feed.pacing import Pacer as Pacer
    from lab.feed.socket_feed import SocketFeed as SocketFeed
    from lab.feed.stamps import Stamps as Stamps
    from lab.feed.venue import HELLO as HELLO
    from lab.feed.venue import ChannelKey as ChannelKey
    from lab.feed.venue import Connect as Connect
    from lab.feed.venue import Connection as Connection
    from lab.feed.venue import Dialect as Dialect
    from lab.feed.venue import Lost as Lost
    from lab.feed.venue import Pinged as Pinged
    from lab.feed.venue import Probed as Probed
    from lab.feed.venue import Refused as Refused
    from lab.feed.venue import Take as Take

_HOMES = {
    "lab.feed.candles": ("CandleAssembler", "Revision"),
    "lab.feed.chain": ("CandleChain", "FetchCandles"),
    "lab.feed.doubles": ("Doubles",),
    "lab.feed.habits": ("Habits",),
    "lab.feed.liveness": ("ChannelMonitor", "Paces"),
    "lab.feed.pacing": ("Backoff", "CoolDown", "Pacer"),
    "lab.feed.socket_feed": ("SocketFeed",),
    "lab.feed.stamps": ("Stamps",),
    "lab.feed.venue": (
        "HELLO", "ChannelKey", "Connect", "Connection", "Dialect", "Lost", "Pinged", "Probed", "Refused", "Take",
    ),
}  # fmt: skip
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)  # noqa: PLE0605 - the names of the table above


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'lab.feed' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return __all__
