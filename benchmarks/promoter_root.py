"""A composition root for benchmarks: the real promoter, with a bake too short for production. The product has no such
setting; a bake comes after the hold, so it does not count in what is measured."""

import sys
from pathlib import Path

from promote.bake import BakeRules
from promote.promoter import BakeFloor, run

if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), BakeFloor(seconds=0.3, turns=5), BakeRules()))
