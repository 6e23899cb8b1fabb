"""What `init` asks and writes: a plan and code that run."""
