"""A configuration to be seeded: three lines, five products, three shifts, ready to run."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

FILE: Final = "cloud.toml"

TOML: Final = """\
# An example plant for `triflow cloud seed`: a made-up past goes in through a gateway named `seed`.
# Look at it: triflow cloud run cloud.toml

safe = "stored"

[http]
port = 8080

[[gateway]]
tenant = "demo"
site = "seoul"
id = "seed"
key = { credential = "seed.key" }

[[site]]
tenant = "demo"
id = "seoul"
name = { ko = "서울 공장", en = "Seoul plant" }
timezone = "Asia/Seoul"

[[site.shift]]
code = "A"
start = 06:00:00
end = 14:00:00
breaks = [[10:00:00, 10:30:00]]

[[site.shift]]
code = "B"
start = 14:00:00
end = 22:00:00
breaks = [[18:00:00, 18:30:00]]

[[site.shift]]
code = "C"
start = 22:00:00
end = 06:00:00
breaks = [[02:00:00, 02:30:00]]

[[site.work_unit]]
path = "assembly/line-a/eq-501"
name = { ko = "LINE-A 조립", en = "LINE-A assembly" }

[[site.work_unit]]
path = "packaging/line-b/eq-503"
name = { ko = "LINE-B 포장", en = "LINE-B packaging" }

[[site.work_unit]]
path = "inspection/line-c/eq-505"
name = { ko = "LINE-C 검사", en = "LINE-C inspection" }

[[site.material]]
id = "MAT-X"
name = { ko = "하우징 X 원자재", en = "Material of housing X" }
unit = "H87"
safety_stock = 2000

[[site.material]]
id = "MAT-Y"
name = { ko = "커버 Y 원자재", en = "Material of cover Y" }
unit = "H87"
safety_stock = 2000

[[site.material]]
id = "PROD-X"
name = { ko = "제품 X 하우징", en = "Housing X" }
unit = "H87"
safety_stock = 500
reorder_point = 700
"""


def write(folder: Path) -> Path:
    """Write the configuration and the gateway's key into a folder; gives the file. One that is there stays."""
    path = folder / FILE
    if path.exists():
        return path
    credentials = folder / "credentials"
    credentials.mkdir(parents=True, exist_ok=True)
    key = os.open(credentials / "seed.key", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(key, "w") as file:
        file.write(secrets.token_hex(32))
    path.write_text(TOML, encoding="utf-8")
    return path
