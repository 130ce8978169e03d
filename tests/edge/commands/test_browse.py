"""`triflow edge browse` against a real machine, and its tag book read by `triflow edge check`."""

from __future__ import annotations

import asyncio
import json
import tomllib

import pytest

from edge.__main__ import main
from edge.commands.book import load_book
from edge.commands.browse import book_of
from edge.drivers.driver import Node
from tests.edge.drivers.opcua.press import URI, a_press
from tests.servers import free_port

SITE = """
[gateway]
id = "gw-1"
tenant = "test"
site = "hall"
[[connection]]
name = "press"
driver = "opcua"
url = "opc.tcp://127.0.0.1:{port}"
security = "none"
[[connection]]
name = "meter"
driver = "modbus"
host = "127.0.0.1"
{lines}
"""
LINE = """
[[line]]
work_unit = "hall/line-1/press"
connection = "press"
book = "press.toml"
"""


@pytest.fixture(scope="module")
def press(tmp_path_factory):
    with a_press(tmp_path_factory.mktemp("press")) as running:
        yield running


@pytest.fixture
def site(press, tmp_path):
    path = tmp_path / "site.toml"
    path.write_text(SITE.format(port=press.port, lines=""))
    return path


async def browse(*arguments: object) -> int:
    """Run the command as it runs: in a process's main thread, here beside the test's own loop."""
    return await asyncio.to_thread(main, ["browse", *map(str, arguments)])


async def test_every_node_comes_once_with_what_a_book_wants_to_know(site, capsys) -> None:
    assert await browse(site, "press", "--json") == 0
    nodes = {node["path"]: node for node in map(json.loads, capsys.readouterr().out.splitlines())}
    things = [path for path in nodes if path.startswith("press/Many Things/Thing")]
    assert len(things) == 1500  # more than one answer holds, and a loop leads back from there
    assert len({node["address"] for node in nodes.values()}) == len(nodes)
    temperature = nodes["press/temperature"]
    assert temperature["address"] == f"nsu={URI};s=temperature"
    assert {k: temperature[k] for k in ("kind", "type", "value", "unit", "low", "high", "writable")} == {
        "kind": "variable", "type": "float64", "value": 61.5, "unit": "CEL", "low": 0.0, "high": 120.0, "writable": True
    }  # fmt: skip
    assert nodes["press/mode"]["type"] == "int32"
    assert nodes["press/mode"]["values"] == {"0": "Off", "1": "Auto", "2": "Hand"}
    assert (nodes["press/zones"]["type"], nodes["press/zones"]["count"]) == ("float64", 4)
    assert nodes["press/count"]["writable"] is False
    assert nodes["press/Add"]["kind"] == "method"
    assert not any(path.startswith("Server") or path.endswith("EURange") for path in nodes)


async def test_a_glob_narrows_the_walk_and_people_get_a_table(site, capsys) -> None:
    assert await browse(site, "press", "**/MotorSpeed") == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["PATH", "TYPE", "UNIT", "RANGE", "VALUE", "ADDRESS"]
    assert [row.split()[0] for row in rows] == ["press/twins/left/MotorSpeed", "press/twins/right/MotorSpeed"]
    assert await browse(site, "press", "Server/ServerStatus/S*") == 0
    assert "Server/ServerStatus/StartTime" in capsys.readouterr().out
    assert await browse(site, "press", "press/temperature/EngineeringUnits") == 0
    assert await browse(site, "press", "--most", 3) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 1 + 1 + 3


async def test_where_nothing_matches_the_nearest_is_named(site, capsys) -> None:
    assert await browse(site, "press", "press/tempreature") == 1
    assert "did you mean 'temperature'?" in capsys.readouterr().err
    assert await browse(site, "press", "hall/**") == 1
    assert "the server offers press" in capsys.readouterr().err
    assert await browse(site, "press", "**/tempreature") == 1
    assert "press" in capsys.readouterr().err.partition("offers")[2]


async def test_the_exported_book_is_one_that_the_check_accepts(site, press, capsys) -> None:
    book = site.with_name("press.toml")
    assert await browse(site, "press", "press/**", "--export", book) == 0
    site.write_text(SITE.format(port=press.port, lines=LINE))
    assert await asyncio.to_thread(main, ["check", str(site)]) == 0
    assert "good" in capsys.readouterr().out
    tags = {tag["name"]: tag for tag in tomllib.loads(book.read_text())["tag"]}
    assert tags["temperature"]["unit"] == "CEL"
    assert tags["mode"]["values"]["2"] == "Hand"
    assert tags["zones"]["count"] == 4
    assert tags["motor_speed"]["address"] == f"nsu={URI};s=left.speed"
    assert tags["right_motor_speed"]["address"] == f"nsu={URI};s=right.speed"
    assert not any(tag.get("writable") for tag in tags.values())  # that a server would take it is no permission
    assert len(load_book(str(book))[0].tags) == len(tags) > 1500
    assert await browse(site, "press", "--export", book) == 73


async def test_what_cannot_be_browsed_is_said_in_a_sentence(site, capsys) -> None:
    assert await browse(site, "meter") == 1
    assert "cannot say what it offers" in capsys.readouterr().err
    assert await browse(site, "presss") == 64
    assert "did you mean 'press'?" in capsys.readouterr().err
    site.write_text(SITE.format(port=free_port(), lines=""))
    assert await browse(site, "press") == 69
    assert "check" in capsys.readouterr().err
    site.write_text("[gateway]\n")
    assert await browse(site, "press") == 78


def test_names_are_made_unique_and_what_no_book_holds_is_said() -> None:
    def node(path: str, kind: str = "float64", **more) -> Node:
        return Node(path=path, address=f"nsu=u;s={path}", kind="variable", type=kind, **more)

    left: list[str] = []
    book = book_of(
        [
            node("a/Temp (°C)"), node("b/Temp (°C)"), node("c/설비/온도"), node("d/7th"), node("list", count=3),
            node("x/list_1"), node("when", "DateTime"), node("robot", "Pose"), node("odd/{n}"),
        ],
        "test", left,
    )  # fmt: skip
    names = [tag.name for tag in book.tags]
    assert names == ["temp_c", "b_temp_c", "c", "tag_7th", "list", "x_list_1", "when"]
    assert [tag.role for tag in book.tags][-1] == "clock"
    assert [line.split(":")[0] for line in left] == ["left out", "left out"]
