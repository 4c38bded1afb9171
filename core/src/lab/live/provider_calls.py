"""Guards a provider's calls and tasks: what they raise is the provider's failure and never ends the event loop."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

import anyio
from anyio import TaskHandle
from anyio.abc import TaskGroup, TaskStatus

from lab.errors import ProviderError, describe_error, message_of, sole_of
from lab.runs.failures import FailureLog

T = TypeVar("T")


def is_cancellation(error: BaseException) -> bool:
    """Return whether an exception is a real cancellation of the current task, not one that a component raised."""
    task = asyncio.current_task()
    return issubclass(type(error), asyncio.CancelledError) and task is not None and task.cancelling() > 0


def provider_failure(failures: FailureLog, name: str, call: str, error: BaseException) -> str:
    """Return the message for what a provider raised. An unexpected exception also leaves a traceback."""
    error = sole_of(error)
    if issubclass(type(error), ProviderError):  # unlike isinstance it asks nothing of the component's own class
        return f"provider {name}: {message_of(error)}"
    failures.note("provider", name, call, error)
    return f"provider {name} failed in {call}: {describe_error(error)}"


async def hold_tasks(failed: Callable[[BaseException], None], *, task_status: TaskStatus[TaskGroup]) -> None:
    """Hold a task group open until cancelled. What one of its tasks raises ends the others and goes to ``failed``."""
    try:
        async with anyio.create_task_group() as tasks:
            task_status.started(_ProviderTasks(tasks))
            await anyio.sleep_forever()
    except BaseException as error:
        if is_cancellation(error):
            raise
        failed(error)


class _ProviderTasks(TaskGroup):
    """The task group that a provider is given: no task of it can end the event loop."""

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self.cancel_scope = group.cancel_scope

    def create_task(
        self, coro: Coroutine[Any, Any, T], *, name: object = None, context: Context | None = None
    ) -> TaskHandle[T]:
        return self._group.create_task(
            _contained(coro), name=name or getattr(coro, "__qualname__", None), context=context
        )

    async def start(
        self, func: Callable[..., Coroutine[Any, Any, T]], *args: object, name: object = None, **options: Any
    ) -> Any:
        async def contained(*args: Any, **given: Any) -> T:
            return await _contained(func(*args, **given))

        return await self._group.start(contained, *args, name=name or func.__qualname__, **options)

    async def __aenter__(self) -> TaskGroup:
        raise RuntimeError("the provider's task group is open already")

    async def __aexit__(self, *details: object) -> bool:
        return False


async def _contained(coro: Coroutine[Any, Any, T]) -> T:
    try:
        return await coro
    except (SystemExit, KeyboardInterrupt) as error:  # asyncio lets these two out of a task and ends its loop
        raise RuntimeError(describe_error(error)) from error
