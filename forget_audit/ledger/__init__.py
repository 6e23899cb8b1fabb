"""The ledger: a record of audits that can only grow, and that others can check."""
