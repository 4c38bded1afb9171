"""Where the study of a sweep is kept: Optuna's storage, opened for one sweep, and for one that is the same."""

import contextlib
import hashlib
import importlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from lab.errors import ConfigError, RunError, describe_error
from lab.exit_codes import EndReason
from lab.journal.files import private, try_lock

_IDENTITY: Final = "lab:identity"
_BUSY_S: Final = 30.0
_WHAT: Final = {
    "data": "other prices", "strategy": "another version of the strategy", "settings": "other settings of the run",
    "space": "another space", "metric": "another metric", "direction": "another direction",
}  # fmt: skip


def optuna() -> Any:
    """Return Optuna, imported when it is first needed. Raises `ConfigError` with the cure where it is not installed."""
    try:
        return importlib.import_module("optuna")
    except ImportError:
        raise ConfigError("a sweep needs Optuna: pip install 'lab-trading[sweep]'") from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from writing of each trial."""
    logging = optuna().logging
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def digest(text: str) -> str:
    """Return a short hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextlib.contextmanager
def opened(storage: Any, name: str, direction: str, identity: Mapping[str, str], pruner: Any) -> Iterator[Any]:
    """Open a study, or begin it. Raises `ConfigError` for one of something else, `RunError` for one in use."""
    library = optuna()
    url, path = _place(storage)
    shown = f"{path or storage}"
    with contextlib.ExitStack() as held, quiet():
        if path is not None:
            held.enter_context(_alone(path))
        try:
            kept = url if path is None else held.enter_context(_database(url, path))
            study = library.create_study(
                storage=kept, study_name=name, direction=direction, load_if_exists=True, pruner=pruner,
            )  # fmt: skip
            before = study.user_attrs.get(_IDENTITY)
            if before is None and not study.get_trials(deepcopy=False):
                study.set_user_attr(_IDENTITY, dict(identity))
                before = dict(identity)
        except Exception as error:
            cure = "expected a path, as sweep.db, or a URL of a database, as sqlite:///sweep.db"
            text = f"storage {shown}: cannot be used: {describe_error(error):.80}; {cure}"
            raise RunError(EndReason.STORAGE, text) from None
        if before is None:
            raise ConfigError(f"{shown}: its study {name!r:.40} was not made by lab; give another name or storage")
        differs = [_WHAT[key] for key in identity if before.get(key) != identity[key]]
        if differs:
            cure = "give another storage or name, or remove the file"
            raise ConfigError(f"{shown}: its study {name!r:.40} is of {' and '.join(differs)}; {cure}")
        yield study


def _place(storage: Any) -> tuple[Any, Path | None]:
    """Return a storage as Optuna takes it, and the file it is in, where it is one."""
    if storage is None or not isinstance(storage, str | Path):
        return storage, None
    text = str(storage)
    if "://" not in text:
        path = Path(text).expanduser().absolute()
        return f"sqlite:///{path}", path
    return text, Path(text.removeprefix("sqlite:///")).absolute() if text.startswith("sqlite:///") else None


@contextlib.contextmanager
def _database(url: str, path: Path) -> Iterator[Any]:
    """Open a study's file so that a killed process loses nothing, and no trial waits for the disk."""

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    storage = optuna().storages.RDBStorage(url, engine_kwargs={"creator": connect})
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other sweeps away from a file. Raises `RunError`."""
    lock = path.with_name(f"{path.name}.lock")
    try:
        file = open(lock, "ab", opener=private)  # noqa: SIM115 - closed below
    except OSError as error:
        text = f"{path}: cannot be written: {error.strerror or error}; choose another storage"
        raise RunError(EndReason.STORAGE, text) from None
    with file:
        if not try_lock(file):
            raise RunError(
                EndReason.IN_USE, f"{path}: another sweep uses it; wait for its end, or give another storage"
            )
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                lock.unlink()
