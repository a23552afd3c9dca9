"""What a measurement on a GPU leaves: its numbers as JSON, a table, and whether all results were right."""

import json
from pathlib import Path
from typing import Any

import torch


def write_results(folder: Path, name: str, rows: list[dict[str, Any]], lines: list[str], others: dict[str, Any]) -> int:
    """Write NAME.json and NAME.md; return the exit status, 1 where a result is wrong.

    Args:
        folder: made where missing.
        name: of the files, and of the rows among what is measured.
        rows: what was measured, each with `passes`.
        lines: the rows as Markdown.
        others: what else was measured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    (folder / f"{name}.json").write_text(json.dumps({"gpu": gpu, name: rows, **others}, indent=1) + "\n")
    (folder / f"{name}.md").write_text("\n".join(lines) + "\n")
    wrong = [row for row in rows if not row["passes"]]
    print(f"{len(rows)} results, {len(wrong)} wrong; written to {folder}")
    return 1 if wrong else 0
