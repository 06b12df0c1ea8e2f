"""What is sold, brought to database and provider by the host itself, as `catalog push` does."""

from __future__ import annotations

from pathlib import Path

from bursar.billing import catalog_file, catalog_push
from bursar.billing.catalog_push import Pushed
from bursar.entrypoints.library.accounts import GetWiring


class Catalog:
    """The catalogue."""

    def __init__(self, wiring: GetWiring) -> None:
        self._wiring = wiring

    async def push(self, file: Path | str | None = None, *, provider: str = "stripe") -> Pushed:
        """Bring a catalogue file (by default BURSAR_CATALOG) up to date everywhere; a second time
        changes nothing.

        Raises errors.CatalogInvalid, errors.ProviderUnavailable, errors.ProviderRejected.
        """
        wiring = self._wiring()
        wanted = catalog_file.read(Path(file) if file else wiring.settings.catalog)
        adapter = wiring.provider(provider)
        return await catalog_push.push(wiring.db, adapter, wanted, clock=wiring.clock)
