// Functions as MultiMail's Inngest page describes them: triage, and a wait for the decision. The page's own
// `match` compares with the event that began the run, which names no message; `if` is what the page means.
import http from "node:http";
import { Inngest } from "inngest";
import { serve } from "inngest/node";

const { GATEWAY_URL, KEY, MAILBOX_ADDRESS, PORT } = process.env;
const inngest = new Inngest({ id: "pages" });

async function call(path) {
  const headers = { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" };
  const answer = await fetch(`${GATEWAY_URL}/${path}`, { headers });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  return answer.json();
}

const post = (path, body, headers = {}) =>
  fetch(`${GATEWAY_URL}/${path}`, {
    method: "POST",
    headers: { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json", ...headers },
    body: JSON.stringify(body),
  }).then((answer) => answer.json());

const received = { event: "multimail/email.received" };
const triage = inngest.createFunction({ id: "triage" }, received, async ({ event, step }) => {
  const email = await step.run("read", () => call(`read_email?id=${event.data.id}`));
  const tag = email.subject.toLowerCase().includes("refund") ? "refund" : "other";
  await step.run("tag", () => post("tag_email", { id: event.data.id, tags: [tag] }));
  return { id: event.data.id, tag };
});

const written = { event: "app/letter.written" };
const sendAndWait = inngest.createFunction({ id: "send" }, written, async ({ event, runId, step }) => {
  const body = { from: MAILBOX_ADDRESS, ...event.data, oversight_mode: "gated_send" };
  const sent = await step.run("send", () => post("send_email", body, { "Idempotency-Key": runId }));
  const decided = await step.waitForEvent("wait", {
    event: "multimail/email.decided",
    timeout: "3d",
    if: `async.data.message_id == "${sent.id}"`,
  });
  return { id: sent.id, decision: decided?.data.decision ?? "none" };
});

const functions = [triage, sendAndWait];
http.createServer(serve({ client: inngest, functions })).listen(Number(PORT), "127.0.0.1");
