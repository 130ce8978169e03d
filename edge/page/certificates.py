"""Certificates on the gateway's page: who waits, who is trusted, and a person's decision about it.

Reading is as open as the rest of the page. Deciding is for whoever sits at the gateway: a request must come over
loopback (a screen of the box, an SSH tunnel, a proxy that knows its users), from this very page (its own header, its
own origin) and under a name that is the gateway's, so that no other site in the same browser can decide instead.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edge.connections import OpcUa
from edge.health import Health
from edge.page.answers import HEADERS, refused
from edge.page.protect import at_the_gateway, not_from_this_page
from edge.site import Site

if TYPE_CHECKING:
    from edge.drivers.opcua.certificates import Certificate
    from edge.drivers.opcua.trust import Entry

DECISIONS: Final = {"approve", "reject", "remove"}


def certificate_routes(health: Health) -> list[Route]:
    """Give the page's routes about certificates."""
    site, clock = health.flow.site, health.flow.clock

    async def listing(request: Request) -> Response:
        if not _needed(site):
            return JSONResponse({"needed": False}, headers=HEADERS)
        told = await asyncio.to_thread(_listing, site, clock.now())
        return JSONResponse(told | {"needed": True, "may_decide": at_the_gateway(request)}, headers=HEADERS)

    async def download(request: Request) -> Response:
        der = await asyncio.to_thread(_own_file, site.data / "pki" / "own", request.path_params["thumbprint"])
        if der is None:
            return refused(404, "NOT_FOUND", "the gateway has no such certificate of its own")
        name = f"triflow-{site.file.gateway.id}.der"
        headers = HEADERS | {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(der, media_type="application/pkix-cert", headers=headers)

    async def decide(request: Request) -> Response:
        from edge.drivers.opcua.trust import TrustError, TrustList

        why = _not_from_here(request, site.file.page.host)
        if why is not None:
            return refused(403, "FORBIDDEN", why)
        what, thumbprint = request.path_params["what"], request.path_params["thumbprint"]
        if what not in DECISIONS:
            return refused(404, "NOT_FOUND", f"{what!r}: a certificate can be approved, rejected or removed")
        act = getattr(TrustList(site.data), what)
        by = f"page at {request.client.host}" if request.client else "page"
        try:
            await asyncio.to_thread(act, thumbprint, by=by, now=clock.now())
        except TrustError as error:
            return refused(404, "NOT_FOUND", str(error))
        except OSError as error:
            return refused(
                500, "INTERNAL", f"{error.filename}: {error.strerror}; check the folder's owner and the disk"
            )
        return await listing(request)

    return [
        Route("/api/certificates", listing),
        Route("/api/certificates/own/{thumbprint:str}.der", download),
        Route("/api/certificates/{thumbprint:str}/{what:str}", decide, methods=["POST"]),
    ]


def _needed(site: Site) -> bool:
    """Tell whether any connection has to do with certificates; if not, nothing of them is loaded."""
    return any(
        isinstance(one, OpcUa) and (one.security != "none" or one.user is not None or one.user_certificate is not None)
        for one in site.file.connections
    )


def _listing(site: Site, now: int) -> dict[str, Any]:
    from edge.drivers.opcua.certificates import at
    from edge.drivers.opcua.trust import TrustList
    from edge.expiry import in_use

    trust, moment = TrustList(site.data), at(now)
    told: dict[str, Any] = {
        state: [_entry(entry, moment) for entry in trust.entries(state)]
        for state in ("quarantine", "trusted", "rejected")
    }
    used = {
        whose: {c.thumbprint: c for w, _, c in in_use(site.file, site.data) if w == whose}
        for whose in ("own", "server")
    }
    trusted = {one["thumbprint"] for one in told["trusted"]}
    told["own"] = [_certificate(one, moment) for one in _own(site.data / "pki" / "own")]
    told["vouched"] = [_certificate(one, moment) for key, one in used["server"].items() if key not in trusted]
    told["ending"] = any(one.level(moment) != "ok" for every in used.values() for one in every.values())
    told["faults"] = trust.faults()
    return told


def _own(folder: Path) -> list[Certificate]:
    from edge.drivers.opcua.certificates import CertificateFaultError, read

    found: list[Certificate] = []
    for path in sorted(folder.glob("*.der")):
        try:
            found.append(read(path.read_bytes())[0])
        except (CertificateFaultError, FileNotFoundError):
            continue  # it is written anew from the pair at the next connect
    return found


def _own_file(folder: Path, thumbprint: str) -> bytes | None:
    return next((one.der for one in _own(folder) if one.thumbprint == thumbprint), None)


def _entry(entry: Entry, now: datetime) -> dict[str, Any]:
    note = entry.note
    unknown = note.why.endswith("not known yet")
    return _certificate(entry.certificate, now) | {
        "connections": note.connections,
        "url": note.url,
        "seen": note.seen // 1_000_000 or None,
        "reason": "changed" if note.replaces else "unknown" if unknown else "elsewhere",
        "why": note.why,
        "replaces": note.replaces,
        "by": note.by,
        "decided": note.decided // 1_000_000 or None,
    }


def _certificate(certificate: Certificate, now: datetime) -> dict[str, Any]:
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "thumbprint": certificate.thumbprint,
        "sha1": certificate.sha1,
        "application_uri": ", ".join(certificate.application_uris),
        "hosts": certificate.hosts,
        "authority": certificate.authority,
        "begins": round(certificate.begins.timestamp() * 1000),
        "ends": round(certificate.ends.timestamp() * 1000),
        "days_left": max(0, int(certificate.days_left(now))),
        "level": certificate.level(now),
    }


def _not_from_here(request: Request, page_host: str) -> str | None:
    """Say why a decision does not count; None if it was made by a person on this page at the gateway."""
    if not at_the_gateway(request):
        return (
            "trust is decided at the gateway itself: open this page there (also through `ssh -L 8090:127.0.0.1:8090`), "
            "or run `triflow edge trust`"
        )
    return not_from_this_page(request, page_host)
