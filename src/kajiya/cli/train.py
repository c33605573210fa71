"""`kajiya train`: training one thing at a time, where `kajiya forge` does a whole job."""

from __future__ import annotations

import click

from kajiya.cli.pretrain import pretrain
from kajiya.cli.tune import tune
from kajiya.core.language import tr


@click.group(
    help=tr("Train models and adapters.", "モデルやアダプタを学習します。")
    + """

\b
Examples:
  kajiya train tune --base my-rwkv --data qa.csv --name support --method state
"""
)
def train() -> None:
    pass


train.add_command(tune)
train.add_command(pretrain)
