"""A disk of a test's own, a file that is mounted, whose power can be cut: what was not synced is gone."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

SHUTDOWN: Final = 0x8004587D
"""The ioctl EXT4_IOC_SHUTDOWN: the file system takes and gives nothing any more."""
NO_LOG_FLUSH: Final = (2).to_bytes(4, sys.byteorder)
"""What is not in its log yet is lost, as when the power goes."""


@frozen
class Disk:
    """An ext4 file system in a file, mounted on a folder. The device stays, so that nothing of it is written late."""

    device: str
    folder: Path

    def cut(self) -> None:
        """Cut the power; the folder answers with errors until `mount` brings it back."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, NO_LOG_FLUSH)
        finally:
            os.close(descriptor)

    def mount(self) -> None:
        """Mount it. Raises ``OSError`` saying why it can't be."""
        _do("mount", self.device, str(self.folder))

    def unmount(self) -> None:
        """Take it away; whatever has it open must have ended."""
        _do("umount", str(self.folder))

    def restart(self) -> None:
        """Bring it back after its power was cut, as a machine does that starts again."""
        self.unmount()
        self.mount()


@contextlib.contextmanager
def disk(image: Path, folder: Path) -> Iterator[Disk]:
    """Give a disk of 24 MB. Raises ``OSError`` with the reason where this machine, or this user, can have none."""
    if sys.platform != "linux" or shutil.which("mkfs.ext4") is None:
        raise OSError("mkfs.ext4 is not there")
    with image.open("wb") as file:
        file.truncate(24 << 20)
    _do("mkfs.ext4", "-q", str(image))
    folder.mkdir()
    device = _do("losetup", "--find", "--show", str(image))
    made = Disk(device, folder)
    try:
        made.mount()
        yield made
    finally:
        with contextlib.suppress(OSError):
            _do("umount", "--lazy", str(folder))
        _do("losetup", "--detach", device)
        image.unlink()


def _do(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()
