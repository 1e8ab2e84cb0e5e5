"""Where accepted tasks and what became of them are kept."""
