// A plant of node-opcua: `node plant.mjs '{"port": 48000, "tags": 20, …}'`.
//
// Variables s=t0, s=t1, … of namespace urn:triflow:test:machine are Doubles that count: a value is tag × 1,000,000 + count,
// so that a value on a wrong tag shows. SIGUSR1 makes the tags that were missing; SIGUSR2 makes t0 bad.
import { DataType, MessageSecurityMode, OPCUAServer, SecurityPolicy, StatusCodes, Variant, VariantArrayType } from "node-opcua";

const URI = "urn:triflow:test:machine";
const options = {
  port: 0,
  tags: 20,
  period_ms: 50, // 0: values stand still
  missing: [], // tags that are not there until SIGUSR1
  namespaces: [], // registered before ours, so that ours gets another index
  limits: {}, // operationLimits, as node-opcua calls them
  max_subscriptions: 0, // per session
  max_items: 0, // monitored items of a subscription
  ...JSON.parse(process.argv[2] ?? "{}"),
};

const server = new OPCUAServer({
  port: options.port,
  hostname: "127.0.0.1",
  resourcePath: "/machine",
  allowAnonymous: true,
  securityPolicies: [SecurityPolicy.None],
  securityModes: [MessageSecurityMode.None],
  disableDiscovery: true,
  buildInfo: { productName: "Triflow test plant" },
  serverCapabilities: {
    maxSessions: 50,
    ...(options.max_subscriptions ? { maxSubscriptionsPerSession: options.max_subscriptions } : {}),
    ...(options.max_items ? { maxMonitoredItemsPerSubscription: options.max_items } : {}),
    operationLimits: { maxNodesPerRead: 1000, maxMonitoredItemsPerCall: 1000, ...options.limits },
  },
});
await server.initialize();
const space = server.engine.addressSpace;
for (const uri of options.namespaces) space.registerNamespace(uri);
const plant = space.registerNamespace(URI);
const machine = plant.addObject({ organizedBy: space.rootFolder.objects, browseName: "Machine" });
let count = 0;
const counters = new Map();

function add(i) {
  const variable = plant.addVariable({
    componentOf: machine,
    browseName: `t${i}`,
    nodeId: `s=t${i}`,
    dataType: DataType.Double,
    minimumSamplingInterval: 10,
    value: { dataType: DataType.Double, value: i * 1e6 + count },
  });
  counters.set(i, variable);
}
for (let i = 0; i < options.tags; i++) if (!options.missing.includes(i)) add(i);

function fixed(name, value, more = {}) {
  return plant.addVariable({ componentOf: machine, browseName: name, nodeId: `s=${name}`, dataType: value.dataType, value, ...more });
}
const { Boolean: Bool, SByte, Byte, Int16, UInt16, Int32, UInt32, Int64, UInt64, Float, Double, String, LocalizedText, DateTime, ByteString } = DataType;
fixed("bool", { dataType: Bool, value: true });
fixed("sbyte", { dataType: SByte, value: -128 });
fixed("byte", { dataType: Byte, value: 255 });
fixed("int16", { dataType: Int16, value: -32768 });
fixed("uint16", { dataType: UInt16, value: 65535 });
fixed("int32", { dataType: Int32, value: -2147483648 });
fixed("uint32", { dataType: UInt32, value: 4294967295 });
fixed("int64", { dataType: Int64, arrayType: VariantArrayType.Scalar, value: [0x7fffffff, 0xffffffff] });
fixed("uint64", { dataType: UInt64, arrayType: VariantArrayType.Scalar, value: [0xffffffff, 0xffffffff] });
fixed("float", { dataType: Float, value: 1.5 });
fixed("string", { dataType: String, value: "cola-330" });
fixed("localized", { dataType: LocalizedText, value: { locale: "ko", text: "콜라" } });
fixed("time", { dataType: DateTime, value: new Date("2026-01-02T03:04:05.678Z") });
fixed("bytes", { dataType: ByteString, value: Buffer.from("raw") });
fixed("list", { dataType: Int32, arrayType: VariantArrayType.Array, value: Int32Array.from([10, 11, 12, 13]) });
fixed("names", { dataType: String, arrayType: VariantArrayType.Array, value: ["left", "right"] });
fixed("matrix", { dataType: Double, arrayType: VariantArrayType.Matrix, dimensions: [2, 3], value: Float64Array.from([0, 1, 2, 10, 11, 12]) }, { valueRank: 2, arrayDimensions: [2, 3] });
const analog = plant.addAnalogDataItem({
  componentOf: machine,
  browseName: "analog",
  nodeId: "s=analog",
  dataType: "Double",
  engineeringUnitsRange: { low: 0, high: 200 },
  instrumentRange: { low: 0, high: 200 },
  minimumSamplingInterval: 10,
  value: { dataType: Double, value: 0 },
});

function step() {
  count += 1;
  for (const [i, variable] of counters) {
    variable.setValueFromSource({ dataType: DataType.Double, value: i * 1e6 + count }, StatusCodes.Good, new Date());
  }
  analog.setValueFromSource({ dataType: DataType.Double, value: count % 200 }, StatusCodes.Good, new Date());
}
if (options.period_ms) setInterval(step, options.period_ms);
process.on("SIGUSR1", () => options.missing.splice(0).forEach(add));
let first;
process.on("SIGUSR2", () => {
  first ??= counters.get(0);
  counters.delete(0);
  first.setValueFromSource(new Variant({ dataType: DataType.Null }), StatusCodes.BadSensorFailure, new Date());
});
await server.start();
console.log("ready");
