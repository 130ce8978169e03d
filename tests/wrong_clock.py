"""A wall clock that is set by hand, for real processes: libfaketime's. Monotonic time stays real."""

from __future__ import annotations

from pathlib import Path

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


class WrongClock:
    """The wall clock of the processes started with `environment`."""

    def __init__(self, folder: Path) -> None:
        assert FAKETIME is not None, "libfaketime is missing; run tests/install_parts.sh"
        self._file = folder / "clock"
        self.environment = {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def off_by(self, seconds: float) -> None:
        draft = self._file.with_suffix(".new")
        draft.write_text(f"{seconds:+.0f}s\n")
        draft.replace(self._file)
