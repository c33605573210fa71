"""An export as a job: a model in another program's format, as one file that can be taken away.

A format that is a folder becomes a zip archive of it, stored and not compressed: weights do not shrink.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

from kajiya.core.config import Config, option
from kajiya.core.files import replacing
from kajiya.core.language import tr
from kajiya.jobs.running import RunningJob
from kajiya.models.exporting import Format, Precision, export

FOLDER = "export"  # in the job's


class ExportOptions(Config):
    """What to export, and how."""

    reference: str = option(en="Model", ja="モデル")
    form: Format = option("gguf", en="Format", ja="形式")
    precision: Precision | None = option(
        None,
        en="Precision",
        ja="精度",
        help=(
            "Of a GGUF file; the original file if there is one, else q8_0.",
            "GGUF の精度。空欄なら元のファイル(なければ q8_0)。",
        ),
    )
    merge: bool = option(
        False,
        en="Merge with its base",
        ja="基のモデルに統合する",
        help=("An adapter and its base as one model.", "アダプタと基のモデルを 1 つにします。"),
    )


def run(job: RunningJob) -> dict[str, Any]:
    """Entry of the job kind `export`; returns the file's name, which lies in the job's folder `export`."""
    options = ExportOptions.checked(job.spec.options)
    target = job.folder / FOLDER
    shutil.rmtree(target, ignore_errors=True)  # of an attempt that was interrupted
    stage = tr("export", "書き出し")
    job.progress(stage, 0, 1)
    stem = options.reference.replace(":", "-")
    suffix = f".{options.form}" if options.form in ("gguf", "pth") else ""
    made = export(
        options.reference,
        target / f"{stem}{suffix}",
        job.workspace,
        options.form,
        precision=options.precision,
        merge=options.merge,
    )
    if made.is_dir():
        made = _archive(made, target / f"{stem}-{options.form}.zip")
    job.progress(stage, 1, 1)
    return {"file": made.name, "size": made.stat().st_size}


def _archive(folder: Path, target: Path) -> Path:
    with replacing(target) as scratch, zipfile.ZipFile(scratch, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, Path(folder.name) / file.relative_to(folder))
    shutil.rmtree(folder)
    return target
