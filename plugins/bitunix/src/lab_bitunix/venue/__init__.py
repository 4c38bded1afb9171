"""A local venue: a real HTTP and WebSocket server on loopback that speaks Bitunix's public protocol.

It plays a recording, forwards and backwards without end, so that lab can be tried and tortured without the internet.
What the venue's protocol is, and how sure that is, stands in ``docs/`` and in the docstrings of the parts.
"""

from lab_bitunix.venue.faults import FaultError, Faults
from lab_bitunix.venue.server import LocalVenue

__all__ = ["FaultError", "Faults", "LocalVenue"]
