"""Secrets are named in configuration and read when they are used, never written there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class SecretError(Exception):
    """A named credential cannot be read. Provide it as the message says; nothing is retried."""


class Credential(BaseModel):
    """A reference to a secret: `{credential = "name"}` in a configuration file.

    The secret is the content of the file `name` in the credentials folder: what systemd's `LoadCredential=` provides
    in `$CREDENTIALS_DIRECTORY`, else the folder `credentials` beside the configuration file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    credential: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]

    def path(self, beside: Path) -> Path:
        """Give the file the secret is in, for libraries that read it themselves (private keys)."""
        return Path(os.environ.get("CREDENTIALS_DIRECTORY") or beside / "credentials") / self.credential

    def read(self, beside: Path) -> SecretStr:
        """Give the secret; `beside` is the folder of the configuration file. Raises SecretError."""
        path = self.path(beside)
        try:
            secret = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SecretError(
                f"credential {self.credential!r}: cannot read {path} ({error.strerror}); put the secret in that file, "
                "readable by this user only, or name it with LoadCredential= in the systemd unit"
            ) from error
        if not secret:
            raise SecretError(f"credential {self.credential!r}: {path} is empty")
        return SecretStr(secret)
