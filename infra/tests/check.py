"""Assertions on infra/template.yaml that no linter makes, and the policy test.

Each rule is a function that yields what is wrong. `mutations` below breaks the template once or more for every rule
and demands that the rule sees it, so that no rule can pass by looking at nothing.
"""
import copy
import json
import re
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


class Loader(yaml.SafeLoader):
    """YAML with the short forms of CloudFormation."""


def short_form(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "Ref":
        return {"Ref": value}
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", short_form)

FUNCTIONS = {
    "StartRun": "start-run",
    "ProcessPortfolio": "process-portfolio",
    "CloseRun": "close-run",
    "Watch": "watch",
    "History": "history",
}
QUEUES = {"WorkQueue": ("WorkDeadLetters", "ProcessPortfolio"), "CloseQueue": ("CloseDeadLetters", "CloseRun")}
RULES = []


def rule(check):
    RULES.append(check)
    return check


def of_type(template, kind):
    return {name: r for name, r in template["Resources"].items() if r["Type"] == kind}


def props(template, name):
    return template["Resources"][name]["Properties"]


def listed(value):
    return value if isinstance(value, list) else [value]


def named(resource):
    """The resource of the template that an ARN expression names, with the folder below a bucket."""
    if isinstance(resource, dict):
        if "Ref" in resource:
            return resource["Ref"]
        if "Fn::GetAtt" in resource:
            return resource["Fn::GetAtt"][0]
        if "Fn::Sub" in resource:
            found = re.fullmatch(r"\$\{(\w+)\.Arn\}/(?:(\w+)/\*|\*|\$\{BookPrefix\}\*)", resource["Fn::Sub"])
            if found:
                return found[1] + (f"/{found[2]}" if found[2] else "")
    return None


def statements(template, role):
    for policy in props(template, role)["Policies"]:
        yield from policy["PolicyDocument"]["Statement"]


def all_scalars(value):
    if isinstance(value, dict):
        for inner in value.values():
            yield from all_scalars(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from all_scalars(inner)
    else:
        yield value


@rule
def table_is_kept(t):
    table = t["Resources"]["Table"]
    p = table["Properties"]
    if table.get("DeletionPolicy") != "Retain" or not p.get("DeletionProtectionEnabled"):
        yield "the table can be deleted"
    if not p.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled"):
        yield "no point-in-time recovery"
    if p.get("TimeToLiveSpecification") != {"AttributeName": "expires_at", "Enabled": True}:
        yield "records do not expire by expires_at"
    if p.get("BillingMode") != "PAY_PER_REQUEST":
        yield "the table is not on demand"
    if [(k["AttributeName"], k["KeyType"]) for k in p["KeySchema"]] != [("pk", "HASH"), ("sk", "RANGE")]:
        yield "keys are not pk and sk"
    if "GlobalSecondaryIndexes" in p:
        yield "an index, which nothing may depend on"


@rule
def messages_outlive_their_function(t):
    for queue, (_, function) in QUEUES.items():
        limit, visible = props(t, function)["Timeout"], props(t, queue)["VisibilityTimeout"]
        if visible < 6 * limit:
            yield f"{queue}: visible after {visible} s, but {function} may take {limit} s; six times that is needed"


@rule
def queues_have_dead_letters(t):
    for queue, (dead, _) in QUEUES.items():
        redrive = props(t, queue).get("RedrivePolicy", {})
        if named(redrive.get("deadLetterTargetArn")) != dead or redrive.get("maxReceiveCount", 0) < 5:
            yield f"{queue}: not to {dead} after five tries or more"
        allowed = props(t, dead).get("RedriveAllowPolicy", {})
        own_name = props(t, queue)["QueueName"]["Fn::Sub"]
        sources = [s["Fn::Sub"] for s in allowed.get("sourceQueueArns", [])]
        if allowed.get("redrivePermission") != "byQueue" or len(sources) != 1 or not sources[0].endswith(f":{own_name}"):
            yield f"{dead}: takes from other queues than {queue}"
        if props(t, dead).get("MessageRetentionPeriod", 0) <= props(t, queue).get("MessageRetentionPeriod", 345600):
            yield f"{dead}: kept no longer than in {queue}"


@rule
def queues_feed_functions(t):
    for queue, (_, function) in QUEUES.items():
        events = [e["Properties"] for e in props(t, function).get("Events", {}).values() if e["Type"] == "SQS"]
        if [named(e["Queue"]) for e in events] != [queue]:
            yield f"{function}: not fed by {queue} alone"
        for event in events:
            if event.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
                yield f"{function}: answers for the batch, not for each message"
            if "MaximumConcurrency" not in event.get("ScalingConfig", {}):
                yield f"{function}: concurrency without bound"


def tls_only(statement_list, resources):
    return any(
        s.get("Effect") == "Deny"
        and s.get("Principal") == "*"
        and s.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
        and {named(r) for r in listed(s["Resource"])} == {resources}
        for s in statement_list
    )


@rule
def transport_is_tls_and_storage_encrypted(t):
    kinds = {
        "AWS::SQS::Queue": ("AWS::SQS::QueuePolicy", lambda p: [named(q) for q in p["Queues"]]),
        "AWS::S3::Bucket": ("AWS::S3::BucketPolicy", lambda p: [named(p["Bucket"])]),
        "AWS::SNS::Topic": ("AWS::SNS::TopicPolicy", lambda p: [named(q) for q in p["Topics"]]),
    }
    for kind, (policy_kind, targets) in kinds.items():
        policies = [r["Properties"] for r in of_type(t, policy_kind).values()]
        for name, resource in of_type(t, kind).items():
            if not any(name in targets(p) and tls_only(p["PolicyDocument"]["Statement"], name) for p in policies):
                yield f"{name}: open without TLS"
            if kind == "AWS::SQS::Queue" and resource["Properties"].get("SqsManagedSseEnabled") is not True:
                yield f"{name}: not encrypted"
            if kind == "AWS::S3::Bucket" and "BucketEncryption" not in resource["Properties"]:
                yield f"{name}: not encrypted"


@rule
def buckets_are_private(t):
    for name, bucket in of_type(t, "AWS::S3::Bucket").items():
        block = bucket["Properties"].get("PublicAccessBlockConfiguration", {})
        wanted = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
        if not all(block.get(key) is True for key in wanted):
            yield f"{name}: not closed to the public in all four ways"
        if bucket.get("DeletionPolicy") != "Retain":
            yield f"{name}: goes with the stack"
    if props(t, "RecordsBucket").get("VersioningConfiguration") != {"Status": "Enabled"}:
        yield "RecordsBucket: without versions"
    rules = props(t, "RecordsBucket")["LifecycleConfiguration"]["Rules"]
    if [(r.get("Prefix"), r.get("ExpirationInDays")) for r in rules if "ExpirationInDays" in r] != [("results/", {"Ref": "ResultsDays"})]:
        yield "RecordsBucket: results, and only they, must end after ResultsDays"


@rule
def schedules_name_slot_and_zone(t):
    found = of_type(t, "AWS::Scheduler::Schedule")
    if {named(s["Properties"]["Target"]["Arn"]) for s in found.values()} != {"StartRun", "Watch"}:
        yield "start-run and watch, and only they, have schedules"
    for name, schedule in found.items():
        p = schedule["Properties"]
        if not p.get("ScheduleExpressionTimezone"):
            yield f"{name}: no time zone"
        if p["FlexibleTimeWindow"] != {"Mode": "OFF"}:
            yield f"{name}: late on purpose"
        try:
            payload = json.loads(p["Target"]["Input"]["Fn::Sub"])
        except (KeyError, TypeError, ValueError):
            payload = {}
        if payload != {"schedule": "${ScheduleName}", "scheduled_time": "<aws.scheduler.scheduled-time>"}:
            yield f"{name}: the payload does not carry the slot: {payload}"
        if named(p["Target"].get("DeadLetterConfig", {}).get("Arn")) != "ScheduleDeadLetters":
            yield f"{name}: what is not delivered is lost"
    if props(t, "WatchSchedule")["ScheduleExpression"] != "rate(5 minutes)":
        yield "watch does not sweep every five minutes"
    if props(t, "NightlySchedule").get("ScheduleExpressionTimezone") != {"Ref": "ScheduleTimeZone"}:
        yield "the time zone of runs cannot be chosen"


@rule
def functions_are_as_built(t):
    common = t["Globals"]["Function"]
    if (common.get("Runtime"), common.get("Architectures")) != ("provided.al2023", ["arm64"]):
        yield "functions are not arm64 on provided.al2023"
    found = of_type(t, "AWS::Serverless::Function")
    if set(found) != set(FUNCTIONS):
        yield f"functions: {sorted(found)}"
    for name, function in found.items():
        meta, p = function["Metadata"], function["Properties"]
        # `sam build` would build in the release profile; `functions/build` builds in the profile `lambda`.
        if meta.get("SkipBuild") is not True or p.get("CodeUri") != f"../target/functions/{FUNCTIONS.get(name)}":
            yield f"{name}: not the binary that functions/build makes"
        if named(p.get("Role")) != f"{name}Role":
            yield f"{name}: shares a role"
        logging = p.get("LoggingConfig", {})
        if logging.get("LogFormat") != "JSON" or named(logging.get("LogGroup")) != f"{name}Logs":
            yield f"{name}: no JSON logs in a group of its own"
    for name, group in of_type(t, "AWS::Logs::LogGroup").items():
        if group["Properties"].get("RetentionInDays") != {"Ref": "LogDays"}:
            yield f"{name}: kept for ever"


@rule
def variables_are_the_ones_used(t):
    """A function gets a resource's name exactly if its role may use that resource."""
    source = {
        "NIGHTBOOK_TABLE": "Table", "NIGHTBOOK_BOOK_BUCKET": "BookBucket", "NIGHTBOOK_RECORDS_BUCKET": "RecordsBucket",
        "NIGHTBOOK_SITE_BUCKET": "SiteBucket", "NIGHTBOOK_WORK_QUEUE_URL": "WorkQueue", "NIGHTBOOK_CLOSE_QUEUE_URL": "CloseQueue",
        "NIGHTBOOK_ALERT_TOPIC_ARN": "AlertTopic", "NIGHTBOOK_EVENT_BUS": "EventBus", "NIGHTBOOK_START_FUNCTION": "StartRun",
    }  # fmt: skip
    policy = json.loads((HERE / "policy.json").read_text())
    for name in FUNCTIONS:
        variables = props(t, name)["Environment"]["Variables"]
        used = {call.split("/")[0] for call in policy["functions"][name]["calls"]}
        for variable, resource in source.items():
            if (variable in variables) != (resource in used):
                yield f"{name}: {variable} {'is not used' if variable in variables else 'is missing'}"
            if variable in variables and named(variables[variable]) != resource:
                yield f"{name}: {variable} names another resource"
    if props(t, "CloseRun")["Environment"]["Variables"].get("NIGHTBOOK_SITE_DETAIL") != {"Ref": "DetailLevel"}:
        yield "close-run does not know how much it may show"


@rule
def no_wildcards(t):
    """AWS cannot scope two things further, and both keep a fixed start: objects below a folder, and (in a Deny, where wider is safer) all actions of a service."""
    for role in of_type(t, "AWS::IAM::Role"):
        if "ManagedPolicyArns" in props(t, role):
            yield f"{role}: a policy written by others"
        for s in statements(t, role):
            for action in listed(s["Action"]):
                if "*" in action:
                    yield f"{role}: {action}"
            for resource in listed(s["Resource"]):
                if named(resource) is None or named(resource) == "RecordsBucket" and "Fn::Sub" in resource:
                    yield f"{role}: {resource}"
            if s["Effect"] != "Allow" or "NotAction" in s or "NotResource" in s:
                yield f"{role}: {s.get('Sid')} is not a plain permission"
    for kind in ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"):
        for name, r in of_type(t, kind).items():
            for s in r["Properties"]["PolicyDocument"]["Statement"]:
                for inner in s.get("Fn::If", ["", s])[1:]:
                    if inner.get("Effect") == "Allow" and (inner["Principal"] == "*" or "*" in str(inner["Action"]) or not inner.get("Condition")):
                        yield f"{name}: {inner.get('Sid')} is open"


@rule
def roles_match_the_calls(t):
    policy = json.loads((HERE / "policy.json").read_text())
    for name, entry in policy["functions"].items():
        wanted = {(f"{name}Logs", a) for a in ("logs:CreateLogStream", "logs:PutLogEvents")}
        for group in ("calls", "service"):
            wanted |= {(resource, action) for resource, actions in entry[group].items() for action in actions}
        held = {
            (named(resource), action)
            for s in statements(t, f"{name}Role")
            for resource in listed(s["Resource"])
            for action in listed(s["Action"])
        }
        for resource, action in sorted(wanted - held):
            yield f"{name}: calls {action} on {resource}, and may not"
        for resource, action in sorted(held - wanted, key=str):
            yield f"{name}: may {action} on {resource}, and does not call it"
        for action in {a for actions in entry["service"].values() for a in actions}:
            if not any(action.startswith(start) for start in entry["why"]):
                yield f"policy.json: {name}: {action} without a reason"


@rule
def only_who_should(t):
    """The separations that the product promises, whatever policy.json says."""
    def holders(action, resource):
        return {
            name for name in FUNCTIONS for s in statements(t, f"{name}Role")
            if action in listed(s["Action"]) and any((named(r) or "").startswith(resource) for r in listed(s["Resource"]))
        }  # fmt: skip
    for action, resource, wanted in (
        ("s3:PutObject", "SiteBucket", {"CloseRun"}),
        ("s3:PutObject", "RecordsBucket/results", {"ProcessPortfolio"}),
        ("s3:PutObject", "RecordsBucket/snapshots", {"StartRun"}),
        ("s3:GetObject", "BookBucket", {"StartRun"}),
        ("s3:PutObject", "BookBucket", set()),
        ("dynamodb:Scan", "Table", set()),
        ("events:PutEvents", "EventBus", {"CloseRun"}),
        ("lambda:InvokeFunction", "StartRun", {"History", "Watch"}),
        ("sqs:SendMessage", "WorkQueue", {"StartRun", "Watch"}),
    ):
        if holders(action, resource) != wanted:
            yield f"{action} on {resource}: {sorted(holders(action, resource))}, should be {sorted(wanted)}"
    # Notes, runs that are asked for and what is cancelled are put into the table; all else is for others to do.
    writes = {"dynamodb:UpdateItem", "dynamodb:DeleteItem", "sqs:SendMessage", "s3:PutObject", "sns:Publish"}
    if any(set(listed(s["Action"])) & writes for s in statements(t, "HistoryRole")):
        yield "history writes more than notes and commands"


@rule
def site_is_closed_by_default(t):
    if t["Parameters"]["SiteAccess"].get("Default") != "none":
        yield "a site by default"
    refuses = t["Rules"].get("PublicSiteIsRedacted", {})
    if refuses.get("RuleCondition") != {"Fn::Equals": [{"Ref": "SiteAccess"}, "public-redacted"]} or [
        a["Assert"] for a in refuses.get("Assertions", [])
    ] != [{"Fn::Equals": [{"Ref": "DetailLevel"}, "redacted"]}]:
        yield "a public site with full detail is not refused"
    for kind in ("Distribution", "OriginAccessControl", "ResponseHeadersPolicy", "CachePolicy", "PublicKey", "KeyGroup"):
        for name, r in of_type(t, f"AWS::CloudFront::{kind}").items():
            if r.get("Condition") not in ("HasSite", "HasCookies"):
                yield f"{name}: there even without a site"
    config = props(t, "Distribution")["DistributionConfig"]
    if config["DefaultCacheBehavior"].get("TrustedKeyGroups", {}).get("Fn::If", [None])[0] != "HasCookies":
        yield "signed-cookies asks for no cookie"
    if not all("OriginAccessControlId" in origin for origin in config["Origins"]):
        yield "an origin without access control"
    if config["DefaultCacheBehavior"].get("ViewerProtocolPolicy") != "redirect-to-https":
        yield "the site answers without TLS"
    if named(config["DefaultCacheBehavior"].get("ResponseHeadersPolicyId")) != "SiteHeaders":
        yield "the site has no security headers"


@rule
def api_separates_reading_from_writing(t):
    for name, route in of_type(t, "AWS::ApiGatewayV2::Route").items():
        p = route["Properties"]
        method = p["RouteKey"].split(" ")[0]
        scope = {"GET": "nightbook/read", "POST": "nightbook/write"}.get(method)
        if p.get("AuthorizationType") != {"Fn::If": ["UsesJwt", "JWT", "AWS_IAM"]}:
            yield f"{name}: open to anybody"
        if scope is None or p.get("AuthorizationScopes", {}).get("Fn::If", ["", None])[1] != [scope]:
            yield f"{name}: {method} does not ask for its scope"


def addresses():
    """Every method and address that the router answers, as the gateway sees it."""
    text = (ROOT / "crates" / "api" / "src" / "lib.rs").read_text()
    for path, handlers in re.findall(r'\.route\("(/(?:api/v1/|healthz)[^"]*)", ([^\n]*)\)', text):
        for method in re.findall(r"\b(get|post)\(", handlers):
            yield method.upper(), re.sub(r"\{\w+\}", "x", path)


@rule
def every_address_reaches_history(t):
    known = list(addresses())
    if len(known) < 18 or ("POST", "/api/v1/batch/runs/x/cancel") not in known:
        yield f"the addresses of the router are not read rightly: {known}"
    keys = [r["Properties"]["RouteKey"].split(" ") for r in of_type(t, "AWS::ApiGatewayV2::Route").values()]
    patterns = [(method, re.escape(path).replace(r"\{proxy\+\}", ".+")) for method, path in keys]
    for method, path in known:
        if not any(m == method and re.fullmatch(pattern, path) for m, pattern in patterns):
            yield f"{method} {path} does not reach history"
    if props(t, "ApiStage").get("StageName") != "$default":
        yield "a stage of another name stands before the addresses that the router knows"


@rule
def alarms_speak(t):
    alarms = {n: r["Properties"] for n, r in of_type(t, "AWS::CloudWatch::Alarm").items()}
    wanted = {"WorkDeadLettersAlarm", "CloseDeadLettersAlarm", "ScheduleDeadLettersAlarm", "OldestOpenRunAlarm", "NoRunClosedAlarm",
              "NoRunClosedOnWeekdaysAlarm", "WatchSilentAlarm"} | {f"{f}ErrorsAlarm" for f in FUNCTIONS}  # fmt: skip
    if set(alarms) != wanted:
        yield f"alarms: {sorted(set(alarms) ^ wanted)}"
    readme = (ROOT / "infra" / "README.md").read_text().lower()
    for name, p in alarms.items():
        if [named(a) for a in p.get("AlarmActions", [])] != ["AlertTopic"]:
            yield f"{name}: tells nobody"
        silent = name in ("NoRunClosedAlarm", "NoRunClosedOnWeekdaysAlarm", "WatchSilentAlarm")
        if (p.get("TreatMissingData") == "breaching") != silent:
            yield f"{name}: silence is {p.get('TreatMissingData')}"
        if name.startswith("NoRunClosed") and p.get("EvaluationPeriods") != 26:
            yield f"{name}: not 26 hours"
        chapter = re.search(r"Runbook: ([a-z ]+)\.", p["AlarmDescription"])
        if not chapter or f"\n### {chapter[1]}" not in readme:
            yield f"{name}: no chapter in the runbook"
        for metric in [p, *(m.get("MetricStat", {}).get("Metric", {}) for m in p.get("Metrics", []))]:
            if metric.get("Namespace") == "Nightbook":
                if [d["Name"] for d in metric["Dimensions"]] != ["Service"]:
                    yield f"{name}: dimensions other than Service"
                if f"`{metric['MetricName']}`".lower() not in readme:
                    yield f"{name}: {metric['MetricName']} is not documented"


# --- calls found in the code --------------------------------------------------------------------------------------------

OPERATIONS = {
    "dynamodb": "get_item put_item update_item delete_item query scan batch_get_item batch_write_item transact_write_items transact_get_items describe_table",
    "s3": "get_object put_object head_object delete_object delete_objects list_objects_v2 copy_object",
    "sqs": "send_message send_message_batch receive_message delete_message delete_message_batch change_message_visibility get_queue_attributes",
    "sns": "publish publish_batch",
    "events": "put_events",
    "lambda": "invoke",
}
# The permission that a call needs, where it has another name. What a transaction does is asked for item by item: which
# is seen by the builders of its parts (`Put::builder`, `Update::builder`).
PERMISSION = {
    "s3:HeadObject": "s3:GetObject", "s3:ListObjectsV2": "s3:ListBucket", "s3:DeleteObjects": "s3:DeleteObject",
    "sqs:SendMessageBatch": "sqs:SendMessage", "sqs:DeleteMessageBatch": "sqs:DeleteMessage", "sns:PublishBatch": "sns:Publish",
    "lambda:Invoke": "lambda:InvokeFunction", "dynamodb:TransactWriteItems": None, "dynamodb:TransactGetItems": "dynamodb:GetItem",
}  # fmt: skip
PARTS = {"Put": "dynamodb:PutItem", "Update": "dynamodb:UpdateItem", "Delete": "dynamodb:DeleteItem", "ConditionCheck": "dynamodb:ConditionCheckItem"}


def calls_in(text):
    """Permissions that Rust source asks for: SDK calls begin with an operation without arguments."""
    text = re.split(r"#\[cfg\(test\)\]\s*mod ", text)[0]
    text = re.sub(r"//[^\n]*", "", text)
    found = set()
    for service, operations in OPERATIONS.items():
        for operation in operations.split():
            if re.search(rf"\.{operation}\(\)", text):
                action = f"{service}:{''.join(part.title() for part in operation.split('_'))}"
                found.add(PERMISSION.get(action, action))
    if "transact_write_items()" in text:
        found |= {action for part, action in PARTS.items() if re.search(rf"\b{part}::builder\(\)", text)}
    return found - {None}


def compare_with_code(sources, policy, whole):
    """`sources`: texts of the code; `whole`: services whose adapters are all among them."""
    found = set().union(*(calls_in(s) for s in sources)) if sources else set()
    declared = {a for f in policy["functions"].values() for actions in f["calls"].values() for a in actions}
    known = declared | set(policy["operators"]["calls"]) | {a for f in policy["functions"].values() for actions in f["service"].values() for a in actions}
    for action in sorted(found - known):
        yield f"the code calls {action}, and policy.json gives it to nobody"
    for action in sorted(declared - found):
        if action.split(":")[0] in whole:
            yield f"policy.json gives {action}, and nothing calls it"


def code(policy):
    adapters = ROOT / "crates" / "backends" / "src" / "aws"
    functions = ROOT / "functions" / "src"
    sources = [f.read_text() for folder in (adapters, functions) if folder.is_dir() for f in sorted(folder.rglob("*.rs"))]
    if not sources:
        return ["no AWS code in this checkout: the roles were compared with policy.json alone"], []
    whole = {"dynamodb", "s3", "sqs", "sns", "events"} if adapters.is_dir() else set()
    if functions.is_dir():
        whole |= {"lambda"}
    faults = list(compare_with_code(sources, policy, whole))
    if functions.is_dir():
        for name, entry in policy["functions"].items():
            if not (functions / "bin" / f"{entry['binary']}.rs").is_file() and not (functions / "bin" / entry["binary"]).is_dir():
                faults.append(f"{name}: no binary {entry['binary']} in functions/src/bin")
    return [f"{len(sources)} files of AWS code were read for calls"], faults


# --- every rule must be able to fail ------------------------------------------------------------------------------------


def put(*path_and_value):
    *path, last, value = path_and_value
    def change(t):
        for key in path:
            t = t[key]
        t[last] = value
    return change


def drop(*path):
    def change(t):
        for key in path[:-1]:
            t = t[key]
        del t[path[-1]]
    return change


def grant(role, action, resource):
    def change(t):
        props(t, role)["Policies"][0]["PolicyDocument"]["Statement"].append({"Effect": "Allow", "Action": [action], "Resource": resource})
    return change


def revoke(role, sid):
    def change(t):
        document = props(t, role)["Policies"][0]["PolicyDocument"]
        document["Statement"] = [s for s in document["Statement"] if s["Sid"] != sid]
    return change


R = "Resources"
P = "Properties"
ARN = lambda name: {"Fn::GetAtt": [name, "Arn"]}  # noqa: E731
mutations = [
    (table_is_kept, put(R, "Table", P, "DeletionProtectionEnabled", False)),
    (table_is_kept, drop(R, "Table", P, "PointInTimeRecoverySpecification")),
    (table_is_kept, put(R, "Table", P, "TimeToLiveSpecification", "AttributeName", "ttl")),
    (messages_outlive_their_function, put(R, "WorkQueue", P, "VisibilityTimeout", 1799)),
    (messages_outlive_their_function, put(R, "CloseRun", P, "Timeout", 901)),
    (queues_have_dead_letters, drop(R, "WorkQueue", P, "RedrivePolicy")),
    (queues_have_dead_letters, put(R, "CloseQueue", P, "RedrivePolicy", "maxReceiveCount", 1)),
    (queues_have_dead_letters, put(R, "CloseDeadLetters", P, "RedriveAllowPolicy", "redrivePermission", "allowAll")),
    (queues_have_dead_letters, put(R, "CloseDeadLetters", P, "RedriveAllowPolicy", "sourceQueueArns", [{"Fn::Sub": "arn:aws:sqs:r:a:other"}])),
    (queues_have_dead_letters, put(R, "WorkDeadLetters", P, "MessageRetentionPeriod", 345600)),
    (queues_feed_functions, drop(R, "ProcessPortfolio", P, "Events", "Queue", P, "FunctionResponseTypes")),
    (queues_feed_functions, drop(R, "ProcessPortfolio", P, "Events", "Queue", P, "ScalingConfig")),
    (transport_is_tls_and_storage_encrypted, drop(R, "SiteBucketPolicy")),
    (transport_is_tls_and_storage_encrypted, put(R, "WorkQueuePolicy", P, "PolicyDocument", "Statement", 0, "Effect", "Allow")),
    (transport_is_tls_and_storage_encrypted, put(R, "AlertTopicPolicy", P, "Topics", [])),
    (transport_is_tls_and_storage_encrypted, drop(R, "WorkDeadLetters", P, "SqsManagedSseEnabled")),
    (buckets_are_private, put(R, "SiteBucket", P, "PublicAccessBlockConfiguration", "BlockPublicPolicy", False)),
    (buckets_are_private, drop(R, "RecordsBucket", P, "VersioningConfiguration")),
    (buckets_are_private, put(R, "RecordsBucket", P, "LifecycleConfiguration", "Rules", 0, "Prefix", "")),
    (schedules_name_slot_and_zone, drop(R, "NightlySchedule", P, "ScheduleExpressionTimezone")),
    (schedules_name_slot_and_zone, put(R, "NightlySchedule", P, "Target", "Input", "Fn::Sub", '{"schedule": "${ScheduleName}"}')),
    (schedules_name_slot_and_zone, put(R, "WatchSchedule", P, "ScheduleExpression", "rate(1 hour)")),
    (functions_are_as_built, put("Globals", "Function", "Architectures", ["x86_64"])),
    (functions_are_as_built, put(R, "Watch", P, "CodeUri", "../target/functions/history")),
    (functions_are_as_built, drop(R, "Watch", "Metadata", "SkipBuild")),
    (functions_are_as_built, put(R, "Watch", P, "Role", ARN("HistoryRole"))),
    (functions_are_as_built, drop(R, "WatchLogs", P, "RetentionInDays")),
    (variables_are_the_ones_used, drop(R, "CloseRun", P, "Environment", "Variables", "NIGHTBOOK_TABLE")),
    (variables_are_the_ones_used, put(R, "ProcessPortfolio", P, "Environment", "Variables", "NIGHTBOOK_SITE_BUCKET", {"Ref": "SiteBucket"})),
    (variables_are_the_ones_used, drop(R, "CloseRun", P, "Environment", "Variables", "NIGHTBOOK_SITE_DETAIL")),
    (no_wildcards, grant("WatchRole", "dynamodb:*", ARN("Table"))),
    (no_wildcards, grant("WatchRole", "sqs:SendMessage", "*")),
    (no_wildcards, grant("HistoryRole", "s3:GetObject", {"Fn::Sub": "${RecordsBucket.Arn}/*"})),
    (no_wildcards, drop(R, "AlertTopicPolicy", P, "PolicyDocument", "Statement", 1, "Condition")),
    (roles_match_the_calls, grant("HistoryRole", "dynamodb:DeleteItem", ARN("Table"))),
    (roles_match_the_calls, revoke("CloseRunRole", "Tell")),
    (only_who_should, grant("WatchRole", "s3:PutObject", {"Fn::Sub": "${SiteBucket.Arn}/*"})),
    (only_who_should, grant("HistoryRole", "dynamodb:UpdateItem", ARN("Table"))),
    (site_is_closed_by_default, put("Parameters", "SiteAccess", "Default", "public-redacted")),
    (site_is_closed_by_default, drop("Rules", "PublicSiteIsRedacted")),
    (site_is_closed_by_default, drop(R, "Distribution", "Condition")),
    (site_is_closed_by_default, drop(R, "Distribution", P, "DistributionConfig", "DefaultCacheBehavior", "TrustedKeyGroups")),
    (api_separates_reading_from_writing, drop(R, "HealthRoute", P, "AuthorizationType")),
    (api_separates_reading_from_writing, put(R, "WriteRoute", P, "AuthorizationScopes", "Fn::If", 1, ["nightbook/read"])),
    (every_address_reaches_history, drop(R, "WriteRoute")),
    (every_address_reaches_history, put(R, "ReadRoute", P, "RouteKey", "GET /api/v2/{proxy+}")),
    (every_address_reaches_history, put(R, "ApiStage", P, "StageName", "prod")),
    (alarms_speak, drop(R, "WatchSilentAlarm")),
    (alarms_speak, put(R, "WatchSilentAlarm", P, "TreatMissingData", "notBreaching")),
    (alarms_speak, put(R, "NoRunClosedAlarm", P, "Dimensions", [{"Name": "Run", "Value": "r"}])),
    (alarms_speak, put(R, "WatchErrorsAlarm", P, "AlarmActions", [])),
    (alarms_speak, put(R, "WatchErrorsAlarm", P, "AlarmDescription", "Something is wrong.")),
]


def self_test(template, policy):
    for number, (check, change) in enumerate(mutations):
        broken = copy.deepcopy(template)
        change(broken)
        if not list(check(broken)):
            yield f"mutation {number} of {check.__name__} is not seen"
    for check in RULES:
        if check not in {c for c, _ in mutations}:
            yield f"{check.__name__} was never seen to fail"
    sample = "client.put_item().send(); // .scan()\nlet x = c\n    .send_message_batch()\n    .send();\n#[cfg(test)]\nmod tests { c.delete_item() }"
    if calls_in(sample) != {"dynamodb:PutItem", "sqs:SendMessage"}:
        yield f"calls are not read rightly: {calls_in(sample)}"
    if not any("nobody" in fault for fault in compare_with_code(["c.scan()"], policy, set())):
        yield "a call that nobody may make is not seen"
    if not any("nothing calls" in fault for fault in compare_with_code(["c.put_item()"], policy, {"dynamodb"})):
        yield "a permission that nothing uses is not seen"


def main():
    template = yaml.load((ROOT / "infra" / "template.yaml").read_text(), Loader)
    policy = json.loads((HERE / "policy.json").read_text())
    faults = [f"{check.__name__}: {fault}" for check in RULES for fault in check(template)]
    faults += [f"self-test: {fault}" for fault in self_test(template, policy)]
    said, of_code = code(policy)
    faults += [f"calls: {fault}" for fault in of_code]
    for line in said:
        print(line)
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"template: {len(RULES)} rules, {len(mutations)} mutations, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
