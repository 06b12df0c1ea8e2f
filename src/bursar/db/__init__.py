"""The database room: connections, transactions, migrations, and the embedded PostgreSQL.

Owns how Bursar reaches PostgreSQL and the tables that describe the schema and the deployment.
It never holds SQL of another room: that stands beside its owner.
"""

from bursar.db.connections import Connection
from bursar.db.pool import Database, open_pool

__all__ = ["Connection", "Database", "open_pool"]
