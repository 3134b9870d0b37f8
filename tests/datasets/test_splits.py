"""How tracks are split: laws of every rule, and how near the shares they come."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.splits import SHARES, SPLITS, check_shares, grouped, hashed, hashed_split, stratified

NAMES = st.integers(0, 400).map(lambda number: f"artist {number % 7}/{number}.ogg")
LABELS = st.lists(st.sampled_from("abcdefgh"), max_size=4)
CORPORA = st.dictionaries(NAMES, LABELS, max_size=80)
WEIGHTS = st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9))


def shares_of(weights):
    return tuple(weight / sum(weights) for weight in weights)


def artist(identity):
    return identity.partition("/")[0]


RULES = {
    "hashed": lambda labels, shares, seed: hashed(labels, shares),
    "stratified": stratified,
    "grouped": lambda labels, shares, seed: grouped(labels, {one: artist(one) for one in labels}, shares, seed),
}


@pytest.mark.parametrize("rule", RULES)
@given(labels=CORPORA, weights=WEIGHTS, seed=st.integers(0, 5), order=st.randoms(use_true_random=False))
def test_every_track_has_one_split_whatever_the_order_of_rows_and_labels(rule, labels, weights, seed, order):
    shares = shares_of(weights)
    assigned = RULES[rule](labels, shares, seed)
    assert assigned.keys() == labels.keys()
    assert set(assigned.values()) <= {split for split, share in zip(SPLITS, shares, strict=True) if share}
    rows = [(identity, order.sample(found, len(found))) for identity, found in labels.items()]
    order.shuffle(rows)
    assert RULES[rule](dict(rows), shares, seed) == assigned


@given(labels=CORPORA, weights=WEIGHTS, seed=st.integers(0, 5))
def test_no_group_stands_on_two_sides(labels, weights, seed):
    assigned = RULES["grouped"](labels, shares_of(weights), seed)
    sides = defaultdict(set)
    for identity, split in assigned.items():
        sides[artist(identity)].add(split)
    assert all(len(splits) == 1 for splits in sides.values())


@given(classes=st.lists(st.integers(1, 40), min_size=1, max_size=8), weights=WEIGHTS, seed=st.integers(0, 5))
def test_with_one_label_a_track_every_class_has_its_share_of_every_split(classes, weights, seed):
    labels = {f"{name}/{n}.ogg": (str(name),) for name, count in enumerate(classes) for n in range(count)}
    shares = shares_of(weights)
    assigned = stratified(labels, shares, seed)
    for name, count in enumerate(classes):
        found = Counter(split for identity, split in assigned.items() if labels[identity] == (str(name),))
        for split, share in zip(SPLITS, shares, strict=True):
            assert share * count - 2 < found[split] < share * count + 1


@given(count=st.integers(0, 200), weights=WEIGHTS)
def test_tracks_without_labels_keep_the_shares_too(count, weights):
    shares = shares_of(weights)
    found = Counter(stratified({str(number): () for number in range(count)}, shares).values())
    assert all(abs(found[split] - share * count) < 2 for split, share in zip(SPLITS, shares, strict=True))


def worst(labels, assigned):
    """The largest distance of a label from its share of a split, in tracks."""
    totals = Counter(label for found in labels.values() for label in found)
    inside = Counter((assigned[identity], label) for identity, found in labels.items() for label in found)
    return max(
        abs(inside[split, label] - share * totals[label])
        for label in totals
        for split, share in zip(SPLITS, SHARES, strict=True)
    )


def test_labels_that_share_tracks_come_nearer_to_their_shares_than_by_chance():
    labels = {
        f"{n}.ogg": [f"label {k}" for k in range(1, 30) if hashed_split(f"{n} {k}", (1 / k, 1 - 1 / k, 0)) == "train"]
        for n in range(2000)
    }
    assert worst(labels, stratified(labels)) < 2
    assert worst(labels, hashed(labels)) > 10
    groups = {identity: int(identity[:-4]) % 300 for identity in labels}
    sizes = Counter(grouped(labels, groups).values())
    assert [sizes[split] / len(labels) for split in SPLITS] == pytest.approx(SHARES, abs=0.02)


def test_the_seed_decides_among_equals_and_groups_may_be_anything():
    labels = {f"{n}.ogg": ("x",) for n in range(50)}
    assert stratified(labels, seed=1) != stratified(labels, seed=2)
    assert stratified(labels, seed=1) == stratified(labels, seed=1)
    assert grouped(labels, dict.fromkeys(labels, ("one",))) == dict.fromkeys(labels, "train")


@given(st.text(min_size=1))
def test_a_hashed_split_depends_on_the_id_alone(identity):
    assert hashed({identity: ("a",)}) == hashed({identity: ()}) == {identity: hashed_split(identity)}


def test_hashed_splits_have_their_shares_and_never_change():
    names = [f"track {number}" for number in range(5000)]
    for shares in (SHARES, (0.5, 0.25, 0.25), (0.97, 0.0, 0.03)):
        found = Counter(hashed_split(name, shares) for name in names)
        assert [found[split] / len(names) for split in SPLITS] == pytest.approx(shares, abs=0.02)
    assert (
        "".join(hashed_split(name)[1] for name in names[:24]) == "rrrreararrrrrrrerrerrrrr"
    )  # t[r]ain, v[a]lid, t[e]st


@pytest.mark.parametrize("shares", [(0.8, 0.2), (0, 0.5, 0.4), (0.9, 0.2, -0.1), (0.5, 0.1, 0.1), (80, 10, 10)])
def test_shares_that_are_none(shares):
    with pytest.raises(ValueError, match="three numbers that sum to 1"):
        check_shares(shares)
    assert check_shares([1, 0, 0]) == (1.0, 0.0, 0.0)
    everything = check_shares([0, 0, 1])
    for split in (hashed, stratified):
        assert set(split({f"{number}": ("rock",) for number in range(20)}, everything).values()) == {"test"}


def test_the_form_of_accents_does_not_move_a_track():
    names = [f"Canci\u00f3n n\u00famero {n}.wav" for n in range(40)]
    other = {name: unicodedata.normalize("NFD", name) for name in names}
    assert [hashed_split(name) for name in names] == [hashed_split(one) for one in other.values()]
    labels = {name: ("a", "b")[n % 2] for n, name in enumerate(names)}
    assigned = stratified(labels, seed=1)
    again = stratified({other[name]: label for name, label in labels.items()}, seed=1)
    assert assigned == {name: again[other[name]] for name in names}


def test_tracks_with_names_in_ascii_keep_the_splits_they_have_always_had():
    names = [f"rock/{n}.ogg" for n in range(12)]
    assert "".join(hashed_split(name)[1] for name in names) == "rrearrrrrrrr"
    assert "".join(split[1] for split in stratified(dict.fromkeys(names, ("a",))).values()) == "arrrrrrerrrr"
