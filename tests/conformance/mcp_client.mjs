// An agent with the TypeScript SDK, 1.x or 2.x: calls one tool and prints what it got, as JSON.
const [url, key, tool, args] = process.argv.slice(2);
const MODE = process.env.MODE;
const [{ Client }, { StreamableHTTPClientTransport }] = await Promise.all(
  MODE === "1.x"
    ? [import("@modelcontextprotocol/sdk/client/index.js"), import("@modelcontextprotocol/sdk/client/streamableHttp.js")]
    : [import("@modelcontextprotocol/client"), import("@modelcontextprotocol/client")],
);
const client = new Client({ name: "agent", version: "1" }, MODE === "1.x" ? {} : { versionNegotiation: { mode: MODE } });
const requestInit = { headers: { Authorization: `Bearer ${key}` } };
const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit });
await client.connect(transport);
const { tools } = await client.listTools();
const called = await client.callTool({ name: tool, arguments: JSON.parse(args) });
const said = {
  version: client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion,
  tools: tools.map((one) => one.name),
  failed: called.isError ?? false,
  texts: called.content.map((one) => one.text),
};
console.log(JSON.stringify(said));
await client.close();
