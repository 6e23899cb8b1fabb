"""The gate: whether an audited model may be deployed."""
