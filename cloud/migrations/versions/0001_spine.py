"""The first schema: its statements stand in SQL files, so that later changes of `cloud.tables` never change the past."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    here = Path(__file__)
    for part in (op.get_bind().dialect.name, "views"):
        text = here.with_name(f"{here.stem}.{part}.sql").read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if not line.startswith("--")]
        for statement in "\n".join(lines).split(";\n"):
            if statement.strip():
                op.get_bind().exec_driver_sql(statement.strip().rstrip(";"))
