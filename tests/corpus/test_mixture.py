"""Mixtures: repeats and weights to plans, plans to copies, proxy runs to a mixture."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kajiya.core.errors import ConfigError, DataError
from kajiya.corpus.document import Document, to_frame
from kajiya.corpus.mixture import INVENTORY, MixtureSettings, Share, plan_mixture
from kajiya.corpus.mixture_search import best_mixture, fit, propose


def inventory(*rows: tuple[str, str, str, int, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, INVENTORY, orient="row")


THERE_IS = inventory(
    ("aozora", "ja", "literature", 100, 1_000_000),
    ("wiki", "ja", "encyclopedia", 1000, 4_000_000),
    ("web", "en", "", 5000, 10_000_000),
    ("code", "", "code", 10, 500_000),
)


def test_repeats() -> None:
    settings = MixtureSettings(
        shares=(
            Share(source="aozora", repeats=8),
            Share(language="ja", repeats=2.5),
            Share(domain="code", repeats=0),
        )
    )
    plan = plan_mixture(THERE_IS, settings)
    assert plan.table["repeats"].to_list() == [8, 2.5, 0, 0]
    assert plan.table["planned"].to_list() == [8_000_000, 10_000_000, 0, 0]
    assert plan.tokens == 18_000_000


def test_weights_fill_a_budget() -> None:
    settings = MixtureSettings(
        shares=(Share(language="ja", weight=1), Share(language="en", weight=1)), tokens=10_000_000
    )
    plan = plan_mixture(THERE_IS, settings)
    assert plan.table["planned"].to_list() == [1_000_000, 4_000_000, 5_000_000, 0]
    assert plan.preview().row(-1, named=True) == {
        "source": "*",
        "language": "",
        "domain": "",
        "documents": 6110,
        "tokens": 15_500_000,
        "repeats": None,
        "planned": 10_000_000,
        "percent": 100.0,
    }


def test_what_a_small_source_cannot_give_goes_to_the_others() -> None:
    settings = MixtureSettings(
        shares=(
            Share(source="code", weight=2),
            Share(source="wiki", weight=1),
            Share(source="web", weight=1),
        ),
        tokens=20_000_000,
        most_repeats=4,
    )
    plan = plan_mixture(THERE_IS, settings)
    assert plan.table["repeats"].to_list() == [0, 2.25, 0.9, 4]
    assert plan.tokens == 20_000_000
    few = plan_mixture(THERE_IS, settings.model_copy(update={"tokens": 10**9}))
    assert few.table["repeats"].to_list() == [0, 4, 4, 4]
    assert few.tokens < few.budget  # type: ignore[operator]


@settings(deadline=None)  # the first call compiles
@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.floats(0.01, 100)), min_size=1, max_size=6),
    st.integers(1, 10**7),
    st.floats(0.5, 8),
)
def test_no_weight_exceeds_its_limit_and_the_budget_is_met_where_it_can_be(
    sources: list[tuple[int, float]], budget: int, most: float
) -> None:
    table = inventory(*((str(i), "", "", 1, size) for i, (size, _) in enumerate(sources)))
    shares = tuple(Share(source=str(i), weight=weight) for i, (_, weight) in enumerate(sources))
    plan = plan_mixture(table, MixtureSettings(shares=shares, tokens=budget, most_repeats=most))
    assert (plan.table["repeats"] <= most * (1 + 1e-9)).all()
    possible = most * sum(size for size, _ in sources)
    assert abs(plan.tokens - min(budget, possible)) <= len(sources)


def test_copies_follow_the_repeats_and_only_the_document() -> None:
    plan = plan_mixture(THERE_IS, MixtureSettings(shares=(Share(source="web", repeats=2.3),)))
    documents = to_frame(
        Document(id=str(i), text="", group="", source="web", language="en") for i in range(20_000)
    )
    copies = plan.copies(documents)
    assert set(copies.unique()) == {2, 3}
    assert abs(copies.mean() - 2.3) < 0.02  # type: ignore[operator]
    parts = [plan.copies(part) for part in documents.iter_slices(777)]
    assert pl.concat(parts).to_list() == copies.to_list()
    other = plan_mixture(
        THERE_IS, MixtureSettings(shares=(Share(source="web", repeats=2.3),), seed=1)
    )
    assert other.copies(documents).to_list() != copies.to_list()


def test_documents_that_were_not_planned_are_refused() -> None:
    plan = plan_mixture(THERE_IS, MixtureSettings(shares=(Share(repeats=1),)))
    with pytest.raises(ConfigError, match="news"):
        plan.copies(to_frame([Document(id="1", text="", group="", source="news")]))


def test_a_share_that_fits_nothing_is_named() -> None:
    settings = MixtureSettings(shares=(Share(source="aozorra", repeats=1),))
    with pytest.raises(ConfigError, match="aozorra"):
        plan_mixture(THERE_IS, settings)


@pytest.mark.parametrize(
    "values",
    [
        {"shares": []},
        {"shares": [{}]},
        {"shares": [{"repeats": 1, "weight": 1}], "tokens": 5},
        {"shares": [{"repeats": 1}, {"weight": 1}], "tokens": 5},
        {"shares": [{"weight": 1}]},
        {"shares": [{"weight": 0}], "tokens": 5},
        {"shares": [{"repeats": 1}], "tokens": 5},
        {"shares": [{"repeats": -1}]},
    ],
)
def test_settings_that_contradict_themselves_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        MixtureSettings.checked(values)


def known_loss(mixtures: np.ndarray) -> np.ndarray:
    """A law of data mixing, least at about 0.55, 0.3, 0.15, 0 for the weights below."""
    good = np.array([0.55, 0.3, 0.15, 0.0])
    return 2.5 + ((mixtures - good) ** 2).sum(axis=-1) + 0.1 * mixtures[..., 3]  # type: ignore[no-any-return]


def test_proxy_runs_find_a_mixture_near_the_best() -> None:
    prior = np.array([0.2, 0.2, 0.2, 0.4])
    mixtures = propose(prior, 128)
    assert np.allclose(mixtures.sum(axis=1), 1)
    noise = np.random.default_rng(0).normal(0, 0.005, 128)
    regression = fit(mixtures, known_loss(mixtures) + noise)
    assert regression.rank_correlation > 0.95
    fresh = propose(prior, 500, seed=5)
    assert np.abs(regression.predict(fresh) - known_loss(fresh)).mean() < 0.01
    best = best_mixture(regression, prior)
    assert best.sum() == pytest.approx(1)
    assert known_loss(best) < 2.52
    assert known_loss(best) < np.sort(known_loss(mixtures))[3]
    assert known_loss(prior) > 2.6


def test_losses_that_are_noise_have_no_rank_correlation() -> None:
    mixtures = propose(np.ones(5), 200)
    regression = fit(mixtures, np.random.default_rng(0).normal(size=200))
    assert abs(regression.rank_correlation) < 0.3 or regression.rank_correlation < 0


@pytest.mark.parametrize("losses", [[1.0, 2.0], [1.0, float("nan"), 2.0, 3.0, 4.0, 5.0]])
def test_runs_that_cannot_be_fitted_are_refused(losses: list[float]) -> None:
    with pytest.raises(DataError):
        fit(propose(np.ones(3), len(losses)), np.array(losses))
