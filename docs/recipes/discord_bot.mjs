// A Discord bot that sends and reads mail through the gateway: /sendemail, /checkinbox and !reply.
//
// Needs Node 20 and discord.js (npm install discord.js@14.28.1) and these variables: DISCORD_TOKEN, GATEWAY_URL,
// AGENT_KEY (scopes read and send) and MAILBOX_ADDRESS. !reply reads what people write: switch "Message Content
// Intent" on in Discord's developer portal.

import { setTimeout as sleep } from "node:timers/promises";
import { Client, Events, GatewayIntentBits, MessageFlags, PermissionFlagsBits, SlashCommandBuilder, escapeMarkdown,
  InteractionContextType } from "discord.js";

const { DISCORD_TOKEN, GATEWAY_URL, AGENT_KEY, MAILBOX_ADDRESS } = process.env;
const LONGEST_WAIT = 60; // seconds; an interaction can be answered for 15 minutes

const bot = new Client({
  intents: [GatewayIntentBits.Guilds, GatewayIntentBits.GuildMessages, GatewayIntentBits.MessageContent],
  // Nothing that a letter says may ping anybody.
  allowedMentions: { parse: [], repliedUser: false },
});

const command = (name, description) => new SlashCommandBuilder()
  .setName(name)
  .setDescription(description)
  .setContexts(InteractionContextType.Guild)
  .setDefaultMemberPermissions(PermissionFlagsBits.ManageMessages);
const text = (name, description) => (option) => option.setName(name).setDescription(description).setRequired(true);

const COMMANDS = [
  command("sendemail", "Send an email; a person reviews it first")
    .addStringOption(text("to", "Address of the recipient"))
    .addStringOption(text("subject", "Subject"))
    .addStringOption(text("body", "Text, as Markdown")),
  command("checkinbox", "Show unread mail"),
];

// Calls the gateway. Repeats when it is asked to wait or hears nothing: the idempotency key makes that safe.
async function call(method, path, body) {
  const headers = { Authorization: `Bearer ${AGENT_KEY}`, "Content-Type": "application/json" };
  for (let attempt = 0; attempt < 5; attempt++) {
    let wait = 2 ** attempt;
    try {
      const signal = AbortSignal.timeout(30_000);
      const response = await fetch(GATEWAY_URL + path, { method, headers, body: JSON.stringify(body), signal });
      const answer = await response.json();
      wait = Number(response.headers.get("Retry-After") ?? wait);
      if (response.status < 500 && (response.status !== 429 || wait > LONGEST_WAIT)) return answer;
    } catch (error) {
      console.error(`gateway: ${error.message}`);
    }
    await sleep(wait * 1000);
  }
  return { error: "The gateway does not answer. Whether the message was taken is not known." };
}

// What the user is told. Held is an answer, not an error: never send again because of it.
function told(answer) {
  // The gateway's own errors have a code. Without one, nobody knows.
  if (answer.error) return answer.code ? `Not sent: ${answer.error}` : answer.error;
  if (answer.oversight_status === "pending_approval") {
    return `Held for review, a person decides. Do not send it again. Message \`${answer.message_id}\`.`;
  }
  return `On its way. Message \`${answer.message_id}\`.`;
}

// Who asked, and where: reviewers see it beside the message.
const origin = (user, { channel, guild }) => ({
  discord_user: user.tag,
  discord_user_id: user.id,
  discord_channel: channel?.id,
  discord_channel_name: channel?.name,
  discord_guild: guild?.name,
});

async function sendEmail(interaction) {
  return told(await call("POST", "/v1/send_email", {
    from: MAILBOX_ADDRESS,
    to: interaction.options.getString("to"),
    subject: interaction.options.getString("subject"),
    body: interaction.options.getString("body"),
    metadata: { ...origin(interaction.user, interaction), discord_interaction_id: interaction.id },
    // One interaction makes one message, however often this is called.
    idempotency_key: `discord-${interaction.id}`,
  }));
}

async function checkInbox() {
  const answer = await call("GET", `/v1/check_inbox?mailbox=${encodeURIComponent(MAILBOX_ADDRESS)}&limit=5`);
  if (answer.error) return `The inbox cannot be read: ${answer.error}`;
  const rows = answer.emails.map((mail) =>
    `${escapeMarkdown(mail.subject.slice(0, 100) || "(no subject)")} · ${escapeMarkdown(mail.from)}\n` +
    `\`!reply ${mail.thread_id} your answer\``);
  return rows.join("\n").slice(0, 2000) || "No unread mail.";
}

// Whatever goes wrong in a handler below comes here; without this line it would end the bot.
bot.on(Events.Error, (error) => console.error(error));

bot.once(Events.ClientReady, () => bot.application.commands.set(COMMANDS));

bot.on(Events.InteractionCreate, async (interaction) => {
  const handler = { sendemail: sendEmail, checkinbox: checkInbox }[interaction.commandName];
  if (!handler) return;
  // Discord waits three seconds for a first answer, and this is it.
  await interaction.deferReply({ flags: MessageFlags.Ephemeral });
  await interaction.editReply(await handler(interaction));
});

bot.on(Events.MessageCreate, async (message) => {
  if (message.author.bot || !message.content.startsWith("!reply")) return;
  // Slash commands carry Discord's own check of permissions; a message does not.
  if (!message.member?.permissions.has(PermissionFlagsBits.ManageMessages)) return;
  const [, thread, body] = message.content.match(/^!reply\s+(\S+)\s+([^]+)$/) ?? [];
  if (!body) {
    await message.reply("Write `!reply <thread> <text>`; /checkinbox shows the threads.");
    return;
  }
  const answer = await call("POST", "/v1/reply_email", {
    thread_id: thread,
    body,
    metadata: origin(message.author, message),
    idempotency_key: `discord-${message.id}`,
  });
  await message.reply(told(answer));
});

await bot.login(DISCORD_TOKEN);
