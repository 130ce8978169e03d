#!/usr/bin/env python3
"""Certificates for a plant without a certificate authority of its own: a CA, broker, cloud and gateways. Needs openssl.

    python3 certificates.py init    FOLDER                          # once: the CA and an empty revocation list
    python3 certificates.py server  FOLDER broker --host broker.plant.example --host 10.1.2.3
    python3 certificates.py cloud   FOLDER
    python3 certificates.py gateway FOLDER demo/seoul/gw-1 [--csr gw-1.csr]
    python3 certificates.py revoke  FOLDER demo_seoul_gw-1.crt      # then reload the broker

Keys are P-256. FOLDER holds the CA's key: keep it on a machine that is neither the broker nor a gateway. With `--csr`
a gateway's private key never leaves it; name and purpose come from this command, never from the request.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
CN_MAX = 64  # X.520; a longer name cannot stand in a certificate

CONFIG = """\
[ca]
default_ca = plant
[plant]
dir = .
database = index.txt
serial = serial
crlnumber = crlnumber
new_certs_dir = issued
certificate = ca.crt
private_key = ca.key
default_md = sha256
policy = any
unique_subject = no
copy_extensions = none
rand_serial = yes
[any]
commonName = supplied
[req]
distinguished_name = none
[none]
[authority]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = ${ENV::TRIFLOW_SAN}
[client]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


class CertificateError(Exception):
    """Nothing was issued; the message says why."""


def openssl(folder: Path, *arguments: str, san: str = "DNS:unused.invalid") -> None:
    """Run openssl in the folder; raises CertificateError with what it said."""
    environment = {**os.environ, "TRIFLOW_SAN": san}
    # The umask keeps a new key from being readable for a moment.
    done = subprocess.run(
        ["openssl", *arguments], cwd=folder, env=environment, capture_output=True, text=True, umask=0o077, check=False
    )
    if done.returncode != 0:
        raise CertificateError(f"openssl {arguments[0]}: {done.stderr.strip()}")


def init(folder: Path, name: str, days: int) -> None:
    """Make the CA; an existing one is never overwritten."""
    if (folder / "ca.key").exists():
        raise CertificateError(f"{folder / 'ca.key'} is there already; a second CA would shut everybody out")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "issued").mkdir(exist_ok=True)
    (folder / "ca.conf").write_text(CONFIG, encoding="utf-8")
    (folder / "index.txt").touch()
    (folder / "index.txt.attr").write_text("unique_subject = no\n", encoding="utf-8")
    (folder / "crlnumber").write_text("01\n", encoding="utf-8")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key")
    openssl(folder, "req", "-config", "ca.conf", "-x509", *key, "-out", "ca.crt", "-days", str(days),
            "-subj", f"/CN={name}", "-extensions", "authority")  # fmt: skip
    _revocations(folder)
    (folder / "ca.crt").chmod(0o644)


def issue(
    folder: Path, file: str, common_name: str, purpose: str, days: int, *, hosts: list[str], csr: Path | None
) -> Path:
    """Give the file of a new certificate; its key, made here unless there is a request, lies beside it as `.key`."""
    if len(common_name) > CN_MAX:
        raise CertificateError(
            f"{common_name}: a certificate's name has at most {CN_MAX} characters; choose shorter ids"
        )
    if not (folder / "ca.key").exists():
        raise CertificateError(f"{folder}: no CA here; begin with `init`")
    if csr is None:
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{file}.key.new")
        openssl(folder, "req", "-config", "ca.conf", "-new", *key, "-out", f"{file}.csr", "-subj", "/CN=request")
    else:
        shutil.copyfile(csr, folder / f"{file}.csr")
    san = ",".join(("IP:" if _is_ip(host) else "DNS:") + host for host in hosts) or "DNS:unused.invalid"
    subject = "/CN=" + common_name.replace("/", r"\/")
    openssl(folder, "ca", "-config", "ca.conf", "-batch", "-notext", "-in", f"{file}.csr", "-out", f"{file}.crt.new",
            "-days", str(days), "-subj", subject, "-extensions", purpose, san=san)  # fmt: skip
    for end in ("key", "crt"):
        if (fresh := folder / f"{file}.{end}.new").exists():
            fresh.replace(folder / f"{file}.{end}")
    (folder / f"{file}.crt").chmod(0o644)
    (folder / f"{file}.csr").unlink()
    return folder / f"{file}.crt"


def revoke(folder: Path, certificate: str) -> None:
    """Put a certificate on the list; brokers know it once they have the new `revoked.pem` and were told to reload."""
    openssl(folder, "ca", "-config", "ca.conf", "-revoke", certificate)
    _revocations(folder)


def _revocations(folder: Path) -> None:
    # A list that has run out shuts everybody out: it is as old as it is, until the next revocation.
    openssl(folder, "ca", "-config", "ca.conf", "-gencrl", "-crldays", "3650", "-out", "revoked.pem.new")
    (folder / "revoked.pem.new").replace(folder / "revoked.pem")
    (folder / "revoked.pem").chmod(0o644)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _address(text: str) -> str:
    parts = text.split("/")
    if len(parts) != 3 or not all(NAME.fullmatch(part) for part in parts):
        raise argparse.ArgumentTypeError("tenant/site/gateway, as in the gateway's site file")
    return text


def _file(text: str) -> str:
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError("letters, digits, '.', '_' and '-'")
    return text


def main(argv: list[str]) -> int:
    """Run one command; gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("init", "server", "cloud", "gateway", "revoke"):
        command = commands.add_parser(name)
        command.add_argument("folder", type=Path)
        if name == "init":
            command.add_argument("--name", default="Triflow plant CA")
        elif name == "server":
            command.add_argument("name", type=_file, help="file name, such as broker")
            command.add_argument("--host", action="append", required=True, help="DNS name or address it is reached by")
        elif name == "gateway":
            command.add_argument("address", type=_address, help="tenant/site/gateway")
            command.add_argument("--csr", type=Path, help="request made on the gateway; its key stays there")
        elif name == "revoke":
            command.add_argument("certificate")
        if name != "revoke":
            command.add_argument("--days", type=int, default=3650 if name == "init" else 397)
    asked = parser.parse_args(argv)
    folder: Path = asked.folder
    try:
        match asked.command:
            case "init":
                init(folder, asked.name, asked.days)
            case "server":
                issue(folder, asked.name, asked.host[0][:CN_MAX], "server", asked.days, hosts=asked.host, csr=None)
            case "cloud":
                issue(folder, "cloud", "cloud", "client", asked.days, hosts=[], csr=None)
            case "gateway":
                file = asked.address.replace("/", "_")
                issue(folder, file, asked.address, "client", asked.days, hosts=[], csr=asked.csr)
            case _:
                revoke(folder, asked.certificate)
    except (CertificateError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
