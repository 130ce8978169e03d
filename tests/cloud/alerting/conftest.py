"""The plant with work, and the mail server, of the rooms beside."""

from tests.cloud.outgoing.conftest import office
from tests.cloud.reports.conftest import settings, worked

__all__ = ["office", "settings", "worked"]
