"""`session`: a live run from a program, which goes on in a thread and a loop of its own."""

import threading
import time
from collections.abc import Generator, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import anyio.to_thread

from lab.composition.assembly import Assembly
from lab.journal.tape import read_tape
from lab.live.launch import run_live
from lab.live.signals import Interrupts
from lab.ports import Broker, Provider, Reporter, RiskGate
from lab.research.offered import Money, Offered, StrategyLike, fees_of
from lab.research.result import Origin, Result
from lab.research.words import said_in_python


class Session:
    """A live run that goes on: ``await`` it for its `Result`, or `wait`; `stop` ends it in order. Made by `session`.

    It has a thread and an event loop of its own, so nothing that blocks the caller's loop holds it up. A process that
    exits meanwhile cuts it off, as a kill does: ``lab run --resume`` goes on with it.
    """

    def __init__(self, assembly: Assembly) -> None:
        self._interrupts = Interrupts()
        self._result: Result | None = None
        self._error: BaseException | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(assembly,), name="lab session", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return not self._done.is_set()

    def stop(self) -> None:
        """Ask it to end in order: entries stop, orders are cancelled, positions closed. Returns at once.

        A second call does not wait for the orderly end.
        """
        if self.running:
            self._interrupts.ask("stop()")

    def wait(self, seconds: float | None = None) -> Result:
        """Wait for the end, ``seconds`` at most, and return the result.

        Raises ``TimeoutError`` where it still goes on, and `LabError` where it could not begin.
        """
        if not self._done.wait(seconds):
            raise TimeoutError(f"the session goes on after {seconds:g} s")
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    def __await__(self) -> Generator[Any, Any, Result]:
        return self._wait().__await__()

    async def _wait(self) -> Result:
        try:
            await anyio.to_thread.run_sync(self._done.wait, abandon_on_cancel=True)
        except BaseException:
            self.stop()  # who waits was cancelled: nobody is left to stop it
            raise
        return self.wait()

    def _run(self, assembly: Assembly) -> None:
        try:
            with said_in_python():
                finished = run_live(assembly, wall_ns=time.time_ns, interrupts=self._interrupts, quiet=True)
            directory = finished.directory
            assert directory is not None, "a session writes its files"
            directory = directory.absolute()
            origin = Origin(header=None, status=None, journal=None, inputs=lambda: read_tape(directory, torn_ok=True))
            self._result = Result(finished.report, directory, origin)
        except BaseException as error:
            self._error = error
        finally:
            self._done.set()


@said_in_python()
def session(
    strategy: StrategyLike | Sequence[StrategyLike] | Mapping[str, StrategyLike],
    *,
    provider: Provider | str | None = None,
    symbol: str | None = None,
    interval: str | None = None,
    minutes: float | None = None,
    speed: float | str | None = None,
    equity: Money | None = None,
    account: str | None = None,
    leverage: Money | None = None,
    margin: str | None = None,
    gates: Sequence[RiskGate | str] | None = None,
    broker: Broker | str | None = None,
    fees: Money | tuple[Money, Money] | None = None,
    latency_ms: int | None = None,
    seed: int | None = None,
    no_orders: bool | None = None,
    reporters: Sequence[Reporter | str] = ("jsonl", "html"),
    settings: Mapping[str, Any] | None = None,
    config: str | PathLike[str] | None = None,
    state_dir: str | PathLike[str] = ".",
) -> Session:
    """Begin a live run, as ``lab run`` does, and return at once: ``result = await lab.session(…)``.

    The arguments are those of `backtest`, and the command's: ``provider`` is a name or an instance, ``bitunix`` by
    default, ``minutes`` how long it lasts, ``speed`` 1, a factor, or ``"max"`` for virtual time. Its files go to
    ``runs/`` in ``state_dir``. Signals are left to the program: `Session.stop` ends it.

    Raises `ConfigError` or `PluginError` for what it cannot be put together from; what keeps it from beginning later
    (another session in the same folder, a folder that can't be written) is raised where it is awaited. A provider that
    is not reached for 30 s ends it with a result whose report says so, reason ``never_warmed``.
    """
    offered = Offered(config, settings)
    offered.run(
        symbol=symbol, interval=interval, minutes=minutes, speed=None if speed is None else str(speed), equity=equity,
        account=account, leverage=leverage, margin=margin, seed=seed, no_orders=no_orders,
        state_dir=str(Path(fspath(state_dir))),
    )  # fmt: skip
    offered.strategies(strategy)
    if provider is not None:
        offered.run(provider=offered.component("provider", provider, "").rpartition("=")[2])
    offered.components("gates", "risk gate", gates)
    offered.components("reporters", "reporter", reporters)
    if broker is not None:
        offered.run(broker=offered.component("broker", broker, "").rpartition("=")[2])
    offered.of_broker(latency_ms=latency_ms, **fees_of(fees))
    return Session(offered.assembly())
