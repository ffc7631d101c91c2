"""Stand-ins for the programs that a desk tells of events: Inngest's event API, and a receiver of signed webhooks."""
