"""Every query of the gateway with a name. Raw SQL lives here and nowhere else; leases use the database's clock."""
