"""The command `bursar`: one module for each command or group of commands.

Owns arguments, output and exit codes: 0 done, 1 refused or failed, 2 usage. It decides nothing:
every command calls the same functions as the API and the pages.
"""

from bursar.entrypoints.cli.app import main

__all__ = ["main"]
