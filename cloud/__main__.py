"""`triflow cloud COMMAND cloud.toml …`: the cloud from a terminal; `triflow cloud COMMAND --help` says more of each."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from cloud.config import Settings, load
from sync.logs import log_to_stderr
from sync.settings import ConfigError

log = logging.getLogger("cloud")

EXIT_FAULTS = 1
EXIT_CONFIG = 78
EXIT_UNAVAILABLE = 69
MOST_DAYS = 3_660
"""Of a seeded past: ten years."""


def main(argv: list[str]) -> int:
    """Run one command; gives the exit status (78: configuration, 69: database or port, 1: faults were found)."""
    asked = _parser().parse_args(argv)
    try:
        settings = load(_file(asked))
    except (ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    if asked.command == "check":
        print(f"{asked.file}: {len(settings.file.gateways)} gateways, {len(settings.file.sites)} sites, no faults")
        return 0
    log_to_stderr(
        "triflow-cloud", settings.file.log.format, settings.file.log.level, journal="JOURNAL_STREAM" in os.environ
    )
    logging.getLogger("alembic").setLevel("WARNING")  # it introduces every plugin of its own at every start
    from cloud.commands.manifest import BackupError
    from cloud.faults import UNUSABLE, DatabaseError, DataError, explain
    from cloud.ingest.orders import OrderError
    from cloud.ingest.witness import WitnessKeyError
    from cloud.running import RunningError
    from cloud.seed.send import SeedError

    faults: list[str] = []
    status = 0
    try:
        status = _do(settings, asked)
    except* DatabaseError as errors:
        faults += [f"database: {error}" for error in errors.exceptions]
    except* UNUSABLE as errors:  # of a command that reads by a connection of its own
        faults += [f"database: {explain(error)}" for error in errors.exceptions]
    except* DataError as errors:
        faults += [f"the database does not take this: {error}" for error in errors.exceptions]
    except* (OSError, BackupError, OrderError, RunningError, SeedError, WitnessKeyError) as errors:
        faults += [str(error) for error in errors.exceptions]
    for fault in faults:
        log.error("%s", fault)
    return EXIT_UNAVAILABLE if faults else status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="triflow cloud", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, what: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=what)
        made.add_argument("file", type=Path, help="cloud.toml")
        return made

    run = command("run", "receive, compute, serve")
    run.add_argument("--no-ingest", action="store_true", help="receive nothing: `ingest` processes do")
    ingest = command("ingest", "receive and store only, one of several processes (PostgreSQL)")
    ingest.add_argument(
        "--shard", required=True, type=_shard, metavar="I/N", help="this process and how many there are"
    )
    ingest.add_argument("--metrics", type=int, metavar="PORT", help="serve /metrics on this port of 127.0.0.1")
    command("check", "check the file and say every fault")
    command("migrate", "bring the database's schema up to date")
    backup = command("backup", "copy the database while it is used, verify the copy, call it safe")
    backup.add_argument("folder", type=Path, help="where backups are kept")
    backup.add_argument("--keep", type=_positive, default=7, metavar="N", help="how many stay (7)")
    restore = command("restore", "put a backup in the place of the database")
    restore.add_argument("backup", type=Path, help="the backup, its manifest beside it")
    command("verify", "count every record and follow every chain")
    gateway = command("gateway", "who speaks for a gateway, and which of two boxes is to be it")
    gateway.add_argument("address", type=_address, help="tenant/site/gateway")
    choice = gateway.add_mutually_exclusive_group()
    choice.add_argument("--keep", metavar="INC", help="the box of this incarnation is the gateway, the other is not")
    choice.add_argument("--close", metavar="INC", help="this incarnation will not come back; its rest is lost")
    package = command("package", "offer files to gateways, which fetch them over HTTPS")
    what = package.add_subparsers(dest="what", required=True)
    put = what.add_parser("put", help="store a file and offer it")
    put.add_argument("source", type=Path, metavar="FILE")
    put.add_argument("--to", required=True, metavar="TENANT/SITE/GATEWAY|all", help="whom it is offered to")
    put.add_argument("--expires", type=_duration, default="7d", metavar="7d", help="how long; d, h or m (7d)")
    what.add_parser("list", help="every offer and what became of it, newest first")
    asking = command("command", "ask something of gateways: they decide, and answer")
    what = asking.add_subparsers(dest="what", required=True)
    send = what.add_parser("send", help="ask it")
    send.add_argument("kind", metavar="KIND", help="approve, reject, act, mode, kill, trust, model or feedback")
    send.add_argument("said", nargs="*", metavar="NAME=VALUE", help="its arguments, e.g. mode=advise reason='start-up'")
    send.add_argument("--to", required=True, metavar="TENANT/SITE/GATEWAY|all", help="whom it is asked of")
    send.add_argument("--expires", type=_duration, default="1h", metavar="1h", help="how long; d, h or m (1h)")
    what.add_parser("list", help="every command and its answer, newest first")
    from cloud.commands import etl_words, replay_words, report_words

    etl_words.add(command)
    report_words.add(command("report", "one shift or week as PDF, PNG, spreadsheet or CSV; reads only"))
    replay_words.add(command("replay", "judge again what was judged: as it was, what if, with other rules; reads only"))
    seed = commands.add_parser("seed", help="tell a made-up past through the real ingest, and prove that it could be")
    where = seed.add_mutually_exclusive_group(required=True)
    where.add_argument("file", type=Path, nargs="?", help="cloud.toml")
    where.add_argument("--init", type=Path, metavar="FOLDER", help="write an example plant there, and seed it")
    seed.add_argument("--days", type=_days, default=90, metavar="N", help="how many business days (90)")
    seed.add_argument("--end", type=_date, metavar="DATE", help="the last one (today)")
    seed.add_argument("--seed", type=_positive, default=1, metavar="N", help="same number, same past (1)")
    seed.add_argument("--check", action="store_true", help="tell nothing; check what is there")
    return parser


def _file(asked: argparse.Namespace) -> Path:
    if asked.command == "seed" and asked.init is not None:
        from cloud.seed import example

        return example.write(asked.init)
    return asked.file


def _do(settings: Settings, asked: argparse.Namespace) -> int:
    match asked.command:
        case "run":
            from cloud.service import serve

            _loop(serve(settings, ingest=not asked.no_ingest))
        case "ingest":
            from cloud.running import file_of
            from cloud.service import serve_ingest

            if asked.shard.count > 1 and file_of(settings) is not None:
                print("several ingest processes need PostgreSQL; on SQLite use `triflow cloud run`", file=sys.stderr)
                return EXIT_CONFIG
            _loop(serve_ingest(settings, asked.shard, asked.metrics))
        case "migrate":
            from cloud.database import migrate

            migrate(settings.database_url)
            print("the schema is up to date")
        case "backup":
            from cloud.commands.backup import backup

            print(backup(settings, asked.folder, asked.keep))
        case "restore":
            from cloud.commands.restore import restore

            print(restore(settings, asked.backup))
        case "verify":
            return _verify(settings)
        case "package":
            from cloud.commands import package

            if asked.what == "put":
                print(package.put(settings, asked.source, asked.to, asked.expires))
            else:
                print("\n".join(package.show(settings)))
        case "command":
            from cloud.commands import command

            if asked.what == "send":
                print(command.send(settings, asked.kind, asked.said, asked.to, asked.expires))
            else:
                print("\n".join(command.show(settings)))
        case "correct" | "restate" | "dead-letters" | "audit-marts":
            from cloud.commands import etl

            status, lines = etl.run(settings, asked)
            print("\n".join(lines))
            return status
        case "report":
            from cloud.commands import report

            try:
                print(report.run(settings, asked))
            except report.RefusedError as error:
                print(error, file=sys.stderr)
                return EXIT_FAULTS
        case "replay":
            from cloud.commands import replay

            try:
                status, lines = replay.run(settings, asked)
            except replay.RefusedError as error:
                print(error, file=sys.stderr)
                return replay.UNSEEN
            print("\n".join(lines))
            return status
        case "seed":
            from cloud.commands import seed

            said = seed.Asked(days=asked.days, end=asked.end, seed=asked.seed, check_only=asked.check)
            status, lines = seed.run(settings, said)
            print("\n".join(lines))
            return status
        case _:
            return _gateway(settings, asked)
    return 0


def _loop(work: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop

        factory = uvloop.new_event_loop
    except ModuleNotFoundError:  # Windows
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)


def _verify(settings: Settings) -> int:
    from cloud.commands.verify import verify

    report = verify(settings)
    for fault in report.faults:
        print(fault, file=sys.stderr)
    print(
        f"{report.streams} streams, {report.rows} records, {report.lost} declared lost, {report.chunks} chunks,"
        f" {report.linked} of them chained: {len(report.faults) or 'no'} faults"
    )
    return EXIT_FAULTS if report.faults else 0


def _gateway(settings: Settings, asked: argparse.Namespace) -> int:
    from cloud.commands import gateway

    if asked.keep is not None:
        print(gateway.keep(settings, asked.address, asked.keep))
    elif asked.close is not None:
        print(gateway.close(settings, asked.address, asked.close))
    else:
        print("\n".join(gateway.show(settings, asked.address)))
    return 0


def _shard(text: str) -> Any:
    from cloud.ingest.shard import shard

    try:
        return shard(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _address(text: str) -> Any:
    from sync.topics import Address

    parts = text.split("/")
    if len(parts) != 3:
        raise argparse.ArgumentTypeError(f"{text!r} is no gateway; write tenant/site/gateway")
    return Address(*parts)


def _duration(text: str) -> int:
    """Give a duration such as 7d, 12h or 30m in seconds."""
    seconds = {"d": 86_400, "h": 3_600, "m": 60}
    if not text[:-1].isdecimal() or text[-1] not in seconds or not 0 < int(text[:-1]) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 7d, 12h or 30m")
    return int(text[:-1]) * seconds[text[-1]]


def _date(text: str) -> Any:
    from cloud.commands.report_words import business_date

    return business_date(text)


def _days(text: str) -> int:
    if (days := _positive(text)) > MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text} days are too many; tell {MOST_DAYS} at most")
    return days


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 18 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
