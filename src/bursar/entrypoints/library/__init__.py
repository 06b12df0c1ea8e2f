"""The library: Bursar inside a host's own process. `from bursar import Bursar` is its front door.

Owns what a host calls, awaited or blocking, the host's reactions to our events, and the lifespan
in which all of it is open. It decides nothing: every call goes to the same rooms as the API's.
"""

from bursar.entrypoints.library.facade import Bursar
from bursar.entrypoints.library.reactions import Event

__all__ = ["Bursar", "Event"]
