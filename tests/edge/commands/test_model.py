"""`triflow edge model`: orders for a running gateway and for one that will run, and what it says of them."""

from __future__ import annotations

import asyncio
import functools

from edge.__main__ import main
from tests.edge.scoring import moody
from tests.edge.scoring.gateway import WORK_UNIT, lay_out, running
from tests.edge.stores import until


async def say(*words: str) -> int:
    """Run the command in a thread, as if from another terminal."""
    return await asyncio.to_thread(functools.partial(main, ["model", *map(str, words)]))


async def test_a_running_gateway_answers(tmp_path, capsys):
    site = lay_out(tmp_path)
    package = tmp_path / "moody-2.0.0.tfm"
    package.write_bytes(moody.package("2.0.0"))
    async with running(tmp_path) as gateway:
        await gateway.active()
        assert await say("activate", package, "--line", WORK_UNIT, site) == 0
        assert "moody 2.0.0 judges hall/line-1/press from now on" in capsys.readouterr().out
        assert await say("status", site) == 0
        out = capsys.readouterr().out
        assert "hall/line-1/press: moody 2.0.0 (" in out
        assert "before: moody 1.0.0 (" in out
        assert "was overruled by a person" in out
        assert "hall/line-2/press: rules only" in out
        assert await say("rollback", "--line", WORK_UNIT, site) == 0
        assert "moody 1.0.0 judges" in capsys.readouterr().out
        kept = next(path.name for path in (gateway.site.data / "bundles").iterdir() if len(path.name) == 64)
        assert await say("activate", kept[:12], "--line", WORK_UNIT, site) == 0  # of what the gateway has
        assert await say("retire", "--line", WORK_UNIT, site) == 0
        assert await say("retire", "--line", WORK_UNIT, site) == 65
        assert "runs no model" in capsys.readouterr().err
        (tmp_path / "bad.tfm").write_bytes(moody.package("3.0.0", key=moody.STRANGER))
        assert await say("activate", tmp_path / "bad.tfm", "--line", WORK_UNIT, site) == 65
        assert "refused" in capsys.readouterr().err


async def test_a_gateway_that_does_not_run_takes_it_at_its_start(tmp_path, capsys):
    site = lay_out(tmp_path)
    async with running(tmp_path) as gateway:
        await gateway.active()
    package = tmp_path / "moody-2.0.0.tfm"
    package.write_bytes(moody.package("2.0.0"))
    assert await say("activate", package, "--line", WORK_UNIT, site) == 0
    assert "at its next start" in capsys.readouterr().out
    assert await say("status", site) == 0
    assert "waits: activate hall/line-1/press" in capsys.readouterr().out
    async with running(tmp_path) as gateway:
        await until(lambda: gateway.scoring.states()[0].version == "2.0.0", "the order is taken")


async def test_what_cannot_be_ordered_is_said_with_what_to_check(tmp_path, capsys):
    site = lay_out(tmp_path)
    assert await say("status", site) == 78
    assert "no gateway has run here yet" in capsys.readouterr().err
    async with running(tmp_path) as gateway:
        await gateway.active()
        assert await say("retire", "--line", "hall/line-1/pres", site) == 65
        assert "hall/line-1/press" in capsys.readouterr().err
        assert await say("activate", "nothing.tfm", "--line", WORK_UNIT, site) == 65
        assert "give a .tfm file" in capsys.readouterr().err
        assert await say("activate", "0123456789", "--line", WORK_UNIT, site) == 65
        assert "no package on this gateway begins" in capsys.readouterr().err
    assert await say("status", tmp_path / "none.toml") == 78
