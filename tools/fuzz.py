"""Fuzzes a decoder or reader, guided by what it reaches: ``python tools/fuzz.py TARGET [SECONDS]``.

Needs atheris, which is no dependency: ``uv run --no-sync --with atheris python tools/fuzz.py frame 60``; where it can't
be had, that is said, and samples are damaged at random instead. Found inputs are kept in ``.fuzz/TARGET``. One that was
found is looked at again by ``python tools/fuzz.py TARGET --bytes HEX``. The targets are those of
``tests/helpers/fuzz_targets.py``.
"""

import sys
import time
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
HELPERS: Final = ROOT / "tests" / "helpers"
MODULES: Final = ("lab", "lab_bitunix", "lab_recordings", "lab_replay", "tomllib", "csv")
LONGEST: Final = 1 << 16


def main(args: list[str]) -> int:
    """Run one target; return 0 where nothing was found. With atheris the process ends in its own way."""
    sys.path.insert(0, str(HELPERS))
    if args[1:2] == ["--bytes"] and len(args) == 3:
        _target(args[0]).take(bytes.fromhex(args[2]))
        return 0
    seconds = float(args[1]) if args[1:] else 60.0
    try:
        import atheris
    except ImportError as error:
        print(f"not guided: atheris is not here ({error}); damaging samples at random", flush=True)
        return _at_random(args[0], seconds)
    with atheris.instrument_imports(include=list(MODULES)):
        target = _target(args[0])
    corpus = ROOT / ".fuzz" / args[0]
    corpus.mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(target.samples()):
        (corpus / f"sample-{number}").write_bytes(sample)
    options = [f"-max_total_time={seconds:.0f}", f"-max_len={LONGEST}", "-timeout=10", "-rss_limit_mb=1024"]
    atheris.Setup(["fuzz", f"-artifact_prefix={corpus.parent}/{args[0]}-", *options, str(corpus)], target.take)
    atheris.Fuzz()
    return 0


def _target(name: str) -> Any:
    from fuzz_targets import TARGETS

    if name not in TARGETS:
        raise SystemExit(f"no target {name!r}; there are {', '.join(TARGETS)}")
    return TARGETS[name]


def _at_random(name: str, seconds: float) -> int:
    from mutations import Mutations

    target, end, count = _target(name), time.monotonic() + seconds, 0
    mutations = Mutations(target.samples(), seed=time.time_ns())
    while time.monotonic() < end:
        data, count = mutations.next(), count + 1
        try:
            target.take(data)
        except BaseException:
            print(f"found: python tools/fuzz.py {name} --bytes {data.hex()}", flush=True)
            raise
    print(f"{count:,} damaged samples, nothing found")
    return 0


if __name__ == "__main__":
    if not sys.argv[1:]:
        raise SystemExit(__doc__)
    raise SystemExit(main(sys.argv[1:]))
