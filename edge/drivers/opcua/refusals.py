"""What a server's security refusals mean, and what to click: status code → sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from asyncua import ua
from asyncua.ua.status_codes import StatusCodes

from edge.connections import OpcUa
from edge.drivers.opcua.certificates import Certificate

_DISTRUST: Final = {
    StatusCodes.BadSecurityChecksFailed,
    StatusCodes.BadCertificateUntrusted,
    StatusCodes.BadCertificateInvalid,
    StatusCodes.BadCertificateChainIncomplete,
    StatusCodes.BadCertificateRevoked,
    StatusCodes.BadCertificateUseNotAllowed,
    StatusCodes.BadCertificateHostNameInvalid,
    StatusCodes.BadCertificatePolicyCheckFailed,
    StatusCodes.BadApplicationSignatureInvalid,
}
_USER: Final = {
    StatusCodes.BadUserAccessDenied,
    StatusCodes.BadIdentityTokenRejected,
    StatusCodes.BadUserSignatureInvalid,
}
_TIME: Final = {
    StatusCodes.BadCertificateTimeInvalid,
    StatusCodes.BadCertificateIssuerTimeInvalid,
    StatusCodes.BadInvalidTimestamp,
}


class ChannelRefusedError(ua.UaError):
    """The server ended the secured channel before it was one, and did not say why."""


class UnprovenError(ua.UaError):
    """The server could not sign with the key of the certificate it showed."""


class WithdrawnError(ua.UaError):
    """A person rejected the certificate of a server that we are connected to."""


def refused_us(error: BaseException, config: OpcUa, ours: Certificate | None, folder: Path) -> str | None:
    """Give the sentence for an error of connecting; None when security has nothing to do with it.

    ours: the application certificate in use; folder: where its file is.
    """
    code = error.code if isinstance(error, ua.UaStatusCodeError) else None
    if code in _USER or code == StatusCodes.BadIdentityTokenInvalid:
        return _user(config, _named(code))
    if isinstance(error, WithdrawnError):
        return str(error)
    if isinstance(error, UnprovenError):
        return (
            "the server could not prove that its certificate is its own (wrong signature): somebody may be between, or "
            "certificate and key do not belong together at the server"
        )
    if str(error) == "Server certificate mismatch":
        return (
            "the server showed another certificate in the session than before it: it was changed just now, or somebody "
            "is between"
        )
    if ours is None:
        if code in {
            StatusCodes.BadSecurityPolicyRejected,
            StatusCodes.BadSecurityModeRejected,
            StatusCodes.BadSecurityModeInsufficient,
        }:
            return f"the server refuses unprotected connections ({_named(code)}): set `security` to a policy it offers"
        return None
    certificate = f"{ours.subject}, SHA-1 {ours.sha1}, SHA-256 {ours.thumbprint}, files {folder}"
    if code in _DISTRUST or isinstance(error, ChannelRefusedError):
        why = (
            f"the server ended the secured channel without a reason ({error}); most often it does not trust the gateway's "
            "certificate"
            if code is None
            else f"the server does not trust the gateway's certificate ({_named(code)})"
        )
        return (
            f"{why}: at the server, find it among the rejected or unknown client certificates and trust it, or upload it "
            f"({certificate}); the connection then comes up by itself"
        )
    if code == StatusCodes.BadCertificateUriInvalid:
        return (
            f"the server finds our ApplicationUri and our certificate different (BadCertificateUriInvalid); ours says "
            f"{', '.join(ours.application_uris)}: remove older certificates of this gateway at the server and trust this "
            f"one ({certificate})"
        )
    if code in _TIME:
        return (
            f"the server finds our certificate not valid now ({_named(code)}); it is from {ours.begins:%Y-%m-%d} to "
            f"{ours.ends:%Y-%m-%d}: check the server's clock and the gateway's"
        )
    if code in {
        StatusCodes.BadSecurityPolicyRejected,
        StatusCodes.BadSecurityModeRejected,
        StatusCodes.BadSecurityModeInsufficient,
    }:
        return f"the server refuses {config.security} {config.message_mode} ({_named(code)}), though it offers it: switch it on there"
    return None


def _user(config: OpcUa, code: str) -> str:
    if config.user is not None and config.password is not None:
        return (
            f"the server refuses user {config.user!r} ({code}): check user and password (credential "
            f"{config.password.credential!r}) and that this user may read, in the server's user list"
        )
    if config.user_certificate is not None:
        return (
            f"the server refuses the user certificate {config.user_certificate} ({code}): trust it at the server, under "
            "user certificates (not under application certificates)"
        )
    return (
        f"the server refuses anonymous users ({code}): name a user and password, or a user_certificate and user_key, "
        "or allow anonymous reading at the server"
    )


def _named(code: int | None) -> str:
    return "" if code is None else ua.StatusCode(ua.UInt32(code)).name
