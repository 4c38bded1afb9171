"""A secret that a simulated session is given, and the search for it in all that the session leaves."""

import base64
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

from lab.campaign.busy import NAME

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CANARY: Final = "canary-7Q4xVw9tKp2LzR8/m"
_SHARE: Final = 0.25
_ZSTD: Final = b"\x28\xb5\x2f\xfd"


def environment_of(seed: int) -> dict[str, str]:
    """Return the environment of a seed's session: in a quarter of them the strategy ``busy`` has a secret."""
    given = Random(f"{seed}/secret").random() < _SHARE
    return {f"LAB_{NAME.upper()}_TOKEN": CANARY} if given else {}


def leaks(folder: Path) -> Iterator[str]:
    """Yield each file below a folder in which the secret stands, in any encoding it may have come out in."""
    forms = _forms(CANARY.encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            texts = [data, _unpacked(data)] if data.startswith(_ZSTD) else [data]
            if any(form in text for form in forms for text in texts):
                yield f"I12: a secret stands in {path.name}"


def _forms(secret: bytes) -> list[bytes]:
    middle = [base64.b64encode(bytes(before) + secret)[4:-4] for before in range(3)]
    return [secret, secret[::-1], secret.hex().encode(), secret.replace(b"/", b"%2F"), *middle]


def _unpacked(data: bytes) -> bytes:
    unpacked, left = b"", data
    while left:
        unpacker = zstd.ZstdDecompressor()
        try:
            unpacked += unpacker.decompress(left)
        except zstd.ZstdError:
            break
        left = unpacker.unused_data
    return unpacked
