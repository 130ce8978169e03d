// A machine of another make with all that is not plain values: node events.mjs PORT
// Objects/press: analog items with range and unit, an enumeration, arrays, methods, writable nodes of several types;
// two alarms on `temperature` (above 80 high, above 95 high-high) and `pressure` (above 10), events raised by a method.
import {
  OPCUAServer, DataType, Variant, VariantArrayType, StatusCodes, SecurityPolicy, MessageSecurityMode, standardUnits,
  coerceLocalizedText, ConditionInfo,
} from "node-opcua";

const port = Number(process.argv[2]);
const server = new OPCUAServer({
  port,
  securityPolicies: [SecurityPolicy.None],
  securityModes: [MessageSecurityMode.None],
  serverCapabilities: {
    minSupportedSampleRate: 0,
    operationLimits: { maxNodesPerBrowse: 7, maxNodesPerRead: 11, maxNodesPerWrite: 5, maxNodesPerMethodCall: 2 },
  },
});
await server.initialize();
const space = server.engine.addressSpace;
space.installAlarmsAndConditionsService();
const own = space.registerNamespace("urn:triflow:test:press");
const press = own.addObject({ organizedBy: space.rootFolder.objects, browseName: "press", nodeId: "s=press", eventNotifier: 1,
  eventSourceOf: space.rootFolder.objects.server });

function analog(name, value, range, unit) {
  return own.addAnalogDataItem({
    componentOf: press, browseName: name, nodeId: `s=${name}`, dataType: "Double", engineeringUnitsRange: range,
    engineeringUnits: unit, value: { dataType: DataType.Double, value }, minimumSamplingInterval: 0,
  });
}
const temperature = analog("temperature", 61.5, { low: 0, high: 120 }, standardUnits.degree_celsius);
const pressure = analog("pressure", 3.5, { low: 0, high: 16 }, standardUnits.bar);
for (const [node, item] of Object.entries({ temperature, pressure })) {
  item.setValueFromSource({ dataType: DataType.Double, value: node === "temperature" ? 61.5 : 3.5 });
}

const modeType = own.addEnumerationType({
  browseName: "PressMode", enumeration: [{ value: 0, displayName: "Off" }, { value: 1, displayName: "Auto" }, { value: 2, displayName: "Hand" }],
});
function plain(name, dataType, value, more = {}) {
  const node = own.addVariable({
    componentOf: press, browseName: name, nodeId: `s=${name}`, dataType, minimumSamplingInterval: 0, ...more,
  });
  node.setValueFromSource(value, StatusCodes.Good);
  return node;
}
const readOnly = { accessLevel: "CurrentRead", userAccessLevel: "CurrentRead" };
plain("mode", modeType, { dataType: DataType.Int32, value: 1 });
plain("count", "UInt32", { dataType: DataType.UInt32, value: 12 }, readOnly);
for (const [name, value] of Object.entries({
  SByte: -3, Byte: 3, Int16: -300, UInt16: 300, Int32: -70000, UInt32: 70000, Float: 1.5, Double: 2.5, Boolean: false, String: "cola",
})) {
  plain(`set${name}`, name, { dataType: DataType[name], value });
}
plain("setInt64", "Int64", { dataType: DataType.Int64, arrayType: VariantArrayType.Scalar, value: [0, 5] });
plain("anyNumber", "Number", { dataType: DataType.Int16, value: 4 });
plain("zones", "Double", { dataType: DataType.Double, arrayType: VariantArrayType.Array, value: [1, 2, 3, 4] },
  { valueRank: 1, arrayDimensions: [4] });

const many = own.addObject({ componentOf: press, browseName: "Many Things", nodeId: "s=many", typeDefinition: "FolderType" });
for (let i = 0; i < 1500; i++) {
  own.addVariable({ organizedBy: many, browseName: `Thing${i}`, nodeId: `s=thing${i}`, dataType: "Int32",
    value: { dataType: DataType.Int32, value: i } });
}
many.addReference({ referenceType: "Organizes", nodeId: press }); // a loop
const twins = own.addObject({ componentOf: press, browseName: "twins", typeDefinition: "FolderType" });
for (const side of ["left", "right"]) {
  const half = own.addFolder(twins, { browseName: side });
  own.addVariable({ organizedBy: half, browseName: "MotorSpeed", nodeId: `s=${side}.speed`, dataType: "Float",
    value: { dataType: DataType.Float, value: 0.5 } });
}

const events = own.addEventType({ browseName: "DoorOpenedEventType", subtypeOf: "BaseEventType" });
const add = own.addMethod(press, {
  browseName: "Add", nodeId: "s=Add",
  inputArguments: [{ name: "a", dataType: DataType.Int16 }, { name: "b", dataType: DataType.Float }],
  outputArguments: [{ name: "sum", dataType: DataType.Double }],
});
add.bindMethod((inputs, context, callback) => {
  const types = inputs.map((one) => DataType[one.dataType]).join(",");
  if (types !== "Int16,Float") return callback(null, { statusCode: StatusCodes.BadInvalidArgument });
  callback(null, { statusCode: StatusCodes.Good,
    outputArguments: [{ dataType: DataType.Double, value: inputs[0].value + inputs[1].value }] });
});
own.addMethod(press, { browseName: "Reset", nodeId: "s=Reset" }).bindMethod((inputs, context, callback) =>
  callback(null, { statusCode: StatusCodes.BadInvalidState }));
own.addMethod(press, {
  browseName: "OpenDoor", nodeId: "s=OpenDoor",
  inputArguments: [{ name: "message", dataType: DataType.String }, { name: "severity", dataType: DataType.UInt16 }],
}).bindMethod((inputs, context, callback) => {
  press.raiseEvent(events, {
    message: { dataType: DataType.LocalizedText, value: coerceLocalizedText(inputs[0].value) },
    severity: { dataType: DataType.UInt16, value: inputs[1].value },
    sourceName: { dataType: DataType.String, value: "door" },
    sourceNode: { dataType: DataType.NodeId, value: press.nodeId },
  });
  callback(null, { statusCode: StatusCodes.Good });
});

const hot = own.instantiateNonExclusiveLimitAlarm("NonExclusiveLimitAlarmType", {
  browseName: "hot", nodeId: "s=hot", conditionName: "hot", conditionSource: press, inputNode: temperature, highLimit: 80, highHighLimit: 95,
  conditionOf: press,
});
const tight = own.instantiateExclusiveLimitAlarm("ExclusiveLimitAlarmType", {
  browseName: "tight", nodeId: "s=tight", conditionName: "tight", conditionSource: press, inputNode: pressure, highLimit: 10, conditionOf: press,
});
for (const [alarm, severity, what] of [[hot, 800, "온도"], [tight, 400, "pressure"]]) {
  alarm.calculateConditionInfo = (state, isActive, value) => new ConditionInfo({
    message: isActive ? `${what} ${value}` : `${what} back to normal`, quality: StatusCodes.Good, retain: isActive,
    severity: isActive ? severity : 1,
  });
}
await server.start();
process.on("SIGTERM", () => process.exit(0));
