"""Bitunix futures for lab: market data of the venue, and a local venue that speaks the same protocol."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lab import PluginCommand, hookimpl

if TYPE_CHECKING:
    from lab.ports import Provider


@hookimpl
def lab_providers() -> "Mapping[str, type[Provider]]":
    """Offer the venue's market data as ``bitunix``."""
    from lab_bitunix.provider import Bitunix

    return {"bitunix": Bitunix}


@hookimpl
def lab_commands() -> Mapping[str, PluginCommand]:
    """Offer ``lab bitunix-venue``: the local venue as a separate server."""
    return {
        "bitunix-venue": PluginCommand(
            help="Serve the local Bitunix venue on loopback.", target="lab_bitunix.venue.command:main"
        )
    }
