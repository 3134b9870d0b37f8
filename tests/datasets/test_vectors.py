"""One vector a track, read from real stores."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from datasets.store import Header, Store, StoreError, StoreWriter
from datasets.vectors import (
    POOLINGS,
    TOKENS,
    gather,
    pool,
    reduction_named,
    token_reduction,
)


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {f"{n}.ogg": rng.normal(size=(n + 1, 3, 4)).astype(np.float16) for n in range(4)}


@pytest.fixture
def store(tmp_path, arrays) -> Store:
    with StoreWriter(tmp_path, Header("embeddings", (3, 4), producer={"block": 6}, fingerprint="0123abcd")) as writer:
        for identity, array in arrays.items():
            writer.append(identity, array)
    return Store(tmp_path)


FLOATS = hnp.arrays(np.float32, (5, 3, 4), elements=st.floats(-100, 100, width=16))


@given(a=FLOATS, b=FLOATS)
@settings(max_examples=30)
def test_pooling_is_linear(a, b):
    np.testing.assert_allclose(pool(a + 2 * b, TOKENS), pool(a, TOKENS) + 2 * pool(b, TOKENS), atol=1e-3)


@given(a=FLOATS)
@settings(max_examples=30)
def test_pooling_ignores_the_order_of_windows_and_keeps_the_order_of_tokens(a):
    np.testing.assert_array_equal(pool(a[::-1], ["mean", "cls"]), np.r_[pool(a, ["mean"]), pool(a, ["cls"])])
    np.testing.assert_allclose(pool(a, ["dist"]), a[:, 1].mean(0), atol=1e-4)


def test_f16_every_choice_of_tokens_is_another_vector(arrays):
    """Windows are averaged, tokens never."""
    array = arrays["3.ogg"]
    for tokens in (["cls"], ["dist"], ["mean"], ["cls", "mean"], ["mean", "cls"], [*TOKENS]):
        expected = [array[:, TOKENS.index(token)].astype(np.float64).mean(axis=0) for token in tokens]
        np.testing.assert_allclose(pool(array, tokens), np.concatenate(expected), rtol=1e-6)


def test_windows_are_pooled_by_mean_largest_and_deviation(arrays):
    array = arrays["3.ogg"].astype(np.float64)
    np.testing.assert_allclose(pool(arrays["3.ogg"], ["dist"], "max"), array[:, 1].max(0), rtol=1e-6)
    both = np.stack([array.mean(0), array.std(0)], axis=1)[[2, 0]]  # token by token, mean then deviation
    np.testing.assert_allclose(pool(arrays["3.ogg"], ["mean", "cls"], "mean+std"), both.ravel(), rtol=1e-5)
    with pytest.raises(StoreError, match="unknown pooling 'median'"):
        pool(array, ["cls"], "median")


def test_stores_without_tokens_are_pooled_as_they_are():
    np.testing.assert_allclose(pool(np.arange(12.0).reshape(3, 1, 4), ()), [4, 5, 6, 7])
    np.testing.assert_allclose(pool(np.arange(12.0).reshape(3, 4), (), "max"), [8, 9, 10, 11])


@pytest.mark.parametrize("tokens", [(), ("cls",), ("cls", "dist"), TOKENS])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_reduction_is_found_by_its_name(tokens, pooling):
    made = token_reduction(tokens, pooling)
    again, array = reduction_named(made.name), np.random.default_rng(0).normal(size=(5, 3, 4))
    np.testing.assert_array_equal(again.vector(array), made.vector(array))
    for name in ("cls+x", "cls, median of patches", "mean and deviation over time"):
        with pytest.raises(StoreError, match="not one of embeddings"):
            reduction_named(name)


def test_tokens_of_any_network_are_found_by_their_names():
    array, names = np.random.default_rng(0).normal(size=(5, 2, 4)), ("mean", "max")
    np.testing.assert_allclose(reduction_named("max", names).vector(array), array[:, 1].mean(0), rtol=1e-6)
    both = reduction_named("mean of mean+max", names).vector(array)
    np.testing.assert_allclose(both, array.mean(axis=(0, 1)), rtol=1e-5)
    with pytest.raises(StoreError, match="not one of embeddings"):
        reduction_named("cls", names)


def test_pooling_half_floats_does_not_lose_the_sum():
    assert pool(np.full((4000, 3, 1), 60000, np.float16), ["cls"]).item() == np.float16(60000)


@pytest.mark.parametrize(
    ("shape", "tokens", "message"),
    [
        ((2, 3, 4), ["clss"], r"tokens=\['clss'\]: give one or more of cls, dist, mean, each once"),
        ((2, 3, 4), ["cls", "cls"], "each once"),
        ((2, 4), ["cls"], r"shape \[2, 4\], expected \[windows, 3, dim\]"),
        ((0, 3, 4), ["cls"], r"shape \[0, 3, 4\]"),
    ],
)
def test_what_cannot_be_pooled_is_named(shape, tokens, message):
    with pytest.raises(StoreError, match=message):
        pool(np.zeros(shape, np.float32), tokens)


def test_gather_keeps_the_order(store, arrays):
    x = gather(store, ["2.ogg", "0.ogg"], token_reduction(["cls", "mean"]))
    assert x.dtype == np.float32
    expected = arrays["2.ogg"].astype(np.float64).mean(0)[[0, 2]].reshape(-1)
    np.testing.assert_allclose(x[0], expected, atol=1e-6)


def test_a_store_of_another_kind_or_of_other_tracks_is_refused(store):
    with pytest.raises(StoreError, match="1 of 2 tracks are not stored, 'x' is one"):
        gather(store, ["0.ogg", "x"], token_reduction(["cls"]))
    mel = SimpleNamespace(header=Header("mel", (96,), producer={}, fingerprint="0"), ids=["x"])
    with pytest.raises(StoreError, match="the store holds mel; cls is made from embeddings"):
        gather(mel, ["x"], token_reduction(["cls"]))
