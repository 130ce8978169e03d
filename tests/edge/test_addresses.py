from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.addresses import LAST, AddressError, Place, node, place, register
from edge.tags import REGISTERS, TagBook, TagSpec


def spec(**more) -> TagSpec:
    return TagSpec(name="x", address="holding:0", **more)


@pytest.mark.parametrize(
    ("address", "kind", "more", "expected"),
    [
        ("holding:100", "float64", {}, Place("holding", 100, 4, None, 1)),
        ("input:3", "int16", {}, Place("input", 3, 1, None, 1)),
        ("holding:3", "bool", {}, Place("holding", 3, 1, None, 1)),
        ("coil:0", "bool", {}, Place("coil", 0, 1, None, 1)),
        ("discrete:65535", "bool", {}, Place("discrete", 65535, 1, None, 1)),
        ("holding:100.15", "bool", {}, Place("holding", 100, 1, 15, 1)),
        ("holding:100.4-7", "uint8", {}, Place("holding", 100, 1, 4, 4)),
        ("holding:100.0-15", "uint16", {}, Place("holding", 100, 1, 0, 16)),
        ("holding:100.high", "int8", {}, Place("holding", 100, 1, 8, 8)),
        ("holding:100.low", "uint8", {}, Place("holding", 100, 1, 0, 8)),
        ("input:40", "string", {"length": 8}, Place("input", 40, 8, None, 1)),
        ("input:40", "bcd32", {}, Place("input", 40, 2, None, 1)),
    ],
)
def test_every_form_of_a_modbus_address(address, kind, more, expected) -> None:
    assert place(address, spec(type=kind, **more)) == expected
    assert str(register(address)) == address


@pytest.mark.parametrize(
    ("address", "kind", "more", "places"),
    [
        ("holding:100", "uint16", {}, [100, 101, 102]),
        ("holding:100", "float32", {}, [100, 102, 104]),
        ("holding:100", "bcd64", {}, [100, 104, 108]),
        ("holding:100", "string", {"length": 5}, [100, 105, 110]),
        ("holding:100", "bool", {}, [100, 101, 102]),
        ("coil:7", "bool", {}, [7, 8, 9]),
        ("holding:100.4-7", "uint16", {}, [100, 101, 102]),
    ],
)
def test_elements_of_an_array_follow_each_other(address, kind, more, places) -> None:
    held = spec(type=kind, count=3, **more)
    assert [place(address, held, element=element).address for element in range(3)] == places


def test_bits_run_on_into_the_next_register() -> None:
    found = [place("holding:9.14", spec(type="bool", count=4), element=e) for e in range(4)]
    assert [(at.address, at.bit) for at in found] == [(9, 14), (9, 15), (10, 0), (10, 1)]


@pytest.mark.parametrize(
    ("first", "expected"),
    [("holding:9.high", [(9, 8), (9, 0), (10, 8), (10, 0)]), ("holding:9.low", [(9, 0), (10, 8), (10, 0), (11, 8)])],
)
def test_packed_bytes_run_high_low_next_register(first, expected) -> None:
    found = [place(first, spec(type="uint8", count=4), element=e) for e in range(4)]
    assert [(at.address, at.bit) for at in found] == expected


@given(st.integers(1, LAST - 500), st.sampled_from(sorted(REGISTERS)), st.integers(1, 100))
def test_a_book_that_counts_from_one_lies_one_lower_and_elements_never_overlap(number, kind, count) -> None:
    held = spec(type=kind, count=count)
    ends = None
    for element in range(count):
        at = place(f"holding:{number}", held, base=1, element=element)
        assert at.address == (number - 1 if ends is None else ends)
        ends = at.address + at.width


@pytest.mark.parametrize(
    ("address", "kind", "says"),
    [
        ("hold:1", "uint16", "'hold:1' is no Modbus address; did you mean holding:1?"),
        ("x", "uint16", "write holding:100, input:3, coil:0, discrete:7"),
        ("40108", "uint16", "write holding:107 for the reference 40108 (this connection counts from 0)"),
        ("300001", "uint16", "write input:0 for the reference 300001"),
        ("00017", "bool", "write coil:16 for the reference 00017"),
        ("holding:0x1F", "uint16", "write holding:31, numbers are decimal"),
        ("input:1FH", "uint16", "write input:31"),
        ("coil:3.1", "bool", "a coil is one bit; write coil:3"),
        ("coil:3", "uint16", "write type = 'bool'"),
        ("holding:3.16", "bool", "bits 0 to 15"),
        ("holding:3.9-16", "uint16", "bits 0 to 15"),
        ("holding:3.9-4", "uint16", "the lower bit comes first; write holding:3.4-9"),
        ("holding:3.9-9", "uint16", "for one bit write holding:3.9"),
        ("holding:3.4-7", "float64", "write type = 'uint16' or 'uint8'"),
        ("holding:3.0-11", "uint8", "write type = 'uint16'"),
        ("holding:3.1", "uint16", "write type = 'bool', or a field like .4-7"),
        ("holding:3.low", "uint16", "write type = 'uint8' or 'int8'"),
        ("holding:3", "int8", "write holding:3.low or holding:3.high"),
        ("holding:65534", "float64", "it would end at holding:65537; the last there can be is holding:65535"),
    ],
)
def test_a_fault_says_what_to_write_instead(address, kind, says) -> None:
    with pytest.raises(AddressError) as error:
        place(address, spec(type=kind))
    assert says in str(error.value)


def test_register_nought_of_a_book_that_counts_from_one_is_a_fault() -> None:
    with pytest.raises(AddressError, match="counts registers from 1; the first is holding:1"):
        place("holding:0", spec(type="uint16"), base=1)
    assert place("holding:65536", spec(type="uint16"), base=1).address == 65535


def test_eight_letters_of_a_connection_fit_no_value_of_32_bits_without_letters_of_its_own() -> None:
    with pytest.raises(AddressError, match="give the tag a word_order of four letters"):
        place("holding:0", spec(type="float32"), order="GHEFCDAB")
    assert place("holding:0", spec(type="float32", word_order="CDAB"), order="GHEFCDAB").width == 2
    assert place("holding:0", spec(type="float64"), order="GHEFCDAB").width == 4
    assert place("holding:0", spec(type="uint16"), order="GHEFCDAB").width == 1


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"type": "uint32", "length": 4}, "length is that of a string; an array of uint32 has a count"),
        ({"type": "float32", "word_order": "GHEFCDAB"}, "word_order GHEFCDAB is for 64 bits, float32 has fewer"),
        ({"type": "uint16", "word_order": "ABCDEFGH"}, "write four letters"),
        ({"triggered_by": "x"}, "names the tag itself"),
        ({"scale": 0.0}, "scale 0 makes every value the offset"),
        ({"low": float("nan")}, "finite number"),
        ({"scale": float("inf")}, "finite number"),
    ],
)
def test_a_spec_whose_fields_contradict_each_other_is_a_fault(fields, says) -> None:
    with pytest.raises(ValidationError, match=says):
        spec(**fields)


def test_the_elements_of_an_array_are_names_that_stand_once_in_a_book() -> None:
    assert TagSpec(name="zone", address="holding:0", count=3).element_names == ["zone_0", "zone_1", "zone_2"]
    with pytest.raises(ValidationError, match="duplicate tag 'zone_1': it is one of 'zone'"):
        TagBook(title="t", tag=[spec(count=3).model_copy(update={"name": "zone"}), TagSpec(name="zone_1", address="x")])


def test_a_node_is_named_by_the_uri_of_its_namespace() -> None:
    assert node("nsu=urn:x;s=a.b;c") == "nsu=urn:x;s=a.b;c"
    assert node("i=2258") == "i=2258"
    with pytest.raises(AddressError, match="indexes move"):
        node("ns=2;s=a")
