// Loaded before a discord.js program (node --require), so that it asks the stand-in in place of Discord.
const { createRequire } = require("node:module");

const fromBot = createRequire(process.env.STANDIN_BOT_FOLDER + "/");
const rest = createRequire(fromBot.resolve("discord.js"))("@discordjs/rest");
rest.DefaultRestOptions.api = process.env.STANDIN_URL + "/api";
