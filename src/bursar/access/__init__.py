"""Access: who is asking and what they may. Keys, sessions, limits, idempotency keys.

Owns the tables api_keys, sign_in_links, sessions, rate_limits and idempotency_keys. It never
decides what is sold or paid, and knows no HTTP.
"""
