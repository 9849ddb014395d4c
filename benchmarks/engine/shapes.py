"""The graphs that every side runs: for each step, the earlier ones that it needs."""

import random
from collections.abc import Mapping

Shape = list[list[int]]


def chain(steps: int) -> Shape:
    return [[index - 1] if index else [] for index in range(steps)]


def fan_out(width: int) -> Shape:
    """One step, many that need it, and one that needs them all."""
    return [[], *[[0] for _ in range(width)], list(range(1, width + 1))]


def scattered(steps: int, seed: int = 7) -> Shape:
    """Each step needs up to three of the fifty before it."""
    dice = random.Random(seed)
    return [
        sorted(dice.sample(range(max(0, index - 50), index), min(index, dice.randint(1, 3))))
        for index in range(steps)
    ]


SHAPES: Mapping[str, Shape] = {"chain": chain(200), "fan_out": fan_out(200), "random": scattered(1000)}
