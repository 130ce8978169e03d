"""Nobody is talked to unseen: no old TLS, no unknown authority, no other name, and no switch for any of it."""

from __future__ import annotations

import asyncio
import re
import ssl
import subprocess
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from sync.tls import TlsError, client_context
from tests.deploy.broker import authority
from tests.servers import ROOT

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return authority(tmp_path_factory.mktemp("ca") / "plant", "demo/seoul/gw-1")


@asynccontextmanager
async def server(ca: Path, *, only: ssl.TLSVersion | None = None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca / "broker.crt", ca / "broker.key")
    if only is not None:
        context.set_ciphers("ALL:@SECLEVEL=0")
        if only < ssl.TLSVersion.TLSv1_2:
            with pytest.warns(DeprecationWarning, match="TLSv1"):
                context.minimum_version = context.maximum_version = only
        else:
            context.minimum_version = context.maximum_version = only

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.read()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def agreed(port: int, context: ssl.SSLContext, name: str = "localhost") -> str:
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    version = writer.get_extra_info("ssl_object").version()
    writer.close()
    return version


@pytest.mark.parametrize(
    ("only", "version"), [(None, "TLSv1.3"), (ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")]
)
async def test_tls_of_today_is_spoken(ca: Path, only: ssl.TLSVersion | None, version: str):
    async with server(ca, only=only) as port:
        assert await agreed(port, client_context(ca / "ca.crt", None)) == version


@pytest.mark.parametrize("only", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_old_tls_is_refused_by_us_too(ca: Path, only: ssl.TLSVersion):
    async with server(ca, only=only) as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await agreed(port, client_context(ca / "ca.crt", None))


async def test_an_unknown_authority_and_another_name_are_refused(ca: Path):
    async with server(ca) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await agreed(port, client_context(None, None))
        with pytest.raises(ssl.SSLCertVerificationError):
            await agreed(port, client_context(ca / "ca.crt", None), "elsewhere.example")


def test_files_that_do_not_fit_are_said(ca: Path, tmp_path: Path):
    key = ca / "demo_seoul_gw-1.key"
    locked = tmp_path / "locked.key"
    subprocess.run(["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:x", "-out", locked], check=True)
    (tmp_path / "empty.crt").write_text("")
    for authority_file, certificate, said in (
        (tmp_path / "missing.crt", None, "check uplink.ca"),
        (tmp_path / "empty.crt", None, "check uplink.ca"),
        (ca / "ca.crt", (ca / "demo_seoul_gw-1.crt", ca / "cloud.key"), "check uplink.certificate"),
        (ca / "ca.crt", (ca / "demo_seoul_gw-1.crt", tmp_path / "missing.key"), "check uplink.certificate"),
        (ca / "ca.crt", (ca / "demo_seoul_gw-1.crt", locked), "check uplink.certificate"),  # and nobody is asked
    ):
        with pytest.raises(TlsError, match=said):
            client_context(authority_file, certificate)


def test_there_is_no_way_around_it():
    """Of all sources of the product, none turns verification off, but the doctor, who only looks what is there."""
    forbidden = re.compile(r"CERT_NONE|CERT_OPTIONAL|verify\s*=\s*False|check_hostname\s*=\s*False|_unverified_context|tls_insecure")  # fmt: skip
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for package in ("edge", "sync", "cloud")
        for path in sorted((ROOT / package).rglob("*.py"))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if forbidden.search(line) and path.name != "reach.py"
    ]
    assert found == []
