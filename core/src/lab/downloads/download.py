"""Downloads a provider's history to a file: paced, tried again, and gone on with where it was cut off."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal

import anyio
from attrs import define, frozen

from lab.composition.assembly import Assembly
from lab.domain.market import Candle
from lab.domain.time import DAY_NS, format_interval, format_time
from lab.downloads.pages import Hole, Pages
from lab.downloads.part_file import PartFile
from lab.errors import AuthenticationFailed, LabError, ProviderError, ProviderUnavailable, RunError, message_of
from lab.exit_codes import EndReason
from lab.live.first_contact import Guarded
from lab.live.history_source import HistorySource
from lab.live.launch import clock_for
from lab.live.loops import loop_options
from lab.live.provider_calls import hold_tasks, is_cancellation, provider_failure
from lab.live.retry import Retry
from lab.ports import Runtime
from lab.runs.failures import FailureLog
from lab.runs.result import Echo

_PAUSE_S: Final = 0.25
"""Real seconds between the beginnings of two calls: four a second, which every venue bears."""
_CALL_S: Final = 15.0
_WAITS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
_TRIES: Final = 10
Progress = Callable[[str, int, int | None], None]


@frozen
class Downloaded:
    """A file that was made: how many candles are in it, from when on, until when, and where some are missing."""

    path: Path
    candles: int
    since_ns: int
    until_ns: int
    holes: Sequence[Hole]
    gone_on_with: int
    """How many of the candles an earlier call had brought."""
    origin: str


@frozen
class Wanted:
    """What is to be downloaded: the candles that open from ``since_ns`` on and end by ``until_ns``; ``None``: all."""

    since_ns: int
    until_ns: int | None
    path: Path


def run_download(
    assembly: Assembly, wanted: Wanted, *, wall_ns: Callable[[], int], progress: Progress, say: Echo
) -> Downloaded:
    """Download a file. Raises `LabError`, ``OSError``; what had come by then lies in the part file."""
    run = assembly.settings
    speed: float | Literal["max"] = "max" if run.speed == "max" else float(run.speed)
    main = partial(_download, assembly, wanted, speed, wall_ns, progress, say)
    return anyio.run(main, backend="asyncio", backend_options=dict(loop_options(speed, run.seed)))


async def _download(
    assembly: Assembly,
    wanted: Wanted,
    speed: float | Literal["max"],
    wall_ns: Callable[[], int],
    progress: Progress,
    say: Echo,
) -> Downloaded:
    failures = FailureLog(say=say)
    provider = Guarded(assembly.provider, failures)
    scope = anyio.CancelScope()
    problems: list[LabError] = []

    def failed(call: str, error: BaseException) -> None:
        problems.append(RunError(EndReason.PLUGIN, provider_failure(failures, provider.name, call, error)))
        scope.cancel()

    done: list[Downloaded] = []
    with scope:
        async with anyio.create_task_group() as group:
            tasks = await group.start(hold_tasks, partial(failed, "one of its tasks"))
            clock = clock_for(speed, wall_ns)
            runtime = Runtime(clock=clock, seed=assembly.settings.seed, tasks=tasks, speed=speed)
            try:
                await provider.start(runtime)
                done.append(await _Download(assembly, provider, wanted, runtime.pace, progress, say, failures).run())
            except LabError as error:
                problems.append(error)
            except OSError as error:
                problems.append(
                    RunError(EndReason.STORAGE, f"{error.filename or wanted.path}: {error.strerror or error}")
                )
            except BaseException as error:
                if is_cancellation(error):
                    raise
                failed("history", error)
            finally:
                await provider.stop()
                group.cancel_scope.cancel()
    if problems:
        raise problems[0]
    return done[0]


@define
class _Download:
    assembly: Assembly
    provider: Guarded
    wanted: Wanted
    pace: float
    progress: Progress
    say: Echo
    failures: FailureLog

    async def run(self) -> Downloaded:
        """Ask for the newest candle, then for all from the first one wanted or the last one there on."""
        run, component = self.assembly.settings, self.provider.component
        interval_ns = run.interval_ns
        self.provider.subscriptions(run.symbols, interval_ns)
        await self.provider.instrument(run.symbol, _CALL_S)
        source = HistorySource(
            component, run.symbol, interval_ns,
            lambda error: self.failures.note("provider", self.provider.name, "history", error),
        )  # fmt: skip
        newest = await self._asked(source, None, 1)
        if not newest:
            raise ProviderError(f"{self.provider.name} has no history of {run.symbol}")
        ended_ns = newest[-1].open_ns + interval_ns
        phase_ns = 0 if interval_ns <= DAY_NS else newest[-1].open_ns % interval_ns
        since_ns = _on_grid(self.wanted.since_ns, interval_ns, phase_ns)
        until_ns = min(ended_ns, self.wanted.until_ns or ended_ns)
        until_ns -= (until_ns - phase_ns) % interval_ns
        if since_ns >= until_ns:
            text = (
                f"nothing of {run.symbol} lies in that time: its newest closed candle ends at {format_time(ended_ns)}"
            )
            raise RunError(EndReason.CONFIG, f"{text}; give an earlier --from, or a later --to")
        of = {
            "provider": self.provider.name, "origin": component.origin(), "symbol": run.symbol,
            "interval": format_interval(interval_ns), "from": format_time(since_ns),
        }  # fmt: skip
        file = PartFile(self.wanted.path, of)
        file.begin()
        before = file.rows
        pages = Pages(
            partial(self._asked, source), run.symbol, interval_ns, max(since_ns, file.newest_ns + interval_ns), until_ns
        )
        total = (until_ns - since_ns) // interval_ns
        self.progress(f"candles of {run.symbol}", before, total)
        async for page in pages:
            file.add(page)
            self.progress(f"candles of {run.symbol}", file.rows, total)
        if pages.leaves_out(newest[-1].open_ns):  # asked for by its time, a venue may not say yet that it is closed
            file.add(newest[-1:])
        if not file.rows:
            file.part.unlink()
            raise ProviderError(f"{self.provider.name} has no candle of {run.symbol} in that time")
        file.finish()
        return Downloaded(
            self.wanted.path, file.rows, since_ns, until_ns, tuple(pages.holes), before, component.origin()
        )

    async def _asked(self, source: HistorySource, end_ns: int | None, count: int) -> Sequence[Candle]:
        """Make one call, and again where there was no answer. Raises `RunError` after ten tries in a row."""
        retry = Retry(_WAITS)
        while True:
            began = anyio.current_time()
            try:
                with anyio.fail_after(_CALL_S * self.pace):
                    candles = await source.ask(end_ns, count)
                rest = began + _PAUSE_S * self.pace - anyio.current_time()
                await anyio.sleep(max(0.0, rest))
                return candles
            except TimeoutError:
                cause = f"no answer within {_CALL_S:g} s"
            except ProviderUnavailable as error:
                cause = message_of(error)
            except AuthenticationFailed:
                raise
            if retry.tries + 1 == _TRIES:
                text = f"{self.provider.name}: {cause}; {_TRIES} tries in a row failed"
                raise RunError(EndReason.PLUGIN, f"{text}; the same command goes on where this one ended")
            wait = retry.later(anyio.current_time())
            self.say(f"{self.provider.name}: {cause}; asking again in {wait:g} s")
            await anyio.sleep(wait * self.pace)


def _on_grid(time_ns: int, interval_ns: int, phase_ns: int) -> int:
    """Return the first time of the grid that is not before a time."""
    return time_ns + (phase_ns - time_ns) % interval_ns
