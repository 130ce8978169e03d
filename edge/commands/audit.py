"""The gateway's side of `triflow audit`: its data folder as a log to be verified or exported."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path

from edge.blueprint import CHECKPOINT, BlueprintError, decode
from edge.cloud_key import CHECKPOINT as CLOUD_KEY
from edge.cloud_key import CloudKey
from edge.config import SiteFile
from edge.store.evidence import EvidenceError, open_evidence
from edge.store.file import DamagedError, StoreRefusedError
from sync.audit import Log, LogError
from sync.settings import ConfigError, Document


@contextlib.contextmanager
def open_log(place: Path, address: str | None, *, every_stream: bool) -> Generator[Log]:
    """Give the log of a data folder or of a site file's gateway. Raises LogError.

    address: tenant/site/gateway, for a folder whose gateway never ran with a site file.
    """
    folder = place
    if place.is_file():
        try:
            gateway = Document(place).parse(SiteFile).gateway
        except ConfigError as error:
            raise LogError(str(error)) from error
        folder = place.resolve().parent / gateway.data
        address = address or f"{gateway.tenant}/{gateway.site}/{gateway.id}"
    try:
        with open_evidence(folder) as evidence:
            who = address or _who(evidence.checkpoint(CHECKPOINT))
            if who is None:
                raise LogError(f"{folder} does not say whose it is; add --gateway TENANT/SITE/GATEWAY")
            key = CloudKey(evidence.checkpoint(CLOUD_KEY)).kept
            yield Log(
                side="edge",
                whole=False,
                cloud_keys=[bytes.fromhex(key)] if key else [],
                lanes=evidence.lanes(who, every_stream=every_stream),
            )
    except (EvidenceError, StoreRefusedError, DamagedError) as error:
        raise LogError(str(error)) from error


def _who(blueprint: bytes | None) -> str | None:
    if blueprint is None:
        return None
    try:
        gateway = decode(blueprint).file.gateway
    except BlueprintError:
        return None
    return f"{gateway.tenant}/{gateway.site}/{gateway.id}"
