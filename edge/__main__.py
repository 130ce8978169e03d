"""`triflow edge …`: the composition root of a gateway. The one place where its real parts meet."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple

from edge import config, timekeeping
from edge.audit import take_in
from edge.blueprint import CHECKPOINT, Blueprint
from edge.box import box_id
from edge.connections import OpcUa
from edge.flow import Flow
from edge.health import Health, notify_systemd
from edge.page.api import page_app
from edge.page.server import PortTakenError, serve
from edge.site import Site, load
from edge.store import Quota, Store, StoreError, StoreRefusedError, open_store
from edge.timekeeping import Timekeeping
from edge.uplink import UplinkState, UplinkVitals, run_uplink
from sync.clock import Clock, WallClock
from sync.facts import Audited, Fact, Stream
from sync.farewell import farewell
from sync.frames import Command, Offer
from sync.logs import log_to_stderr
from sync.mqtt import Mqtt
from sync.settings import ConfigError
from sync.takeover import Takeovers

SOFTWARE = f"triflow {version('triflow')}"
HOUR_NS = 3_600 * 10**9
EX_CONFIG = 78
"""sysexits.h: the configuration is wrong; the systemd unit does not restart on it."""
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "act": ("edge.commands.act", "modes, approvals, the kill switch, trust: how far the gateway may act"),
    "backup": (
        "edge.commands.backup",
        "copy the store into a folder and prove the copy, while the gateway runs or not",
    ),
    "book": ("edge.commands.book", "list, show, check tag books; to a spreadsheet and back"),
    "browse": ("edge.commands.browse", "show what a machine offers; make a tag book of it"),
    "model": ("edge.commands.model", "which model package a line runs: activate, rollback, retire, status"),
    "plan": ("edge.commands.plan", "say what a new site file would change, and try it on the devices"),
    "restore": ("edge.commands.restore", "put a backup in the place of the store"),
    "salvage": ("edge.commands.salvage", "save what can be saved of a damaged store"),
    "trust": ("edge.commands.trust", "approve or reject servers' certificates; show the gateway's own"),
    "verify": ("edge.commands.verify", "check every page, number, digest and chain of a store or a backup"),
}
"""Word → its module (with `main(argv) -> int`) and what it does. `triflow edge WORD …`."""
EX_UNAVAILABLE = 69
EX_IOERR = 74


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="triflow edge", description="Run, check and look after one gateway.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, what in (
        ("run", "run the gateway until stopped"),
        ("check", "check a site file, its books, rules and credentials"),
    ):
        command = commands.add_parser(name, help=what, description=what)
        command.add_argument("site", type=Path, help="the site file, e.g. site.toml")
    for name, (_, what) in COMMANDS.items():  # each parses the rest of its line itself, and is loaded only when spoken
        commands.add_parser(name, help=what, add_help=False)
    if argv and argv[0] in COMMANDS:
        module, _ = COMMANDS[argv[0]]
        return int(importlib.import_module(module).main(argv[1:]))
    arguments = parser.parse_args(argv)
    try:
        site = load(arguments.site)
    except ConfigError as error:
        print(error, file=sys.stderr)
        print(f"{len(error.faults)} fault(s); nothing was started", file=sys.stderr)
        return EX_CONFIG
    if arguments.command == "check":
        for line in site.file.lines:
            for warning in site.rulesets[line.work_unit].warnings if line.work_unit in site.rulesets else ():
                print(f"{line.rules}:{warning}", file=sys.stderr)
        print(
            f"{arguments.site}: good: {len(site.file.lines)} lines, {len(site.table)} tags, {len(site.rulesets)} rulesets"
        )
        return 0
    log_to_stderr("triflow-edge", site.file.log.format, site.file.log.level, journal="JOURNAL_STREAM" in os.environ)
    try:
        asyncio.run(_run(site))
    except StoreRefusedError as error:
        print(f"store: {error}", file=sys.stderr)
        return EX_CONFIG
    except StoreError as error:
        print(f"store: {error}", file=sys.stderr)
        return EX_IOERR
    except PortTakenError as error:
        print(error, file=sys.stderr)
        return EX_UNAVAILABLE
    return 0


async def _run(site: Site) -> None:
    """Open everything, run until SIGTERM or SIGINT, close everything."""
    clock = WallClock()
    gateway, page = site.file.gateway, site.file.page
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    keeping = Timekeeping(clock)
    async with open_store(
        site.data,
        clock=clock,
        quota_bytes=gateway.quota_mb * 2**20,
        ballast_bytes=gateway.ballast_mb * 2**20,
        software=SOFTWARE,
        ring_bytes=gateway.ring_mb * 2**20,
        quotas=_quotas(gateway.quota),
        group_ms=gateway.group_ms,
        clock_state=keeping.stamp,
    ) as store:
        uplink = UplinkState() if site.file.uplink is not None else None
        flow = Flow(site, store, clock, identity=lambda: "ok" if uplink is None else uplink.identity)
        blueprint = Blueprint.of(site, at=clock.now(), software=SOFTWARE)
        started = _audited(
            clock, gateway.id, "gateway.started", incarnation=store.incarnation, configuration=blueprint.digest
        )
        keeping.recall(store.checkpoint(timekeeping.CHECKPOINT))
        await store.commit(
            facts=[started], checkpoints={CHECKPOINT: blueprint.encode()} | keeping.born(store.incarnation)
        )
        parts = [
            asyncio.create_task(flow.run(), name="flow"),
            asyncio.create_task(serve(page_app(Health(flow, uplink)), page.host, page.port), name="page"),
            asyncio.create_task(_watch(flow, uplink), name="watchdog"),
            asyncio.create_task(_keep_time(store, keeping), name="clock"),
            asyncio.create_task(take_in(lambda facts: store.commit(facts=facts), site.data, clock), name="audit notes"),
        ]
        if any(isinstance(one, OpcUa) and one.security != "none" for one in site.file.connections):
            from edge.expiry import watch  # certificates are loaded only where there are some

            parts.append(asyncio.create_task(watch(site, store, clock), name="certificates"))
        if uplink is not None:
            from edge.commanded import serve as serve_commands
            from edge.deliveries import deliveries_of  # an HTTP client is loaded only where there is a cloud
            from edge.remote import Commands

            deliveries = deliveries_of(site, store, clock, lambda: keeping.offset_ms)
            commands = Commands(
                store,
                clock,
                site.address,
                cloud_key=lambda: uplink.cloud_key_kept,
                ahead_ms=lambda: keeping.offset_ms,
                alone=lambda: uplink.identity == "ok",
            )
            serve_commands(commands, flow.recording, flow.acting, flow.scoring)
            parts += [
                asyncio.create_task(deliveries.run(), name="packages"),
                asyncio.create_task(commands.run(), name="commands"),
            ]
            hears = _Hears(deliveries.offered, commands.received)
            parts.append(asyncio.create_task(_send(site, store, flow, uplink, keeping, hears), name="uplink"))
        stopping = asyncio.create_task(stop.wait(), name="stop")
        notify_systemd("READY=1")
        await asyncio.wait([*parts, stopping], return_when=asyncio.FIRST_COMPLETED)
        notify_systemd("STOPPING=1")
        for task in (*parts, stopping):
            task.cancel()
        results = await asyncio.gather(*parts, return_exceptions=True)
        for broken in results:
            if isinstance(broken, Exception):
                raise _first(broken)
        await store.commit(facts=[_audited(clock, gateway.id, "gateway.stopped")])


def _quotas(limits: config.Quota) -> dict[Stream, Quota]:
    """Give the lanes' own limits as the store takes them."""
    found = {
        Stream.AUDIT: Quota(most_bytes=_bytes(limits.audit.mb)),
        Stream.EVENT: Quota(most_bytes=_bytes(limits.event.mb)),
    }
    for stream, share in ((Stream.FACT, limits.fact), (Stream.AGG, limits.agg), (Stream.DIAG, limits.diag)):
        most_ns = None if share.hours is None else round(share.hours * HOUR_NS)
        found[stream] = Quota(most_bytes=_bytes(share.mb), most_ns=most_ns)
    return found


def _bytes(megabytes: int | None) -> int | None:
    return None if megabytes is None else megabytes * 2**20


def _first(error: Exception) -> Exception:
    """Give what is inside the groups that task groups make, so that `main` can say it in a sentence."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _audited(clock: Clock, gateway: str, action: str, **detail: str) -> Audited:
    return Audited(at=clock.now(), actor="system", action=action, target=gateway, detail=dict(detail))


async def _keep_time(store: Store, keeping: Timekeeping) -> None:
    """Put every jump of the clock on record."""

    async def commit(facts: Sequence[Fact], checkpoints: dict[str, bytes]) -> None:
        await store.commit(facts=facts, checkpoints=checkpoints)

    await keeping.watch(commit, lambda: store.incarnation)


async def _watch(flow: Flow, uplink: UplinkState | None) -> None:
    """Pet systemd's watchdog while the loop turns, and let the flow know whether the cloud confirms."""
    while True:
        flow.recording.online = uplink is not None and uplink.state == "streaming"
        notify_systemd("WATCHDOG=1")
        await flow.clock.sleep(0.2)


class _Hears(NamedTuple):
    """Who takes what the cloud says beside receipts."""

    offers: Callable[[Offer], None]
    commands: Callable[[Command], None]


async def _send(  # noqa: PLR0917 - each is a different kind of thing; mixing two up does not type-check
    site: Site,
    store: Store,
    flow: Flow,
    state: UplinkState,
    keeping: Timekeeping,
    hears: _Hears,
) -> None:
    """Keep the uplink: one MQTT connection after another, for ever."""
    uplink = site.file.uplink
    if uplink is None:
        return
    takeovers = Takeovers()

    def connect() -> Mqtt:
        return Mqtt(
            uplink.host,
            uplink.port,
            client_id=f"{site.file.gateway.id}.{store.incarnation[:8]}",
            subscriptions=[site.address.down(what) for what in ("ctl", "ack", "cmd")],
            will=(site.address.up("state"), farewell(key, site.address, store.incarnation)),
            tls=uplink.tls,
            ca=None if site.uplink_ca is None else str(site.uplink_ca),
            certificate=site.uplink_certificate,
            takeovers=takeovers,
        )

    def vitals() -> UplinkVitals:
        newest = max((s.newest for s in flow.sources.values()), default=0)
        return UplinkVitals(
            disk_free_bytes=shutil.disk_usage(site.data).free,
            data_at=newest or None,
            sources={s.name: s.state for s in flow.sources.values()},
        )

    key = bytes.fromhex(uplink.key.read(site.folder).get_secret_value())
    await run_uplink(
        store,
        connect,
        site.address,
        key,
        flow.clock,
        vitals,
        state=state,
        heartbeat_s=uplink.heartbeat_s,
        software=SOFTWARE,
        box=box_id(),
        signer=store.signer,
        on_offset=keeping.compared,
        on_offer=hears.offers,
        on_command=hears.commands,
        backlog_bytes_s=None if uplink.backlog_kb_s is None else uplink.backlog_kb_s * 1024,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
