"""How a gateway proves over HTTP who it is: one header with an HMAC by the key that also seals its frames.

    Authorization: Triflow gateway="demo/seoul/gw-1", at="1763880000", nonce="<32 hex>", mac="<64 hex>"

The MAC covers method, path, gateway, time and nonce, so that a header fits one request. Time is the cloud's: a gateway
whose clock is wrong (some boot at 1970) is told the right one with the refusal and asks again.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass

_HEADER = re.compile(
    r'Triflow gateway="([A-Za-z0-9._/-]{1,200})", at="([0-9]{1,12})", nonce="([0-9a-f]{32})", mac="([0-9a-f]{64})"'
)
NOW_HEADER = "Triflow-Now"
"""Header of a refusal: the cloud's clock, s since 1970."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a request says about who asks, believed only once `genuine`."""

    gateway: str
    """tenant/site/gateway."""
    at: int
    """s since 1970."""
    nonce: str
    mac: str = ""

    def signed(self, key: bytes, method: str, path: str) -> str:
        """Give the header's value."""
        mac = self._mac(key, method, path)
        return f'Triflow gateway="{self.gateway}", at="{self.at}", nonce="{self.nonce}", mac="{mac}"'

    def genuine(self, key: bytes, method: str, path: str) -> bool:
        """Tell whether the holder of the key made it for this request; takes as long either way."""
        return hmac.compare_digest(self.mac, self._mac(key, method, path))

    def _mac(self, key: bytes, method: str, path: str) -> str:
        # No frame begins like this, so that a seal can never pass for a ticket.
        what = "\n".join(("triflow-http-1", method, path, self.gateway, str(self.at), self.nonce))
        return hmac.new(key, what.encode(), hashlib.sha256).hexdigest()


def read_ticket(header: str) -> Ticket | None:
    """Give what the header says; None for one that is none of ours."""
    match = _HEADER.fullmatch(header)
    if match is None:
        return None
    gateway, at, nonce, mac = match.groups()
    return Ticket(gateway, int(at), nonce, mac)
