"""Writes and method calls against node-opcua and asyncua: the node's own type kept, the book's range kept, read back."""

from __future__ import annotations

import pytest
from asyncua import ua

from edge.drivers.driver import DriverError, Methodical, RefusedError, Writable
from sync.quality import GOOD
from tests.edge.drivers.machines import URI as ASYNCUA
from tests.edge.drivers.machines import OpcUaMachine, tag
from tests.edge.drivers.opcua.press import a_press, at

WHOLE = {"SByte": "int8", "Byte": "uint8", "Int16": "int16", "UInt16": "uint16", "Int32": "int32", "UInt32": "uint32"}


@pytest.fixture(scope="module")
def press(tmp_path_factory):
    with a_press(tmp_path_factory.mktemp("press")) as running:
        yield running


async def test_a_value_is_written_in_the_nodes_own_type_and_read_back(press) -> None:
    async with press.driver() as driver:
        assert isinstance(driver, Writable)
        for name, kind in WHOLE.items():
            written = await driver.write(tag(0, at(f"set{name}"), type=kind, writable=True), 42)
            assert (written.taken, written.found, written.status) == (True, 42, GOOD), name
        exact = await driver.write(tag(0, at("setInt64"), type="int64", writable=True), 2**62 + 1)
        assert (exact.taken, exact.found) == (True, 2**62 + 1)
        assert (await driver.write(tag(0, at("setString"), type="string", writable=True), "설비 1")).taken
        assert (await driver.write(tag(0, at("setBoolean"), type="bool", writable=True), True)).taken
        assert (await driver.write(tag(0, at("setDouble"), writable=True), 0.1)).taken
        assert (await driver.write(tag(0, at("setFloat"), type="float32", writable=True), 0.1)).taken  # rounded to it
        assert (await driver.write(tag(0, at("anyNumber"), type="int16", writable=True), 9)).taken  # as it is now


async def test_scale_and_offset_are_undone_and_names_are_numbers(press) -> None:
    async with press.driver() as driver:
        tenths = tag(0, at("setInt16"), type="int16", scale=0.1, offset=-40.0, writable=True)
        assert (await driver.write(tenths, 21.3)).taken
        assert (await driver.write(tag(0, at("setInt16"), type="int16", writable=True), 613)).taken
        mode = tag(0, at("mode"), type="int32", values={"2": "Hand"}, writable=True)
        assert (await driver.write(mode, "Hand")).taken
        with pytest.raises(RefusedError, match=r"a whole number; .* lies between two"):
            await driver.write(tenths, 21.35)


async def test_one_element_of_an_array_is_written_and_the_others_stay(press) -> None:
    zones = [tag(i, at("zones"), count=4, element=i, writable=True) for i in range(4)]
    async with press.driver() as driver:
        assert (await driver.write(zones[2], 30.5)).taken
        session, node = driver.session, driver.node_of(at("zones"))
        (held,) = await session.read_attributes([node], ua.AttributeIds.Value)
        assert held.Value.Value == [1.0, 2.0, 30.5, 4.0]
        with pytest.raises(RefusedError, match="BadIndexRangeNoData"):
            await driver.write(tag(0, at("zones"), path="[9]", writable=True), 1.0)


@pytest.mark.parametrize(
    ("name", "spec", "value", "why"),
    [
        ("setInt16", {"type": "int16"}, 1, "writable = true"),
        ("setInt16", {"type": "int16", "low": 0, "high": 10, "writable": True}, 11, r"outside its range 0 to 10"),
        ("setInt16", {"type": "int16", "writable": True}, 40_000, r"Int16 at the server: 40000 is outside"),
        ("setByte", {"type": "uint8", "writable": True}, -1, r"outside 0 to 255"),
        ("setFloat", {"type": "float32", "writable": True}, 1e300, "too large"),
        ("setDouble", {"writable": True}, float("nan"), "no number"),
        ("setDouble", {"writable": True}, "fast", "is a number, not 'fast'"),
        ("setString", {"type": "string", "writable": True}, 5, "is a text"),
        ("setBoolean", {"type": "bool", "writable": True}, 2, "true or false"),
        ("count", {"type": "uint32", "writable": True}, 5, r"\((BadNotWritable|BadUserAccessDenied)\)"),
        ("nobody", {"writable": True}, 5, "BadNodeIdUnknown"),
        ("setDouble", {"path": "a.b", "writable": True}, 5, "field of a structure"),
    ],
)
async def test_what_must_not_be_written_is_refused_in_a_sentence(press, name, spec, value, why) -> None:
    async with press.driver() as driver:
        with pytest.raises(RefusedError, match=why):
            await driver.write(tag(0, at(name), **spec), value)


async def test_a_method_gets_its_arguments_in_the_types_it_names(press) -> None:
    async with press.driver() as driver:
        assert isinstance(driver, Methodical)
        assert await driver.call(at("press"), at("Add"), [2, 1.5]) == [3.5]
        for arguments, why in (
            ([1], r"takes 2 argument\(s\) \(a, b\), 1 given"),
            ([99_999, 1.0], r"argument 1 \(a\) is of type Int16 .* outside"),
            ([1, "x"], r"argument 2 \(b\) is of type Float"),
        ):
            with pytest.raises(RefusedError, match=why):
                await driver.call(at("press"), at("Add"), arguments)
        with pytest.raises(RefusedError, match="BadInvalidState"):
            await driver.call(at("press"), at("Reset"), [])
        with pytest.raises(RefusedError, match=r"\(Bad(MethodInvalid|NodeIdUnknown)\)"):
            await driver.call(at("press"), at("Nothing"), [])


async def test_another_make_of_server_takes_the_same_writes() -> None:
    machine = OpcUaMachine(
        {"speed": ua.Variant(7, ua.VariantType.Int16), "level": ua.Variant(1.5, ua.VariantType.Float)}, []
    )
    await machine.start()
    try:
        index = await machine.server.get_namespace_index(ASYNCUA)
        await machine.server.get_node(ua.NodeId("speed", index)).set_writable()
        async with machine.driver() as driver:
            written = await driver.write(tag(0, f"nsu={ASYNCUA};s=speed", type="int16", scale=0.5, writable=True), 4.5)
            assert written.taken
            assert await machine.server.get_node(ua.NodeId("speed", index)).read_value() == 9
            with pytest.raises(RefusedError, match=r"BadUserAccessDenied|BadNotWritable"):
                await driver.write(tag(0, f"nsu={ASYNCUA};s=level", writable=True), 2.0)
            await machine.stop()
            with pytest.raises(DriverError, match="check"):
                await driver.write(tag(0, f"nsu={ASYNCUA};s=speed", type="int16", writable=True), 1)
    finally:
        await machine.stop()
