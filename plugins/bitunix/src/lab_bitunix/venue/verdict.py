"""What the local venue says of a session that has ended: its budgets, its candles, and whether faults were noticed."""

from collections.abc import Iterator, Sequence
from typing import Final

from lab.domain.market import UNCONFIRMED, Candle
from lab.ports import Evidence

from lab_bitunix.venue.counters import FRAMES_PER_SECOND, REST_PER_SECOND
from lab_bitunix.venue.intervals import REST_INTERVALS
from lab_bitunix.venue.market import Market
from lab_bitunix.venue.server import LocalVenue

CONNECTS_PER_MINUTE: Final = 30
"""Sockets in any minute that the local venue takes for a storm."""
_DROPPING: Final = ("reset", "midframe", "silence", "close_storm")
_LEAST: Final = 20


def objections(venue: LocalVenue, evidence: Evidence) -> Sequence[str]:
    """Return what was wrong, each a line that names its invariant."""
    return [*_budgets(venue), *_candles(venue, evidence), *_silent(venue, evidence)]


def _budgets(venue: LocalVenue) -> Iterator[str]:
    counters = venue.counters
    for what, most, allowed in (
        ("REST calls in a second", counters.rest_per_second.most, REST_PER_SECOND),
        ("frames on a socket in a second", counters.most_received_per_second, FRAMES_PER_SECOND),
        ("connects in a minute", counters.connects_per_minute.most, CONNECTS_PER_MINUTE),
    ):
        if most > allowed:
            yield f"I13: {most} {what}; {allowed} are allowed"


def _candles(venue: LocalVenue, evidence: Evidence) -> Iterator[str]:
    for candle in evidence.candles:
        market = venue.world.traded(candle.symbol)
        if market is None or candle.status == UNCONFIRMED:
            continue
        wanted, got = _shown(venue, market, candle), (candle.open, candle.high, candle.low, candle.close)
        if wanted and got not in wanted:
            yield f"I7: the {candle.status} candle that opened at {candle.open_ns} is {got}, the venue's is {wanted[0]}"


def _shown(venue: LocalVenue, market: Market, candle: Candle) -> list[tuple[float, ...]]:
    """Return the prices of a closed minute as the venue writes them, the true ones first; none for another interval.

    While it revises its rows, what it showed before was its answer, too.
    """
    interval = REST_INTERVALS["1m"]
    end_ns = interval.after(candle.open_ns)
    if interval.open_of(candle.open_ns) != candle.open_ns:
        return []
    ends = [end_ns]
    if "revise" in venue.world.faults.by_kind:
        ends.append(end_ns - (end_ns - candle.open_ns) // 60)
    bars = [venue.world.bar(market, interval, candle.open_ns, end) for end in ends]
    digits = market.contract.price_digits
    return [tuple(float(f"{price:.{digits}f}") for price in bar[:4]) for bar in bars]


def _silent(venue: LocalVenue, evidence: Evidence) -> Iterator[str]:
    """Name faults of the connection that struck often and left no trace: the feed was said to be live all the time."""
    if evidence.lives > 1:
        return
    struck = [kind for kind in _DROPPING if venue.counters.faults[kind] >= (_LEAST if kind == "silence" else 1)]
    dropped = sum(venue.counters.closed.values())
    if struck and dropped and not set(evidence.feed) - {"live", "connecting", "subscribed", "warm"}:
        yield f"I16: {', '.join(struck)} ended {dropped} sockets, and the feed was never said to be down"
    if venue.counters.faults["malformed"] >= _LEAST and not evidence.malformed:
        yield "I16: frames were damaged, and none was said to be malformed"
