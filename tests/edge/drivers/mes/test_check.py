"""`triflow edge check` finds what is wrong with MES and ERP before anything opens, on its line."""

from __future__ import annotations

import pytest

from edge.site import load
from sync.settings import ConfigError

GATEWAY = """
[gateway]
id = "gw-1"
tenant = "acme"
site = "gumi"
"""
ERP = """
[[connection]]
name = "erp"
driver = "sql"
url = "postgresql+psycopg://reader@db/erp"
[[connection.query]]
gives = "lots"
sql = \"\"\"
select * from lots where changed >= :since\"\"\"
watermark = "changed"
begin = 2026-01-01T00:00:00Z
"""
MES = """
[[connection]]
name = "mes"
driver = "mes"
url = "https://mes"
"""


def test_a_good_file_is_loaded(tmp_path):
    (tmp_path / "site.toml").write_text(GATEWAY + ERP + MES)
    erp, _ = load(tmp_path / "site.toml").file.connections
    assert erp.queries[0].begin.tzinfo is not None


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (">= :since", "> :since", ":11: connection[0].query[0]: sql: write >= :since: rows that share the last watermark"),
        ("select *", "delete", ":11: connection[0].query[0]: sql: only a SELECT (or WITH … SELECT) is accepted"),
        ('watermark = "changed"', "", ":11: connection[0].query[0]: sql: :since needs `watermark`"),
        ("begin = 2026-01-01T00:00:00Z", "", ":11: connection[0].query[0]: watermark and begin go together"),
        ("begin =", "began =", ":16: connection[0].query[0].began: unknown key; did you mean 'begin'?"),
        ('gives = "lots"', 'gives = "lot"', ":12: connection[0].query[0].gives: Input should be 'job_orders', 'lots'"),
        ("reader@db", "reader:secret@db", ":7: connection[0].sql: url holds a password"),
        ("https://mes", "ftp://mes", "connection[1].url: String should match pattern"),
        ('url = "https://mes"', 'url = "http://mes"\nca = "ca.pem"', "connection[1].mes: ca needs an https:// url"),
        ('"https://mes"', '"https://mes"\nca = "ca.pem"', ":22: connection[1].ca: no certificate at"),
        ('"https://mes"', '"https://mes"\ntoken = { credential = "t" }', "connection[1].token: credential 't': cannot read"),
        ('"https://mes"', '"https://mes"\nwithout = ["lots"]', "connection[1].without[0]: String should match pattern"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_line(tmp_path, old, new, expected):
    text = GATEWAY + ERP + MES
    assert old in text
    (tmp_path / "site.toml").write_text(text.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "site.toml")
    found = [str(fault) for fault in caught.value.faults]
    assert any(expected in fault for fault in found), found
    assert not any("{'" in fault for fault in found), "no table is printed whole"
