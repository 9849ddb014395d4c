"""Seeded inputs from short recipes, so that the list of cases stays data."""

import random
from typing import Any


def draw(recipe: str, rng: random.Random) -> Any:
    """`int A B` · `float A B` · `text LETTERS A B` · `words A B` · `list N RECIPE` · `pick JSON-ish|…` · `bool`."""
    head, _, rest = recipe.partition(" ")
    if head == "int":
        low, high = map(int, rest.split())
        return rng.randint(low, high)
    if head == "float":
        low_f, high_f = map(float, rest.split())
        return round(rng.uniform(low_f, high_f), 2)
    if head == "bool":
        return rng.random() < 0.5
    if head == "text":
        letters, low_s, high_s = rest.rsplit(" ", 2)
        return "".join(rng.choice(letters) for _ in range(rng.randint(int(low_s), int(high_s))))
    if head == "words":
        low, high = map(int, rest.split())
        vocabulary = (
            "a",
            "of",
            "stone",
            "river-bed",
            "light",
            "unbelievably",
            "so",
            "e.g.",
            "tower",
            "x" * 14,
        )
        return " ".join(rng.choice(vocabulary) for _ in range(rng.randint(low, high)))
    if head == "list":
        most, _, inner = rest.partition(" ")
        return [draw(inner, rng) for _ in range(rng.randint(0, int(most)))]
    if head == "some":
        most, _, inner = rest.partition(" ")
        return [draw(inner, rng) for _ in range(rng.randint(1, int(most)))]
    if head == "pick":
        return rng.choice(rest.split("|"))
    raise ValueError(f"no such recipe: {recipe}")
