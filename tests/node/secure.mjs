// A secured OPC UA server of another make: node secure.mjs '{"port": …, "folder": …, "certificate": …, "key": …, …}'
// Its PKI lies under `folder`; users: operator / s3cret, and the certificates in `<folder>/users/trusted/certs`.
import {
  DataType, MessageSecurityMode, OPCUACertificateManager, OPCUAServer, SecurityPolicy, StatusCodes, Variant,
} from "node-opcua";
import path from "node:path";

const given = JSON.parse(process.argv[2]);
const store = (name, trusting) =>
  new OPCUACertificateManager({
    rootFolder: path.join(given.folder, name),
    automaticallyAcceptUnknownCertificate: trusting,
    disableFileWatchers: false,
  });
const clients = store("clients", given.trusting ?? true);
const users = store("users", false);
await clients.initialize();
await users.initialize();
const server = new OPCUAServer({
  port: given.port,
  host: "127.0.0.1",
  resourcePath: "/secure",
  serverCertificateManager: clients,
  userCertificateManager: users,
  certificateFile: given.certificate,
  privateKeyFile: given.key,
  serverInfo: { applicationUri: given.uri },
  securityPolicies: (given.policies ?? ["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"]).map(
    (name) => SecurityPolicy[name],
  ),
  securityModes: (given.modes ?? ["Sign", "SignAndEncrypt"]).map((name) => MessageSecurityMode[name]),
  allowAnonymous: given.anonymous ?? true,
  defaultSecureTokenLifetime: given.lifetime ?? 60_000,
  userManager: { isValidUser: (name, password) => name === "operator" && password === "s3cret" },
});
await server.initialize();
const space = server.engine.addressSpace;
const namespace = space.registerNamespace("urn:triflow:test:machine");
namespace.addVariable({
  organizedBy: space.rootFolder.objects,
  browseName: "answer",
  nodeId: "s=answer",
  dataType: "Int32",
  minimumSamplingInterval: 50,
  value: { get: () => new Variant({ dataType: DataType.Int32, value: 42 }), timestamped_get: undefined },
});
await server.start();
console.log("ready");
process.on("SIGTERM", () => server.shutdown(0).then(() => process.exit(0)));
