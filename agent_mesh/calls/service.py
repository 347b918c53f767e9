"""The calls about the service itself."""

from agent_mesh.calls.noun import Noun
from agent_mesh.shapes import Json


class Service(Noun):
    """What it is and how it is. None of these needs a token; each raises MeshError, Refused where it is not well."""

    def index(self) -> Json:
        """GET /: what this is, and links."""
        return dict(self._read("/"))

    def status(self) -> Json:
        """GET /status: it answers; nothing is touched."""
        return dict(self._read("/status"))

    def health(self) -> Json:
        """GET /health: the database, Redis, and how far the seals lag."""
        return dict(self._read("/health"))

    def alive(self) -> Json:
        """GET /livez: the process answers."""
        return dict(self._read("/livez"))

    def ready(self) -> Json:
        """GET /readyz: it has a database with all migrations."""
        return dict(self._read("/readyz"))
