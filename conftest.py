"""What holds for every test: none reads or writes the columns that the user keeps; large counts wait for the night."""

import compileall
import gc
import os
import subprocess
import sys
import sysconfig
from importlib.util import cache_from_source
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

ROOT: Final = Path(__file__).parent
UNWANTED: Final = sys.dont_write_bytecode
if UNWANTED:
    # None is wanted beside the sources; without any, each of a thousand processes compiles everything anew. Only what
    # is read here is written: a process whose disk a test fills would leave half a file, which Python takes for whole.
    sys.dont_write_bytecode = False
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(ROOT / ".pytest_cache" / "bytecode")

LONG_FIRST: Final = (
    "tests/test_simulate.py", "core/tests/test_engine_histories.py", "tests/test_docs.py", "tests/test_checker.py",
    "tests/test_session_resume.py", "tests/test_session_trades.py", "tests/test_supervision.py", "tests/", "examples/",
)  # fmt: skip
"""What begins first, so that no long test is left for the end, when the other processes have nothing more to do."""


# How long an example takes is the machine's affair.
settings.register_profile("lab", deadline=None)
settings.load_profile("lab")


def pytest_configure(config: pytest.Config) -> None:
    # As the command line does. After each 700 new objects, as Python comes, costs a tenth of the time.
    gc.set_threshold(20_000)
    if UNWANTED and not hasattr(config, "workerinput"):
        for sources in (ROOT / "core" / "src", *(ROOT / "plugins").glob("*/src")):
            compileall.compile_dir(sources, quiet=2)
        if config.getoption("numprocesses"):
            _keep_what_is_imported()


def _keep_what_is_imported() -> None:
    """Import once, in a process that keeps its bytecode, what the tests' own processes will: Python's modules too.

    Python looks for those under the prefix as well, so that without this each process compiles half of its own library.
    """
    site = Path(sysconfig.get_path("purelib"))
    done = Path(cache_from_source(site / "done.py"))
    if done.is_file() and done.stat().st_mtime > site.stat().st_mtime:
        return
    keeps = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    if (
        subprocess.run(
            [sys.executable, "-W", "ignore", ROOT / "tools" / "import_all.py"], check=False, env=keeps
        ).returncode
        == 0
    ):
        done.parent.mkdir(parents=True, exist_ok=True)
        done.touch()


def pytest_collection_finish() -> None:
    sys.dont_write_bytecode = UNWANTED


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--night", action="store_true", help="run the tests that are marked night too: the large counts")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=_place)
    if not config.getoption("--night"):
        skip = pytest.mark.skip(reason="large counts; run with --night")
        for item in items:
            if item.get_closest_marker("night") is not None:
                item.add_marker(skip)


def _place(item: pytest.Item) -> int:
    return next((n for n, path in enumerate(LONG_FIRST) if item.nodeid.startswith(path)), len(LONG_FIRST))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))
