"""A local venue: a real HTTP and WebSocket server on loopback that speaks Bitunix's public protocol.

It plays a recording, forwards and backwards without end, so that lab can be tried and tortured without the internet.
`LocalVenue` is the server, `Faults` its misbehaviour, ``lab bitunix-venue`` its command line.
"""

from lab_bitunix.venue.faults import FaultError, Faults
from lab_bitunix.venue.server import LocalVenue, reason_of

__all__ = ["FaultError", "Faults", "LocalVenue", "reason_of"]
