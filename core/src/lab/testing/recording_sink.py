"""A sink that keeps everything it is given, in order."""

from collections.abc import Sequence
from typing import Any

from lab.domain.market import Candle, Funding, Quote
from lab.ports import FeedState


class RecordingSink:
    """Keeps what a provider gives: ``given`` in the order it came, as (name of the method, value)."""

    def __init__(self) -> None:
        self.given: list[tuple[str, Any]] = []

    def quote(self, quote: Quote) -> None:
        """Keep a quote."""
        self.given.append(("quote", quote))

    def candle(self, candle: Candle) -> None:
        """Keep a closed candle."""
        self.given.append(("candle", candle))

    def funding(self, funding: Funding) -> None:
        """Keep a funding rate."""
        self.given.append(("funding", funding))

    def feed(self, state: FeedState, detail: str = "") -> None:
        """Keep a state of the connection."""
        self.given.append(("feed", state))

    def malformed(self, reason: str, sample: bytes | str) -> None:
        """Keep why input was malformed."""
        self.given.append(("malformed", reason))

    def contacted(self, host: str) -> None:
        """Keep a host."""
        self.given.append(("contacted", host))

    @property
    def quotes(self) -> Sequence[Quote]:
        """Every quote, in the order they came."""
        return [value for name, value in self.given if name == "quote"]

    @property
    def candles(self) -> Sequence[Candle]:
        """Every candle, in the order they came."""
        return [value for name, value in self.given if name == "candle"]

    @property
    def feeds(self) -> Sequence[FeedState]:
        """Every state of the connection, in order."""
        return [value for name, value in self.given if name == "feed"]
