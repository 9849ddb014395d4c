"""What one run may do and spend: the [run] settings with its own options on top."""

from collections.abc import Mapping
from typing import cast

from evolve.settings import DEPTHS, Depth, RunSection, Settings


def run_section(settings: Settings, options: Mapping[str, object]) -> RunSection:
    """A depth of the run's own brings all that it stands for."""
    own = {name: value for name, value in options.items() if name in RunSection.model_fields}
    tier = DEPTHS.get(cast(Depth, own.get("depth")), {})
    return RunSection.model_validate({**settings.run.model_dump(), **tier, **own})
