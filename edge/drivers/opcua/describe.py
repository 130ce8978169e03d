"""What a variable is, as a tag book says it: type, elements, unit, range, names of its numbers, and its present value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from edge.drivers.opcua.limits import Limits
from edge.drivers.opcua.references import referred
from edge.drivers.opcua.typed import ENUMERATION, base_type, scalar
from sync.quality import BAD
from sync.reading import Scalar

UNECE: Final = "http://www.opcfoundation.org/UA/units/un/cefact"
_TYPES: Final = {
    1: "bool", 2: "int8", 3: "uint8", 4: "int16", 5: "uint16", 6: "int32", 7: "uint32", 8: "int64", 9: "uint64",
    10: "float32", 11: "float64", 12: "string", 21: "string", ENUMERATION: "int32",
}  # fmt: skip
_SIGNS: Final = {
    "°C": "CEL", "C": "CEL", "K": "KEL", "°F": "FAH", "%": "P1", "bar": "BAR", "mbar": "MBR", "Pa": "PAL", "kPa": "KPA",
    "mm": "MMT", "cm": "CMT", "m": "MTR", "kg": "KGM", "g": "GRM", "t": "TNE", "l": "LTR", "L": "LTR", "s": "SEC",
    "ms": "C26", "min": "MIN", "h": "HUR", "A": "AMP", "V": "VLT", "W": "WTT", "kW": "KWT", "Wh": "WHR", "kWh": "KWH",
    "Hz": "HTZ", "rpm": "RPM", "1/min": "RPM", "N": "NEW", "Nm": "NU", "mm/s": "C16", "m/s": "MTS", "m³/h": "MQH",
}  # fmt: skip
"""For servers that give a sign and no UNECE code."""
_WRITABLE: Final = 2
_READ: Final = (
    AttributeIds.DataType,
    AttributeIds.ValueRank,
    AttributeIds.ArrayDimensions,
    AttributeIds.UserAccessLevel,
    AttributeIds.Value,
)
_DESCRIBING: Final = ("EURange", "EngineeringUnits", "EnumStrings", "EnumValues", "TrueState", "FalseState")


@dataclass(slots=True)
class Described:
    """A variable in a tag book's words."""

    type: str = ""
    count: int = 1
    value: Scalar = None
    unit: str | None = None
    low: float | None = None
    high: float | None = None
    writable: bool = False
    values: dict[str, str] = field(default_factory=dict[str, str])


class Describer:
    """Asks about variables in bulk; what data types mean is asked once."""

    def __init__(self, session: UaSession, limits: Limits) -> None:
        self._session = session
        self._limits = limits
        self._types: dict[ua.NodeId, tuple[int, str, dict[str, str]]] = {}

    async def describe(self, variables: Sequence[tuple[ua.NodeId, Mapping[str, ua.NodeId]]]) -> list[Described]:
        """Describe variables, each given with its properties by name."""
        asked = [(node, attribute) for node, _ in variables for attribute in _READ]
        said = await self._read(asked)
        extras = [(i, name) for i, (_, known) in enumerate(variables) for name in _DESCRIBING if name in known]
        more = await self._read([(variables[i][1][name], AttributeIds.Value) for i, name in extras])
        properties: list[dict[str, Any]] = [{} for _ in variables]
        for (i, name), held in zip(extras, more, strict=True):
            if held is not None:
                properties[i][name] = held.Value
        return [
            await self._one(said[i * len(_READ) : (i + 1) * len(_READ)], properties[i]) for i in range(len(variables))
        ]

    async def _one(self, said: Sequence[ua.Variant | None], properties: Mapping[str, Any]) -> Described:
        data_type, rank, sizes, access, value = said
        held: Any = None if data_type is None else data_type.Value
        base, name, names = await self._type(held) if isinstance(held, ua.NodeId) else (0, "", {})
        if base in {24, 26, 27, 28} and value is not None and value.Value is not None:
            base = int(value.VariantType.value)  # it may be of any type: what it is now
        made = Described(type=_TYPES.get(base, name), values=_names(properties) or names)
        made.writable = access is not None and isinstance(access.Value, int) and bool(access.Value & _WRITABLE)
        present: Any = None if value is None else value.Value
        if (rank is not None and isinstance(rank.Value, int) and rank.Value >= 1) or isinstance(present, list):
            made.count = _elements(sizes, present)
        elif value is not None:
            made.value = scalar(value)
        span, unit = properties.get("EURange"), properties.get("EngineeringUnits")
        if isinstance(span, ua.Range) and span.Low < span.High:
            made.low, made.high = float(span.Low), float(span.High)
        if isinstance(unit, ua.EUInformation):
            made.unit = unit_of(unit)
        return made

    async def _type(self, node: ua.NodeId) -> tuple[int, str, dict[str, str]]:
        """Give the built-in type a data type derives from, its name, and the names of its numbers."""
        if node not in self._types:
            base = await base_type(self._session, node)
            (name,) = await self._read([(node, AttributeIds.BrowseName)])
            names = await self._enumeration(node) if base == ENUMERATION else {}
            told: Any = None if name is None else name.Value
            self._types[node] = (base, str(told.Name) if isinstance(told, ua.QualifiedName) else "", names)
        return self._types[node]

    async def _enumeration(self, node: ua.NodeId) -> dict[str, str]:
        (definition,) = await self._read([(node, AttributeIds.DataTypeDefinition)])
        if definition is not None and isinstance(definition.Value, ua.EnumDefinition):
            return {str(one.Value): str(one.Name) for one in definition.Value.Fields or []}
        found: dict[str, Any] = {}
        for described, name in await referred(self._session, node, ObjectIds.HasProperty):
            (held,) = await self._read([(described, AttributeIds.Value)])
            if held is not None:
                found[name] = held.Value
        return _names(found)

    async def _read(self, asked: Sequence[tuple[Any, AttributeIds]]) -> list[ua.Variant | None]:
        """Read attributes; None where there is none or the server refuses it."""

        async def read(part: Sequence[tuple[Any, AttributeIds]]) -> list[ua.DataValue]:
            nodes = [
                ua.ReadValueId(NodeId=node, AttributeId=ua.IntegerId(attribute)) for node, attribute in part
            ]  # fmt: skip
            return await self._session.read(
                ua.ReadParameters(TimestampsToReturn=ua.TimestampsToReturn.Neither, NodesToRead=nodes)
            )

        said = await self._limits.read.ask(asked, read)
        return [None if v.StatusCode is not None and int(v.StatusCode.value) & BAD else v.Value for v in said]


def _elements(sizes: ua.Variant | None, present: Any) -> int:
    """Give how many elements an array has: as declared, else as it has now."""
    declared: Any = None if sizes is None else sizes.Value
    if isinstance(declared, list) and len(declared) == 1 and declared[0]:
        return int(declared[0])
    return max(1, len(present)) if isinstance(present, list) else 1


def _names(properties: Mapping[str, Any]) -> dict[str, str]:
    """Give number → name from whatever property names them."""
    valued, strings = properties.get("EnumValues"), properties.get("EnumStrings")
    if isinstance(valued, list):
        return {str(one.Value): str(one.DisplayName.Text) for one in valued if isinstance(one, ua.EnumValueType)}
    if isinstance(strings, list):
        return {str(i): str(text.Text) for i, text in enumerate(strings) if isinstance(text, ua.LocalizedText)}
    true, false = properties.get("TrueState"), properties.get("FalseState")
    if isinstance(true, ua.LocalizedText) and isinstance(false, ua.LocalizedText):
        return {"0": str(false.Text), "1": str(true.Text)}
    return {}


def unit_of(unit: ua.EUInformation) -> str | None:
    """Give the UNECE code: the server's UnitId spells it (OPC UA Part 8, 5.6.3.3), or its sign is a known one."""
    number = int(unit.UnitId)
    if unit.NamespaceUri == UNECE and 0 < number < 1 << 32:
        code = number.to_bytes(4, "big").lstrip(b"\0")
        if code.isalnum():
            return code.decode("ascii")
    text = unit.DisplayName.Text if unit.DisplayName is not None else None
    return _SIGNS.get(str(text).strip())
