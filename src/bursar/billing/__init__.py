"""The decisions: who gets what, when, for how much. Knows no HTTP and no provider's words."""
