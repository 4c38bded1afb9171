"""Starting what is measured, each in a process of its own."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks.sessions import ROOT, python_path


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": python_path(ROOT), "PYTHONHASHSEED": "0"}


def case(name: str, **given: Any) -> dict[str, Any]:
    """Run one case of `benchmarks.case` and return what it printed. Raises ``RuntimeError`` with its last words."""
    command = [sys.executable, "-m", "benchmarks.case", name, json.dumps(given)]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, timeout=180, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} {given} failed: {done.stderr.strip()[-800:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@contextlib.contextmanager
def server(*options: str) -> Iterator[int]:
    """Run the load in its own process; yield its port."""
    command = [sys.executable, "-m", "benchmarks.server", *options]
    with subprocess.Popen(command, env=_environment(), stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield int(child.stdout.readline())
        finally:
            child.kill()
