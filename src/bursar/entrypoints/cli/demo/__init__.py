"""`bursar demo`: PostgreSQL, the sandbox and the server on this machine, with play money.

Owns the life of those processes and the files by which others find a running demo. It never takes
a shortcut: everything that it sets up goes through the same doors as in a real deployment.
"""
