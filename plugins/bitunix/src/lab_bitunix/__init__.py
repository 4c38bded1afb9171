"""Bitunix futures for lab: market data of the venue, and a local venue that speaks the same protocol."""

from collections.abc import Mapping

from lab import PluginCommand, hookimpl


@hookimpl
def lab_providers() -> Mapping[str, str]:
    """Offer the venue's market data as ``bitunix``."""
    return {"bitunix": "lab_bitunix.provider:Bitunix"}


@hookimpl
def lab_commands() -> Mapping[str, PluginCommand]:
    """Offer ``lab bitunix-venue``: the local venue as a separate server."""
    return {
        "bitunix-venue": PluginCommand(
            help="Serve the local Bitunix venue on loopback.", target="lab_bitunix.venue.command:main"
        )
    }
