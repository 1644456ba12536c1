"""`spot-edge doctor`: what the machine is and what is wrong with it, to be pasted into a bug report."""

from __future__ import annotations

import json

import click

from spot_edge.doctor.examine import examine
from spot_edge.doctor.problems import find_problems
from spot_edge.doctor.report import as_record, report_lines

__all__ = ["doctor"]


@click.command()
@click.argument("model", required=False, type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def doctor(model: str | None, as_json: bool) -> None:
    """Say what this machine is and what is wrong with it, for a bug report.

    A picture drawn by code is really classified, with MODEL or the embedded one. Ends with 0 where that works, whatever
    else there is to note, or with the exit code of what keeps it from working.
    """
    findings = examine(model)
    problems = find_problems(findings)
    click.echo(json.dumps(as_record(findings, problems)) if as_json else "\n".join(report_lines(findings, problems)))
    raise click.exceptions.Exit(next((problem.exit_code for problem in problems if problem.exit_code), 0))
