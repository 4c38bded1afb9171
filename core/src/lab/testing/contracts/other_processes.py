"""The same work in other processes, each with another hash of text.

Within one process a set of text always has the same order, so a component that depends on the order looks repeatable
there. A component is made anew in each process, of its class and its settings.
"""

import contextlib
import importlib
import importlib.util
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs

from lab.testing.contracts.base import NotChecked
from lab.testing.contracts.shared import check_same

_SEEDS: Final = ("1", "2")
_TIMEOUT_S: Final = 60
_CANNOT_LOAD: Final = 3

Play = Callable[..., Sequence[str]]
"""A function of a module that makes a component by its first argument and returns what came of it as lines."""


def check_same_in_other_processes(component: object, play: Play, *arguments: object) -> None:
    """Assert that ``play(make, *arguments)`` gives the same lines here and in two processes with other hashes.

    Everywhere ``make`` gives new components of the class and settings of the one given. Raises `NotChecked` where its
    class cannot be loaded in another process.
    """
    settings = _settings(component)
    job = _job(component, settings, play, arguments)
    path = os.pathsep.join(one for one in (*sys.path, str(Path.cwd())) if one)
    command = [sys.executable, "-m", __name__]
    workers = [
        subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for seed in _SEEDS
    ]  # fmt: skip
    try:
        for worker in workers:  # both work while the first is waited for
            with contextlib.suppress(BrokenPipeError):
                worker.stdin.write(job)  # type: ignore[union-attr]
                worker.stdin.close()  # type: ignore[union-attr]
            worker.stdin = None
        answers = [_answer(worker) for worker in workers]
        answers.append(list(play(partial(type(component), **settings), *arguments)))
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    for answer, other in zip(answers[1:], (f"one with {_SEEDS[1]}", "this process"), strict=True):
        check_same(answers[0], answer, f"a process with PYTHONHASHSEED={_SEEDS[0]}", other)


def _settings(component: object) -> dict[str, object]:
    cls = type(component)
    if not attrs.has(cls):
        raise NotChecked(f"{cls.__qualname__} is no attrs class, so its settings are not known")
    return {one.alias: getattr(component, one.name) for one in attrs.fields(cls) if one.init}


def _job(component: object, settings: dict[str, object], play: Play, arguments: Sequence[object]) -> bytes:
    cls = type(component)
    name, module = cls.__qualname__, sys.modules.get(cls.__module__)
    if "<locals>" in name or module is None:
        raise NotChecked(f"{name} is made inside a function, so no other process can load it; put it into a module")
    try:
        kept = pickle.dumps((settings, play, tuple(arguments)))
    except Exception as error:
        raise NotChecked(f"the settings of {name} cannot be given to another process: {error}") from error
    return pickle.dumps((cls.__module__, getattr(module, "__file__", None), name, kept))


def _answer(worker: "subprocess.Popen[bytes]") -> list[str]:
    try:
        out, err = worker.communicate(timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"in another process it did not come back within {_TIMEOUT_S} s") from None
    said = err.decode(errors="replace").strip().splitlines() or ["without a message"]
    if worker.returncode == _CANNOT_LOAD:
        raise NotChecked(f"another process cannot load it: {said[-1]}")
    assert worker.returncode == 0, f"in another process it ended with exit code {worker.returncode}: {said[-1]}"
    lines: list[str] = json.loads(out)
    return lines


def _load(module: str, file: str | None, name: str) -> Any:
    """Return a class by module and name; a module that is on no path is loaded from its file."""
    try:
        found: Any = importlib.import_module(module)
    except ImportError:
        spec = None if file is None else importlib.util.spec_from_file_location(module, file)
        if spec is None or spec.loader is None:
            raise
        found = sys.modules[module] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _work() -> None:
    """Do one job given on standard input; the answer alone goes to standard output, whatever the component prints."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    module, file, name, kept = pickle.load(sys.stdin.buffer)
    try:
        cls = _load(module, file, name)
        settings, play, arguments = pickle.loads(kept)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(_CANNOT_LOAD)
    json.dump(list(play(partial(cls, **settings), *arguments)), answer)
    answer.close()


if __name__ == "__main__":
    _work()
