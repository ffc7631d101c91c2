"""All parsing of what admins fill in about the account at MultiMail: mailboxes, API keys, webhooks."""
