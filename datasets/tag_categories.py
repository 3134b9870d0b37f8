"""What kind of thing tags name: genres, instruments, voices, moods."""

from __future__ import annotations

from collections.abc import Sequence

from datasets.corpora import jamendo, magnatagatune

MAGNATAGATUNE = {tag: category for category, tags in magnatagatune.CATEGORIES.items() for tag in tags}


def tag_categories(tags: Sequence[str]) -> dict[str, list[int]]:
    """Numbers of the tags in each category.

    Known are tags of MTG-Jamendo, whose names begin with their category, and those of MagnaTagATune.

    Args:
        tags: All tags of a task.

    Returns:
        Empty where one of them has no known category, or all have the same one.
    """
    of_jamendo = [jamendo.CATEGORIES.get(tag.partition(jamendo.CATEGORY_MARK)[0]) for tag in tags]
    categories = of_jamendo if all(of_jamendo) else [MAGNATAGATUNE.get(tag) for tag in tags]
    found: dict[str, list[int]] = {}
    for number, category in enumerate(categories):
        if category is None:
            return {}
        found.setdefault(category, []).append(number)
    return found if len(found) > 1 else {}
