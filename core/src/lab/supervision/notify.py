"""Tells systemd how a service does, by its protocol (sd_notify(3)): datagrams to the socket that it names."""

import contextlib
import os
import socket
from collections.abc import Mapping


class ServiceManager:
    """The manager that started the process, if one did: without one nothing happens."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    def tell(self, *states: str) -> None:
        """Send states such as ``READY=1``, ``WATCHDOG=1``, ``STOPPING=1`` or ``STATUS=...``. Never raises."""
        if not self._address or not hasattr(socket, "AF_UNIX"):
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.sendto("\n".join(states).encode(), self._address)

    def forget(self) -> None:
        """Keep the socket from child processes: they are not the service."""
        os.environ.pop("NOTIFY_SOCKET", None)
