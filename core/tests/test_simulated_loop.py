"""Whole client and server programs in virtual time: unmodified websockets, httpx and anyio."""

import asyncio
import gc
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.to_process
import anyio.to_thread
import httpx
import pytest
from lab.testing.simulation import (
    SimLoop,
    SimNetwork,
    SimulationDeadlock,
    SimulationLimit,
    SimulationUnsupported,
    Trace,
    current_net,
    simulate,
)
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.http11 import Request, Response

URL = "ws://127.0.0.1:9000"
HTTP = "http://127.0.0.1:9000"


async def answer_http(connection: ServerConnection, request: Request) -> Response | None:
    if request.headers.get("Upgrade") == "websocket":
        return None
    if request.path == "/slow":
        await anyio.sleep(30)
    body = f"you asked for {request.path}".encode()
    return Response(200, "OK", Headers({"Content-Length": str(len(body)), "Connection": "close"}), body)


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


def venue(handler: Callable[[ServerConnection], Awaitable[None]] = echo, port: int = 9000) -> Server:
    return serve(handler, "127.0.0.1", port, process_request=answer_http, ping_interval=None)


# Sessions


async def ticks(connection: ServerConnection) -> None:
    """Echo, and send a tick every half second."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(echo, connection)
        for number in range(10_000):
            try:
                await connection.send(f"tick {number}")
            except ConnectionClosed:
                tasks.cancel_scope.cancel()
            await anyio.sleep(0.5)


async def ping(client: ClientConnection) -> None:
    while True:
        await client.send("ping")
        await anyio.sleep(5)


async def listen(trace: Trace) -> None:
    """Receive for ever, connecting again after each loss."""
    while True:
        try:
            async with connect(URL, ping_interval=None, open_timeout=3) as client, anyio.create_task_group() as tasks:
                tasks.start_soon(ping, client)
                async for message in client:
                    trace.note("got", message)
        except* (ConnectionClosed, OSError) as errors:
            trace.note("lost", [type(error).__name__ for error in errors.exceptions])
        await anyio.sleep(0.25)


async def ask(trace: Trace) -> None:
    """Ask over HTTP once a minute."""
    async with httpx.AsyncClient(timeout=3, trust_env=False) as client:
        while True:
            try:
                answer = await client.get(f"{HTTP}/candles")
                trace.note("http", answer.status_code, answer.text)
            except httpx.TransportError as error:
                trace.note("http", type(error).__name__)
            await anyio.sleep(60)


async def straggle(trace: Trace, number: int) -> None:
    """Wait in a scope of its own, so that cancelling walks over anyio's sets."""
    try:
        with anyio.move_on_after(10_000):
            await anyio.sleep(9_000)
    finally:
        trace.note("straggler", number)


def note_order_of_a_set_of_tasks(trace: Trace) -> None:
    tasks = [asyncio.create_task(asyncio.sleep(0)) for _ in range(100)]
    trace.note("set", [tasks.index(task) for task in set(tasks)])


async def ten_minutes(trace: Trace) -> None:
    note_order_of_a_set_of_tasks(trace)
    async with venue(ticks), anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(straggle, trace, number)
        tasks.start_soon(listen, trace)
        tasks.start_soon(ask, trace)
        await anyio.sleep(600)
        tasks.cancel_scope.cancel()


async def troubles(net: SimNetwork) -> None:
    net.split, net.merge = 0.2, 0.2
    for _ in range(3):
        await anyio.sleep(100)
        net.reset_all()
    await anyio.sleep(50)
    net.blackhole = True
    await anyio.sleep(30)
    net.blackhole = False
    net.refuse("127.0.0.1", 9000)
    net.reset_all()
    await anyio.sleep(20)
    net.heal()


def run_ten_minutes(seed: int) -> Trace:
    trace = Trace()
    simulate(ten_minutes, trace, seed=seed, fault_script=troubles)
    return trace


def test_a_session_of_ten_minutes_with_faults_takes_under_a_second() -> None:
    began = time.process_time()
    trace = run_ten_minutes(seed=1)
    assert time.process_time() - began < 1
    assert 1_000 < sum(" got " in line for line in trace.lines) < 1_400
    assert sum("lost ['ConnectionClosedError']" in line for line in trace.lines) == 4
    assert any("lost ['ConnectionRefusedError']" in line for line in trace.lines)
    assert sum("http 200 you asked for /candles" in line for line in trace.lines) == 9
    assert sum("http ConnectTimeout" in line for line in trace.lines) == 1


def test_a_seed_gives_the_same_run_in_processes_with_other_hash_seeds() -> None:
    def digest_elsewhere(hash_seed: str) -> str:
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        command = [sys.executable, __file__, "5"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    digest = run_ten_minutes(seed=5).digest()
    assert digest_elsewhere("1") == digest_elsewhere("2") == digest
    assert run_ten_minutes(seed=6).digest() != digest


def test_tasks_cancelled_together_wake_in_the_order_of_their_age() -> None:
    woken: list[int] = []

    async def wait(number: int) -> None:
        try:
            with anyio.CancelScope():
                await anyio.sleep_forever()
        finally:
            woken.append(number)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(wait, number)
            await anyio.sleep(1)
            tasks.cancel_scope.cancel()

    simulate(main)
    assert woken == list(range(200))


# Time


def test_time_jumps_exactly_to_the_next_timer() -> None:
    async def main() -> list[float]:
        times = []
        for _ in range(3):
            await anyio.sleep(86_400.25)
            times.append(anyio.current_time())
        return times

    start = 1.7e9
    began = time.perf_counter()
    assert simulate(main, start=start) == [start + 86_400.25, start + 86_400.25 + 86_400.25, start + 3 * 86_400.25]
    assert time.perf_counter() - began < 1


def test_http_and_websocket_time_out_in_exact_virtual_time_into_a_black_hole() -> None:
    async def main() -> None:
        net = current_net()
        async with venue(), httpx.AsyncClient(timeout=httpx.Timeout(4, connect=3), trust_env=False) as client:
            began = anyio.current_time()
            with pytest.raises(httpx.ReadTimeout):
                await client.get(f"{HTTP}/slow")
            assert began + 4 < anyio.current_time() < began + 4.5  # connecting comes on top
            net.blackhole = True
            began = anyio.current_time()
            with pytest.raises(httpx.ConnectTimeout):
                await client.get(HTTP)
            assert anyio.current_time() == began + 3
            with pytest.raises(TimeoutError):
                await connect(URL, open_timeout=5)
            assert anyio.current_time() == began + 8
            net.heal()
            assert (await client.get(f"{HTTP}/again")).text == "you asked for /again"

    simulate(main)


def test_an_unanswered_connect_gives_up_as_linux_does() -> None:
    async def main() -> float:
        current_net().refuse("venue.example", 80, "hang")
        with pytest.raises(OSError, match="All connection attempts failed") as info:
            await anyio.connect_tcp("venue.example", 80)
        assert isinstance(info.value.__cause__, TimeoutError)
        return anyio.current_time()

    assert 127 < simulate(main) < 127.3


def test_a_run_without_anything_left_to_happen_names_the_waiting_tasks() -> None:
    async def wait_for_godot() -> None:
        await anyio.Event().wait()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait_for_godot)

    with pytest.raises(SimulationDeadlock, match=r"wait_for_godot \(test_simulated_loop\.py:\d+\) > .*Event\.wait"):
        simulate(main)


def test_virtual_time_is_limited_and_cancelled_tasks_may_still_clean_up() -> None:
    cleaned: list[float] = []

    async def main() -> None:
        try:
            await anyio.sleep(1_000)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(5)
                cleaned.append(anyio.current_time())

    with pytest.raises(SimulationLimit, match=r"(?s)limit of 100\.000 s.*main \(test_simulated_loop\.py:\d+\) > sleep"):
        simulate(main, limit_s=100)
    assert cleaned == [105.0]


def test_code_that_spins_until_a_timer_fires_gets_there() -> None:
    async def main() -> float:
        deadline = anyio.current_time() + 0.05
        while anyio.current_time() < deadline:
            await anyio.sleep(0)
        return anyio.current_time()

    assert simulate(main) == pytest.approx(0.05, abs=1e-4)


# The network


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[anyio.abc.SocketStream, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect anyio's stream on the client's side with asyncio's on the server's."""
    accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    server = await asyncio.start_server(lambda *streams: accepted.put_nowait(streams), "127.0.0.1", 7000)
    async with await anyio.connect_tcp("localhost", 7000) as stream:
        reader, writer = await accepted.get()
        try:
            yield stream, reader, writer
        finally:
            server.close()
            writer.close()


@pytest.mark.parametrize("kind", ["refused", "unreachable", "dns", "closed"])
def test_connections_fail_as_told(kind: str) -> None:
    async def main() -> BaseException | None:
        net = current_net()
        if kind != "closed":
            net.refuse("venue.example", None, kind)  # type: ignore[arg-type]
        async with serve(echo, "venue.example", 81 if kind == "closed" else 80):
            try:
                await asyncio.get_running_loop().create_connection(asyncio.Protocol, "venue.example", 80)
            except OSError as error:
                failure = error
            net.allow("venue.example")
            async with connect("ws://venue.example:81" if kind == "closed" else "ws://venue.example") as client:
                await client.send("there")
                assert await client.recv() == "there"
        return failure

    expected = {"unreachable": OSError, "dns": socket.gaierror}.get(kind, ConnectionRefusedError)
    assert type(simulate(main)) is expected


def test_a_reset_reaches_both_ends_and_a_client_can_come_back() -> None:
    server_saw: list[type[BaseException]] = []

    async def handler(connection: ServerConnection) -> None:
        try:
            await connection.send(await connection.recv())
            await connection.recv()
        except ConnectionClosed as error:
            server_saw.append(type(error))

    async def main() -> None:
        async with venue(handler):
            for _ in range(3):
                async with connect(URL) as client:
                    await client.send("hello")
                    assert await client.recv() == "hello"
                    assert current_net().reset_all() == 1
                    with pytest.raises(ConnectionClosedError):
                        await client.recv()
            await anyio.sleep(1)
            assert current_net().connections == 0

    simulate(main)
    assert server_saw == [ConnectionClosedError] * 3


def test_bytes_under_a_black_hole_arrive_late_in_order_and_not_before() -> None:
    async def main() -> None:
        async with pair() as (stream, reader, _):
            await stream.send(b"before ")
            current_net().blackhole = True
            await stream.send(b"during ")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(60):
                    await reader.readexactly(1)
            current_net().blackhole = False
            await stream.send(b"after")
            assert await reader.readexactly(19) == b"before during after"
            assert 60 < anyio.current_time() < 65

    simulate(main)


def test_the_seed_decides_how_long_each_direction_takes() -> None:
    async def main() -> tuple[float, float]:
        async with pair() as (stream, reader, writer):
            began = anyio.current_time()
            await stream.send(b"up")
            await reader.readexactly(2)
            up = anyio.current_time()
            writer.write(b"down")
            await stream.receive()
            return up - began, anyio.current_time() - up

    times = [round(seconds, 9) for seed in (1, 2) for seconds in simulate(main, seed=seed)]
    assert len(set(times)) == 4
    assert all(0.001 <= seconds <= 0.080 for seconds in times)


@pytest.mark.parametrize(("split", "merge"), [(0.0, 0.0), (0.6, 0.0), (0.0, 0.6), (0.5, 0.5)])
def test_cutting_and_gluing_keeps_every_byte_in_its_place(split: float, merge: float) -> None:
    async def main() -> None:
        sent = [f"<{number}>".encode() for number in range(300)]
        got: list[bytes] = []

        async def read(reader: asyncio.StreamReader) -> None:
            while chunk := await reader.read(65_536):
                got.append(chunk)

        net = current_net()
        net.split, net.merge = split, merge
        async with pair() as (stream, reader, _), anyio.create_task_group() as tasks:
            tasks.start_soon(read, reader)
            for piece in sent:
                await stream.send(piece)
                await anyio.sleep(0.01)
            await stream.send_eof()
        assert b"".join(got) == b"".join(sent)
        assert len(got) > 30
        assert any(not chunk.startswith(b"<") for chunk in got) == (split > 0)

    simulate(main)


def test_a_sender_waits_while_the_receiver_does_not_read() -> None:
    async def main() -> None:
        async with pair() as (stream, reader, writer):
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            sent = 0
            with anyio.move_on_after(10):
                while True:
                    await stream.send(b"x" * 10_000)
                    sent += 10_000
            assert current_net().window - 10_000 <= sent <= current_net().window
            writer.transport.resume_reading()  # type: ignore[attr-defined]
            with anyio.fail_after(10):
                await stream.send(b"!")
            await stream.send_eof()
            data = await reader.read()
            assert data == b"x" * (sent + 10_000) + b"!"  # what was written when the wait was cancelled arrives too
            writer.write(b"half closed still answers")
            assert await stream.receive() == b"half closed still answers"

    simulate(main)


def test_writing_to_an_end_that_is_gone_is_answered_with_a_reset() -> None:
    async def main() -> None:
        async with pair() as (stream, _, writer):
            writer.close()
            await writer.wait_closed()
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()
            await stream.send(b"anybody there?")
            await anyio.sleep(1)
            with pytest.raises(anyio.BrokenResourceError):
                await stream.send(b"nobody")

    simulate(main)


def test_an_idle_http_connection_is_used_again_until_the_server_closes_it() -> None:
    async def main() -> int:
        async def serve_requests(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for _ in range(3):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            writer.close()

        await asyncio.start_server(serve_requests, "127.0.0.1", 9000)
        async with httpx.AsyncClient(trust_env=False) as client:
            for _ in range(6):
                assert (await client.get(HTTP)).text == "ok"
                await anyio.sleep(1)
        return len(current_net().attempts)

    assert simulate(main) == 2


def test_addresses_look_like_those_of_sockets() -> None:
    async def main() -> None:
        async with serve(echo, "localhost", 0) as server:
            host, port = server.sockets[0].getsockname()
            assert host == "127.0.0.1"
            assert port >= 1024
            async with connect(f"ws://localhost:{port}") as client:
                assert client.remote_address == (host, port)
                (connection,) = server.connections
                assert connection.remote_address == client.local_address
                assert client.transport.get_extra_info("socket").getpeername() == (host, port)
            with pytest.raises(OSError, match="already in use"):
                await serve(echo, "127.0.0.1", port)
        with pytest.raises(ConnectionRefusedError):
            await connect(f"ws://127.0.0.1:{port}")

    simulate(main)


def test_a_protocol_that_raises_loses_its_connection_with_a_report() -> None:
    class Faulty(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            raise ArithmeticError("cannot count")

    async def main() -> None:
        reports: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reports.append(repr(context["exception"])))
        await loop.create_server(Faulty, "127.0.0.1", 7000)
        stream = await anyio.connect_tcp("127.0.0.1", 7000)
        await stream.send(b"1")
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()
        assert reports == ["ArithmeticError('cannot count')"]

    simulate(main)


# What can't be simulated, and signals


@asynccontextmanager
async def tls_client() -> AsyncIterator[httpx.AsyncClient]:
    async with venue(), httpx.AsyncClient(trust_env=False, verify=False) as client:
        yield client


def test_tls_is_refused_with_the_reason() -> None:
    async def main() -> None:
        context = ssl.create_default_context()
        with pytest.raises(SimulationUnsupported, match=r"create_connection\(ssl=\.\.\.\).*http:// or ws://"):
            await connect("wss://127.0.0.1:9000", ssl=context)
        with pytest.raises(SimulationUnsupported, match="create_server"):
            await serve(echo, "127.0.0.1", 9001, ssl=context)
        async with tls_client() as client:
            with pytest.raises(SimulationUnsupported, match="TLS in virtual time"):
                await client.get("https://127.0.0.1:9000")

    simulate(main)


def test_worker_threads_processes_and_real_sockets_are_refused() -> None:
    async def main() -> None:
        with pytest.raises(SimulationUnsupported, match=r"anyio\.to_thread"):
            await anyio.to_thread.run_sync(time.sleep, 0)
        with pytest.raises(SimulationUnsupported, match="subprocess_exec"):
            await anyio.run_process([sys.executable, "-V"])
        with pytest.raises(SimulationUnsupported, match="create_datagram_endpoint"):
            await anyio.create_udp_socket(local_host="127.0.0.1")
        assert await asyncio.to_thread(lambda: "at once, on this thread") == "at once, on this thread"
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)

    simulate(main)


def test_a_thread_that_calls_in_ends_the_run() -> None:
    async def main() -> None:
        import threading

        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(print,), name="racer")
        thread.start()
        thread.join()
        await anyio.sleep(1)

    with pytest.raises(SimulationUnsupported, match="thread 'racer'"):
        simulate(main)


def test_a_nemesis_that_fails_ends_the_run() -> None:
    async def fault_script(net: SimNetwork) -> None:
        await anyio.sleep(10)
        raise ZeroDivisionError("a bug in the fault_script")

    with pytest.raises(ZeroDivisionError, match="a bug in the fault_script"):
        simulate(anyio.sleep, 60, fault_script=fault_script)


@pytest.mark.parametrize("at_once", [True, False])
def test_an_abandoned_run_leaves_no_coroutine_that_never_began(recwarn: pytest.WarningsRecorder, at_once: bool) -> None:
    class Killed(BaseException):
        pass

    async def spawn(tasks: anyio.abc.TaskGroup) -> None:
        while True:
            tasks.start_soon(anyio.sleep, 60)
            await anyio.sleep(0)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimLoop)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(spawn, tasks)
            await anyio.sleep(0)
            loop.abandon(Killed())
            if at_once:
                raise Killed
            await anyio.sleep(60)

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - it may come in a group
        simulate(main)
    assert "Killed" in repr(caught.value)
    del caught
    gc.collect()
    assert [str(one.message) for one in recwarn if "never awaited" in str(one.message)] == []


def test_real_signals_reach_the_program() -> None:
    async def main() -> tuple[int, float]:
        async with anyio.create_task_group() as tasks:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:

                async def interrupt() -> None:
                    await anyio.sleep(100)
                    os.kill(os.getpid(), signal.SIGINT)
                    await anyio.sleep(3_600)

                tasks.start_soon(interrupt)
                async for number in signals:
                    tasks.cancel_scope.cancel()
                    return number, anyio.current_time()
        raise AssertionError

    assert simulate(main) == (signal.SIGINT, 100)


def test_interrupting_a_busy_simulation_cancels_it() -> None:
    async def main() -> None:
        await anyio.sleep(1)
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep(3_600)

    with pytest.raises(KeyboardInterrupt):
        simulate(main)


def test_the_network_belongs_to_a_simulated_loop_only() -> None:
    async def main() -> None:
        current_net()

    with pytest.raises(RuntimeError, match="needs a SimLoop"):
        anyio.run(main)


if __name__ == "__main__":
    print(run_ten_minutes(int(sys.argv[1])).digest())
