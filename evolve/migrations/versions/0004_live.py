"""live: what a stage is about, how far it is, and the time that it took over all its attempts."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STAGE = sa.table(
    "stage",
    sa.column("id", sa.String),
    sa.column("seconds", sa.Float),
    sa.column("started", sa.DateTime(timezone=True)),
    sa.column("finished", sa.DateTime(timezone=True)),
)


def upgrade() -> None:
    with op.batch_alter_table("stage", schema=None) as batch_op:
        batch_op.add_column(sa.Column("candidate_id", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("progress", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("seconds", sa.Float(), nullable=False, server_default="0"))
    connection = op.get_bind()
    ended = sa.select(STAGE.c.id, STAGE.c.started, STAGE.c.finished).where(STAGE.c.finished.is_not(None))
    for one, started, finished in connection.execute(ended).all():
        took = STAGE.update().where(STAGE.c.id == one).values(seconds=(finished - started).total_seconds())
        connection.execute(took)
