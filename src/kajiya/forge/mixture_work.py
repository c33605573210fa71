"""A search for a mixture, in its own process: small models on many mixtures, a regression, and a check of
what it says (Liu et al., "RegMix", 2024).

The loss of each run is kept as soon as it is known, so a resumed job goes on with the next.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kajiya.core.files import atomic_folder, write_json
from kajiya.core.language import tr
from kajiya.corpus.layout import KIND, TOKENIZER
from kajiya.corpus.mixture_sample import SourcedCorpus
from kajiya.corpus.mixture_search import best_mixture, fit, propose
from kajiya.corpus.mixture_search_config import MixtureSearchConfig
from kajiya.forge.mixture_plan import MixtureSearchOptions
from kajiya.jobs.running import JobStopped, RunningJob
from kajiya.store.artifacts import ArtifactStore
from kajiya.training.pretrain_config import PretrainConfig

STAGE = "proxy-runs"
_CHECKS = 3


def run(job: RunningJob) -> dict[str, Any]:
    """Entry of the job kind `mixture`; returns the mixture found, and how much it is to be believed.

    After the `runs` comes one of the corpus as it is, then `_CHECKS` of what the regression holds to be best,
    each learnt from before the next: far from all runs a regression may promise anything. `best` is the
    mixture with the least loss that was measured.
    """
    options = MixtureSearchOptions.checked(job.spec.options)
    corpus = ArtifactStore(job.workspace).get(options.corpus, KIND)
    runs, seed = options.search.runs, options.search.seed
    search = _Search(
        job, options.search, SourcedCorpus.open(corpus.folder), corpus.folder / TOKENIZER
    )
    natural = search.corpus.natural
    mixtures = [*propose(natural, runs, seed), natural]
    losses = [search.loss(number, weights) for number, weights in enumerate(mixtures)]
    for check in range(_CHECKS):
        regression = fit(np.array(mixtures), np.array(losses))
        mixtures.append(best_mixture(regression, natural, seed=seed + 1 + check))
        losses.append(search.loss(len(losses), mixtures[-1]))
    regression = fit(np.array(mixtures), np.array(losses))
    best = int(np.argmin(losses))
    return {
        "corpus": corpus.reference,
        "sources": list(search.corpus.sources),
        "natural": [round(float(share), 4) for share in natural],
        "best": [round(float(share), 4) for share in mixtures[best]],
        "rank_correlation": regression.rank_correlation,
        "error": regression.error,
        "bits_per_byte": {"natural": losses[runs], "best": losses[best]},
        "runs": len(losses),
    }


@dataclass
class _Search:
    job: RunningJob
    options: MixtureSearchConfig
    corpus: SourcedCorpus
    tokenizer: Path

    def loss(self, number: int, weights: Any) -> float:
        """Bits per byte of the held-out works after run `number`; from the job's folder if it is known."""
        file = self.job.folder / "runs" / f"{number}.json"
        total = self.options.runs + 1 + _CHECKS
        if not file.exists():
            self.job.progress(STAGE, number, total, unit="run")
            measured = self._train(number, weights)
            shares = [round(float(share), 6) for share in weights]
            file.parent.mkdir(exist_ok=True)
            write_json(file, {"weights": shares, "bits_per_byte": measured})
            self.job.metric(number + 1, held_out_bits_per_byte=measured)
        self.job.progress(STAGE, number + 1, total, unit="run")
        known: float = json.loads(file.read_text(encoding="utf-8"))["bits_per_byte"]
        return known

    def _train(self, number: int, weights: Any) -> float:
        from kajiya.models.creating import create_model
        from kajiya.training.pretrain import pretrain

        options = self.options
        new = self.job.folder / "new"
        if not new.exists():  # all runs begin with the same weights
            with atomic_folder(new) as folder:
                create_model(options.arch, options.size, self.tokenizer, folder, options.seed)
        mixed = self.corpus.mixed(weights, options.tokens, options.seed)
        config = PretrainConfig.checked(
            {
                "tokens": options.tokens,
                "context": options.context,
                "learning_rate": options.learning_rate,
                "evaluations": 1,
                "seed": options.seed,
            }
        )
        checkpoints, target = self.job.checkpoints / f"run-{number}", self.job.folder / "trained"
        outcome = pretrain(
            new, f"run {number}", mixed, config, checkpoints, target, _Quiet(self.job)
        )
        if outcome.stopped:
            raise JobStopped
        shutil.rmtree(target)
        shutil.rmtree(checkpoints)
        assert outcome.bits_per_byte is not None  # something is held out
        self.job.log(
            tr(
                f"run {number + 1}: {outcome.bits_per_byte:.4f} bits per byte",
                f"試行 {number + 1}: バイトあたり {outcome.bits_per_byte:.4f} ビット",
            )
        )
        return outcome.bits_per_byte


class _Quiet:
    """A reporter that only asks whether to stop: the steps of a small run are nobody's concern."""

    def __init__(self, job: RunningJob) -> None:
        self.should_stop = job.should_stop

    def progress(self, *_: Any, **__: Any) -> None: ...
    def metric(self, step: int, **values: float) -> None: ...
    def log(self, message: str) -> None: ...
