"""Building blocks of reports: tables for a terminal, charts, HTML pages."""
