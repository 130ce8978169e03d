"""The gateway's own key: made on the box at the first start, never leaves it. Under it stand the chain's statements."""

from __future__ import annotations

import errno
import logging
from pathlib import Path
from typing import Final

from edge import durable
from edge.store.file import StoreError, StoreRefusedError
from sync.signing import KEY_BYTES, Signer, make_key

log = logging.getLogger(__name__)

NAME: Final = "identity.key"
_FULL: Final = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


def own_signer(folder: Path) -> Signer | None:
    """Give the gateway's signer; its key file (hex, for its owner's eyes only) is made when there is none.

    None when there is no room for that file: chunks then go unsigned until the next start. Raises StoreRefusedError
    for a file that is no key, or not ours to read, and StoreError when the disk fails.
    """
    path = folder / NAME
    try:
        if not path.exists():
            durable.put(path, f"{make_key().hex()}\n".encode(), 0o600)
            log.info("made the gateway's own key: file=%s", path)
        key = bytes.fromhex(path.read_text(encoding="ascii"))
        if len(key) == KEY_BYTES:
            return Signer(key)
    except PermissionError as error:
        raise StoreRefusedError(f"{path} cannot be read ({error.strerror}); check whom it belongs to") from error
    except OSError as error:
        if error.errno not in _FULL:
            raise StoreError(f"{path}: {error.strerror}; check the disk") from error
        log.warning("no room for the gateway's own key, chunks go unsigned: file=%s why=%s; free some space and restart",
                    path, error.strerror)  # fmt: skip
        return None
    except ValueError:
        pass
    raise StoreRefusedError(
        f"{path} holds no key (64 hex digits are expected); put the right file back from a backup, or move it away: a new "
        "key is then made, and the cloud shows this gateway as one whose key has changed"
    )
