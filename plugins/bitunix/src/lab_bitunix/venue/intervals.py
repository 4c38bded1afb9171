"""The venue's candle intervals: their names in REST and on the socket, and where their buckets begin."""

from datetime import UTC, datetime
from typing import Final

from attrs import frozen
from lab.domain.time import DAY_NS, MINUTE_NS, SECOND_NS

_HOUR_NS: Final = 60 * MINUTE_NS
_WEEK_NS: Final = 7 * DAY_NS
_MONDAY_NS: Final = 4 * DAY_NS  # 1970-01-05, the first Monday


@frozen
class Interval:
    """A candle length; ``length_ns`` 0 is the calendar month. Buckets begin at UTC midnights, weeks on Mondays."""

    length_ns: int
    anchor_ns: int = 0

    def open_of(self, time_ns: int) -> int:
        """Return the opening time of the bucket a moment lies in."""
        if self.length_ns:
            return time_ns - (time_ns - self.anchor_ns) % self.length_ns
        moment = datetime.fromtimestamp(time_ns // SECOND_NS, UTC)
        return _month_ns(moment.year, moment.month)

    def after(self, open_ns: int) -> int:
        """Return the opening time of the next bucket."""
        if self.length_ns:
            return open_ns + self.length_ns
        moment = datetime.fromtimestamp(open_ns // SECOND_NS, UTC)
        return _month_ns(moment.year + moment.month // 12, moment.month % 12 + 1)

    def before(self, open_ns: int) -> int:
        """Return the opening time of the bucket before."""
        return self.open_of(open_ns - 1)


def _month_ns(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * SECOND_NS


_TABLE: Final = (
    ("1m", "1min", Interval(MINUTE_NS)),
    ("", "3min", Interval(3 * MINUTE_NS)),  # documented for the socket only
    ("5m", "5min", Interval(5 * MINUTE_NS)),
    ("15m", "15min", Interval(15 * MINUTE_NS)),
    ("30m", "30min", Interval(30 * MINUTE_NS)),
    ("1h", "60min", Interval(_HOUR_NS)),
    ("2h", "2h", Interval(2 * _HOUR_NS)),
    ("4h", "4h", Interval(4 * _HOUR_NS)),
    ("6h", "6h", Interval(6 * _HOUR_NS)),
    ("8h", "8h", Interval(8 * _HOUR_NS)),
    ("12h", "12h", Interval(12 * _HOUR_NS)),
    ("1d", "1day", Interval(DAY_NS)),
    ("3d", "3day", Interval(3 * DAY_NS)),
    ("1w", "1week", Interval(_WEEK_NS, _MONDAY_NS)),
    ("1M", "1month", Interval(0)),
)

REST_INTERVALS: Final = {rest: interval for rest, _, interval in _TABLE if rest}
SOCKET_INTERVALS: Final = {socket: interval for _, socket, interval in _TABLE}
