"""Reporters of a run that is over: each is given the whole journal, at its own pace."""

from collections.abc import AsyncIterator, Callable
from typing import Final

import anyio
import anyio.lowlevel

from lab.composition.assembly import Part
from lab.errors import describe_error
from lab.journal.store import Journal
from lab.ports import Record, Reporter, RunInfo

_PAGE: Final = 500
_REPORTERS_S: Final = 5.0


def show(reporters: list[Part[Reporter]], journal: Journal, info: RunInfo, say: Callable[[str], None]) -> None:
    """Run reporters over a finished journal; one that fails is said and ends nothing but itself."""
    if reporters:
        anyio.run(_show, reporters, journal, info, say)


async def _show(reporters: list[Part[Reporter]], journal: Journal, info: RunInfo, say: Callable[[str], None]) -> None:
    async with anyio.create_task_group() as tasks:
        for part in reporters:
            tasks.start_soon(_report, part, journal, info, say)


async def _report(part: Part[Reporter], journal: Journal, info: RunInfo, say: Callable[[str], None]) -> None:
    with anyio.CancelScope() as scope:
        try:
            await part.component.report(info, _records(journal, scope))
        except (Exception, SystemExit) as error:
            say(f"reporter {part.name} failed: {describe_error(error)}")
    if scope.cancelled_caught:
        say(f"reporter {part.name} was not done {_REPORTERS_S:g} s after the last row and was stopped")


async def _records(journal: Journal, scope: anyio.CancelScope) -> AsyncIterator[Record]:
    """Yield every row; from the last one on the reporter has as long as after a live run."""
    seq = 0
    while page := journal.since(seq, _PAGE):
        for record in page:
            yield record
            seq = record.seq
        await anyio.lowlevel.checkpoint()
    scope.deadline = anyio.current_time() + _REPORTERS_S
