"""The connection that cuts messages out of the bytes: what it gives is what websockets alone would give."""

import asyncio
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st
from lab_bitunix.frames import FRAME_LIMIT, FloodError, FrameConnection
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri
from websockets.utils import accept_key


class _Transport(asyncio.Transport):
    """Notes what is written, and whether reading is paused."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.paused = 0
        self.aborted = False

    def write(self, data: Any) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Take them."""

    def pause_reading(self) -> None:
        self.paused += 1

    def resume_reading(self) -> None:
        self.paused = 0

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """Do nothing."""

    def abort(self) -> None:
        self.aborted = True


def _protocol() -> tuple[ClientProtocol, bytes]:
    """Return a protocol that has asked for its connection, and the venue's response."""
    protocol = ClientProtocol(parse_uri("ws://venue/"), max_size=FRAME_LIMIT)
    request = protocol.connect()
    protocol.send_request(request)
    protocol.data_to_send()
    accept = accept_key(request.headers["Sec-WebSocket-Key"])
    head = f"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    return protocol, head.encode()


def _connection() -> tuple[FrameConnection, bytes]:
    protocol, head = _protocol()
    connection = FrameConnection(protocol)
    connection.connection_made(_Transport())
    return connection, head


def _fed(connection: FrameConnection) -> _Transport:
    transport = connection.transport
    assert isinstance(transport, _Transport)
    return transport


def _text(text: bytes = b"{}", *, fin: bool = True) -> bytes:
    return Frame(Opcode.TEXT, text, fin).serialize(mask=False)


def _continued(data: bytes, *, fin: bool) -> bytes:
    return Frame(Opcode.CONT, data, fin).serialize(mask=False)


_LENGTHS = st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536, FRAME_LIMIT - 1, FRAME_LIMIT, FRAME_LIMIT + 1])
_SOUND = st.one_of(
    st.binary(max_size=300).map(_text),
    _LENGTHS.map(lambda length: _text(b"x" * length)),
    st.binary(max_size=9).map(lambda data: Frame(Opcode.BINARY, data).serialize(mask=False)),
    st.lists(st.binary(max_size=5), min_size=1, max_size=3).map(
        lambda parts: (
            _text(b"a", fin=False)
            + b"".join(_continued(part, fin=False) for part in parts)
            + Frame(Opcode.PING, b"?").serialize(mask=False)
            + _continued(b"z", fin=True)
        )
    ),
    st.sampled_from([Opcode.PING, Opcode.PONG]).map(lambda op: Frame(op, b"!").serialize(mask=False)),
)
_ENDINGS = {
    "a close": Frame(Opcode.CLOSE, Close(1001, "away").serialize()).serialize(mask=False),
    "a masked frame": Frame(Opcode.TEXT, b"masked").serialize(mask=True),
    "a long masked frame": Frame(Opcode.TEXT, b"m" * 70_000).serialize(mask=True),
    "a reserved bit": b"\xc1\x00",
    "an unknown opcode": b"\x83\x00",
    "a continuation of nothing": _continued(b"?", fin=True),
    "a text within a message": _text(b"first", fin=False) + _text(b"second"),
    "a long message in parts": _text(b"f" * FRAME_LIMIT, fin=False) + _continued(b"more", fin=True),
    "a long message": _text(b"x" * (FRAME_LIMIT + 1)),
    "a long ping": b"\x89\x7e\x00\x80" + bytes(128),
    "a length of 64 bits": b"\x81\x7f\x80" + bytes(7),
}


async def _compare(stream: bytes, cuts: Sequence[int], listens: int) -> None:
    """Give a connection the stream in parts, a reader from the part ``listens`` on, and websockets the whole of it."""
    protocol, head = _protocol()
    protocol.receive_data(head + stream)
    expected, parts, pongs = [], [], 0
    for event in protocol.events_received():
        if isinstance(event, Frame) and event.opcode is Opcode.PING:
            pongs += 6 + len(event.data)  # websockets answers each at once
        if isinstance(event, Frame) and event.opcode in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
            parts.append(bytes(event.data))
            if event.fin:
                expected.append(b"".join(parts))
                parts = []
    connection, head = _connection()
    whole = head + stream
    heard: list[bytes] = []
    async with anyio.create_task_group() as tasks:
        for number, (begin, end) in enumerate(zip([0, *cuts], [*cuts, len(whole)], strict=True)):
            if end > begin:
                connection.data_received(whole[begin:end])
            if number == listens:
                tasks.start_soon(connection.hand_to, lambda message, _: heard.append(message))
                await checkpoint()
        tasks.cancel_scope.cancel()
    assert heard == expected
    assert connection.protocol.state is protocol.state
    assert connection.protocol.close_rcvd == protocol.close_rcvd
    assert connection.protocol.close_sent == protocol.close_sent
    assert len(_fed(connection).written) == sum(map(len, protocol.data_to_send())) - pongs


@given(frames=st.lists(st.one_of(_SOUND, _SOUND, st.sampled_from([*_ENDINGS.values()])), max_size=8), data=st.data())
def test_whatever_comes_and_however_it_is_cut_the_messages_are_those_of_websockets(
    frames: list[bytes], data: st.DataObject
) -> None:
    async def main() -> None:
        stream = b"".join(frames)
        length = len(_protocol()[1]) + len(stream)
        near = st.integers(0, min(length, 400)) | st.integers(0, length)
        cuts = sorted(data.draw(st.lists(near, max_size=12)))
        await _compare(stream, cuts, data.draw(st.integers(0, len(cuts))))

    asyncio.run(main())


@pytest.mark.parametrize("ending", _ENDINGS)
async def test_what_ends_a_connection_ends_it_wherever_the_bytes_are_cut(ending: str) -> None:
    stream = _text(b"before") + _ENDINGS[ending] + _text(b"after") + _text(b"that")
    head = len(_protocol()[1])
    for cut in (*range(head - 5, head + 30), *range(head + len(stream) - 20, head + len(stream))):
        await _compare(stream, [cut], 0)
        await _compare(stream, [cut], 1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("cut", range(-5, 3))
async def test_wherever_the_response_is_cut_whole_messages_go_past_websockets(
    cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, head = _connection()
    stream, place, heard = head + _text(b"1"), len(head) + cut, list[bytes]()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(connection.hand_to, lambda message, _: heard.append(message))
        await checkpoint()
        connection.data_received(stream[:place])
        connection.data_received(stream[place:])
        monkeypatch.setattr(connection.protocol, "receive_data", None)
        connection.data_received(_text(b"2"))
        tasks.cancel_scope.cancel()
    assert heard == [b"1", b"2"]


async def test_until_somebody_listens_reading_is_paused_and_nothing_is_lost() -> None:
    connection, head = _connection()
    heard: list[bytes] = []
    connection.data_received(head + _text(b"1") + _text(b"2"))
    assert _fed(connection).paused
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(connection.hand_to, lambda message, _: heard.append(message))
        await checkpoint()
        assert not _fed(connection).paused
        connection.data_received(_text(b"3"))
        tasks.cancel_scope.cancel()
    assert heard == [b"1", b"2", b"3"]


async def test_the_end_of_the_connection_reaches_the_reader_with_the_venues_words() -> None:
    connection, head = _connection()
    connection.data_received(head)
    async with anyio.create_task_group() as tasks:

        async def read() -> None:
            with pytest.raises(ConnectionClosed) as ended:
                await connection.hand_to(lambda message, now: None)
            assert ended.value.rcvd == Close(1008, "too many frames")

        tasks.start_soon(read)
        await checkpoint()
        close = Close(1008, "too many frames").serialize()
        connection.data_received(Frame(Opcode.CLOSE, close).serialize(mask=False))
        connection.connection_lost(None)
    assert connection.protocol.state is State.CLOSED


async def test_a_connection_that_ended_before_anybody_listened_says_so_after_its_messages() -> None:
    connection, head = _connection()
    connection.data_received(head + _text(b"hello"))
    connection.connection_lost(ConnectionResetError())
    heard: list[bytes] = []
    with pytest.raises(ConnectionClosed):
        await connection.hand_to(lambda message, _: heard.append(message))
    assert heard == [b"hello"]


async def test_what_the_reader_raises_ends_its_call_and_nothing_is_given_to_it_any_more() -> None:
    connection, head = _connection()
    connection.data_received(head)
    heard: list[bytes] = []

    def take(message: bytes, now: float) -> None:
        heard.append(message)
        raise OverflowError("full")

    async def read() -> None:
        with pytest.raises(OverflowError, match="full"):
            await connection.hand_to(take)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await checkpoint()
        connection.data_received(_text(b"1") + _text(b"2"))
        connection.data_received(_text(b"3"))
    assert heard == [b"1"]


async def test_a_reader_that_was_cancelled_is_given_nothing_more() -> None:
    connection, head = _connection()
    connection.data_received(head)
    heard: list[bytes] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(connection.hand_to, lambda message, _: heard.append(message))
        await checkpoint()
        tasks.cancel_scope.cancel()
    connection.data_received(_text(b"late"))
    assert heard == []


PING, PONG = Frame(Opcode.PING, b"one").serialize(mask=False), Frame(Opcode.PONG, b"").serialize(mask=False)


@pytest.mark.behaviour("F6")
async def test_of_pings_the_newest_is_kept_and_its_reader_told_once_until_it_is_taken() -> None:
    connection, head = _connection()
    connection.data_received(head + PING)
    heard: list[str] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(connection.hand_to, lambda *_: None, lambda: heard.append("ping"))
        await checkpoint()
        assert heard == ["ping"], "also of one that came before it listened"
        connection.data_received(PING + Frame(Opcode.PING, b"two").serialize(mask=False) + PONG)
        assert heard == ["ping"]
        assert connection.take_ping() == b"two"
        assert connection.take_ping() is None
        connection.data_received(PING[:3])
        connection.data_received(PING[3:])
        assert heard == ["ping", "ping"]
        tasks.cancel_scope.cancel()
    assert _fed(connection).written.count(b"\x8a") == 0


@pytest.mark.parametrize(
    ("flood", "words"),
    [
        (PING * 101, "more than 100 pings and pongs within 10 s"),
        (PONG * 101, "more than 100 pings and pongs within 10 s"),
        (_text(b"a", fin=False) + _continued(b"", fin=False) * 1_024, "a message in more than 1024 parts"),
    ],
    ids=["pings", "pongs", "parts"],
)
async def test_a_flood_that_means_nothing_breaks_the_connection_at_once(flood: bytes, words: str) -> None:
    connection, head = _connection()
    connection.data_received(head + _text(b"1") + flood[: len(flood) // 2])
    connection.data_received(flood[len(flood) // 2 :] + _text(b"2"))
    heard: list[bytes] = []
    with pytest.raises(FloodError, match=words):
        await connection.hand_to(lambda message, _: heard.append(message))
    assert heard == [b"1"]
    assert _fed(connection).aborted
