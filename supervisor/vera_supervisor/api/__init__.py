"""REST: what clients send and get, and nothing that decides about tasks."""
