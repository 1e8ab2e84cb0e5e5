"""The durable store: one SQLite file, one thread that writes, one commit for all waiting writes."""
