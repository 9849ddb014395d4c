"""population: several proposals a pass, each in rounds."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


# The name that PostgreSQL gave the constraint; SQLite's has none, and gets it here to be found by.
NAMES = {"uq": "%(table_name)s_%(column_0_N_name)s_key"}


def upgrade() -> None:
    with op.batch_alter_table("stage", schema=None, naming_convention=NAMES) as batch_op:
        batch_op.add_column(sa.Column("proposal", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("round", sa.Integer(), nullable=False, server_default="0"))
        batch_op.drop_constraint("stage_run_id_iteration_name_key", type_="unique")
        batch_op.create_unique_constraint(
            "stage_place_key", ["run_id", "iteration", "proposal", "round", "name"]
        )
    with op.batch_alter_table("candidate", schema=None) as batch_op:
        batch_op.add_column(sa.Column("proposal", sa.Integer(), nullable=False, server_default="0"))
