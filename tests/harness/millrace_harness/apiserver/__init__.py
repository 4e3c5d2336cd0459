"""A deterministic model of the API server and of the controllers beside it."""

from .controllers import Controllers
from .server import ApiServer
from .storage import Change

__all__ = ["ApiServer", "Change", "Controllers"]
