"""A composition root for tests: the real promoter with a shorter bake. The product has no such setting."""

import argparse
import logging
import sys
from pathlib import Path

from promote.bake import BakeRules
from promote.promoter import BakeFloor, run

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    sys.exit(run(parser.parse_args().config, BakeFloor(seconds=0.3, turns=5), BakeRules()))
