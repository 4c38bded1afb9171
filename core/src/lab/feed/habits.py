"""The habits of a venue: how often it wants to hear of its clients, and which silence of its means something."""

from attrs import Attribute, fields, frozen

_MAY_BE_ZERO = frozenset({"hello_within_s", "channels_per_frame", "linger_s"})


@frozen(kw_only=True)
class Habits:
    """The figures a feed goes by, in seconds of the loop's clock where their names end in ``_s``.

    The defaults suit a venue of crypto futures that sends each channel several times a second. Raises ``ValueError``
    for a figure that is not above 0, and for limits that contradict each other.
    """

    ping_every_s: float = 5.0
    """The dialect's ping is sent this often, whether or not data flows."""
    silent_s: float = 5.0
    """Without any frame for so long the connection is suspect: it is pinged at once."""
    pong_within_s: float = 3.0
    """A suspect connection without any frame for so much longer is replaced."""
    hello_within_s: float = 2.0
    """Without a greeting for so long channels are asked for all the same; 0 for a venue that does not greet."""
    first_data_s: float = 3.0
    """A wanted channel that has not spoken so long after it was asked for is asked for again, then replaced."""
    degraded_s: float = 5.5
    """A wanted channel that falls silent for so long is asked for again, and the feed is degraded."""
    dead_s: float = 9.5
    """After so long a silence of one channel the connection is replaced."""
    quiet_s: float = 30.0
    """An optional channel that is silent for so long is asked for again; then after twice as long, and so on."""
    quiet_most_s: float = 300.0
    """The longest silence after which an optional channel is asked for again."""
    frame_every_s: float = 0.26
    """The least time between two frames sent on a connection: at most four in any second, pongs included."""
    channels_per_frame: int = 0
    """How many channels one frame asks for at most; 0 for all."""
    open_s: float = 5.0
    """How long opening a connection may take, in real seconds."""
    renew_after_hours: tuple[float, float] = (12.0, 20.0)
    """A connection is replaced by a second one, opened beside it, after so many hours: drawn evenly each time."""
    renewed_within_s: float = 20.0
    """How long the second connection may take to bring all that is wanted, before the first one is kept after all."""
    linger_s: float = 3.0
    """How long the first connection is read after that: what it brings late, the second one may have missed."""
    renewal_retry_s: float = 1800.0
    """When a second connection is tried again after one that was no good."""

    def __attrs_post_init__(self) -> None:
        for one in fields(Habits):
            _check(one, getattr(self, one.name))
        for less, more in (("degraded_s", "dead_s"), ("quiet_s", "quiet_most_s")):
            if getattr(self, less) > getattr(self, more):
                raise ValueError(f"{less} = {getattr(self, less)!r}: expected at most {more} = {getattr(self, more)!r}")


def _check(one: "Attribute[object]", value: float | tuple[float, float]) -> None:
    low, high = value if isinstance(value, tuple) else (value, value)
    if not (0 < low <= high < float("inf") or (low == high == 0 and one.name in _MAY_BE_ZERO)):
        raise ValueError(f"{one.name} = {value!r}: expected more than 0{' or 0' * (one.name in _MAY_BE_ZERO)}")
