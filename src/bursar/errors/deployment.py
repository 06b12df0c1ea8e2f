"""This deployment: a part that does not answer, or a set-up that can't run."""

from __future__ import annotations

from bursar.errors.families import Misconfigured, Unavailable


class DatabaseUnavailable(Unavailable):
    """PostgreSQL does not answer; nothing was lost, try again."""

    code = "database_unavailable"


class ModeMismatch(Misconfigured):
    """The database belongs to another mode (sandbox, test or live)."""

    code = "mode_mismatch"


class EmbeddedServerFailed(Misconfigured):
    """The embedded PostgreSQL could not be started."""

    code = "embedded_server_failed"


class MigrationFailed(Misconfigured):
    """The database's schema can't be brought up to date."""

    code = "migration_failed"
