"""The quality score: trained on samples, the optimum of what it says, the same file each time."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from kajiya.core.errors import ConfigError, DataError, FormatError
from kajiya.corpus.rules.minimum import minimise
from kajiya.corpus.rules.preset import load_preset
from kajiya.corpus.rules.quality import QualityModel, QualitySettings, train_quality
from kajiya.corpus.texts import Texts

SMALL = QualitySettings(bits=12)


def samples(seed: int, good: bool, count: int = 60) -> list[str]:
    rng = random.Random(seed)
    fine = ["本を読んだ。", "雨が降っている。", "会議は三時に始まる。", "駅まで歩いた。"]
    poor = ["激安★", "今すぐクリック！", "送料無料♪", "口コミNo.1★", "ポイント10倍！"]
    main, other = (fine, poor) if good else (poor, fine)
    return [
        "".join(
            rng.choice(main if rng.random() < 0.9 else other) for _ in range(rng.randrange(3, 9))
        )
        for _ in range(count)
    ]


def test_good_and_bad_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "quality.npz"
    train_quality(samples(1, True), samples(2, False, 200), path, SMALL)
    model = QualityModel.open(path)
    good = model.score(Texts.read(pl.Series(samples(3, True))))
    bad = model.score(Texts.read(pl.Series(samples(4, False))))
    assert np.mean(good > 0.5) > 0.95
    assert np.mean(bad < 0.5) > 0.95


def test_the_same_samples_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        train_quality(samples(1, True), samples(2, False), tmp_path / name, SMALL)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_score_is_that_of_the_regression(tmp_path: Path) -> None:
    """The weights are where the gradient of the penalised likelihood, computed from scores alone, is zero."""
    good, bad = samples(1, True, 20), samples(2, False, 30)
    model = train_quality(good, bad, tmp_path / "q.npz", SMALL)
    scores = model.score(Texts.read(pl.Series(good + bad)))
    wrong = scores - np.array([1.0] * 20 + [0.0] * 30)
    importance = np.array([0.5 / 20] * 20 + [0.5 / 30] * 30)
    assert importance @ wrong == pytest.approx(0, abs=1e-5)  # of the bias, which has no penalty
    # Of all weights together: moving along the weights themselves.
    sums = np.log(scores / (1 - scores)) - model.bias
    penalty = 1e-3 * float(model.weights.astype(float) @ model.weights)
    assert (importance * wrong) @ sums == pytest.approx(-penalty, rel=1e-3)


def test_minimum_against_a_solved_problem() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((30, 30))
    matrix = root @ root.T + np.eye(30)
    target = rng.standard_normal(30)
    found = minimise(
        lambda x: (float(x @ matrix @ x / 2 - target @ x), matrix @ x - target), np.zeros(30)
    )
    assert found == pytest.approx(np.linalg.solve(matrix, target), abs=1e-5)


def test_a_rule_of_a_preset(tmp_path: Path) -> None:
    train_quality(samples(1, True), samples(2, False), tmp_path / "ja.npz", SMALL)
    preset = tmp_path / "own.yaml"
    preset.write_text("quality: {japanese: ja.npz}\nrules: {quality: {min: 0.5}}\n", "utf-8")
    texts = ["本を読んだ。駅まで歩いた。", "激安★今すぐクリック！", "The cat sat on the mat.", ""]
    found = load_preset(preset).apply(pl.DataFrame({"text": texts}))
    assert found["reason"].to_list() == [None, "quality", None, None]
    assert found["stat.quality"].is_null().to_list() == [False, False, True, True]


def test_a_rule_without_a_score_is_refused(tmp_path: Path) -> None:
    preset = tmp_path / "own.yaml"
    preset.write_text("rules: {quality: {min: 0.5}}\n", "utf-8")
    with pytest.raises(ConfigError, match=r"own\.yaml: rules\.quality.*needs a trained"):
        load_preset(preset)


@pytest.mark.parametrize(("good", "bad", "kind"), [([], ["x"], "good"), (["x"], [" \n"], "bad")])
def test_both_kinds_are_needed(tmp_path: Path, good: list[str], bad: list[str], kind: str) -> None:
    with pytest.raises(DataError, match=f"there is no {kind} sample"):
        train_quality(good, bad, tmp_path / "q.npz", SMALL)
    assert not list(tmp_path.iterdir())


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "q.npz"
    train_quality(["良い"], ["悪い"], path, SMALL)
    whole = path.read_bytes()
    for damaged in (b"", b"text", whole[: len(whole) // 2], whole[:-40]):
        path.write_bytes(damaged)
        with pytest.raises(FormatError, match=r"q\.npz: not a quality score"):
            QualityModel.open(path)
    np.savez(path, weights=np.zeros(10, np.float32), about=np.array('{"version": 1, "bias": 0}'))
    with pytest.raises(FormatError, match="weights"):
        QualityModel.open(path)
    np.savez(path, weights=np.zeros(16, np.float32), about=np.array({"version": 1}, object))
    with pytest.raises(FormatError):
        QualityModel.open(path)
