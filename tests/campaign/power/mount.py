"""A filesystem of our own in a file, that can lose its power: what was not flushed is gone, for the real kernel."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final, Self

SHUTDOWN: Final = 0x8004587D
"""EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN: the same number."""
NO_FLUSH: Final = 2
"""Not even the journal that is still in memory."""
_NEW_MOUNTS: Final = 0x20000
_RECURSIVE, _PRIVATE = 1 << 14, 1 << 18
_hidden: list[bool] = []
SIZE_MB: Final = {"ext4": 24, "xfs": 300}


def find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def why_not(kind: str = "ext4") -> str | None:
    """Give None where cuts can be made here, else the sentence that says why not: it is tried, not guessed."""
    if os.getuid() != 0:
        return "power cuts need root: to mount a filesystem and to shut it down"
    if find(f"mkfs.{kind}") is None:
        return f"no mkfs.{kind}"
    try:
        with tempfile.TemporaryDirectory(prefix="triflow-power-") as work, Volume(Path(work), kind) as volume:
            (volume.folder / "try").write_bytes(b"x")
            volume.cut()
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or error
        return f"no loop mount or no shutdown of {kind} here: {said}"
    return None


def _out_of_sight() -> None:
    """Mount where only this process and its children see it.

    A mount namespace that another process makes meanwhile (`ip netns exec` does) takes a copy of every mount it sees:
    the filesystem then outlives our umount, and what we mount again is the one whose power is gone.
    """
    if _hidden:
        return
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(_NEW_MOUNTS) == 0:
        library.mount(b"none", b"/", None, _RECURSIVE | _PRIVATE, None)
        _hidden.append(True)


class Volume:
    """A file with a filesystem in it; `folder` is where it is mounted."""

    def __init__(self, work: Path, kind: str) -> None:
        self.folder = work / f"mounted-{kind}"
        self._image, self._kind = work / f"{kind}.img", kind
        self._mounted = False
        self._device = ""

    def __enter__(self) -> Self:
        _out_of_sight()
        self.folder.mkdir(exist_ok=True)
        self.make()
        return self

    def __exit__(self, *_: object) -> None:
        self.unmount()
        self._detach()
        self._image.unlink(missing_ok=True)

    def _detach(self) -> None:
        if self._device:
            subprocess.run([find("losetup") or "losetup", "-d", self._device], check=False, capture_output=True)
            self._device = ""

    def make(self) -> None:
        """Begin anew with an empty filesystem."""
        self.unmount()
        self._detach()
        with self._image.open("wb") as image:
            image.truncate(SIZE_MB[self._kind] << 20)
        quiet = ["-q", "-F", "-J", "size=4"] if self._kind == "ext4" else ["-q", "-f"]
        subprocess.run([find(f"mkfs.{self._kind}") or "mkfs", *quiet, self._image], check=True, capture_output=True)
        attached = subprocess.run(
            [find("losetup") or "losetup", "-f", "--show", self._image], check=True, capture_output=True, text=True
        )
        self._device = attached.stdout.strip()
        self.mount()

    def mount(self) -> None:
        """Mount it; the kernel replays its journal as after a real cut. Raises OSError when it is still the one cut off."""
        end = time.monotonic() + 20
        while True:
            subprocess.run(["mount", self._device, self.folder], check=True, capture_output=True)
            self._mounted = True
            try:
                (self.folder / ".alive").write_bytes(b"")
            except OSError:
                self.unmount()
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)  # somebody else still has it mounted, see `_out_of_sight`
            else:
                return

    def unmount(self) -> None:
        """Take it off; whoever still looks at it has ten seconds. Raises OSError after that."""
        end = time.monotonic() + 10
        while self._mounted:
            done = subprocess.run(["umount", self.folder], check=False, capture_output=True, text=True)
            self._mounted = done.returncode != 0
            if self._mounted and time.monotonic() > end:
                raise OSError(f"{self.folder} cannot be unmounted: {done.stderr.strip()}")
            if self._mounted:
                time.sleep(0.02)

    def cut(self) -> None:
        """Take the power away: from now on every write fails, and what was not flushed was never written."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, struct.pack("I", NO_FLUSH))
        finally:
            os.close(descriptor)
