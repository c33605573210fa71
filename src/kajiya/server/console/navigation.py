"""The pages of the console in the order of the menu: one line each."""

from __future__ import annotations

from kajiya.server.console.pages.account import page as account
from kajiya.server.console.pages.chat import page as chat
from kajiya.server.console.pages.corpora import page as corpora
from kajiya.server.console.pages.data import page as data
from kajiya.server.console.pages.jobs import page as jobs
from kajiya.server.console.pages.models import page as models
from kajiya.server.console.pages.serving import page as serving
from kajiya.server.console.pages.settings import page as settings
from kajiya.server.console.pages.train import page as train
from kajiya.server.console.pages.welcome import page as welcome

PAGES = (
    train.PAGE,
    chat.PAGE,
    serving.PAGE,
    data.PAGE,
    corpora.PAGE,
    models.PAGE,
    jobs.PAGE,
    settings.PAGE,
    welcome.PAGE,
    account.PAGE,
)
