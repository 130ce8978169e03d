"""ThingsBoard Gateway's own storage classes, filled as its service fills them. Runs in its environment, not in ours.

`<venv>/bin/python bench/thingsboard_storage.py FOLDER KIND POINTS BATCH` prints one line of JSON. What its service does
between a connector and the storage is done here in the same way: a `ConvertedData` with one telemetry entry, simplejson.
"""

from __future__ import annotations

import json
import logging
import random
import sqlite3
import sys
import time
from pathlib import Path
from threading import Event

from simplejson import dumps
from thingsboard_gateway.gateway.entities.converted_data import ConvertedData
from thingsboard_gateway.gateway.entities.datapoint_key import DatapointKey
from thingsboard_gateway.gateway.entities.telemetry_entry import TelemetryEntry

LOG = logging.getLogger("storage")
LOG.trace = lambda *_words: None  # its own logger class has one more level


def open_storage(kind: str, folder: Path, packs: int):
    """Give the storage with generous limits and otherwise its own settings."""
    if kind == "sqlite":
        from thingsboard_gateway.storage.sqlite.sqlite_event_storage import SQLiteEventStorage

        return SQLiteEventStorage({"data_file_path": f"{folder}/", "size_limit": 4096}, LOG, Event())
    if kind == "file":
        from thingsboard_gateway.storage.file.file_event_storage import FileEventStorage

        config = {"data_folder_path": f"{folder}/", "max_file_count": 1000, "max_records_per_file": 10_000}
        return FileEventStorage(config, LOG, Event())
    from thingsboard_gateway.storage.memory.memory_event_storage import MemoryEventStorage

    return MemoryEventStorage({"max_records_count": packs + 1}, LOG, Event())


def main() -> None:
    folder, kind, points, batch = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    storage = open_storage(kind, folder, points // batch)
    rng, keys = random.Random(1), [DatapointKey(f"t{i}") for i in range(batch)]
    scans = [[round(rng.gauss(50, 3), 2) for _ in range(batch)] for _ in range(points // batch)]
    sent, began, cpu = 0, time.perf_counter(), time.process_time()
    for number, scan in enumerate(scans):
        data = ConvertedData("machine", "default")
        data.add_to_telemetry(TelemetryEntry(dict(zip(keys, scan, strict=True)), 1_700_000_000_000 + number * 100))
        text = dumps(data.to_dict(False), separators=(",", ":"), skipkeys=True, ignore_nan=True)
        sent += len(text)
        assert storage.put(text)
    if kind == "sqlite":
        while _rows(folder) < len(scans):
            time.sleep(0.02)
    wall, used = time.perf_counter() - began, time.process_time() - cpu
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix in {".db", ".txt"})
    wal = sum(path.stat().st_size for path in folder.rglob("*-wal"))
    print(json.dumps({"per_s": points / wall, "cpu_s_per_million": used / points * 1e6, "disk": max(size, wal) / points, "wire": sent / points}), flush=True)  # fmt: skip
    import os

    os._exit(0)  # its threads do not end by themselves


def _rows(folder: Path) -> int:
    found = next(iter(folder.glob("*.db")), None)
    if found is None:
        return 0
    reader = sqlite3.connect(f"file:{found}?mode=ro", uri=True)
    try:
        return int(reader.execute("select count(*) from messages").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        reader.close()


if __name__ == "__main__":
    main()
