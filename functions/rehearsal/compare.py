"""Parity: what the cloud and one machine say of the same book and dates, but for times and ids."""
import difflib
import json
import re

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
# Members of records and summaries that tell when something was done, how long it took, or which run it was.
TIMES = {
    "batch_run_id", "started_at", "completed_at", "closed_at", "duration_seconds", "total_duration", "wall_seconds",
    "p50_seconds", "p95_seconds", "max_seconds", "first_seen_run", "at", "publication", "worker_seconds",
}  # fmt: skip


def timeless(value):
    """A document without times and ids."""
    if isinstance(value, dict):
        return {key: timeless(inner) for key, inner in value.items() if key not in TIMES}
    if isinstance(value, list):
        return [timeless(inner) for inner in value]
    return value


def normal(page, runs):
    """A page with the runs named in their order, and without what a clock or a stopwatch said."""
    for at, run in enumerate(runs):
        page = page.replace(run, f"RUN-{at}").replace(run.replace("-", ""), f"RUN-{at}").replace(run[:8], f"RUN-{at}")
    page = re.sub(UUID, "ID", page)
    page = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?(\.\d+)?(Z|\+00:00)?", "TIME", page)
    page = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?Z?", "TIME", page)
    page = re.sub(r"\b\d\d:\d\d(:\d\d)?(\.\d+)?\b", "CLOCK", page)
    page = re.sub(r"(&lt;|<)?\s?\b\d+([.,]\d+)?\s?(ms|s|min|h|µs)\b( \d+\s?(s|min|ms)\b)?", " LONG", page)
    page = re.sub(r'"(\w*seconds|total_duration|files_written|age|p50|p95)":\s*("[^"]*"|[-\d.e]+|null)', r'"\1": LONG', page)
    # Bars and lines of durations.
    page = re.sub(r'\b(width|height|x|y|x1|x2|y1|y2|cx|cy|r|d|points|style|transform|title|aria-label|data-[a-z-]+)="[^"]*(\d|LONG|CLOCK|TIME)[^"]*"', r'\1="DRAWN"', page)
    return page


def pages_differ(local, cloud, local_runs, cloud_runs):
    """What differs between two sites: paths that one lacks, and the first lines that are not the same."""
    named = lambda path, runs: normal(path, runs)  # noqa: E731
    ours = {named(path, local_runs): text for path, text in local.items()}
    theirs = {named(path, cloud_runs): text for path, text in cloud.items()}
    found = [f"only on one machine: {path}" for path in sorted(set(ours) - set(theirs))]
    found += [f"only in the cloud: {path}" for path in sorted(set(theirs) - set(ours))]
    for path in sorted(set(ours) & set(theirs)):
        one, other = (normal(page, runs) for page, runs in ((ours[path], local_runs), (theirs[path], cloud_runs)))
        if one != other:
            split = lambda page: page.replace("><", ">\n<").splitlines()  # noqa: E731
            lines = difflib.unified_diff(split(one), split(other), "one machine", "cloud", n=0, lineterm="")
            found.append(f"{path}: " + " | ".join(line[:200] for line in list(lines)[3:9]))
    return found


def documents_differ(what, one, other):
    """Nothing where two documents are the same but for times and ids."""
    one, other = timeless(one), timeless(other)
    if one == other:
        return []
    split = lambda value: json.dumps(value, indent=1, sort_keys=True).splitlines()  # noqa: E731
    lines = difflib.unified_diff(split(one), split(other), "one machine", "cloud", n=0, lineterm="")
    return [f"{what}: " + " | ".join(line[:160] for line in list(lines)[2:10])]
