"""Ids are derived, never drawn: the same decision gets the same id, before and after a crash."""

import hashlib

from lab.domain.time import MILLISECOND_NS


def config_hash(text: str) -> str:
    """Return eight hex digits that stand for a configuration and its seed."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def order_id(config_hash: str, strategy: str, symbol: str, decided_ns: int, leg: str) -> str:
    """Return the id of the order that a strategy decides on one candle (or quote) for one leg."""
    return f"{config_hash}-{strategy}-{symbol}-{decided_ns // MILLISECOND_NS}-{leg}"
