"""Messages: received (inbox), owed to the world (outbox), due later (timers).

Storage without decisions. Attempts, leases and due times are known here and nowhere else.
"""
