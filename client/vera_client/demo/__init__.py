"""What `vera-worker demo` is made of: a worker of its own, a workload, a check, a summary."""
