"""`spot-edge doctor`: check this machine and the installation, and print a report."""

from __future__ import annotations

import json

import click

from spot_edge.doctor.examine import examine
from spot_edge.doctor.problems import find_problems
from spot_edge.doctor.summary import as_record, report_lines

__all__ = ["doctor"]


@click.command(short_help="Check this machine, its cameras and the installation.")
@click.argument("model", required=False, type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(model: str | None, as_json: bool) -> None:
    """Check this machine, its cameras and the installation. Paste the output into a bug report.

    It classifies a drawn image with MODEL (default: the embedded model). If that works it exits with 0, else with the
    exit code of the first problem.
    """
    findings = examine(model)
    problems = find_problems(findings)
    click.echo(json.dumps(as_record(findings, problems)) if as_json else "\n".join(report_lines(findings, problems)))
    raise click.exceptions.Exit(next((problem.exit_code for problem in problems if problem.exit_code), 0))
