// A MES of another make: Node's own HTTP server, gzip, weak ETags, relative `next`, a connection per answer. `node mes.mjs PORT`
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { gzipSync } from "node:zlib";

const unit = "bottling/line-1/filler";
const lots = Array.from({ length: 25 }, (_, i) => ({ lot: `L${i}`, product: "cola-330", quantity: i, unit: "C62" }));
const order = {
  order: "A-1", product: "cola-330", lot: "L1", work_unit: unit, quantity: 1200,
  start: "2026-01-02T06:00:00.000Z", end: "2026-01-02T23:00:00+09:00", state: "running",
};
const responses = {};

function content(path, query) {
  switch (path) {
    case "/api/products": return [{ product: "cola-330", name: { ko: "콜라", en: "Cola" }, ideal_cycle_ms: { [unit]: 600 } }];
    case "/api/inventory": return [];
    case "/api/job-orders": return query.get("work_unit") === unit ? [order] : [];
    case "/api/context": return { order: "A-1", product: "cola-330", lot: null };
    case "/api/job-responses": return Object.values(responses);
    case "/api/lots": {
      const from = Number(query.get("from") ?? 0);
      const next = from + 10 < lots.length ? `lots?from=${from + 10}` : null;
      return { items: lots.slice(from, from + 10), next };
    }
    default: return undefined;
  }
}

createServer((request, response) => {
  const url = new URL(request.url, "http://mes");
  if (request.method === "PUT" && url.pathname.startsWith("/api/job-responses/")) {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      const id = url.pathname.split("/").at(-1);
      const known = id in responses;
      responses[id] = JSON.parse(Buffer.concat(parts));
      response.writeHead(known ? 200 : 201).end();
    });
    return;
  }
  const found = content(url.pathname, url.searchParams);
  if (found === undefined) {
    response.writeHead(501, { "content-type": "text/plain" }).end("no such thing here");
    return;
  }
  const body = Buffer.from(JSON.stringify(found));
  const etag = `W/"${createHash("sha1").update(body).digest("hex")}"`;
  if (request.headers["if-none-match"] === etag) {
    response.writeHead(304, { etag, connection: "close" }).end();
    return;
  }
  response.writeHead(200, { etag, connection: "close", "content-type": "application/json", "content-encoding": "gzip" });
  response.end(gzipSync(body));
}).listen(Number(process.argv[2]), "127.0.0.1");
