"""An audit from plan to evidence, and what comes after it."""
