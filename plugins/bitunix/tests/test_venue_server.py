"""The local venue as a whole: its settings, its end, real sockets, and its command."""

import contextlib
import signal
import subprocess
import sys

import anyio
import httpx
import pytest
from click.testing import CliRunner
from lab.domain.time import parse_time
from lab_bitunix.venue import FaultError, LocalVenue
from lab_bitunix.venue.command import main as command
from lab_bitunix.venue.faults import FAULTS
from venue_client import START_NS, client, ended, hosting, rest, subscribe, virtually


def test_settings_are_checked_by_name() -> None:
    with pytest.raises(ValueError, match=r"host = '0\.0\.0\.0'.*loopback"):
        LocalVenue(host="0.0.0.0")
    with pytest.raises(ValueError, match="symbol = 'btc'"):
        LocalVenue(symbol="btc")
    with pytest.raises(FaultError, match="did you mean 'reset'"):
        LocalVenue(faults="rest=429,resets@3")


def test_without_a_start_the_venue_lives_in_the_recordings_time() -> None:
    venue = LocalVenue()

    assert venue.world.start_ns == parse_time("2024-08-08T23:54:00Z")


def test_stopping_twice_or_before_the_start_does_no_harm() -> None:
    async def check(venue: LocalVenue) -> None:
        await venue.stop()

    virtually(check)


async def test_a_flood_of_twenty_thousand_frames_a_second_goes_through_a_real_socket() -> None:
    async def check(venue: LocalVenue) -> float:
        async with client(venue, max_queue=None) as socket:
            await subscribe(socket, "depth_book1")
            await anyio.sleep(0.3)
            before, begin = venue.counters.frames_sent, anyio.current_time()
            socket.transport.pause_reading()
            await anyio.sleep(0.15)
            rate = (venue.counters.frames_sent - before) / (anyio.current_time() - begin)
            socket.transport.abort()
            return rate

    rate = await hosting(LocalVenue(faults="flood=20000", start_ns=START_NS), check)

    assert rate > 15_000


async def test_stop_ends_open_sockets_and_hanging_calls_within_a_second() -> None:
    venue = LocalVenue(faults="slow=100", start_ns=START_NS)

    async with anyio.create_task_group() as tasks:
        await venue.start(tasks)
        async with client(venue) as socket:

            async def call() -> None:
                with contextlib.suppress(httpx.HTTPError):
                    await rest(venue, "market/tickers")

            tasks.start_soon(call)
            while not venue.counters.rest_calls:
                await anyio.sleep(0.01)
            begin = anyio.current_time()
            await venue.stop()
            await ended(socket)
            assert anyio.current_time() - begin < 1
    with pytest.raises(OSError, match=r"\w"):
        await client(venue)


@pytest.mark.parametrize("speed", ["1", "20"])
def test_the_command_serves_until_interrupted_and_exits_clean(speed: str) -> None:
    code = "from lab_bitunix.venue.command import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code, "--port", "0", "--recording", "seeded", "--speed", speed],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    while lines[-1] and not lines[-1].startswith("Ctrl-C"):
        lines.append(process.stdout.readline())
    answer = httpx.get(lines[0].split()[1] + "/api/v1/futures/market/tickers", verify=False).json()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)

    assert answer["code"] == 0
    assert "--set bitunix.rest_url=http://127.0.0.1:" in "".join(lines)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--speed", "max"], "virtual time"),
        (["--speed", "0"], "above 0"),
        (["--faults", "resets@3"], "did you mean 'reset'"),
        (["--recording", "nothing-here"], "no such file"),
    ],
)
def test_the_command_refuses_with_reason_and_cure(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(command, arguments)

    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


def test_the_help_lists_every_fault() -> None:
    output = CliRunner().invoke(command, ["--help"]).output

    assert {line.split()[0] for line in output.splitlines() if line.strip()} >= set(FAULTS)
