// A server of another make that remembers: node history.mjs PORT TRUTH
// Every value it ever has is a line of TRUTH (JSON: name, value, ms since 1970), written before a client can see it.
//   count  a counter, every 20 ms        level  a float, every 50 ms       state  0..3, now and then
//   short  as count, but only its last 100 values are remembered            plain  as count, without any history
//   still  never changes                 text   a string, every 70 ms
// SIGUSR2 closes every session, so that nobody can take his up again; SIGUSR1 stops or starts the changes.
import fs from "node:fs";
import { OPCUAServer, DataType, StatusCodes, SecurityPolicy, MessageSecurityMode } from "node-opcua";

const [port, truth] = [Number(process.argv[2]), process.argv[3]];
const server = new OPCUAServer({
  port,
  securityPolicies: [SecurityPolicy.None],
  securityModes: [MessageSecurityMode.None],
  serverCapabilities: { minSupportedSampleRate: 0, operationLimits: { maxNodesPerHistoryReadData: 3 } },
});
await server.initialize();
const space = server.engine.addressSpace;
const own = space.registerNamespace("urn:triflow:test:history");
const folder = own.addFolder("ObjectsFolder", { browseName: "machine" });
const out = fs.openSync(truth, "a");
const nodes = {};

function variable(name, dataType, remembered) {
  const node = own.addVariable({
    componentOf: folder, browseName: name, nodeId: `s=${name}`, dataType, minimumSamplingInterval: 0,
  });
  if (remembered) space.installHistoricalDataNode(node, { maxOnlineValues: remembered });
  nodes[name] = { node, dataType, at: 0 };
}

function set(name, value) {
  const one = nodes[name];
  const at = Math.max(Date.now(), one.at + 1); // history keeps one value a time stamp
  one.at = at;
  fs.writeSync(out, JSON.stringify([name, value, at]) + "\n");
  one.node.setValueFromSource({ dataType: one.dataType, value }, StatusCodes.Good, new Date(at));
}

variable("count", "UInt32", 1_000_000);
variable("level", "Double", 1_000_000);
variable("state", "Int32", 1_000_000);
variable("text", "String", 1_000_000);
variable("still", "Int32", 1_000_000);
variable("short", "UInt32", 100);
variable("plain", "UInt32", 0);
let n = 0;
let running = true;
set("still", 7);
function step() {
  if (!running) return;
  n += 1;
  for (const name of ["count", "short", "plain"]) set(name, n);
  if (n % 2 === 0) set("level", Math.sin(n / 20) * 10);
  if (n % 3 === 0) set("text", `설비-${n}`);
  if (n % 25 === 0) set("state", (n / 25) % 4);
}
step();
set("level", 0.5);
set("text", "first");
set("state", 0);
await server.start();
setInterval(step, 20);
process.on("SIGUSR1", () => { running = !running; });
process.on("SIGUSR2", async () => {
  for (const session of Object.values(server.engine._sessions)) {
    server.engine.closeSession(session.authenticationToken, true, "Terminated");
  }
});
process.on("SIGTERM", () => process.exit(0));
