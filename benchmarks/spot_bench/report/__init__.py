"""Building blocks of reports: tables for a terminal, SVG charts."""
