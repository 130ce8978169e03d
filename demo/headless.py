"""The proof without a browser: cut the network, kill a gateway and the cloud, heal, and count every record.

Nothing is taken on trust: the product's own proof must balance, and so must what `demo.ledger` counts in the files, and
what the plant says it made must be what the cloud says was made, piece by piece.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from demo.faces import Faces
from demo.ledger import Account, account, made
from demo.processes import Crew
from demo.site_plan import GATEWAYS

PATIENCE_S: Final = 60.0
DRAINED: Final = 200
"""Waiting records of a gateway that keeps up: what a second makes, and a little."""


class ProofError(Exception):
    """Something did not happen in time; the message says what."""


@dataclass(slots=True)
class Proof:
    """What was done and found; `report` is what the file says."""

    crew: Crew
    faces: Faces
    folder: Path
    seed: int
    seconds: float
    say: Callable[[str], None]
    began: float = field(default_factory=time.monotonic)
    steps: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    checks: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    gateways: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    pieces: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    async def run(self) -> None:
        """Do it all. Raises ProofError, PartError; what was found so far stands in the report either way."""
        random_ = random.Random(self.seed)
        victim = random_.choice(sorted(GATEWAYS))
        await self._healthy()
        await self.faces.produce(on=True)
        self._step("everything is up, the plant produces")
        await self._until(self._all_judged_since(_now_ms()), "every line is judged")
        await self._spend(0.15)

        before = {name: await self.faces.gateway(name) for name in GATEWAYS}
        await self.faces.cut(cut=True)
        cut_at = _now_ms()
        self._step("the network is cut")
        await self._until(self._all_offline, "both gateways know that they are cut off")
        await self._until(self._all_judged_since(cut_at), "every line is judged while the network is cut")
        for name, status in before.items():
            self.gateways[name] = {"waiting_before_cut": status["store"]["waiting"]}
        await self._spend(0.2)
        self._step(f"{victim} is killed (SIGKILL) while cut off")
        dying = await self.faces.gateway(victim)
        old = dying["incarnation"]
        self.crew.kill(victim)
        await self._until(self._reborn(victim, old), f"{victim} is back with a new incarnation")
        await self._until(self._all_judged_since(_now_ms()), f"every line is judged again, {victim}'s too")
        for name in GATEWAYS:
            status = await self.faces.gateway(name)
            self.gateways[name] |= {
                "waiting_at_worst": status["store"]["waiting"],
                "judged_while_offline": status["judged_while_offline"]
                + (dying["judged_while_offline"] if name == victim else 0),
                "killed": name == victim,
            }
        await self._spend(0.1)

        await self.faces.cut(cut=False)
        self._step("the network is healed")
        await asyncio.sleep(random_.uniform(0.3, 1.5))  # somewhere in the middle of the drain
        self._step("the cloud is killed (SIGKILL) while the backlog drains")
        self.crew.kill("cloud")
        await self._until(self._drained, "the backlog is drained", PATIENCE_S * 2)
        self._step("the backlog is drained")
        await self._spend(0.1)

        await self.faces.produce(on=False)
        self._step("the plant stands still")
        await self._until(self._all_pieces_there, "every piece the plant made is in the cloud")
        self._step("every piece is in the cloud")
        await self._until(self._api_balanced, "the cloud's own proof balances for every gateway")
        await self._audit()

    def finding(self) -> dict[str, Any]:
        """Give the report."""
        return {
            "ok": bool(self.checks) and all(check["ok"] for check in self.checks),
            "seconds": round(time.monotonic() - self.began, 1),
            "seed": self.seed,
            "gateways": self.gateways,
            "pieces": self.pieces,
            "checks": self.checks,
            "steps": self.steps,
        }

    # --- what is waited for -----------------------------------------------------------------------------------

    async def _healthy(self) -> None:
        async def sources() -> bool:
            for name in GATEWAYS:
                status = await self.faces.gateway(name)
                if any(source["state"] != "connected" for source in status["sources"]):
                    return False
            return True

        async def known() -> bool:
            overview = await self.faces.overview()
            return len([g for g in overview["gateways"] if g["online"]]) == len(GATEWAYS)

        await self._until(sources, "every gateway is connected to its machines and the MES")
        await self._until(known, "the cloud knows both gateways")
        await self._until(self._drained, "the back-fill has arrived", PATIENCE_S * 3)

    async def _all_offline(self) -> bool:
        return all([(await self.faces.gateway(name))["uplink"]["state"] != "streaming" for name in GATEWAYS])

    def _all_judged_since(self, at_ms: int) -> Callable[[], Awaitable[bool]]:
        async def judged() -> bool:
            for name in GATEWAYS:
                for line in (await self.faces.gateway(name))["lines"]:
                    if (line["last_verdict"] or 0) <= at_ms:
                        return False
            return True

        return judged

    def _reborn(self, gateway: str, old: str) -> Callable[[], Awaitable[bool]]:
        async def reborn() -> bool:
            status = await self.faces.gateway(gateway)
            return status["incarnation"] != old and all(s["state"] == "connected" for s in status["sources"])

        return reborn

    async def _drained(self) -> bool:
        for name in GATEWAYS:
            status = await self.faces.gateway(name)
            if status["uplink"]["state"] != "streaming" or status["store"]["waiting"] > DRAINED:
                return False
        return bool(await self.faces.overview())

    async def _all_pieces_there(self) -> bool:
        truth = await self.faces.counters()
        there = await asyncio.to_thread(made, self.folder / "cloud.db")
        for unit, counts in truth.items():
            wanted = {"produced": counts["produced"], "good": counts["good"], "scrap": counts["scrap"]}
            wanted |= {kind: n for kind, n in counts["defects"].items() if n}
            self.pieces[unit] = {"plant": wanted, "cloud": there.get(unit, {})}
        return all(entry["plant"] == entry["cloud"] for entry in self.pieces.values())

    async def _api_balanced(self) -> bool:
        proof = {row["gateway"]: row for row in (await self.faces.overview())["proof"]}
        for name in GATEWAYS:
            self.gateways[name]["api"] = proof.get(name)
        return all(name in proof and proof[name]["balanced"] for name in GATEWAYS)

    # --- the audit --------------------------------------------------------------------------------------------

    async def _audit(self) -> None:
        """Stop gateways and cloud, so that nothing moves, and count in their files."""
        for name in GATEWAYS:
            await self.crew.end(name)
        await self.crew.end("cloud")
        self._step("gateways and cloud are stopped; counting in their files")
        for name in GATEWAYS:
            found: Account = await asyncio.to_thread(
                account, self.folder / name / "edge.db", self.folder / "cloud.db", name
            )
            self.gateways[name]["files"] = asdict(found)
            self._check(
                f"{name}: produced = stored + waiting + lost",
                found.balanced,
                f"{found.produced} = {found.stored} + {found.waiting} + {found.lost}",
            )
            self._check(f"{name}: nothing stored twice", found.twice == 0, f"{found.twice} twice")
            self._check(f"{name}: nothing lost", found.lost == 0, f"{found.lost} lost")
            api = self.gateways[name]["api"]
            self._check(
                f"{name}: the page's proof",
                bool(api and api["balanced"]),
                f"{api['produced']} = {api['stored']} + {api['waiting']} + {api['lost']}" if api else "missing",
            )
            offline = self.gateways[name]["judged_while_offline"]
            self._check(f"{name}: judged while cut off", offline > 0, f"{offline} verdicts")
        await self._all_pieces_final()

    async def _all_pieces_final(self) -> None:
        there = await asyncio.to_thread(made, self.folder / "cloud.db")
        for unit, entry in self.pieces.items():
            entry["cloud"] = there.get(unit, {})
            plant = entry["plant"]
            self._check(
                f"{unit}: pieces made = pieces in the cloud",
                plant == entry["cloud"] and plant["produced"] == plant["good"] + plant["scrap"],
                f"{plant['produced']} made, {entry['cloud'].get('produced', 0)} in the cloud",
            )

    # --- small things -----------------------------------------------------------------------------------------

    def _check(self, what: str, ok: bool, found: str) -> None:
        self.checks.append({"check": what, "ok": ok, "found": found})

    def _step(self, what: str) -> None:
        self.steps.append({"at_s": round(time.monotonic() - self.began, 1), "what": what})
        self.say(what)

    async def _until(self, true: Callable[[], Awaitable[bool]], what: str, seconds: float = PATIENCE_S) -> None:
        limit = time.monotonic() + seconds
        while True:
            if self.crew.failed.done():
                await self.crew.failed
            try:
                if await true():
                    return
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                why = f" ({error})"
            else:
                why = ""
            if time.monotonic() > limit:
                self._check(what, ok=False, found=f"not within {seconds:.0f} s{why}")
                raise ProofError(f"not within {seconds:.0f} s: {what}{why}")
            await asyncio.sleep(0.1)

    async def _spend(self, share: float) -> None:
        """Let the system run for a share of the time that was asked for."""
        await asyncio.sleep(self.seconds * share)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def table(finding: dict[str, Any]) -> str:
    """Give the report as a person reads it."""
    lines = ["", f"  {'':4} {'check':52} found", f"  {'':4} {'-' * 52} {'-' * 30}"]
    lines += [
        f"  {'ok' if check['ok'] else 'FAIL':4} {check['check']:52} {check['found']}" for check in finding["checks"]
    ]
    verdict = "every record and every piece is accounted for" if finding["ok"] else "IT DOES NOT ADD UP"
    return "\n".join([*lines, "", f"  {verdict} ({finding['seconds']} s, seed {finding['seed']})"])
