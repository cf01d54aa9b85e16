"""The forms in which a table is written."""

FORMATS = ("terminal", "csv", "markdown", "latex", "html")
SUFFIXES = {"csv": ".csv", "markdown": ".md", "latex": ".tex", "html": ".html"}
