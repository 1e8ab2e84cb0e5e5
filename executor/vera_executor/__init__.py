"""The child: one process that runs one task at a time and reports what became of it."""
