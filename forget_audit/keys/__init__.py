"""Keys and certificates: where they lie, how they are opened, and what they sign."""
