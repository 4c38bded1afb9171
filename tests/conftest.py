"""Running ``lab`` in tests: as a process of its own, in this process, and with a third party's plugins beside it."""

import contextlib
import io
import json
import os
import sqlite3
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import define, frozen
from lab.cli.main import run_command_line
from lab.journal.mark import Mark, MarkWriter
from lab.journal.reader import JournalReader
from lab.live.signals import Interrupts
from steady import STEADY

WITHOUT = Path(__file__).parent / "helpers" / "without"
"""A folder in which what is found of an optional library can't be imported."""
BOOT = "from lab_command import main; main()"  # what the console script does


@frozen
class Result:
    """What a command line came to."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return what was printed, read as JSON."""
        return json.loads(self.out)


@frozen
class Run:
    """A run's folder, for looking into it."""

    folder: Path

    def report(self) -> dict[str, Any]:
        """Return the final report as it was written."""
        found: dict[str, Any] = json.loads((self.folder / "final_report.json").read_text(encoding="utf-8"))
        return found

    def rows(self, *kinds: str) -> list[tuple[int, str, Any]]:
        """Return number, kind and decoded body of the journal's rows, all or those of some kinds."""
        reader = JournalReader.open(self.folder)
        try:
            return [(row[0], row[3], json.loads(row[5])) for row in reader.rows() if not kinds or row[3] in kinds]
        finally:
            reader.close()

    def take_the_end_back(self) -> None:
        """Leave the journal as that of a run that goes on, or was killed: its last row is another one, and marked."""
        with contextlib.closing(sqlite3.connect(self.folder / "journal.db")) as db, db:
            db.execute("DELETE FROM event WHERE kind = 'run_ended'")
            newest = db.execute("SELECT seq, hash FROM event ORDER BY seq DESC LIMIT 1").fetchone()
        mark = MarkWriter(self.folder)
        mark.write(Mark(*newest))
        mark.close()

    def raw(self) -> list[tuple[Any, ...]]:
        """Return the rows as they are stored, hashes included."""
        reader = JournalReader.open(self.folder)
        try:
            return list(reader.rows())
        finally:
            reader.close()


@define
class Lab:
    """The command line, in a folder of its own, with an environment that holds no setting of ours."""

    folder: Path
    environment: dict[str, str]
    _patch: pytest.MonkeyPatch

    def __call__(self, *args: str, env: Mapping[str, str] | None = None) -> Result:
        """Run ``lab`` in this process: as the console script does, without the price of a new interpreter.

        What escapes is what it would be there: a traceback on standard error and exit code 1.
        """
        out, err = io.StringIO(), io.StringIO()
        with self._patch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            for name in os.environ:
                if name.startswith("LAB_"):
                    patch.delenv(name)
            patch.setenv("LAB_CACHE_DIR", self.environment["LAB_CACHE_DIR"])
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["lab", *args])
            patch.chdir(self.folder)
            try:
                code = run_command_line(Interrupts())
            except (Exception, BaseExceptionGroup):  # as the interpreter would
                traceback.print_exc(file=err)
                code = 1
        return Result(code, out.getvalue(), err.getvalue())

    def mock(self, *args: str, minutes: int = 10, env: Mapping[str, str] | None = None) -> Result:
        """Run a session of the mock in virtual time, in this process."""
        return self("run", "--provider", "mock", "--speed", "max", "--minutes", str(minutes), *args, env=env)

    def process(self, *args: str, env: Mapping[str, str] | None = None, timeout_s: float = 100.0) -> Result:
        """Run ``lab`` in a process of its own, to its end."""
        done = subprocess.run(
            self.command(*args), cwd=self.folder, env={**self.environment, **(env or {})},
            capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip
        return Result(done.returncode, done.stdout, done.stderr)

    def see(self, site: "Site") -> dict[str, str]:
        """Return the environment in which another process finds what is installed there."""
        paths = [str(site.folder), *self.environment.get("PYTHONPATH", "").split(os.pathsep)]
        return {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONDONTWRITEBYTECODE": "1"}

    @staticmethod
    def command(*args: str) -> list[str]:
        """Return the command line of a process of its own."""
        return [sys.executable, "-c", BOOT, *args]

    def run(self) -> Run:
        """Return the newest run."""
        return Run((self.folder / "runs" / "latest").resolve())

    def files(self) -> list[str]:
        """Return every file and folder below the working folder."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    folder = tmp_path / "work"
    folder.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAB_")}
    environment["LAB_CACHE_DIR"] = str(tmp_path / "cache")
    # As where the extra is not installed, which is how lab comes: importing plotly takes as long as half a session.
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(WITHOUT), environment.get("PYTHONPATH")]))
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    # A reporter has five seconds after the end: tested in test_session_signals.py, and with fewer where a test
    # sets them; elsewhere a busy machine is no failure.
    monkeypatch.setattr("lab.reporting.host.END_S", 60.0)
    return Lab(folder, environment, monkeypatch)


@define
class Site:
    """A folder of installed distributions, as a package installer leaves it."""

    folder: Path
    modules: list[str]

    def install(self, module: str, code: str, *, version: str = "1.2.3", commands: Sequence[str] = ()) -> None:
        """Install a distribution ``their-<module>`` with one module and one entry point in the group ``lab``."""
        self.modules.append(module)
        (self.folder / f"{module}.py").write_text(textwrap.dedent(code), encoding="utf-8")
        name = module.replace("_", "-")
        info = self.folder / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[lab]\n{module} = {module}\n", encoding="utf-8")

    def remove(self, module: str) -> None:
        """Uninstall it."""
        (self.folder / f"{module}.py").unlink()
        for path in self.folder.glob(f"{module}-*.dist-info"):
            for file in path.iterdir():
                file.unlink()
            path.rmdir()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    made = Site(folder, [])
    yield made
    for module in made.modules:
        sys.modules.pop(module, None)


TRADER = '''
"""A third party's strategy: in and out on every other candle."""
from attrs import define, field
from decimal import Decimal
from lab import OrderRequest, Strategy, hookimpl

@define(kw_only=True)
class Trader(Strategy):
    """Buys and sells in turn."""
    quantity: Decimal = field(default=Decimal("0.01"), metadata={"help": "size in coins"})
    need: int = field(default=5, metadata={"help": "candles wanted first"})

    @property
    def lookback(self):
        return self.need

    def on_candle(self, candle, view):
        held = view.position(candle.symbol).quantity
        if held:
            return [OrderRequest.sell(candle.symbol, held, reduce_only=True)]
        return [OrderRequest.buy(candle.symbol, self.quantity)]

@hookimpl
def lab_strategies():
    return {"trader": Trader}
'''


@pytest.fixture
def trader(site: Site) -> Site:
    """A strategy ``trader`` is installed that trades on every candle."""
    site.install("their_trader", TRADER)
    return site


HOLDER = """
from attrs import define
from decimal import Decimal
from lab import OrderRequest, Strategy, hookimpl

@define(kw_only=True)
class Holder(Strategy):
    def on_candle(self, candle, view):
        held = view.position(candle.symbol).quantity
        return [] if held else [OrderRequest.buy(candle.symbol, Decimal("0.01"))]

@hookimpl
def lab_strategies():
    return {"holder": Holder}
"""


@pytest.fixture
def holder(site: Site) -> Site:
    """A strategy ``holder`` is installed that buys once and keeps what it holds."""
    site.install("their_holder", HOLDER)
    return site


@pytest.fixture
def steady(lab: Lab, site: Site) -> Site:
    """A provider ``steady`` and a strategy ``counter`` are installed, for other processes too."""
    site.install("their_steady", STEADY)
    lab.environment.update(lab.see(site))
    return site


@pytest.fixture
def one_line() -> Callable[[Result, int, str], None]:
    """Check that a command failed as a user's error does: one line that names the culprit, and no traceback."""

    def check(result: Result, code: int, *words: str) -> None:
        assert result.code == code, result
        lines = result.err.splitlines()
        assert len(lines) == 1, result.err
        assert lines[0].startswith("lab: ")
        assert len(lines[0]) < 400
        for word in words:
            assert word in lines[0], lines[0]

    return check
