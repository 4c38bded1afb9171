"""``lab bitunix-venue``: the local venue as a separate server, until Ctrl-C."""

import signal
import time
from collections.abc import Callable
from typing import Any

import anyio
import click
from lab.errors import ConfigError
from lab.live.signals import Interrupts

from lab_bitunix.venue import reason_of
from lab_bitunix.venue.faults import FaultError, Faults, help_text

EPILOG = f"""
\b
Faults, comma separated, each kind[=value][@start[+duration]] in seconds since the start:
{help_text()}

\b
Examples:
  lab bitunix-venue --faults "reset@30,mute=depth_book1@60+20"
  lab bitunix-venue --faults "rest=429@10+30,html=0.2,late=0.1:3,volume=old"
"""


def _speed(_context: click.Context, _parameter: click.Parameter, value: str) -> float:
    if value == "max":
        raise click.BadParameter(
            "max is virtual time: it has no real sockets, so that no other process could connect; give a number"
        )
    try:
        speed = float(value)
    except ValueError:
        speed = 0.0
    if not 0 < speed <= 1000:
        raise click.BadParameter(f"{value!r}: expected a number above 0, at most 1000")
    return speed


def _faults(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        Faults.parse(value)
    except FaultError as error:
        raise click.BadParameter(str(error)) from None
    return value


@click.command(epilog=EPILOG, context_settings={"max_content_width": 110})
@click.option("--port", default=8787, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--recording", default="btcusdt-ticks", show_default=True, help="A name, a CSV file, or 'seeded'.")
@click.option("--symbol", default="BTCUSDT", show_default=True, help="The symbol that shows the recording.")
@click.option("--speed", default="1", show_default=True, callback=_speed, help="Venue seconds in a real one.")
@click.option("--faults", default="", callback=_faults, help="Misbehaviour; see below.")
@click.option("--seed", default=0, show_default=True, help="Determines 'seeded' prices, funding and what faults hit.")
@click.pass_context
def main(context: click.Context, port: int, recording: str, symbol: str, speed: float, faults: str, seed: int) -> None:
    """Serve the local Bitunix venue on loopback: real HTTP and WebSocket, recorded prices, faults on demand."""
    from lab_bitunix.venue.server import LocalVenue

    try:
        venue = LocalVenue(
            recording=recording, symbol=symbol, faults=faults, seed=seed, port=port, start_ns=time.time_ns()
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    before = context.obj.count if isinstance(context.obj, Interrupts) else 0
    options: dict[str, Any] = {"loop_factory": _loop_factory(speed)} if speed != 1 else {}
    try:
        anyio.run(_serve, venue, speed, bool(before), backend="asyncio", backend_options=options)
    except (OSError, BaseExceptionGroup) as failed:
        reason = _single(failed)
        if not isinstance(reason, OSError):
            raise
        text = f"port {port} of 127.0.0.1: {reason_of(reason)}; --port 0 takes a free one"
        raise ConfigError(text) from None


def _single(error: BaseException) -> BaseException:
    """Return the error inside groups of one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _loop_factory(speed: float) -> Callable[[], Any]:
    from lab.simulation.clocks import ScaledLoop

    return lambda: ScaledLoop(speed)


async def _serve(venue: Any, speed: float, interrupted: bool) -> None:
    async with anyio.create_task_group() as tasks:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            await venue.start(tasks)
            click.echo(f"REST    {venue.rest_url}\nsocket  {venue.ws_url}\n\nlab run --provider bitunix \\")
            pace = f" --speed {speed:g}" if speed != 1 else ""  # a client of another speed finds the venue's time wrong
            click.echo(f"  --set bitunix.rest_url={venue.rest_url} --set bitunix.ws_url={venue.ws_url}{pace}")
            click.echo("\nCtrl-C stops.")
            if not interrupted:
                async for _ in signals:
                    break
            await venue.stop()
