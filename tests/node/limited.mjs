// An OPC UA server of another make that takes few nodes per request: node limited.mjs '{"port": …, "tags": …, "limit": …}'
import { DataType, OPCUAServer, Variant } from "node-opcua";

const given = JSON.parse(process.argv[2]);
const server = new OPCUAServer({
  port: given.port,
  host: "127.0.0.1",
  resourcePath: "",
  serverCapabilities: {
    operationLimits: {
      maxMonitoredItemsPerCall: given.limit,
      maxNodesPerRead: given.limit,
      maxNodesPerTranslateBrowsePathsToNodeIds: given.limit,
    },
  },
});
await server.initialize();
const space = server.engine.addressSpace;
const namespace = space.registerNamespace("urn:triflow:limited");
for (let i = 0; i < given.tags; i++) {
  const variable = namespace.addVariable({
    organizedBy: space.rootFolder.objects,
    browseName: `t${i}`,
    nodeId: `s=t${i}`,
    dataType: "Double",
  });
  variable.setValueFromSource(new Variant({ dataType: DataType.Double, value: i }));
}
await server.start();
console.log("ready");
process.on("SIGTERM", () => server.shutdown(0).then(() => process.exit(0)));
