"""What each fault kind does to the world when its time comes; the schedule is the plan's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cloud.ingest.door import SESSIONS
from tests.campaign.simulation.broker import Link
from tests.campaign.simulation.gateway import Box, Snapshot
from tests.campaign.simulation.plan import WINDOWS, Fault, S

if TYPE_CHECKING:
    from tests.campaign.simulation.simulate import Simulation

YEAR: Final = 365 * 86_400 * S
ON_THE_WAY: Final = {"drop", "duplicate", "reorder", "delay", "corrupt", "stale", "ack_drop", "up_cut", "down_cut", "database_down", "nobody_listens"}  # fmt: skip
"""Kinds that are counted message by message, not when their window opens."""


class Faults:
    """Carries out a seed's schedule."""

    def __init__(self, simulation: Simulation) -> None:
        self._s = simulation
        self.world = simulation.world

    def schedule(self) -> None:
        for fault in self.world.plan.faults:
            self.world.at(fault.at, self._begin, fault)

    def _begin(self, fault: Fault) -> None:
        if self.world.healed:
            return
        self.world.say("fault", str(fault))
        if fault.kind in WINDOWS:
            key = self._s.weather.begin(fault.kind, fault.where, fault.strength)
            if fault.kind not in ON_THE_WAY:
                self.world.count(fault.kind)
            self.world.at(fault.until, self._end, fault, key)
            opens = getattr(self, f"_{fault.kind}", None)
            if opens is not None:
                opens(fault)
        else:
            getattr(self, f"_{fault.kind}")(fault)

    def _end(self, fault: Fault, key: tuple[int, int]) -> None:
        self._s.weather.end(fault.kind, key)
        if fault.kind == "window_zero":
            self._s.cloud.open_windows()
        if fault.kind == "disk_pressure":
            for box in self._hit(fault):
                box.pressure(-1.0)

    def _hit(self, fault: Fault) -> list[Box]:
        """Give the living boxes that a fault hits."""
        return [b for b in self._s.boxes if not b.gone and fault.where in {b.where, self.world.plan.gateways}]

    def _one(self, fault: Fault) -> Box | None:
        boxes = self._hit(fault)
        return boxes[int(fault.strength * len(boxes)) % len(boxes)] if boxes else None

    # --- windows that do something when they open ---

    def _link_down(self, fault: Fault) -> None:
        self._s.broker.cut(fault.where)

    def _up_cut(self, fault: Fault) -> None:
        self._s.broker.cut(fault.where)

    def _down_cut(self, fault: Fault) -> None:
        self._s.broker.cut(fault.where)

    def _window_zero(self, fault: Fault) -> None:
        self._s.cloud.open_windows()

    def _disk_pressure(self, fault: Fault) -> None:
        for box in self._hit(fault):
            box.pressure(fault.strength)

    # --- moments ---

    def _broker_restart(self, fault: Fault) -> None:
        self.world.count("broker_restart")
        self._s.broker.restart(int(fault.strength * 20 * S))

    def _takeover(self, fault: Fault) -> None:
        box = self._one(fault)
        if box is not None and box.session is not None:
            self.world.count("takeover")
            stranger = Link(box.client, box.where, None, lambda _topic, _payload: None, lambda _why: None)
            if self._s.broker.connect(stranger):
                self._s.broker.leave(stranger)

    def _edge_crash(self, fault: Fault) -> None:
        box = self._one(fault)
        if box is not None and box.alive:
            self.world.count("edge_crash")
            self.world.say(box.name, "crashes")
            self._s.crash(box)
            box.restart_later()

    def _edge_restore(self, fault: Fault) -> None:
        box = self._one(fault)
        if box is None or not box.snapshots:
            return
        self.world.count("edge_restore")
        chosen = box.snapshots[int(fault.strength * len(box.snapshots))]
        self.world.say(box.name, f"is restored from its backup of {chosen.at / S:.1f} s")
        box.kill()
        box.set_disk(chosen.disk, chosen.read)
        box.snapshots = [one for one in box.snapshots if one.at <= chosen.at]
        box.restart_later()

    def _memory_image(self, fault: Fault) -> None:
        box = self._one(fault)
        if box is None or not box.alive:
            return
        image = Snapshot(self.world.now, b"", box.read.copy(), (*box.copy_process(), box._known_dictionary))
        wait = int(self.world.chance("image").uniform(1, max(2, self.world.plan.horizon / S / 6)) * S)
        self.world.after(wait, self._resume, fault, box, image)

    def _resume(self, fault: Fault, box: Box, image: Snapshot) -> None:
        if self.world.healed or box.gone:
            return
        self.world.count("memory_image")
        self.world.say(box.name, f"goes on from its memory of {image.at / S:.1f} s")
        if fault.strength < 0.7:
            box.kill()
        else:  # both run, until a person ends one of them
            twin = self._s.add_box(box.where, f"{box.name}~")
            twin.old, twin.signer = box.old, box.signer
            self._s.twins.append((box, twin))
            box = twin
        box.resume(image)

    def _clone(self, fault: Fault) -> None:
        box = self._one(fault)
        if box is None or not box.alive or len(self._s.boxes) > 8:
            return
        plan = self.world.plan
        together = sum(other.where == box.where and not other.gone for other in self._s.boxes)
        if together >= SESSIONS and (plan.has("old_gateway") or plan.has("old_cloud")):
            return  # known limit: a ninth box of one identity under protocol 1 and all of them say hello without end
        self.world.count("clone")
        source = box.disk.serialize("main"), box.read
        if box.snapshots and fault.strength < 0.5:
            chosen = box.snapshots[-1]
            source = chosen.disk, chosen.read
        twin = self._s.add_box(box.where, f"{box.name}'")
        twin.old, twin.signer = box.old, box.signer
        twin.dictionary = box.dictionary
        twin.set_disk(*source)
        self.world.say(twin.name, f"is a clone of {box.name}")
        if int(fault.strength * 1000) % 2:
            self._s.twins.append((box, twin))
        twin.restart_later()

    def _replaced(self, fault: Fault) -> None:
        box = self._one(fault)
        if box is None or len(self._s.boxes) > 8:
            return
        self.world.count("replaced")
        box.destroy()
        fresh = self._s.add_box(box.where, f"{box.name}+")
        fresh.restart_later()

    def _turn(self, fault: Fault) -> None:
        box = self._one(fault)
        if box is not None and box.alive:
            self.world.count("turn")
            box.turn("simulated backlog")

    def _edge_clock(self, fault: Fault) -> None:
        box = self._one(fault)
        if box is not None:
            self.world.count("edge_clock")
            box.clock.offset = int((fault.strength - 0.5) * 8 * YEAR) if fault.strength > 0.2 else 0

    def _cloud_clock(self, fault: Fault) -> None:
        self.world.count("cloud_clock")
        self._s.cloud.clock.offset = int((fault.strength - 0.5) * 4 * YEAR)

    def _bit_rot(self, fault: Fault) -> None:
        box = self._one(fault)
        if box is None or not box.alive:
            return
        rows = box.disk.execute("SELECT id, body FROM chunk ORDER BY id").fetchall()
        if rows:
            self.world.count("bit_rot")
            id_, body = rows[int(fault.strength * len(rows))]
            place = int(fault.strength * 7919) % len(body)
            body = body[:place] + bytes([body[place] ^ 4]) + body[place + 1 :]
            box.disk.execute("UPDATE chunk SET body = ? WHERE id = ?", (body, id_))

    def _damaged_body(self, fault: Fault) -> None:
        box = self._one(fault)
        if box is not None:
            box.damage_next = True

    def _cloud_crash(self, fault: Fault) -> None:
        cloud = self._s.cloud
        worker = cloud.workers[int(fault.strength * 1000) % len(cloud.workers)]
        if not worker.alive:
            return
        self.world.count("cloud_crash")
        how = int(fault.strength * 3)
        if how:  # within its next transaction
            worker.dies = "before" if how == 1 else "after"
        else:
            self.world.say(f"cloud-{worker.number}", "crashes")
            cloud.restart_worker(worker)

    def _cloud_restore(self, fault: Fault) -> None:
        cloud = self._s.cloud
        if not cloud.backups:
            return
        if self.world.plan.has("old_backup") and fault.strength < 0.6:
            chosen = cloud.backups[int(fault.strength / 0.6 * len(cloud.backups))]
            if chosen is not cloud.backups[-1]:
                self.world.count("old_backup")
        else:
            chosen = cloud.backups[-1]
        self.world.count("cloud_restore")
        cloud.restore(chosen)

    def _reshard(self, fault: Fault) -> None:
        self.world.count("reshard")
        self._s.cloud.reshard()

    def _wanted(self, fault: Fault) -> None:
        if self._s.cloud.want(fault.where, fault.strength):
            self.world.count("wanted")

    def _person(self, fault: Fault) -> None:
        away = all(box.session is None for box in self._s.boxes if box.where == fault.where)
        if self._s.cloud.give_up(fault.where, hasty=away):  # nobody gives up what is speaking
            self.world.count("person")
