"""Checks: the audit of this database's invariants. Reads only."""
