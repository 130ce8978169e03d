"""Which package a line runs: verified, put on record, swapped between two windows, gone back to, kept over a restart."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from pathlib import Path

import msgspec
import pytest

from edge import bundles
from edge.scoring import verifying
from edge.scoring.orders import Answer, Order, leave, order_id
from models.package import read, verification
from sync.facts import AlarmChanged, Audited
from sync.judgment import ModelChanged
from tests.edge.scoring import moody
from tests.edge.scoring.gateway import OTHER, WORK_UNIT, lay_out, running
from tests.edge.stores import until


def of(facts, kind):
    return [fact for fact in facts if isinstance(fact, kind)]


async def test_the_site_files_package_is_verified_recorded_and_judges(tmp_path):
    lay_out(tmp_path)
    async with running(tmp_path) as gateway:
        assert (await gateway.scorer.score(moody.moment(0.95))).failure == "no_model: starting"
        await gateway.active()
        scored = await gateway.scorer.score(moody.moment(0.95), "moody")
        assert (scored.decision, scored.label, scored.failure) == ("critical", "worn", None)
        assert scored.scores["worn"] == pytest.approx(0.95)
        assert scored.features == {"load": 0.95}
        assert scored.sha256 == hashlib.sha256(moody.package()).hexdigest()
        facts = await gateway.facts()
        (changed,) = of(facts, ModelChanged)
        assert (changed.state, changed.version, changed.work_unit) == ("active", "1.0.0", WORK_UNIT)
        (audited,) = of(facts, Audited)
        assert (audited.action, audited.actor, audited.target) == ("model.activated", "system", WORK_UNIT)
        assert read(bundles.path(gateway.site.data, scored.sha256), trusted=[moody.TRUSTED]).sha256 == scored.sha256
        assert [s.work_unit for s in gateway.scoring.states()] == [WORK_UNIT]
        state = gateway.scoring.states()[0]
        assert (state.model, state.breaker, state.asked, state.failures) == ("moody", "closed", 1, {"no_model": 1})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (moody.package()[:-100], ""),
        (moody.package(key=None), "nobody has signed"),
        (moody.package(key=moody.STRANGER), "signature"),
        (moody.package().replace(b"moody", b"moods"), ""),
        (b"", "no zip"),
        (moody.package(window_s=(20.0, 60.0)), "windows of 20 to 60 s"),
        (moody.package(name="other"), "asks moody"),
        (moody.package(minimum_software="99.0.0"), "99.0.0"),
    ],
)
async def test_a_refused_package_stops_no_line_and_is_said_once(tmp_path, content, why):
    lay_out(tmp_path)
    (tmp_path / "moody-1.0.0.tfm").write_bytes(content)
    for _ in range(2):  # a restart tries again, and raises no second alarm
        async with running(tmp_path) as gateway:
            await until(lambda: gateway.scorer.state == "refused", "it is refused")
            scored = await gateway.scorer.score(moody.moment(0.5), "moody")
            assert (scored.decision, scored.model) == ("unknown", "")
            assert scored.failure is not None
            assert scored.failure.startswith("no_model: refused")
            assert why in gateway.scoring.states()[0].why
            facts = await gateway.facts()
    assert [alarm.alarm for alarm in of(facts, AlarmChanged)] == ["model.refused"]
    assert {fact.state for fact in of(facts, ModelChanged)} == {"refused"}
    assert {fact.action for fact in of(facts, Audited)} == {"model.refused"}


async def test_a_missing_package_is_refused_with_its_path(tmp_path):
    lay_out(tmp_path, model="gone.tfm")
    async with running(tmp_path) as gateway:
        await until(lambda: gateway.scorer.state == "refused", "it is refused")
        assert "gone.tfm" in gateway.scorer.why


async def test_a_line_of_other_units_or_without_the_tag_refuses_it(tmp_path):
    lay_out(tmp_path)
    book = (tmp_path / "press.toml").read_text()
    (tmp_path / "press.toml").write_text(
        book.replace('name = "load"\naddress = "load"', 'name = "loud"\naddress = "load"')
    )
    rules = (tmp_path / "press.rules.toml").read_text()
    (tmp_path / "press.rules.toml").write_text(rules.replace("load.mean", "loud.mean"))
    async with running(tmp_path) as gateway:
        await until(lambda: gateway.scorer.state == "refused", "it is refused")
        assert "load" in gateway.scorer.why


async def test_a_swap_while_judging_loses_no_judgment_and_each_has_one_version(tmp_path):
    lay_out(tmp_path)
    (tmp_path / "moody-1.0.0.tfm").write_bytes(moody.package(deadline_ms=500.0))
    second = moody.package("2.0.0", gain=0.5, deadline_ms=500.0)
    async with running(tmp_path) as gateway:
        await gateway.active()
        answers = []
        over = asyncio.Event()

        async def judge() -> None:
            for number in itertools.count():
                if over.is_set():
                    return
                answers.append(asyncio.create_task(gateway.scorer.score(moody.moment(0.5, number), "moody")))
                await asyncio.sleep(0.005)

        def answered(version: str, since: int) -> bool:
            done = [task.result() for task in answers[since:] if task.done()]
            return any(one.failure is None and one.version == version for one in done)

        judging = asyncio.create_task(judge())
        await until(lambda: answered("1.0.0", 0), "the first answers")
        assert (await gateway.order("activate", second)).done
        await until(lambda: answered("2.0.0", 0), "the second answers")
        assert (await gateway.order("rollback")).done
        asked = len(answers)
        await until(lambda: answered("1.0.0", asked), "the first answers again")
        over.set()
        await judging
        scored = await asyncio.gather(*answers)
    # A machine that is busy enough makes some late; not one is lost, and not one is of a version halfway.
    assert {s.failure.partition(":")[0] for s in scored if s.failure is not None} <= {"deadline"}
    scored = [s for s in scored if s.failure is None]
    value = {"1.0.0": 0.5, "2.0.0": 0.25}
    assert all(s.scores["worn"] == value[s.version] for s in scored)  # of one version whole, or of the other
    versions = [s.version for s in scored]
    assert set(versions) == {"1.0.0", "2.0.0"}
    assert sum(a != b for a, b in itertools.pairwise(versions)) == 2  # over, and back


async def test_a_window_asked_of_the_version_before_is_answered_by_it(tmp_path):
    lay_out(tmp_path)
    async with running(tmp_path) as gateway:
        await gateway.active()
        asked = gateway.scorer.prepare(moody.moment(0.5))
        await gateway.order("activate", moody.package("2.0.0", gain=0.5))
        assert (await gateway.scorer.answer(asked)).version == "1.0.0"
        await gateway.order("activate", moody.package("3.0.0", gain=0.25))
        gone = await gateway.scorer.answer(asked)
        assert gone.failure == "no_model: moody 1.0.0 is not run any more"


async def test_a_person_activates_goes_back_and_retires_and_every_step_is_on_record(tmp_path):
    lay_out(tmp_path)
    async with running(tmp_path) as gateway:
        await gateway.active()
        for version in ("2.0.0", "3.0.0", "4.0.0"):
            assert (await gateway.order("activate", moody.package(version))).done
        assert gateway.scoring.states()[0].previous == ("3.0.0", "2.0.0")
        assert (await gateway.order("rollback")).done
        assert (await gateway.order("rollback")).done
        assert gateway.scoring.states()[0].version == "2.0.0"
        assert not (await gateway.order("rollback")).done
        assert (await gateway.order("retire")).done
        assert (await gateway.scorer.score(moody.moment(0.5))).failure == "no_model: retired"
        assert not (await gateway.order("retire")).done
        assert (await gateway.order("rollback")).done  # the retired one comes back
        assert (await gateway.scorer.score(moody.moment(0.5))).version == "2.0.0"
        facts = await gateway.facts()
        assert {fact.actor for fact in of(facts, Audited)} == {"system", "kim"}
        assert sorted(fact.action for fact in of(facts, Audited)) == sorted(
            ["model.activated"] * 4 + ["model.rolled_back"] * 3 + ["model.retired"]
        )


async def test_a_refused_order_changes_nothing_and_raises_no_alarm(tmp_path):
    lay_out(tmp_path)
    async with running(tmp_path) as gateway:
        await gateway.active()
        said = await gateway.order("activate", moody.package("2.0.0", key=None))
        assert not said.done
        assert "nobody has signed" in said.told
        assert (await gateway.scorer.score(moody.moment(0.5))).version == "1.0.0"
        assert of(await gateway.facts(), AlarmChanged) == []
        assert not (await gateway.order("activate", moody.package(), line="no/such/line")).done


async def test_no_orders_from_outside_while_another_box_bears_our_name(tmp_path):
    lay_out(tmp_path)
    identity = "conflict"
    async with running(tmp_path, identity=lambda: identity) as gateway:
        await gateway.active()
        said = await gateway.order("retire", place="cloud")
        assert not said.done
        assert "identity" in said.told
        identity = "ok"
        assert (await gateway.order("retire", place="cloud")).done


async def test_after_a_restart_the_record_wins_until_the_site_file_names_another(tmp_path):
    lay_out(tmp_path)
    async with running(tmp_path) as gateway:
        await gateway.active()
        await gateway.order("activate", moody.package("2.0.0", gain=0.5))
    (tmp_path / "moody-1.0.0.tfm").unlink()  # the packages are the gateway's own by now
    async with running(tmp_path) as gateway:
        assert gateway.scorer.state == "active"  # at once, without verifying anything anew
        await until(lambda: gateway.scoring.states()[0].process is not None, "its process")
        scored = await gateway.scorer.score(moody.moment(0.5))
        assert (scored.version, scored.failure) == ("2.0.0", None)
        assert (await gateway.order("rollback")).done  # no site file's package, no network
        await until(lambda: gateway.scoring.states()[0].process is not None, "its process")
        assert (await gateway.scorer.score(moody.moment(0.5))).version == "1.0.0"
    (tmp_path / "moody-3.tfm").write_bytes(moody.package("3.0.0"))
    lay_out(tmp_path, model="moody-3.tfm")
    async with running(tmp_path) as gateway:
        await until(lambda: gateway.scoring.states()[0].version == "3.0.0", "the site file's")
    lay_out(tmp_path, model="")
    async with running(tmp_path) as gateway:
        await until(lambda: gateway.scorer.state == "retired", "the site file names none any more")


async def test_another_file_under_the_same_name_is_another_package(tmp_path):
    lay_out(tmp_path)
    async with running(tmp_path) as gateway:
        await gateway.active()
    (tmp_path / "moody-1.0.0.tfm").write_bytes(moody.package("1.0.1"))
    async with running(tmp_path) as gateway:
        await until(lambda: gateway.scoring.states()[0].version == "1.0.1", "the new file")
        assert (await gateway.scorer.score(moody.moment(0.5))).version == "1.0.1"


async def test_lines_that_share_a_package_have_it_verified_once_and_share_its_process(tmp_path, monkeypatch):
    lay_out(tmp_path)
    site = tmp_path / "site.toml"
    second = 'work_unit = "hall/line-2/press"\nconnection = "sim"\nbook = "press.toml"'
    assert second in site.read_text()
    site.write_text(
        site.read_text().replace(second, f'{second}\nrules = "press.rules.toml"\nmodel = "moody-1.0.0.tfm"')
    )
    looked: list[int] = []

    def counted(content, **more):
        looked.append(len(content))
        return verification.verify(content, **more)

    monkeypatch.setattr(verifying, "verify", counted)
    async with running(tmp_path) as gateway:
        await until(lambda: [one.state for one in gateway.scoring.states()] == ["active"] * 2, "both lines")
        assert looked == [len(moody.package())]
        await until(lambda: all(one.process is not None for one in gateway.scoring.states()), "its process")
        assert len({one.process for one in gateway.scoring.states()}) == 1


async def test_a_package_named_once_more_holds_no_process_when_the_line_leaves_it(tmp_path):
    lay_out(tmp_path)
    async with running(tmp_path) as gateway:
        await gateway.active()
        await until(lambda: gateway.scoring.states()[0].process is not None, "its process")
        process = gateway.scoring.states()[0].process
        assert "already" in (await gateway.order("activate", moody.package())).told
        assert (await gateway.order("activate", moody.package("2.0.0"))).done
        assert (
            await gateway.order("activate", moody.package("3.0.0"))
        ).done  # the first one is not even the one before
        await until(lambda: not Path(f"/proc/{process}").exists(), "the first one's process has ended")


async def test_a_kept_package_that_was_changed_is_not_run(tmp_path):
    lay_out(tmp_path)
    async with running(tmp_path) as gateway:
        await gateway.active()
        kept = bundles.path(gateway.site.data, gateway.scoring.states()[0].sha256)
    kept.write_bytes(moody.package("6.6.6"))
    (tmp_path / "moody-1.0.0.tfm").unlink()
    async with running(tmp_path) as gateway:
        await until(lambda: gateway.scorer.state == "refused", "it is refused")
        assert gateway.scorer.running is None
        assert (await gateway.scorer.score(moody.moment(0.5))).failure.startswith("no_model")


async def test_orders_are_files_that_the_gateway_takes_and_answers(tmp_path):
    lay_out(tmp_path)
    second = moody.package("2.0.0")
    digest = hashlib.sha256(second).hexdigest()
    async with running(tmp_path) as gateway:
        await gateway.active()
        order = Order(order=order_id(5), at=5, actor="kim", what="activate", line=WORK_UNIT, package=digest)
        answer = leave(gateway.site.data, order, second)
        await until(answer.exists, "the answer")
        assert msgspec.json.decode(answer.read_bytes(), type=Answer).done
        assert gateway.scoring.states()[0].version == "2.0.0"
        await until(lambda: not list(answer.parent.glob("*.json")), "the order is gone")
        await until(lambda: not list(answer.parent.glob("*.tfm")), "the package is gone")
        (answer.parent / "broken.json").write_text("{")
        await until((answer.parent / "broken.answer").exists, "an answer to what is no order")


async def test_lines_with_the_same_package_share_a_process(tmp_path):
    lay_out(tmp_path)
    async with running(tmp_path) as gateway:
        await gateway.active()
        assert (await gateway.order("activate", moody.package(), line=OTHER)).done
        first, second = gateway.scoring.states()
        assert first.process == second.process is not None
        other = await gateway.scoring.scorer(OTHER).score(moody.moment(0.5))
        assert other.failure is None
