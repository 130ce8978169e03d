"""The plant with work, and the mail server, of the rooms beside."""

from tests.cloud.outgoing.conftest import office, receiver
from tests.cloud.reports.conftest import settings, worked

__all__ = ["office", "receiver", "settings", "worked"]
