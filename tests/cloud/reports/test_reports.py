"""Reports: their figures are the API's, in every form; made once; mailed whole; restated in a later version."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import openpyxl
import pypdf
import pytest

from cloud.api.bi import Bi
from cloud.bi.semantic.plan import Filter, Plan
from cloud.bi.semantic.scope import Scope
from cloud.database import Database
from cloud.outgoing import queue
from cloud.outgoing.sending import Sender
from cloud.plant import Plants
from cloud.reports import documents, figures, keep, making, press, telling
from cloud.reports.keep import Kept, Maker
from cloud.reports.making import Makers
from cloud.reports.subject import NoSuchShiftError, Subject
from cloud.wording.texts import Words
from tests.cloud.outgoing.conftest import PostOffice
from tests.cloud.reports.conftest import NOW_MS

MIN = 60_000
DAY = 86_400_000
SHIFT = Subject(tenant="demo", site="seoul", kind="shift", business_date="2026-03-03", shift="B")


async def made(
    database: Database, plants: Plants, subject: Subject = SHIFT, language: str = "en", at: int = NOW_MS
) -> Kept:
    return await making.make(database, plants, subject, Maker(language=language, by="test"), at)


def text_of(pdf: bytes) -> str:
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # drawing knows no database
async def test_the_figures_are_the_apis_and_stand_in_the_pdf_in_both_languages(
    worked: Database, plants: Plants
) -> None:
    bi = Bi(worked, plants)
    period = SHIFT.period
    for language in ("ko", "en"):
        kept = await made(worked, plants, language=language)
        report, words = kept.report, documents.words_of(kept.report)
        pdf = await asyncio.to_thread(documents.draw, report, "pdf")
        text = text_of(pdf)
        for card in report["cards"]:
            filters = (Filter(dimension="site", values=("seoul",)),)
            plan = Plan(analysis="CHECK", metrics=(card["metric"],), period=period, filters=filters)
            table = await bi.table(Scope("demo"), plan.metrics, period=period, filters=filters)
            assert card["value"] == pytest.approx(table.rows[0].cells[0].value, abs=1e-8)
            assert words.of(card["title"]) in text
            assert telling.figure(card["value"], card["unit"], words) in text
        for line in report["lines"]:
            assert words.of(line["name"]) in text
        assert telling.title(report, words) in text
        assert report["digest"][:16] in text
        meta = pypdf.PdfReader(io.BytesIO(pdf))
        assert meta.metadata is not None
        assert words.of(report["site"]) in str(meta.metadata.title)
        assert [float(side) for side in meta.pages[0].mediabox[2:]] == [595, 842]


async def test_lines_add_up_to_the_site_and_the_waterfall_ends_in_oee(worked: Database, plants: Plants) -> None:
    report = (await made(worked, plants)).report
    cards = {card["metric"]: card["value"] for card in report["cards"]}
    assert sum(line["values"]["good"] for line in report["lines"]) == cards["good"]
    steps = {step["name"]: step["ms"] for step in report["waterfall"]["steps"]}
    assert steps["effective"] / steps["planned_busy"] == pytest.approx(cards["oee"], abs=1e-6)
    assert sum(row["values"][0] for row in report["stops"]) == pytest.approx(
        (steps["down"] + steps["delay"] + steps["setup"] + steps["unknown"]) / 1000, abs=0.01
    )
    for line in report["hours"]:
        whole = next(one for one in report["lines"] if one["work_unit"] == line["work_unit"])
        assert sum(hour["produced"] for hour in line["hours"]) == whole["values"]["produced"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # drawing knows no database
async def test_a_page_is_a_picture_with_something_on_it(worked: Database, plants: Plants) -> None:
    report = (await made(worked, plants, language="ko")).report
    picture = await asyncio.to_thread(documents.draw, report, "png")
    assert picture.startswith(b"\x89PNG")
    assert int.from_bytes(picture[16:20]) == 1190
    assert len(picture) > 60_000
    with pytest.raises(documents.NoSuchPageError, match="no page 9"):
        documents.draw(report, "png", page=9)
    assert press.has_hangul()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # drawing knows no database
async def test_sheets_hold_the_same_numbers_as_numbers(worked: Database, plants: Plants) -> None:
    report = (await made(worked, plants)).report
    book = openpyxl.load_workbook(io.BytesIO(documents.draw(report, "xlsx")))
    assert book.sheetnames[:3] == ["Shift report", "Figures", "Lines"]
    lines = [[cell.value for cell in row] for row in book["Lines"].iter_rows()]
    assert lines[0][0] == "Line"
    assert [row[1] for row in lines[1:]] == [one["values"]["oee"] for one in report["lines"]]
    csv = documents.draw(report, "csv", table="lines").decode()
    assert csv.splitlines()[1].split(",")[1] == repr(report["lines"][0]["values"]["oee"])
    for table in documents.TABLES:
        assert documents.draw(report, "csv", table=table).startswith("\ufeff".encode())


async def test_the_same_figures_are_the_same_report_and_restated_ones_a_new_version_that_says_so(
    worked: Database, plants: Plants
) -> None:
    first, again = await made(worked, plants), await made(worked, plants, at=NOW_MS + MIN)
    assert (again.number, again.again) == (first.number, True)
    unit = first.report["lines"][0]["work_unit"]
    await worked.write(
        lambda c: c.execute(
            "update mart_shift set good=good-7, scrap=scrap+7 where tenant='demo' and work_unit=? and business_date='2026-03-03'"
            " and shift='B' and product=(select min(product) from mart_shift where work_unit=? and business_date='2026-03-03'"
            " and shift='B' and good>7)",
            (unit, unit),
        )
    )
    second = await made(worked, plants, at=NOW_MS + 2 * MIN)
    assert (second.version, second.again) == (2, False)
    changed = {(one["work_unit"], one["metric"]): (one["before"], one["after"]) for one in second.report["restated"]}
    before, after = changed["", "good"]
    assert after == before - 7
    assert telling.restated(second.report, documents.words_of(second.report)).startswith(
        "Restated since version 1: Good "
    )
    page = await worked.read(lambda c: keep.listed(c, "demo", {}, page=1, page_size=10))
    assert [(one["version"], one["restated"] > 0) for one in page["items"]] == [(2, True), (1, False)]
    old = await worked.read(lambda c: keep.find(c, "demo", first.number))
    assert old is not None
    assert old[1] == first.report  # what was told stays what was told


async def test_what_is_not_there_is_said(worked: Database, plants: Plants) -> None:
    for kind, day, shift, why in (
        ("shift", "2026-03-03", "X", "it has A, B, C"),
        ("shift", "2026-03-09", "A", "has not begun"),
        ("week", "2026-03-03", "", "no Monday"),
    ):
        subject = Subject(tenant="demo", site="seoul", kind=kind, business_date=day, shift=shift)  # type: ignore[arg-type]
        with pytest.raises(NoSuchShiftError, match=why):
            await worked.read(lambda c, subject=subject: figures.read(c, plants, subject, NOW_MS))


async def dues(database: Database) -> list[tuple[Any, ...]]:
    return await database.read(
        lambda c: c.execute(
            "select schedule, business_date, shift, state from report_due where business_date<>'' order by due_ms, schedule"
        )
    )


async def test_a_schedule_makes_each_report_once_mails_it_whole_and_makes_up_for_what_it_missed(
    worked: Database, plants: Plants, office: PostOffice
) -> None:
    began = NOW_MS - 30 * 60 * MIN  # Wednesday 02:00 in Seoul
    makers = Makers(worked, plants)
    assert await makers.once(began) == 0  # nothing from before it was set up
    # … the cloud is down, and comes back on Thursday: two processes at once, and one of them again.
    others = Makers(worked, Plants(plants.settings))
    assert sum(await asyncio.gather(makers.once(NOW_MS), others.once(NOW_MS))) == 2
    assert await others.once(NOW_MS + MIN) == 0
    assert await dues(worked) == [
        ("shift", "2026-03-03", "C", "made"),
        ("shift", "2026-03-04", "C", "made"),
    ]
    sender = Sender(worked, plants.settings)
    while await sender.once(NOW_MS):
        pass
    assert len(office.letters) == 2
    # Two made them side by side: which was queued first is theirs.
    readers, message = min(office.letters, key=lambda one: str(one[1]["Subject"]))
    assert readers == ["boss@example.com", "plant@example.com"]
    assert message["Subject"] == "서울 교대 보고서 2026-03-03 C조"
    plain = message.get_body(("plain",))
    assert plain is not None
    body = plain.get_content()
    assert "늦게 작성되었습니다" in body
    kept = await worked.read(lambda c: keep.listed(c, "demo", {}, page=1, page_size=10))
    number = next(one["id"] for one in kept["items"] if (one["business_date"], one["shift"]) == ("2026-03-03", "C"))
    _, report = (await worked.read(lambda c: keep.find(c, "demo", number))) or ({}, {})
    words = documents.words_of(report)
    for card in report["cards"]:
        assert telling.figure(card["value"], card["unit"], words) in body
    assert f"http://cloud.plant.example/reports/{number}" in body
    (attached,) = message.iter_attachments()
    assert attached.get_content_type() == "application/pdf"
    assert telling.figure(report["cards"][0]["value"], "1", words) in text_of(attached.get_content())
    there = await worked.read(lambda c: keep.file(c, "demo", number, "pdf"))
    assert there is not None
    assert there[1] == attached.get_content()  # what people got is what is downloaded


async def test_killed_while_it_makes_one_another_makes_it_when_the_lease_is_over(
    worked: Database, plants: Plants
) -> None:
    makers = Makers(worked, plants)
    await makers.once(NOW_MS - 10 * 60 * MIN)
    dead = Makers(worked, plants)
    one = next(
        iter(
            making.due(plants["demo", "seoul"], plants["demo", "seoul"].site.reports[0], NOW_MS, NOW_MS - 10 * 60 * MIN)
        )
    )
    key = ("demo", "seoul", "shift", one.business_date, one.shift)
    assert await worked.write(lambda c: dead._claim(c, key, one, NOW_MS))
    assert await makers.once(NOW_MS + MIN) == 0  # that one is held
    assert await makers.once(NOW_MS + making.LEASE_MS + MIN) == 1
    assert {state for *_, state in await dues(worked)} == {"made"}
    assert (await worked.read(lambda c: c.execute("select count(*) from outgoing"))) == [(1,)]


async def test_files_and_reports_leave_when_their_time_or_room_is_over(worked: Database, plants: Plants) -> None:
    kept = await made(worked, plants)
    for number in range(3):
        file = ("application/pdf", bytes([number]) * 600_000)
        await worked.write(
            lambda c, file=file, number=number: keep.put_file(
                c, "demo", kept.number, f"f{number}", made=file, now_ms=NOW_MS + number
            )
        )
    await worked.write(lambda c: keep.forget(c, now_ms=NOW_MS + 10, report_days=1, file_days=1, files_mb=1))
    names = [name for (name,) in await worked.read(lambda c: c.execute("select name from report_file"))]
    assert names == ["f2"]  # the newest within a megabyte
    await worked.write(lambda c: keep.forget(c, now_ms=NOW_MS + 2 * DAY, report_days=1, file_days=1, files_mb=1))
    assert await worked.read(lambda c: keep.find(c, "demo", kept.number)) is None
    page = await worked.read(lambda c: queue.listed(c, "demo", page=1, page_size=5))
    assert page["total"] == 0


async def test_a_report_that_cannot_be_read_fails_by_name_and_holds_up_no_other(
    worked: Database, plants: Plants
) -> None:
    """What makes it fail is a row that no program of ours writes."""
    makers = Makers(worked, plants)
    assert await makers.once(NOW_MS - 30 * 60 * MIN) == 0
    await worked.write(lambda c: c.execute("update judgment set summary='no JSON'"))
    await makers.once(NOW_MS)
    states = await worked.read(
        lambda c: c.execute("select state, why from report_due where business_date<>'' order by business_date")
    )
    assert {state for state, _ in states} == {"failed"}, states
    assert all(why for _, why in states)


async def test_a_record_that_is_held_keeps_its_shifts_report_from_being_complete(
    worked: Database, plants: Plants
) -> None:
    (shift,) = [one for one in plants["demo", "seoul"].calendar.day(SHIFT.business_date) if one.shift == SHIFT.shift]
    values = {
        "tenant": "demo", "site": "seoul", "work_unit": "", "gateway": 1, "code": "negative", "severity": "error",
        "held": True, "subject": "x", "inc": 1, "stream": 2, "seq": 1, "rev": 0, "kind": "production", "times": 1,
        "at": shift.start_ms * 1_000_000, "detail": "{}", "recorded_ms": NOW_MS, "last_ms": NOW_MS, "state": "open",
    }  # fmt: skip
    sql = f"insert into finding({', '.join(values)}) values({', '.join('?' * len(values))})"
    await worked.write(lambda c: c.execute(sql, tuple(values.values())))
    lacking = (await made(worked, plants)).report["lacks"]
    assert (lacking["held"], lacking["complete"]) == (1, False)
    other = Subject(tenant="demo", site="seoul", kind="shift", business_date=SHIFT.business_date, shift="C")
    assert (await made(worked, plants, other)).report["lacks"]["complete"]


async def test_a_gateway_that_was_not_heard_of_since_leaves_its_reports_open(worked: Database, plants: Plants) -> None:
    await worked.write(lambda c: c.execute("update gateway set holdings_ms=null"))
    kept = await made(worked, plants)
    assert kept.report["lacks"]["unheard"]
    assert not kept.report["lacks"]["complete"]
    for language in ("ko", "en"):
        said = telling.lacks(kept.report, Words(language))
        assert said[0] == Words(language)("report.incomplete")
        assert any(kept.report["lacks"]["unheard"][0] in one for one in said[1:])


async def test_a_report_whose_makers_all_ended_in_the_middle_is_failed_in_the_end(
    worked: Database, plants: Plants
) -> None:
    makers = Makers(worked, plants)
    assert await makers.once(NOW_MS - 30 * 60 * MIN) == 0
    assert await makers.once(NOW_MS) > 0
    await worked.write(
        lambda c: c.execute(
            "update report_due set state='making', attempts=?, until_ms=0 where business_date<>''", (making.TRIES,)
        )
    )
    assert await makers.once(NOW_MS) == 0
    ended = await worked.read(lambda c: c.execute("select state, why from report_due where business_date<>''"))
    assert {state for state, _ in ended} == {"failed"}
    assert all("never finished" in why for _, why in ended)
