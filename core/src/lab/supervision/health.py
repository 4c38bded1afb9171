"""Serves the health of a supervised session over all its lives, and between them."""

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from lab.errors import LabError, describe_error
from lab.health.board import Board
from lab.health.server import HOST, HealthServer
from lab.records.health import Health
from lab.supervision.life import Life


class HealthOfAllLives:
    """What the newest life said of itself, on the port that it was to serve; nothing where it was to serve none."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._board: Board | None = None
        self._server: HealthServer | None = None
        self._shown = ""
        self.refused = False
        """Whether the port can't be had."""

    def show(self, life: Life, number: int) -> None:
        """Take what a life says; it is the supervisor's ``number``-th. A port that can't be had is said once."""
        told = life.beat.get("health")
        if not isinstance(told, str) or told == self._shown:
            return
        self._shown = told
        try:
            health = replace(msgspec.json.decode(told, type=Health), lives=number)
        except (msgspec.DecodeError, ValueError) as error:
            self._say(f"the session's health cannot be read: {describe_error(error)}")
            return
        if self._board is None:
            self._board = Board(health)
            self._serve(int(life.beat.get("health_port") or 0), self._board)
        self._board.post(health)

    def between(self, why: str) -> None:
        """Say that the session has ended and starts again."""
        if self._board is not None:
            reason = f"the session ended ({why}) and starts again"
            self._board.post(
                replace(self._board.newest, status="starting", feed="down", feed_ages={}, why_not_trading=(reason,))
            )

    def close(self) -> None:
        """Give the port back."""
        if self._server is not None:
            self._server.close()

    def _serve(self, port: int, board: Board) -> None:
        try:
            self._server = HealthServer(port, board.read, lambda error: self._say(describe_error(error)))
        except LabError as error:
            self._say(str(error))
            self.refused = True
            return
        self._server.start()
        self._say(f"health: http://{HOST}:{self._server.port}/health and /metrics")
