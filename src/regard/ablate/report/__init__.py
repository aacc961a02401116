"""The report of a study: a page that needs nothing but itself, Markdown with its charts, and a table of all runs."""

from __future__ import annotations

from regard.ablate.report.write import Extras, build, write_report

__all__ = ["Extras", "build", "write_report"]
