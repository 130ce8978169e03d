"""`python -m tests.campaign --short|--long [--only ENGINE] [--state FOLDER]`: faults by the thousand, one table at the end.

Every block of seeds runs in its own process; what it found is a line of JSON in FOLDER/evidence.jsonl. Ctrl-C stops a
long campaign, and the same command goes on where it stopped, as long as the code under test is the same.
Exits 1 on any violation, on a mutant that nothing catches, and on an engine that broke.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.campaign import report
from tests.campaign.plan import ENGINES, Block, blocks
from tests.campaign.result import Result, restored, together
from tests.servers import ROOT

STATE = ROOT / "build" / "campaign"
UNDER_TEST = ("edge", "cloud", "sync", "tests/campaign")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__.partition("\n")[0])
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--short", action="store_true", help="what belongs to every commit (default)")
    form.add_argument("--long", action="store_true", help="what belongs to a release; may be stopped and resumed")
    parser.add_argument("--only", action="append", metavar="ENGINE", choices=[e.name for e in ENGINES])
    parser.add_argument("--state", type=Path, metavar="FOLDER", help="where evidence is kept (default: build/campaign)")
    parser.add_argument("--count", type=int, help="so many trials of each engine instead of the plan's")
    parser.add_argument("--seed", type=int, help="first seed instead of the plan's; with --count 1 it repeats a trial")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the table between its markers in this file")
    parser.add_argument("--block", help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(argv)
    if asked.block:
        return _do_block(asked.block, asked.count, asked.seed, asked.state, asked.result)
    engines = tuple(e for e in ENGINES if not asked.only or e.name in asked.only)
    state: Path = asked.state or STATE / ("long" if asked.long else "short")
    campaign = Campaign(state, resume=asked.long)
    began = time.monotonic()
    finished = campaign.run(blocks(engines, long=asked.long, count=asked.count, seed=asked.seed))
    results = together(campaign.results)
    text = report.table(results, engines, wall_s=time.monotonic() - began)
    print(f"\n{text}")
    (state / "table.txt").write_text(text + "\n", encoding="utf-8")
    for result in results:
        for said in result.violations:
            print(f"VIOLATION {result.engine}: {said}")
        for mutant in result.uncaught:
            print(f"UNCAUGHT MUTANT {result.engine}: {mutant}")
    if not finished:
        print("stopped; the same command goes on from here")
        return 130
    if asked.report:
        report.write(asked.report, results, engines, commit=_commit(), long=asked.long)
        print(f"written: {asked.report}")
    return 0 if all(result.ok for result in results) else 1


def _do_block(name: str, count: int, seed: int, state: Path, out: Path) -> int:
    """Run one block in this process and leave its result in a file."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the campaign decides when we end; it says SIGTERM
    signal.signal(signal.SIGTERM, _leave)
    engine = next(e for e in ENGINES if e.name == name)
    module = importlib.import_module(engine.module)
    result: Result = module.run(count=count, seed=seed, state=state, log=lambda said: print(said, flush=True))
    out.write_text(json.dumps(result.plain()), encoding="utf-8")
    return 0


def _leave(number: int, frame: object) -> None:
    """End so that servers, namespaces and folders that were opened are closed on the way out."""
    del number, frame
    sys.exit(143)


@dataclass(slots=True)
class Running:
    """A block's process."""

    block: Block
    process: subprocess.Popen[bytes]
    out: Path
    log: Path
    began: float


class Campaign:
    """Runs blocks side by side, keeps their evidence, and forgets none when it is stopped."""

    def __init__(self, state: Path, *, resume: bool) -> None:
        self._state = state
        self._evidence = state / "evidence.jsonl"
        self._done: dict[str, Result] = {}
        self._stopped = False
        self._left: list[Block] = []
        self._running: list[Running] = []
        state.mkdir(parents=True, exist_ok=True)
        self._code = _code()
        if resume:
            self._read()
        elif self._evidence.exists():
            self._evidence.unlink()

    @property
    def results(self) -> list[Result]:
        order = {engine.name: at for at, engine in enumerate(ENGINES)}
        return sorted(self._done.values(), key=lambda r: (order.get(r.engine, len(order)), r.seeds))

    def run(self, wanted: Sequence[Block]) -> bool:
        """Do what is not done yet; gives False when somebody stopped us."""
        known = {block.key for block in wanted}
        self._done = {key: result for key, result in self._done.items() if key in known}
        self._left = [block for block in wanted if block.key not in self._done]
        if self._done:
            print(f"resumed: {len(self._done)} of {len(wanted)} blocks are done", flush=True)
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while (self._left or self._running) and not self._stopped:
                self._begin_what_fits()
                time.sleep(0.1)
                self._gather()
        finally:
            self._end_all()
            for number, handler in before.items():
                signal.signal(number, handler)
        return not self._stopped

    def _stop(self, number: int, frame: object) -> None:
        del number, frame
        self._stopped = True

    def _begin_what_fits(self) -> None:
        cores = os.cpu_count() or 1
        for block in list(self._left):
            busy = sum(running.block.engine.cores for running in self._running)
            if busy and busy + block.engine.cores > cores:
                continue
            if block.engine.name == "stack kills" and any(r.block.engine is block.engine for r in self._running):
                continue  # whole stacks side by side would wait for each other's processor
            self._left.remove(block)
            self._begin(block)

    def _begin(self, block: Block) -> None:
        name = block.key.replace(" ", "-").replace(":", "-")
        log, out = self._state / f"{name}.log", self._state / f"{name}.json"
        out.unlink(missing_ok=True)
        with log.open("wb") as said:
            process = subprocess.Popen(
                [
                    sys.executable, "-m", "tests.campaign", "--block", block.engine.name, "--count", str(block.count),
                    "--seed", str(block.seed), "--state", str(self._state), "--result", str(out),
                ],
                cwd=ROOT, stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._running.append(Running(block, process, out, log, time.monotonic()))

    def _gather(self) -> None:
        for running in list(self._running):
            spent = time.monotonic() - running.began
            code = running.process.poll()
            if code is None and spent < running.block.engine.limit_s:
                continue
            self._running.remove(running)
            if code is None:
                _end(running.process)
                result = _broken(running, f"not done after {spent:.0f} s", spent)
            else:
                result = _read(running, code, spent)
            self._keep(running.block, result)

    def _keep(self, block: Block, result: Result) -> None:
        self._done[block.key] = result
        line = {"key": block.key, "code": self._code, "commit": _commit(), "at": time.time(), "result": result.plain()}
        with self._evidence.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if not result.violations:
            for suffix in (".json", ".log"):
                (self._state / f"{block.key.replace(' ', '-').replace(':', '-')}{suffix}").unlink(missing_ok=True)
        how = result.unavailable or (f"{len(result.violations)} VIOLATIONS" if result.violations else "no violation")
        print(
            f"… {block.engine.name} {result.seeds[0]}–{result.seeds[1]}: {result.count} in {result.seconds:.0f} s, {how}",
            flush=True,
        )

    def _read(self) -> None:
        """Take up what an earlier run of the same code left."""
        if not self._evidence.exists():
            return
        lines = [json.loads(line) for line in self._evidence.read_text(encoding="utf-8").splitlines() if line]
        for line in lines:
            if line["code"] == self._code:  # what was violated once stays violated, until the code is another one
                self._done[line["key"]] = restored(line["result"])
        if lines and not self._done:
            old = self._evidence.with_suffix(f".{lines[-1]['code'][:8]}.jsonl")
            self._evidence.rename(old)
            print(f"the code under test is another one: begun anew, earlier evidence is in {old.name}", flush=True)

    def _end_all(self) -> None:
        for running in self._running:
            running.process.terminate()
        for running in self._running:
            _end(running.process)
        self._running.clear()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a block and whatever it started: it is the leader of its own session."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _read(running: Running, code: int, spent: float) -> Result:
    try:
        return restored(json.loads(running.out.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        last = running.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = last[-1] if last else "it said nothing"
        return _broken(running, f"the engine ended with {code}: {said} ({running.log})", spent)


def _broken(running: Running, what: str, spent: float) -> Result:
    block = running.block
    return Result(
        engine=block.engine.name,
        subject="?",
        count=0,
        violations=[f"seeds {block.seed}–{block.seed + block.count - 1}: {what}"],
        seeds=(block.seed, block.seed + block.count - 1),
        seconds=spent,
    )


def _commit() -> str:
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=10"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return said.stdout.strip() or "unknown"


def _code() -> str:
    """Give a digest of the code under test; evidence of other code is no evidence."""
    found = hashlib.sha256()
    for folder in UNDER_TEST:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".py", ".sql", ".toml"} and path.is_file():
                found.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return found.hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
