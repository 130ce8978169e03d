from __future__ import annotations

import pytest
from asyncua import ua
from asyncua.common.structures104 import new_enum, new_struct, new_struct_field

from sync.quality import BAD_TYPE_MISMATCH, BAD_WAITING_FOR_INITIAL_DATA, GOOD
from tests.contracts.driver_contract import until_all
from tests.edge.drivers.machines import URI, OpcUaMachine, tag
from tests.edge.drivers.opcua.plants import Plant, newest

T = ua.VariantType
NO_SUCH_ELEMENT = 0x8037_0000

SCALARS = {
    "bool": ("bool", 1.0),
    "sbyte": ("int8", -128.0),
    "byte": ("uint8", 255.0),
    "int16": ("int16", -32_768.0),
    "uint16": ("uint16", 65_535.0),
    "int32": ("int32", -(2.0**31)),
    "uint32": ("uint32", 2.0**32 - 1),
    "int64": ("int64", 2**63 - 1),
    "uint64": ("uint64", 2**64 - 1),
    "float": ("float32", 1.5),
    "string": ("string", "cola-330"),
    "localized": ("string", "콜라"),
}
PARTS = {
    "list [2]": ("int32", 12.0),
    "names [1]": ("string", "right"),
    "matrix [1,2]": ("float64", 12.0),
    "matrix [1][0]": ("float64", 10.0),
    "i=2256 BuildInfo.ProductName": ("string", "Triflow test plant"),
    "i=2256 State": ("int32", 0.0),
}


@pytest.mark.parametrize("acquire", ["subscribe", "poll"])
async def test_another_makes_values_of_all_types_arrive_whole(node_plant: Plant, acquire) -> None:
    node_plant.tags = [tag(0, f"nsu={URI};s=time", type="uint64", role="clock")]
    wanted = {0: 1_767_323_045_678.0}
    for what, (kind, value) in (SCALARS | PARTS).items():
        node, _, path = what.partition(" ")
        address = node if node.startswith("i=") else f"nsu={URI};s={node}"
        wanted[len(wanted)] = value
        node_plant.tags.append(tag(len(node_plant.tags), address, type=kind, path=path))
    await node_plant.start()
    try:
        async with node_plant.driver(acquire=acquire, poll_ms=50) as driver:
            found = newest(await until_all(driver, node_plant.tags))
            assert found == {index: (value, GOOD) for index, value in wanted.items()}
            assert driver.health.bad_items == {}
            assert driver.health.slow_decodes == 0
    finally:
        await node_plant.stop()


async def test_a_path_that_leads_nowhere_is_bad_and_says_what_there_is(node_plant: Plant) -> None:
    wrong = {
        "list [7]": (NO_SUCH_ELEMENT, "array of 4, counted from 0"),
        "list": (BAD_TYPE_MISMATCH, "array of 4 (Int32): say which in `path`"),
        "matrix [1]": (BAD_TYPE_MISMATCH, "array of 3"),
        "t1 x": (BAD_TYPE_MISMATCH, "a Double, and has no x"),
        "t1 [0]": (BAD_TYPE_MISMATCH, "a Double, no array"),
        "bytes": (BAD_TYPE_MISMATCH, "gives ByteString"),
        "i=2256 BuildInfo.Maker": (BAD_TYPE_MISMATCH, "BuildInfo is a structure with ProductUri, ManufacturerName"),
        "i=2256 BuildInfo": (BAD_TYPE_MISMATCH, "a structure with ProductUri"),
        "t2 [": (0x8089_0000, "'['"),
    }
    node_plant.tags = []
    for index, what in enumerate(wrong):
        node, _, path = what.partition(" ")
        address = node if node.startswith("i=") else f"nsu={URI};s={node}"
        node_plant.tags.append(tag(index, address, type="int32", path=path))
    await node_plant.start()
    try:
        async with node_plant.driver() as driver:
            found = newest(await until_all(driver, node_plant.tags))
            for index, (what, (status, why)) in enumerate(wrong.items()):
                assert found[index] == (None, status), what
                assert why in driver.health.bad_items[index]
    finally:
        await node_plant.stop()


async def test_the_elements_of_an_array_are_tags_of_one_item() -> None:
    values = [2**60 + i for i in range(40)]
    machine = OpcUaMachine(
        {"list": ua.Variant(values, T.Int64), "flags": ua.Variant([True, False], T.Boolean)},
        [],
    )
    spec = {"type": "int64", "count": 50, "scale": 1.0}
    machine.tags = [tag(i, f"nsu={URI};s=list", name=f"n_{i}", element=i, **spec) for i in range(50)]
    machine.tags += [tag(50, f"nsu={URI};s=flags", type="bool", path="[0]"), tag(51, f"nsu={URI};s=list", type="int64", path="[3]")]  # fmt: skip
    await machine.start()
    try:
        async with machine.driver() as driver:
            found = newest(await until_all(driver, machine.tags))
            assert driver.health.notifications == 2
            assert driver.health.slow_decodes == 0
    finally:
        await machine.stop()
    assert [found[i] for i in range(40)] == [(value, GOOD) for value in values]
    assert {found[i] for i in range(40, 50)} == {(None, NO_SUCH_ELEMENT)}
    assert (found[50], found[51]) == ((1.0, GOOD), (2**60 + 3, GOOD))


async def test_two_tags_scale_one_node_as_each_book_says() -> None:
    machine = OpcUaMachine(
        {"raw": ua.Variant(100.0, T.Double)},
        [tag(0, f"nsu={URI};s=raw"), tag(1, f"nsu={URI};s=raw", scale=0.1, offset=5.0)],
    )
    await machine.start()
    try:
        async with machine.driver() as driver:
            assert newest(await until_all(driver, machine.tags)) == {0: (100.0, GOOD), 1: (15.0, GOOD)}
            assert driver.health.notifications == 1
    finally:
        await machine.stop()


async def test_a_machines_own_structures_are_read_by_their_description() -> None:
    machine = OpcUaMachine(
        {},
        [
            tag(0, f"nsu={URI};s=robot", path="axes[2].torque"),
            tag(1, f"nsu={URI};s=robot", path="name", type="string"),
            tag(2, f"nsu={URI};s=robot", path="mode", type="int32", values={"1": "auto"}),
            tag(3, f"nsu={URI};s=robot", path="limits[1]", type="uint16"),
            tag(4, f"nsu={URI};s=robot", path="note", type="string"),
            tag(5, f"nsu={URI};s=robots", path="[1].name", type="string"),
            tag(6, f"nsu={URI};s=robot", path="axes[3].torque"),
        ],
    )
    await machine.start()
    server, index = machine.server, await machine.server.get_namespace_index(URI)
    axis, _ = await new_struct(
        server, index, "TestAxis", [new_struct_field("torque", T.Double), new_struct_field("on", T.Boolean)]
    )
    mode = await new_enum(server, index, "TestMode", ["idle", "auto"])
    await new_struct(
        server, index, "TestRobot",
        [
            new_struct_field("name", T.String),
            new_struct_field("mode", mode),
            new_struct_field("axes", axis, array=True),
            new_struct_field("limits", T.UInt16, array=True),
            new_struct_field("note", T.String, optional=True),
        ],
    )  # fmt: skip
    await server.load_data_type_definitions()
    axes = [ua.TestAxis(torque=i + 0.5, on=True) for i in range(3)]
    robot = ua.TestRobot(name="picker", mode=ua.TestMode.auto, axes=axes, limits=[7, 8])
    await machine.add("robot", ua.Variant(robot, T.ExtensionObject))
    await machine.add("robots", ua.Variant([robot, ua.TestRobot(name="placer", note="new")], T.ExtensionObject))
    try:
        async with machine.driver() as driver:
            found = newest(await until_all(driver, machine.tags))
            assert found == {
                0: (2.5, GOOD),
                1: ("picker", GOOD),
                2: (1.0, GOOD),
                3: (8.0, GOOD),
                4: (None, BAD_WAITING_FOR_INITIAL_DATA),
                5: ("placer", GOOD),
                6: (None, NO_SUCH_ELEMENT),
            }
            assert "axes[3].torque: axes is an array of 3" in driver.health.bad_items[6]
            assert driver.health.slow_decodes == 0
    finally:
        await machine.stop()
