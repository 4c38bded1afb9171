"""Starting what is measured, each in a process of its own, so that no run meets what another left behind."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.forms import Form, outside
from benchmarks.measure import ROOT, cost, ended


def case(form: Form | None, name: str, *, limit_s: float = 120, **given: Any) -> dict[str, Any]:
    """Run one case of `benchmarks.case` and return what it printed. Raises ``RuntimeError`` with its last words.

    Without a form it runs in this interpreter's environment.
    """
    python = sys.executable if form is None else str(form.python)
    command = [python, "-m", "benchmarks.case", name, json.dumps(given)]
    variables = (outside() if form is None else form.environment()) | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
    result: dict[str, Any] = json.loads(cost(command, Path.cwd(), variables, limit_s).output.splitlines()[-1])
    return result


@contextlib.contextmanager
def server(*options: str) -> Iterator[int]:
    """Run the load in its own process; yield its port."""
    command = [sys.executable, "-m", "benchmarks.server", *options]
    variables = outside() | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as child, ended(child):
        assert child.stdout is not None
        port = child.stdout.readline()
        if not port:
            raise RuntimeError("the load did not start")
        yield int(port)


@contextlib.contextmanager
def plugin() -> Iterator[dict[str, str]]:
    """Yield the variable with which the benchmark's plugin is installed as a third party's would be."""
    with tempfile.TemporaryDirectory() as folder:
        info = Path(folder) / "lab_benchmarks-0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-benchmarks\nVersion: 0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text("[lab]\nbenchmarks = benchmarks.offers\n", encoding="utf-8")
        yield {"PYTHONPATH": os.pathsep.join([str(ROOT), folder])}
