"""Parity: what the cloud and one machine say of the same book and dates, but for times and ids."""
import difflib
import json
import re

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
# Members of records and summaries that tell when something was done, how long it took, or which run it was.
TIMES = {
    "batch_run_id", "started_at", "completed_at", "closed_at", "duration_seconds", "total_duration", "wall_seconds",
    "p50_seconds", "p95_seconds", "max_seconds", "first_seen_run", "at", "generated_at", "data_through", "publication", "worker_seconds",
    "waited_seconds",
}  # fmt: skip


def timeless(value):
    """A document without times and ids."""
    if isinstance(value, dict):
        return {key: timeless(inner) for key, inner in value.items() if key not in TIMES}
    if isinstance(value, list):
        return [timeless(inner) for inner in value]
    return value


# The hash of a link of the chain covers all the times of a run; its number stays.
LINK = re.compile(r'("chain":\s*{[^}]*"hash":\s*"|urn:nightbook:chain" term="\d+:)[0-9a-f]{64}')


def named(text, runs):
    """A text with the runs named in their order."""
    for at, run in enumerate(runs):
        text = text.replace(run, f"RUN-{at}").replace(run.replace("-", ""), f"RUN-{at}").replace(run[:8], f"RUN-{at}")
    return text


def sorted_rows(section):
    """A table whose rows stand in the order of how long things took, in the order of what they say."""
    rows = re.findall(r"<tr>.*?</tr>", section[0], re.S)
    rest = re.sub(r"<tr>.*?</tr>", "", section[0], flags=re.S)
    return rest + "".join(sorted(rows))


def placeless(page):
    """A page whose commands do not name the book and the records: a folder here, a table there."""
    return re.sub(r'--(book|data) [^\s<"]+', r"--\1 PLACE", page)


def normal(path, page, runs):
    """A page without what a clock or a stopwatch said, and a JSON file without times and ids."""
    page = LINK.sub(r"\1HASH", placeless(named(page, runs)))
    if path.endswith(".json"):
        return json.dumps(timeless(json.loads(page)), indent=1, sort_keys=True)
    page = re.sub(UUID, "ID", page)
    page = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?(\.\d+)?(Z|\+00:00)?", "TIME", page)
    page = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?Z?", "TIME", page)
    page = re.sub(r"\b\d\d:\d\d(:\d\d)?(\.\d+)?\b", "CLOCK", page)
    unit = r"(?:ms|µs|s|m|min|h|d)\b"
    page = re.sub(rf"(?:&lt;|<)?\s?\b\d+(?:[.,]\d+)?\s?{unit}(?:\s\d+\s?{unit})*", " LONG", page)
    # Of the portfolios that succeeded in the same run the last that was written stands for it: a matter of time.
    page = re.sub(r'(TIME UTC</time>, <a href="[^"#]*#)[^"]+-([a-z_]+">)[^<]+</a>', r"\1ONE-\2ONE</a>", page)
    if path.split("/")[0] in ("jobs", "runs"):
        # Drawings of durations, and the portfolios in the order of how long they took.
        page = page.replace(" (ended last)", "")
        page = re.sub(r"<svg.*?</svg>", "<svg></svg>", page, flags=re.S)
        page = re.sub(r'<section id="portfolios">.*?</section>', sorted_rows, page, flags=re.S)
    # Bars and lines of durations.
    drawn = r"width|height|x|y|x1|x2|y1|y2|cx|cy|r|d|points|style|transform|title|aria-label|data-[a-z-]+"
    return re.sub(rf'\b({drawn})="[^"]*(\d|LONG|CLOCK|TIME)[^"]*"', r'\1="DRAWN"', page)


def pages_differ(local, cloud, local_runs, cloud_runs):
    """What differs between two sites: paths that one lacks, and the first lines that are not the same."""
    ours = {named(path, local_runs): text for path, text in local.items()}
    theirs = {named(path, cloud_runs): text for path, text in cloud.items()}
    found = [f"only on one machine: {path}" for path in sorted(set(ours) - set(theirs))]
    found += [f"only in the cloud: {path}" for path in sorted(set(theirs) - set(ours))]
    for path in sorted(set(ours) & set(theirs)):
        one, other = normal(path, ours[path], local_runs), normal(path, theirs[path], cloud_runs)
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
