// Tells the Discord channel in which a message began what became of it.
//
// Needs Node 20 alone, and these variables: DISCORD_TOKEN, of a bot that may post in these channels, and SIGNING_SECRET,
// which the gateway showed as `signing_secret` when the webhook was made for the events email.decided,
// message.delivered, message.bounced and message.failed. PORT is 9000 unless set.

import { createHmac, timingSafeEqual } from "node:crypto";
import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

const { DISCORD_TOKEN, SIGNING_SECRET, DISCORD_API_URL = "https://discord.com/api/v10", PORT = "9000" } = process.env;
const LARGEST = 1_000_000;
const seen = new Set(); // in a real program: a table with a unique column

// Whether the header is `sha256=` and the hex HMAC of the exact bytes that came. Ask before parsing them.
function isSigned(body, header = "") {
  const expected = Buffer.from(`sha256=${createHmac("sha256", SIGNING_SECRET).update(body).digest("hex")}`);
  const given = Buffer.from(header.trim().toLowerCase());
  return given.length === expected.length && timingSafeEqual(given, expected);
}

// What the channel reads: who decided what and why, or whether it arrived.
function told({ event, decision, decided_by, reason, sandbox, subject, to }) {
  let what = event.split(".")[1];
  if (what === "decided" && !decided_by) what = "expired: nobody decided";
  else if (what === "decided") what = `${decision} by ${decided_by}${reason ? `\n> ${reason}` : ""}`;
  if (what === "delivered" && sandbox) what = "test: recorded, not sent";
  return `“${subject.slice(0, 200)}” to ${to.slice(0, 200)}: ${what}`.slice(0, 2000);
}

// Posts in the channel whose id is in the metadata.
async function post(event) {
  const channel = String(event.metadata.discord_channel ?? "");
  if (!/^\d+$/.test(channel)) return;
  const request = {
    method: "POST",
    headers: { Authorization: `Bot ${DISCORD_TOKEN}`, "Content-Type": "application/json" },
    // Senders and reviewers wrote these words: they may ping nobody.
    body: JSON.stringify({ content: told(event), allowed_mentions: { parse: [] } }),
  };
  for (let attempt = 0; attempt < 5; attempt++) {
    const answer = await fetch(`${DISCORD_API_URL}/channels/${channel}/messages`, request);
    if (answer.status !== 429) return console.log(event.event, event.message_id, answer.status);
    await sleep(1000 * Number(answer.headers.get("Retry-After") ?? 5));
  }
}

http.createServer(async (request, response) => {
  const parts = [];
  let size = 0;
  for await (const part of request) if ((size += part.length) <= LARGEST) parts.push(part);
  const body = Buffer.concat(parts);
  const isOurs = isSigned(body, request.headers["x-multimail-signature"]);
  // Answer at once; the same event may come again, with the same event_id.
  response.writeHead(isOurs ? 200 : 401, { "Content-Type": "application/json" }).end("{}");
  if (!isOurs) return;
  const event = JSON.parse(body);
  if (seen.has(event.event_id)) return;
  seen.add(event.event_id);
  await post(event).catch((error) => console.error(error.message));
}).listen(Number(PORT), "127.0.0.1");
