"""The wire to MultiMail: client, event parsing, signatures, typed errors. No models, nothing of ours imported."""
