"""Whether the hot modules run compiled or in plain Python; never a half of each.

A wheel for one Python on one platform may hold compiled modules beside the sources they were made of, and a manifest
that names both. They are used together where all of them fit, else the sources run; `form` says which, and why.
``LAB_COMPILED=0`` in the environment chooses the sources.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

MANIFEST: Final = "compiled.json"
"""The manifest's name in a package's folder."""
SWITCH: Final = "LAB_COMPILED"
"""The environment variable that chooses the sources where it is off (`is_off`)."""
LOOP_SWITCH: Final = "LAB_UVLOOP"
"""The one that chooses asyncio's event loop where it is off (`lab.live.loops`)."""
SWITCHES: Final = frozenset({SWITCH, LOOP_SWITCH})
"""The variables that choose how lab runs. They are no settings: what a run writes is the same."""


_OFF: Final = frozenset({"0", "false", "no", "off"})


def is_off(variable: str) -> bool:
    """Return whether an environment variable says ``0``, ``false``, ``no`` or ``off``."""
    return os.environ.get(variable, "").strip().lower() in _OFF


class Form(NamedTuple):
    """How the modules of one package run."""

    compiled: bool
    why: str = ""
    """Why compiled modules are there and are not used; empty where nothing is wrong."""

    def __str__(self) -> str:
        return "compiled" if self.compiled else "plain Python"


_forms: dict[str, Form] = {}


def forms() -> dict[str, Form]:
    """Return how the hot modules of each package imported so far run, lab's own first; of packages that have any."""
    return {"lab": Form(compiled=False), **_forms}


def complaints() -> list[str]:
    """Return what to tell the user of compiled modules that are there and are not used."""
    cure = "install it again without a cache (pip: --force-reinstall --no-cache-dir; uv pip: --reinstall --no-cache)"
    return [f"{name} runs in plain Python: {one.why}; {cure}" for name, one in forms().items() if one.why]


def choose(package: str, init: str) -> None:
    """Choose how the hot modules of a package run. ``init`` is the ``__file__`` of its ``__init__``, which calls this.

    It does so before it imports one of them.
    """
    folder = Path(init).parent
    path = folder / MANIFEST
    if not path.exists():
        return
    try:
        sources, why = _examined(package, folder, path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        sources, why = {}, f"{path} cannot be read: {type(error).__name__}: {error}"
    if not why and not is_off(SWITCH):
        _forms[package] = Form(compiled=True)
        return
    _forms[package] = Form(compiled=False, why=why)
    sys.meta_path.insert(0, _Sources(package, folder, sources))


def _examined(package: str, folder: Path, path: Path) -> tuple[dict[str, Path], str]:
    """Return the source of each compiled module, and what does not fit; nothing where all of it does."""
    import json
    from hashlib import sha256
    from importlib.machinery import EXTENSION_SUFFIXES

    manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
    sources = {name: folder / entry["source"] for name, entry in manifest["modules"].items()}
    if manifest["suffix"] not in EXTENSION_SUFFIXES:
        return sources, f"the compiled modules of {package} are for {manifest['suffix']}, not for this Python"
    for name, entry in manifest["modules"].items():
        if sha256(sources[name].read_bytes()).hexdigest() != entry["sha256"]:
            return sources, f"{sources[name]} is not what its compiled module was made of"
    for binary, digest in manifest["binaries"].items():  # two megabytes: a millisecond
        place = folder.parent / binary
        if not place.exists() or sha256(place.read_bytes()).hexdigest() != digest:
            return sources, f"{place} is missing, damaged or of another build"
    return sources, ""


class _Sources:
    """Finds the hot modules' sources before the import system finds what was compiled."""

    def __init__(self, package: str, folder: Path, sources: dict[str, Path]) -> None:
        from importlib.util import spec_from_file_location  # imported before it is asked for this very import

        self._package = package
        self._folder = folder
        self._sources = sources
        self._spec = spec_from_file_location

    def find_spec(self, name: str, path: object = None, target: object = None) -> "ModuleSpec | None":
        """Return where a module's source is; ``None`` leaves the module to the others."""
        source = self._sources.get(name)
        if not self._sources and name.startswith(f"{self._package}."):  # no manifest says which are compiled
            source = self._folder.joinpath(*name.split(".")[1:]).with_suffix(".py")
            if not source.exists():
                return None
        return None if source is None else self._spec(name, source)
