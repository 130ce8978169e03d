"""`triflow model …`: look at a model package, decide whether it may run, sign it, and pack one.

triflow model verify PACKAGE --trust KEY     0 when it may run; 1 and one reason when not
triflow model show PACKAGE [--card ko]       contract, signer and figures; the model itself is not touched
triflow model key new FILE | key show FILE   a signing key (0600), and its public half, which gateways pin
triflow model pack FOLDER OUT [--key FILE]   contract.json, model.onnx, golden.json, reference.json, card.*.md
triflow model sign PACKAGE --key FILE        in place of any older signature
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from models.drift import Reference
from models.package.archive import PackageRefusedError
from models.package.content import Build, Golden, Package, read, unsigned, write
from models.package.contract import Contract
from models.package.signature import KeyFileError, genuine, key_id, load_key, make_key, parse, public_key
from models.package.verification import Verified, verify

REFUSED: Final = 1
NO_INPUT: Final = 66
"""EX_NOINPUT: a file cannot be read."""


def main(argv: Sequence[str]) -> int:
    """Run one command; gives the exit status."""
    arguments = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except PackageRefusedError as refused:
        return _refused(refused, as_json=getattr(arguments, "json", False))
    except (KeyFileError, OSError) as error:
        sys.stderr.write(f"triflow model: {error}\n")
        return NO_INPUT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="triflow model", description="Model packages: verify, show, sign and pack them. docs/models.md explains."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    one = commands.add_parser("verify", help="decide whether a package may run here")
    one.add_argument("package", type=Path)
    one.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="KEY",
        help="public key, hex, or a file that holds some, one a line; may be given again",
    )
    one.add_argument("--json", action="store_true", help="for programs")
    one.set_defaults(run=_verify)

    one = commands.add_parser("show", help="say what a package holds; checks hashes, not who signed it")
    one.add_argument("package", type=Path)
    one.add_argument("--card", choices=("ko", "en"), help="print the model card instead")
    one.add_argument("--json", action="store_true", help="the manifest, for programs")
    one.set_defaults(run=_show)

    keys = commands.add_parser("key", help="make or show a signing key").add_subparsers(dest="what", required=True)
    one = keys.add_parser("new", help="make a key; prints its public half")
    one.add_argument("file", type=Path)
    one.set_defaults(run=_new_key)
    one = keys.add_parser("show", help="print the public half of a key")
    one.add_argument("file", type=Path)
    one.set_defaults(run=_show_key)

    one = commands.add_parser("pack", help="make a package of a folder")
    one.add_argument("folder", type=Path)
    one.add_argument("out", type=Path)
    one.add_argument("--key", type=Path, help="key file to sign with")
    one.set_defaults(run=_pack)

    one = commands.add_parser("sign", help="sign a package with a key of one's own")
    one.add_argument("package", type=Path)
    one.add_argument("--key", type=Path, required=True)
    one.add_argument("--out", type=Path, help="write there instead of over the package")
    one.set_defaults(run=_sign)
    return parser


def _verify(arguments: argparse.Namespace) -> int:
    verified = verify(arguments.package, trusted=_trusted(arguments.trust))
    if arguments.json:
        _say(json.dumps({"ok": True, **_about(verified.package), "findings": _plain(verified.findings)}))
    else:
        _say(_sound(verified))
    return 0


def _show(arguments: argparse.Namespace) -> int:
    package = read(arguments.package, trusted=None)
    if arguments.card:
        _say(package.card(arguments.card))
    elif arguments.json:
        _say(json.dumps(_about(package) | {"manifest": json.loads(package.entries["manifest.json"])}))
    else:
        _say(_described(package))
    return 0


def _new_key(arguments: argparse.Namespace) -> int:
    public = make_key(arguments.file)
    _say(f"{public}\n")
    sys.stderr.write(f"key {key_id(public)} written to {arguments.file}: keep it off gateways and out of git\n")
    return 0


def _show_key(arguments: argparse.Namespace) -> int:
    _say(public_key(load_key(arguments.file)))
    return 0


def _pack(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.folder
    entries = unsigned(
        _from(folder / "contract.json", Contract),
        (folder / "model.onnx").read_bytes(),
        golden=_from(folder / "golden.json", Golden),
        reference=_from(folder / "reference.json", Reference),
        cards={language: (folder / f"card.{language}.md").read_text(encoding="utf-8") for language in ("en", "ko")},
        build=Build(),
    )
    _replace(arguments.out, write(entries, None if arguments.key is None else load_key(arguments.key)))
    _say(_described(read(arguments.out, trusted=None)))
    return 0


def _sign(arguments: argparse.Namespace) -> int:
    package = read(arguments.package, trusted=None)
    key = load_key(arguments.key)
    _replace(arguments.out or arguments.package, write(package.entries, key))
    _say(f"{arguments.out or arguments.package}: signed by {key_id(public_key(key))} ({public_key(key)})")
    return 0


def _trusted(given: Sequence[str]) -> list[str]:
    """Give the keys: each argument is one, or a file of them with comments after #."""
    keys: list[str] = []
    for one in given:
        path = Path(one)
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else [one]
        keys += [key for line in lines if (key := line.partition("#")[0].strip())]
    return keys


def _from(path: Path, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise PackageRefusedError(
            str(error), where=str(path), check="docs/models.md has the format", code="contract"
        ) from error


def _replace(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _about(package: Package) -> dict[str, Any]:
    contract = package.contract
    return {
        "name": contract.name,
        "version": contract.version,
        "sha256": package.sha256,
        "content": package.digest,
        "signed_by": _signer(package),
    }


def _signer(package: Package) -> str | None:
    """Give the key whose signature is under it and right; whether it is trusted is another question."""
    if "signature" not in package.entries:
        return None
    made = parse(package.entries["signature"])
    return made.key if genuine(package.entries["manifest.json"], made) else None


def _described(package: Package) -> str:
    contract = package.contract
    signer = _signer(package)
    lines = [
        f"{contract.name} {contract.version}: {contract.title['en']} / {contract.title['ko']} ({contract.work})",
        f"  file      {package.sha256}",
        f"  content   {package.digest}",
        f"  signed by {f'{key_id(signer)} ({signer})' if signer else 'nobody, or wrongly'}",
        f"  windows   {contract.window_s[0]:g} to {contract.window_s[1]:g} s"
        + (f", only when {contract.only_when}" if contract.only_when else ""),
        f"  trained   {contract.training.rows:,} rows: {contract.training.data}",
        f"            {contract.training.trainer}; {contract.training.converter}",
        "  features",
    ]
    for one in contract.features:
        lack = "" if not one.nullable else f", missing: {'NaN' if one.impute is None else f'{one.impute:g}'}"
        lines.append(f"    {one.name:<22} {one.expression}  [{one.low:g}, {one.high:g}] {one.unit}, {one.beyond}{lack}")
    lines.append("  labels, first that holds")
    for one in contract.labels:
        when = "otherwise" if one.at_least is None else f"{one.output} >= {one.at_least:g}"
        lines.append(f"    {one.name:<22} {one.decision:<9} {when}")
    figures = ", ".join(f"{name} {value:g}" for name, value in sorted(contract.training.metrics.items()))
    return "\n".join([*lines, f"  held out  {figures or 'nothing said'}"])


def _sound(verified: Verified) -> str:
    contract, found = verified.contract, verified.findings
    return "\n".join(
        [
            f"ok: {contract.name} {contract.version}, signed by {key_id(verified.package.signer or '')}",
            f"  {found.rows} golden rows, off by at most {found.worst:.1e}; labels all equal",
            f"  a row takes {found.p50_us:.0f} µs of CPU (p95 {found.p95_us:.0f} µs); loaded in {found.load_ms:.0f} ms",
            f"  {found.runtime}, {', '.join(f'{domain} {v}' for domain, v in sorted(found.opset.items()))}",
        ]
    )


def _refused(refused: PackageRefusedError, *, as_json: bool) -> int:
    if as_json:
        told = {"ok": False, "code": refused.code, "what": refused.what, "where": refused.where, "check": refused.check}
        _say(json.dumps(told, ensure_ascii=False))
    else:
        sys.stderr.write(f"refused ({refused.code}): {refused}\n")
    return REFUSED


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)


def _say(text: str) -> None:
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
