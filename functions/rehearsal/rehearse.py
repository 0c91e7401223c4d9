"""The rehearsal: the stack of infra/template.yaml on an emulator, two nights, and the same two nights on one machine.

    rehearse.py --emulator PROGRAM --functions FOLDER --nightbook PROGRAM

The first night is started by the schedule, and every message is delivered twice. In the second a worker is killed while
it has a portfolio in hand. Then everything that was stored is compared with what one machine makes of the same book.
"""
import argparse
import datetime
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

import sample
from compare import documents_differ, pages_differ
from stack import REGION, Emulator, deploy

ROOT = Path(__file__).resolve().parent.parent.parent
PORTFOLIOS = 24
DATES = [datetime.date(2026, 6, 29), datetime.date(2026, 6, 30)]
SCHEDULE = "nightly"
KEYWORD = "<aws.scheduler.scheduled-time>"
PATIENCE = 420

faults = []


def check(what, holds, detail=""):
    print(f"  {'ok  ' if holds else 'FAIL'} {what}{f': {detail}' if detail and not holds else ''}", flush=True)
    if not holds:
        faults.append(what)


def step(text):
    print(f"{datetime.datetime.now(datetime.UTC):%H:%M:%S} {text}", flush=True)


def wait_for(what, look, patience=PATIENCE, pause=0.5):
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(pause)
    raise SystemExit(f"{what}: waited for {patience} s in vain")


class Cloud:
    """The deployed stack, as an operator and the services see it."""

    def __init__(self, emulator, outputs, names, nightbook):
        self.emulator, self.outputs, self.names, self.nightbook = emulator, outputs, names, nightbook
        self.sqs, self.s3, self.aws_lambda = (emulator.client(name) for name in ("sqs", "s3", "lambda"))
        self.dynamodb = emulator.client("dynamodb")
        self.place = f"dynamodb://{outputs['TableName']}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            **emulator.credentials(),
            "NIGHTBOOK_BOOK_BUCKET": outputs["BookBucketName"],
            "NIGHTBOOK_BOOK_PREFIX": "book/",
            "NIGHTBOOK_RECORDS_BUCKET": outputs["RecordsBucketName"],
            "NIGHTBOOK_SITE_BUCKET": outputs["SiteBucketName"],
            "NIGHTBOOK_WORK_QUEUE_URL": outputs["WorkQueueUrl"],
            "NIGHTBOOK_CLOSE_QUEUE_URL": outputs["CloseQueueUrl"],
            "NIGHTBOOK_ALERT_TOPIC_ARN": outputs["AlertTopicArn"],
            "NIGHTBOOK_EVENT_BUS": outputs["EventBusName"],
            "NIGHTBOOK_SITE_DETAIL": outputs["SiteDetail"],
            "NIGHTBOOK_RESULTS_DAYS": outputs["KeptResultsDays"],
        }

    def command(self, *words, codes=(0,)):
        return command(self.nightbook, [*words, "--data", self.place], self.environment, codes)

    def history(self):
        return json.loads(self.command("history", "--json"))["runs"]

    def invoke(self, function, payload):
        reply = self.aws_lambda.invoke(FunctionName=self.names[function], Payload=json.dumps(payload).encode())
        return json.loads(reply["Payload"].read() or b"null"), reply.get("FunctionError")

    def api(self, method, path, body=None, signed=True):
        """A request to the history API through the gateway: status and answer. The emulator looks whether it is signed."""
        where = f"{self.emulator.endpoint}/_aws/execute-api/{self.names['Api']}/$default{path}"
        content = None if body is None else json.dumps(body).encode()
        request = AWSRequest(method, where, {"content-type": "application/json"}, content)
        if signed:
            SigV4Auth(Credentials("test", "test"), "execute-api", REGION).add_auth(request)
        request = urllib.request.Request(where, content, dict(request.headers.items()), method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def feed(self, function, on):
        mapping = self.names[f"{function}Queue"]
        self.aws_lambda.update_event_source_mapping(UUID=mapping, Enabled=on)

    def drain(self, queue):
        """Takes every message out of a queue."""
        taken = []
        while True:
            messages = self.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
            if not messages:
                return taken
            for message in messages:
                self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                taken.append(message["Body"])

    def send(self, queue, body):
        self.sqs.send_message(QueueUrl=queue, MessageBody=body)

    def spread_pages(self):
        """From now on the pages of every run are written by messages, as those of 10,000 portfolios are."""
        name = self.names["CloseRun"]
        variables = self.aws_lambda.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        variables["NIGHTBOOK_SPREAD_FROM"] = "1"
        self.aws_lambda.update_function_configuration(FunctionName=name, Environment={"Variables": variables})

    def depth(self, queue):
        attributes = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"])
        return int(attributes["Attributes"]["ApproximateNumberOfMessages"])

    def working(self, run):
        """Work items of a run that somebody has claimed and not finished."""
        pages = self.dynamodb.get_paginator("scan").paginate(
            TableName=self.outputs["TableName"],
            ConsistentRead=True,
            FilterExpression="#s = :working",
            ExpressionAttributeNames={"#s": "state"},
            ExpressionAttributeValues={":working": {"S": "working"}},
        )
        return [item["pk"]["S"] for page in pages for item in page["Items"] if run in item["sk"]["S"]]

    def site(self):
        """Every page, as a reader gets it."""
        files, bucket = {}, self.outputs["SiteBucketName"]
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for entry in page.get("Contents", []):
                file = self.s3.get_object(Bucket=bucket, Key=entry["Key"])
                body = file["Body"].read()
                if file.get("ContentEncoding") == "gzip":
                    body = gzip.decompress(body)
                files[entry["Key"]] = (body.decode(), file["ContentType"], file.get("CacheControl", ""))
        return files

    def closed(self, run):
        def look():
            found = [summary for summary in self.history() if summary["batch_run_id"] == run]
            # It has its summary before its pages and its alert are out of the way.
            ended = found and found[0]["status"] != "running"
            return ended and self.api("GET", "/api/v1/batch/runs/current")[1].get("batch_run_id") != run and found[0]

        return wait_for(f"run {run} is to be closed", look)


def command(program, words, environment=None, codes=(0,)):
    done = subprocess.run([program, *words], env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in codes:
        raise SystemExit(f"nightbook {' '.join(words)}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def slot(date):
    """18:30 in New York, in summer."""
    return f"{date}T22:30:00Z"


def counted(summary, records, expected):
    """Lost and double-counted records, by what is on record and by what the summary says."""
    seen = {}
    for record in records:
        key = (record["portfolio_id"], record["job_name"])
        seen[key] = seen.get(key, 0) + 1
    jobs = summary["total_jobs"] // max(1, summary["portfolios_expected"])
    sum_of_states = sum(summary[f"{state}_jobs"] for state in ("successful", "failed", "skipped", "missing"))
    lost = max(0, expected * jobs - len(seen)) + summary["missing_jobs"] + max(0, summary["total_jobs"] - sum_of_states)
    double = sum(n - 1 for n in seen.values()) + max(0, sum_of_states - summary["total_jobs"])
    return lost, double


def first_night(cloud, alerts):
    step("the first night: the schedule starts it, every message comes twice")
    scheduler = cloud.emulator.client("scheduler")
    schedule = scheduler.get_schedule(Name=cloud.names["NightlySchedule"].split("/")[-1])
    payload = json.loads(schedule["Target"]["Input"])
    check("the payload of the schedule carries the keyword of the scheduler", payload == {"schedule": SCHEDULE, "scheduled_time": KEYWORD}, payload)
    said, fault = cloud.invoke("StartRun", payload)
    check("start-run refuses a keyword that was not replaced", bool(fault) and "literal text" in json.dumps(said), said)
    cloud.feed("ProcessPortfolio", False)
    # The emulator does not replace the keyword, and knows no time zones: the slot is given, and the time is near. It has
    # a name of its own, since the emulator never fires a schedule anew that it has looked at as a cron expression.
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=3)
    scheduler.create_schedule(
        Name=f"{schedule['Name']}-near",
        ScheduleExpression=f"at({at:%Y-%m-%dT%H:%M:%S})",
        ScheduleExpressionTimezone="UTC",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={**schedule["Target"], "Input": json.dumps({**payload, "scheduled_time": slot(DATES[0])})},
    )
    run = wait_for("the schedule is to start a run", cloud.history, 90)[0]["batch_run_id"]
    again, fault = cloud.invoke("StartRun", {"schedule": SCHEDULE, "scheduled_time": slot(DATES[0])})
    check("a repeated call finds the same run", not fault and again["batch_run_id"] == run and again["outcome"] in ("existing", "planned_elsewhere"), again)
    work, close = cloud.outputs["WorkQueueUrl"], cloud.outputs["CloseQueueUrl"]
    wait_for("the messages are to be sent", lambda: cloud.depth(work) >= PORTFOLIOS, 60)
    messages = cloud.drain(work)
    check("one message a portfolio", len(messages) == PORTFOLIOS, len(messages))
    forged = {**json.loads(messages[0]), "key": {"run": run, "portfolio": "stranger"}}
    for body in [json.dumps(forged), *messages, "no message", json.dumps({"key": {"run": "?"}}), *reversed(messages)]:
        cloud.send(work, body)
    for body in ["no message", json.dumps({"batch_run_id": run}), json.dumps({"batch_run_id": "00000000-0000-5000-8000-000000000000"})]:
        cloud.send(close, body)
    cloud.feed("ProcessPortfolio", True)
    summary = cloud.closed(run)
    for _ in range(2):
        cloud.send(close, json.dumps({"batch_run_id": run}))
    wait_for("the close messages are to be read", lambda: cloud.depth(close) == 0, 60)
    told = wait_for("an alert is to arrive", lambda: cloud.drain(alerts), 60)
    told = [json.loads(json.loads(body)["Message"]) for body in told]
    check("one alert, about this run", [alert["batch_run_id"] for alert in told] == [run], told)
    return run, summary, messages


def second_night(cloud):
    step("the second night: by hand, and workers are killed with a portfolio in hand")
    name = cloud.names["ProcessPortfolio"]
    said, fault = cloud.invoke("StartRun", {"schedule": SCHEDULE, "scheduled_time": slot(DATES[1])})
    check("start-run starts the slot", not fault and said["outcome"] == "sealed", said)
    run = said["batch_run_id"]

    def caught():
        """Stops the workers, looks whether one has a portfolio in hand, and lets them go if none has."""
        workers = cloud.emulator.workers(name)
        for pid in workers:
            send(pid, signal.SIGSTOP)
        held = cloud.working(run) if workers else []
        if not held:
            for pid in workers:
                send(pid, signal.SIGCONT)
            return None
        for pid in workers:
            send(pid, signal.SIGKILL)
        return held

    held = wait_for("a worker is to have a portfolio in hand", caught, 60, 0.01)
    step(f"killed the workers with {len(held)} portfolios in hand; their leases run out in two minutes")
    deadline = time.monotonic() + PATIENCE
    swept = None
    while time.monotonic() < deadline:
        swept, fault = cloud.invoke("Watch", {})
        if fault:
            check("a sweep of watch", False, swept)
            break
        if next(s for s in cloud.history() if s["batch_run_id"] == run)["status"] != "running":
            break
        time.sleep(5)
    summary = cloud.closed(run)
    check("watch had the portfolios of the killed workers taken over", summary["missing_jobs"] == 0, summary["missing_jobs"])
    return run, summary


def send(pid, what):
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        pass


def local_nights(nightbook, folder, book):
    step("the same nights on one machine")
    data = folder / "data"
    for date in DATES:
        words = ["run", "--book", str(book), "--data", str(data), "--as-of", str(date), "--trigger", "schedule"]
        command(nightbook, words, codes=(0, 1))
    runs = json.loads(command(nightbook, ["history", "--json", "--data", str(data)]))["runs"]
    # A folder keeps the list of its files in one; a bucket can be listed.
    files = [path for path in (data / "site").rglob("*") if path.is_file() and path.name != ".files"]
    site = {str(path.relative_to(data / "site")): path.read_text() for path in files}
    return data, [run["batch_run_id"] for run in reversed(runs)], site


def compare(cloud, runs, nightbook, data, local_runs, local_site, cloud_site):
    differences = []
    portfolios = [name for name in json.loads(cloud.command("show", runs[0], "--json", "--portfolio", "p000"))["results"]] and [
        *(f"p{n:03}" for n in range(PORTFOLIOS - 3)), "unusable", "unpriced", "unowned",
    ]  # fmt: skip
    for at, (run, local_run) in enumerate(zip(runs, local_runs)):
        local = json.loads(command(nightbook, ["show", local_run, "--json", "--data", str(data)]))
        summary = json.loads(cloud.command("show", run, "--json"))
        differences += documents_differ(f"summary of night {at + 1}", local, summary)
        for portfolio in portfolios:
            one = json.loads(command(nightbook, ["show", local_run, "--json", "--portfolio", portfolio, "--data", str(data)]))
            other = json.loads(cloud.command("show", run, "--json", "--portfolio", portfolio))
            if one["results"] != other["results"]:
                differences += documents_differ(f"results of {portfolio}, night {at + 1}", one["results"], other["results"]) or [f"results of {portfolio}"]
            differences += documents_differ(f"records of {portfolio}, night {at + 1}", one["jobs"], other["jobs"])
    pages = {path: text for path, (text, _, _) in cloud_site.items()}
    return differences + pages_differ(local_site, pages, local_runs, runs)


def operate(cloud, run, book):
    step("the commands of an operator")
    dead, work = cloud.outputs["WorkDeadLettersUrl"], cloud.outputs["WorkQueueUrl"]
    body = json.dumps({"key": {"run": run, "portfolio": "p000"}, "name": "Portfolio p000", "place": {"bucket": 0, "index": 0}})
    cloud.send(dead, body)
    letters = json.loads(cloud.command("deadletters", "list", "--json"))["dead_letters"]
    check("a dead letter is listed", [(letter["queue"], letter["body"]) for letter in letters] == [("work", body)], letters)
    wait_for("a dead letter that was looked at is to come back", lambda: cloud.depth(dead) == 1, 60)
    check("it is sent again", json.loads(cloud.command("deadletters", "redrive", "--json")) == {"sent": 1})
    wait_for("what was sent again is to be read", lambda: cloud.depth(work) == 0 and cloud.depth(dead) == 0, 60)
    last = json.loads(cloud.command("last", "factor_analysis", "--portfolio", "p000", "--json"))["last_success"]
    check("last finds the newest success", last["batch_run_id"] == run, last)
    causes = json.loads(cloud.command("failures", "--json"))["failures"]
    check("failures finds the causes of both nights", causes and all(len(cause["runs"]) == 2 for cause in causes), causes)
    words = ["run", "--book", str(book), "--as-of", str(DATES[0]), "--portfolio", "p000", "--again", "--wait", "--json"]
    by_hand = json.loads(cloud.command(*words))
    check("run --wait ends with the run", (by_hand["status"], by_hand["portfolios_expected"]) == ("success", 1), by_hand)
    again = json.loads(cloud.command("rerun", run, "--failed", "--wait", "--json", codes=(1,)))
    check("rerun --failed holds what failed", (again["rerun_of"], again["portfolios_expected"]) == (run, 3), again)


def pages_by_messages(cloud):
    step("a run whose pages are written by messages, one by one")
    close = cloud.outputs["CloseQueueUrl"]
    cloud.feed("CloseRun", False)
    said, fault = cloud.invoke("StartRun", {"as_of": str(DATES[1]), "portfolios": ["p002"], "trigger": "spread", "again": True})
    check("start-run starts it", not fault and said["outcome"] == "sealed", said)
    run = said["batch_run_id"]
    wait_for("its close is to be asked for", lambda: cloud.depth(close), 120)
    asked = {json.dumps(json.loads(body)) for body in cloud.drain(close)}
    check("its close is asked for", asked == {json.dumps({"batch_run_id": run})}, asked)
    said, fault = cloud.invoke("CloseRun", {"Records": [{"messageId": "1", "body": body} for body in asked]})
    check("close-run closes it", not fault and said == {"batchItemFailures": []}, said)

    def publication():
        return next(s for s in cloud.history() if s["batch_run_id"] == run)["publication"]["state"]

    check("its publication is under way", publication() == "under_way", publication())
    bucket = {"batch_run_id": run, "bucket": 0}
    asked = {json.dumps(json.loads(body), sort_keys=True) for body in cloud.drain(close)}
    check("the pages of its one bucket are asked for", asked == {json.dumps(bucket, sort_keys=True)}, asked)
    for _ in range(2):
        cloud.send(close, json.dumps(bucket))
    cloud.feed("CloseRun", True)
    wait_for("its pages are to be published", lambda: publication() == "published", 60)


def command_by_http(cloud, run):
    step("commands over HTTP, through the gateway")
    runs = "/api/v1/batch/runs"
    status, said = cloud.api("POST", runs, {"as_of": str(DATES[1]), "portfolio_ids": ["p001"], "triggered_by": "rehearsal", "again": True})
    check("a run is started", status == 202, (status, said))
    started = said.get("batch_run_id")
    summary = cloud.closed(started)
    check("and done", (summary["status"], summary["portfolios_expected"]) == ("success", 1), summary)
    status, said = cloud.api("POST", f"{runs}/{started}/cancel", {})
    check("one that is closed is not cancelled", status == 409, (status, said))
    status, said = cloud.api("POST", f"{runs}/{run}/rerun", {"failed": True})
    check("a run is repeated", status == 202 and said.get("batch_run_id") != run, (status, said))
    again = cloud.closed(said["batch_run_id"])
    check("with what failed of it", (again["rerun_of"], again["portfolios_expected"]) == (run, 3), again)
    note = {"kind": "annotate", "author": "rehearsal", "text": "seen by the rehearsal"}
    status, said = cloud.api("POST", f"{runs}/{run}/notes", note)
    check("a note is taken", status == 201, (status, said))
    swept, fault = cloud.invoke("Watch", {})
    check("watch asks for the page of the note", not fault and swept["deliveries"] >= 1, swept)
    page = f"runs/{run}/index.html"
    shown = wait_for("the note is to stand on the page", lambda: note["text"] in cloud.site().get(page, ("",))[0], 120)
    check("the note stands on the page of the run", shown)
    status, said = cloud.api("POST", runs, {"as_of": "no date"})
    check("nonsense is refused", status in (400, 422) and "title" in said, (status, said))


def main():
    arguments = argparse.ArgumentParser()
    for name in ("emulator", "functions", "nightbook"):
        arguments.add_argument(f"--{name}", required=True, type=Path)
    arguments.add_argument("--keep", action="store_true", help="leave the folder of the rehearsal")
    arguments = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="nightbook-rehearsal-"))
    emulator, ending = None, None
    try:
        step(f"the emulator starts, in {folder}")
        emulator = Emulator(arguments.emulator, folder)
        ending = rehearse(emulator, folder, arguments)
    finally:
        if emulator:
            emulator.stop()
        if ending and not faults and not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"the folder of the rehearsal: {folder}", file=sys.stderr)
    print(ending)
    return 1 if faults else 0


def rehearse(emulator, folder, arguments):
    parameters = {"MaximumConcurrency": "4"}
    outputs, names, lacking = deploy(emulator, ROOT / "infra" / "template.yaml", arguments.functions, parameters)
    step(f"the stack of infra/template.yaml is deployed, but for what the emulator lacks: AWS::CloudWatch::Alarm with metric math ({', '.join(lacking)})")
    cloud = Cloud(emulator, outputs, names, arguments.nightbook)

    book = folder / "book"
    book.mkdir()
    for name, content in sample.book(DATES[-1], PORTFOLIOS).items():
        (book / name).write_bytes(content)
        cloud.s3.put_object(Bucket=outputs["BookBucketName"], Key=f"book/{name}", Body=content)
    alerts = cloud.sqs.create_queue(QueueName="subscriber")["QueueUrl"]
    arn = cloud.sqs.get_queue_attributes(QueueUrl=alerts, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    emulator.client("sns").subscribe(TopicArn=outputs["AlertTopicArn"], Protocol="sqs", Endpoint=arn)

    swept, fault = cloud.invoke("Watch", {})
    check("watch sweeps before there is anything", not fault, swept)
    first, summary, messages = first_night(cloud, alerts)
    runs, summaries = [first], [summary]
    cloud.spread_pages()
    second, summary = second_night(cloud)
    runs.append(second)
    summaries.append(summary)

    step("messages for runs that are closed, and the API")
    before = cloud.command("show", first, "--json")
    for body in messages[:3]:
        cloud.send(outputs["WorkQueueUrl"], body)
    wait_for("stale messages are to be read", lambda: cloud.depth(outputs["WorkQueueUrl"]) == 0, 60)
    check("they change nothing", cloud.command("show", first, "--json") == before)
    status, said = cloud.api("GET", "/api/v1/batch/last-run")
    check("history tells the last run", (status, said.get("batch_run_id")) == (200, second), (status, said))
    check("history is well", cloud.api("GET", "/healthz")[0] == 200)
    check("nobody is answered who does not sign", cloud.api("GET", "/healthz", signed=False)[0] == 403)
    letters = json.loads(cloud.command("deadletters", "list", "--json"))["dead_letters"]
    check("unreadable messages were acknowledged, not given up", letters == [], letters)

    lost = double = 0
    for run, summary in zip(runs, summaries):
        records = [json.loads(line) for line in cloud.command("export", run, "--format", "jsonl").splitlines()]
        one, other = counted(summary, records, PORTFOLIOS)
        lost, double = lost + one, double + other
    check("nothing is lost", lost == 0, lost)
    check("nothing is counted twice", double == 0, double)
    check("the run is partial, as its book makes it", [s["status"] for s in summaries] == ["partial", "partial"], [s["status"] for s in summaries])
    found = json.loads(cloud.command("doctor", "--json", codes=(0, 1)))
    check("doctor finds nothing wrong", not found["problems"] and found["checked"]["results"] > 0, found)

    wait_for("the pages are to be published", lambda: all(s["publication"]["state"] == "published" for s in cloud.history()), 120)
    # The index shows what became of the alerts a moment after the pages.
    wait_for("the close queue is to be empty", lambda: cloud.depth(outputs["CloseQueueUrl"]) == 0, 60)
    cloud.command("publish")
    site = cloud.site()
    index = site.get("index.html", ("", "", ""))
    check("the index is a page that is asked for again", index[1].startswith("text/html") and "max-age=30" in index[2], index[1:])
    check("the index leads to the newest run", f"runs/{second}/" in index[0])

    data, local_runs, local_site = local_nights(arguments.nightbook, folder, book)
    command(arguments.nightbook, ["publish", "--data", str(data)])
    differences = compare(cloud, runs, arguments.nightbook, data, local_runs, local_site, site)
    for difference in differences[:40]:
        print(f"  differs: {difference}")
    check("the cloud and one machine say the same", not differences, f"{len(differences)} differences")
    operate(cloud, second, book)
    pages_by_messages(cloud)
    command_by_http(cloud, second)
    return f"parity={'ok' if not differences else 'broken'} lost={lost} double_counted={double}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClientError as error:
        sys.exit(f"the emulator refused: {error}")
