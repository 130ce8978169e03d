"""The hash chain of one stream of one incarnation, and what both sides sign of it. Pure; verified offline on either side.

link(0) = SHA-256("triflow/1/" ‖ inc ‖ "/" ‖ stream), link(n) = SHA-256(link(n-1) ‖ digest(chunk n)). A chunk that was
shed leaves a hole: the next one names the link before it, and the hole must be covered by declared losses.
Gateway and cloud each sign `statement`; with the other one's signature in hand neither can rewrite what was, and
cutting off the end shows against the newest signature. It does not stop a rooted gateway from lying from now on.
"""

from __future__ import annotations

import hashlib


def genesis(inc: str, stream: int) -> bytes:
    """Give the link before a stream's first chunk."""
    return hashlib.sha256(f"triflow/1/{inc}/{stream}".encode()).digest()


def follow(before: bytes, digest: bytes) -> bytes:
    """Give the link of a chunk: its digest on the link before it."""
    return hashlib.sha256(before + digest).digest()


def statement(address: str, lane: tuple[str, int], seq: int, link: bytes, at: int = 0) -> bytes:
    """Give the bytes that are signed: "of this stream, up to `seq`, the chain stands at `link`".

    address: tenant/site/gateway. lane: (inc, stream). at: ns, the cloud's clock; 0 when the gateway signs, whose clock proves nothing.
    """
    inc, stream = lane
    return f"triflow/1\n{address}\n{inc}\n{stream}\n{seq}\n{link.hex()}\n{at}\n".encode()
