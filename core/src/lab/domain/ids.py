"""Ids are derived from the decision, never random: the same decision gets the same id, also after a crash."""

import hashlib


def config_hash(text: str) -> str:
    """Return eight hex digits that stand for a configuration and its seed."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def order_id(config_hash: str, strategy: str, symbol: str, decision: str, leg: str) -> str:
    """Return the id of the order that a strategy decides on for one leg.

    ``decision`` names the event decided on: a letter for its kind (``c`` candle, ``q`` quote, ``t`` trade, ``d`` depth,
    ``m`` timer, ``x`` a command) and its venue time in nanoseconds, with ``.2`` for the second one of that kind at that
    time, and with the symbol decided on where the run has several.
    """
    return f"{config_hash}-{strategy}-{symbol}-{decision}-{leg}"
