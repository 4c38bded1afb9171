"""The messages of a socket: connect, subscribe, unsubscribe, ping, and how the venue ends one."""

from random import Random
from typing import Any, Final

import anyio
import msgspec
from attrs import define
from lab.domain.time import MILLISECOND_NS, SECOND_NS
from websockets.exceptions import ConnectionClosed

from lab_bitunix.venue.channels import channel
from lab_bitunix.venue.connection import ClientSession, Key, VenueSocket
from lab_bitunix.venue.hub import Hub

IDLE_S: Final = 60.0
"""A socket on which the client says nothing for so long is ended without a close frame."""
SUBSCRIPTIONS_MOST: Final = 300


@define(eq=False)
class Dialogue:
    """Answers the clients' messages. A message that is not understood is ignored silently, as by the venue."""

    hub: Hub
    storm: Random

    async def talk(self, socket: VenueSocket) -> None:
        """Serve a socket from the end of its handshake to its end."""
        hub = self.hub
        counters, faults = hub.counters, hub.world.faults
        now_ns = hub.now_ns()
        session = ClientSession(socket, now_ns // SECOND_NS)
        counters.connections += 1
        counters.opened += 1
        try:
            storm = faults.active("close_storm", hub.world.elapsed_s(now_ns))
            if storm is None or self.storm.random() < 0.5:
                hub.say(session, {"op": "connect", "data": {"result": True}})
            if storm is not None:
                await self._storm(socket, storm.value)
            else:
                await self._listen(session)
        except ConnectionClosed:
            pass
        finally:
            counters.connections -= 1
            hub.leave(session)

    async def _storm(self, socket: VenueSocket, how: str | None) -> None:
        how = how or self.storm.choice(("1000", "1001", "1006", "1013", "none"))
        self.hub.counters.faults["close_storm"] += 1
        await anyio.sleep(self.storm.uniform(0, 0.05))
        if how == "1006":
            socket.cut("storm")
            return
        self.hub.counters.closed["storm"] += 1
        if how == "none":
            socket.protocol.send_close()
            socket.send_data()
            await socket.wait_closed()
        else:
            await socket.close(int(how))

    async def _listen(self, session: ClientSession) -> None:
        last_s = anyio.current_time()
        while True:
            text: str | bytes | None = None
            with anyio.move_on_at(last_s + IDLE_S):
                text = await session.socket.recv()
            if text is None:
                session.socket.cut("idle")
                return
            if self._hear(session, text):
                last_s = anyio.current_time()

    def _hear(self, session: ClientSession, text: str | bytes) -> bool:
        """Act on a message; return whether it keeps the socket open."""
        world = self.hub.world
        at_s = world.elapsed_s(self.hub.now_ns())
        if world.faults.active("blackhole", at_s):
            return False
        try:
            message = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return True
        if not isinstance(message, dict):
            return True
        operation, arguments = message.get("op"), message.get("args")
        if operation == "ping":
            if world.faults.active("no_pong", at_s):
                self.hub.counters.faults["no_pong"] += 1
                return False
            if "ping" in message:
                self.hub.say(session, {"op": "ping", "pong": message["ping"], "ping": session.opened_s})
        elif operation == "subscribe" and isinstance(arguments, list):
            self._subscribe(session, arguments, at_s)
        elif operation == "unsubscribe" and isinstance(arguments, list):
            for key in filter(None, map(_key, arguments)):
                self.hub.unsubscribe(session, key)
            stamp = self.hub.now_ns() // MILLISECOND_NS
            self.hub.say(session, {"op": "unsubscribe", "ts": stamp, "data": "success"})
        return True

    def _subscribe(self, session: ClientSession, arguments: list[Any], at_s: float) -> None:
        faults, count = self.hub.world.faults, self.hub.counters.faults
        if faults.active("refuse_sub", at_s):
            count["refuse_sub"] += 1
            self.hub.say(session, {"op": "subscribe", "data": {"result": False, "msg": "subscription refused"}})
            return
        ignored, taken, refused = faults.value("drop_arg", at_s, 0), dict[Key, None](), False
        for key in filter(None, map(_key, arguments)):
            session.asked += 1
            if session.asked == ignored:
                count["drop_arg"] += 1
            elif key in session.wanted or len(session.wanted) + len(taken) < SUBSCRIPTIONS_MOST:
                taken[key] = None
            else:
                refused = True
        if refused:
            text = f"The number of subscriptions exceeds the limit of {SUBSCRIPTIONS_MOST}"
            self.hub.say(session, {"op": "subscribe", "data": {"result": False, "msg": text}})
        self.hub.subscribe(session, list(taken))


def _key(argument: Any) -> Key | None:
    """Return the subscription an argument means, or ``None`` for what the venue ignores."""
    if not isinstance(argument, dict):
        return None
    name, symbol = argument.get("ch"), argument.get("symbol")
    if not isinstance(name, str) or channel(name) is None:
        return None
    return (symbol.upper() if isinstance(symbol, str) and symbol else None), name
