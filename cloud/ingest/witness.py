"""The chain as the cloud sees it: what does not follow is found and said, what does is countersigned.

A broken chain never keeps a fact out: a fact is a fact, and the finding stands beside it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from cloud.config import Settings
from cloud.database import Connection
from cloud.ingest.streams import Stream
from sync.chain import follow, genesis, statement
from sync.facts import Stream as Lane
from sync.frames import Batch, StreamHoldings, Witness
from sync.signing import KEY_BYTES, Signer, genuine, make_key

EVERY_MS: Final = 60_000
EVERY_RECORDS: Final = 256
"""… of the audit stream."""


class WitnessKeyError(Exception):
    """The cloud's own key cannot be used; says which file and what to check."""


def load_key(settings: Settings) -> tuple[bytes, str]:
    """Give the cloud's Ed25519 key: the credential, else a file beside cloud.toml, made when there is none.

    Gives what to say about it, too; empty when there is nothing new. Raises WitnessKeyError.
    """
    if settings.witness_key is not None:
        return settings.witness_key, ""
    path = settings.folder / "witness.key"
    said = ""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    except OSError as error:
        raise WitnessKeyError(
            f"cannot make {path}: {error.strerror}; name a credential with witness_key in cloud.toml"
        ) from error
    else:
        with os.fdopen(descriptor, "w") as file:
            file.write(make_key().hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        said = f"made the key that countersigns what gateways send: {path}; keep a copy, gateways know it from now on"
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise WitnessKeyError(f"cannot read {path}: {error}; it holds {2 * KEY_BYTES} hex digits") from error
    if len(key) != KEY_BYTES:
        raise WitnessKeyError(f"{path} holds {len(key)} bytes; a key is {2 * KEY_BYTES} hex digits")
    return key, said


@dataclass(frozen=True, slots=True)
class Links:
    """What a chunk says of the chain, checked."""

    before: bytes | None
    link: bytes | None
    signature: bytes | None
    faults: list[str]
    forked: bool
    """It does not follow what is stored right before it, or what is stored right after it does not follow it."""


def check(connection: Connection, stream: Stream, frame: Batch, keys: list[str]) -> Links:
    """Check a chunk against its neighbours and its signature. keys: public keys the gateway may sign with, hex."""
    if not frame.before:
        return Links(None, None, None, [], forked=False)
    try:
        before, digest, signature = (bytes.fromhex(text) for text in (frame.before, frame.digest, frame.signature))
    except ValueError:
        return Links(None, None, None, ["its link or signature is no hexadecimal text"], forked=False)
    link = follow(before, digest)
    faults: list[str] = []
    end = frame.first + frame.count - 1
    known = _link_before(connection, stream, frame.first)
    forked = known is not None and known != before
    if forked:
        faults.append(f"it follows link {before.hex()[:16]}, stored is {(known or b'').hex()[:16]}")
    if stream.link_seq > end:
        row = connection.one(
            "select before from ingest_chunk where inc=? and stream=? and first=?", (*stream.key, end + 1)
        )
        if row is not None and row[0] is not None and bytes(row[0]) != link:
            forked = True
            faults.append("what is stored after it does not follow it")
    said = statement(str(stream.address), (stream.name, stream.stream), end, link)
    if not signature:
        faults += ["it is not signed"] if keys else []
    elif keys and not any(genuine(bytes.fromhex(key), said, signature) for key in keys):
        faults.append("its signature fits no key of this gateway")
    return Links(before, link, signature or None, faults, forked)


def _link_before(connection: Connection, stream: Stream, first: int) -> bytes | None:
    """Give the link right before a record; None where losses lie between, or an older gateway said nothing."""
    if first == 1:
        return genesis(stream.name, stream.stream)
    if stream.link_seq == first - 1:
        return stream.link
    row = connection.one(
        "select first+count-1, link from ingest_chunk where inc=? and stream=? and first<? order by first desc limit 1",
        (*stream.key, first),
    )
    return bytes(row[1]) if row is not None and row[0] == first - 1 and row[1] is not None else None


def another_history(connection: Connection, stream: Stream, said: StreamHoldings) -> bool:
    """Tell whether a gateway's chain of a lane is another one than ours where its ends: two copies used these numbers."""
    if not said.link:
        return False
    row = connection.one(
        "select first+count-1, link from ingest_chunk where inc=? and stream=? and first<=? order by first desc limit 1",
        (*stream.key, said.last),
    )
    if row is None or row[0] < said.last or row[1] is None:  # nothing of ours stands there
        return False
    return row[0] != said.last or bytes(row[1]).hex() != said.link


def found(connection: Connection, stream: Stream, first: int, why: str, now_ms: int) -> bool:
    """Record that the chain does not hold; tells whether that is news."""
    news = connection.execute(
        "insert into chain_finding(tenant, inc, stream, first, why, recorded_ms) values(?,?,?,?,?,?)"
        " on conflict do nothing returning id",
        (stream.address.tenant, *stream.key, first, why, now_ms),
    )
    return bool(news)


def due(stream: Stream, now_ms: int) -> bool:
    """Tell whether it is time to countersign a stream."""
    if stream.link is None or stream.link_seq <= stream.witness_seq:
        return False
    records = stream.link_seq - stream.witness_seq
    return now_ms - stream.witness_ms >= EVERY_MS or (stream.stream == Lane.AUDIT and records >= EVERY_RECORDS)


def countersign(connection: Connection, stream: Stream, signer: Signer, now_ns: int) -> Witness:
    """Sign where a stream's chain stands, and keep it; of the audit stream every one, of others the newest."""
    link = stream.link or b""
    seq = stream.link_seq
    said = statement(str(stream.address), (stream.name, stream.stream), seq, link, now_ns)
    signature = signer.sign(said)
    if stream.stream != Lane.AUDIT:
        connection.execute("delete from witness where inc=? and stream=?", stream.key)
    connection.execute(
        "insert into witness(inc, stream, seq, tenant, link, at, signature) values(?,?,?,?,?,?,?)"
        " on conflict do nothing",
        (*stream.key, seq, stream.address.tenant, link, now_ns, signature),
    )
    stream.witness_seq, stream.witness_ms, stream.changed = seq, now_ns // 1_000_000, True
    return Witness(
        inc=stream.name, stream=stream.stream, seq=seq, link=link.hex(), at=now_ns, signature=signature.hex()
    )
