"""All jobs, and one job as it goes: chart, progress, log, sample answers, result."""
