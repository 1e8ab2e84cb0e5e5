"""The executor processes: how they are started, spoken to, watched and killed."""
