"""The stack of infra/template.yaml on an emulator that speaks the protocols of AWS, on a free loopback port."""
import io
import json
import os
import socket
import subprocess
import time
import urllib.request
import zipfile

import boto3
import yaml
from botocore.config import Config

REGION = "us-east-1"
FUNCTIONS = {
    "StartRun": "start-run",
    "ProcessPortfolio": "process-portfolio",
    "CloseRun": "close-run",
    "Watch": "watch",
    "History": "history",
}


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


class Emulator:
    """ministack, started here and ended here."""

    def __init__(self, program, folder):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.log = folder / "emulator.log"
        (folder / "tmp").mkdir(parents=True)
        # It binds every address by default, and runs what is uploaded; functions inherit its environment.
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "TMPDIR": str(folder / "tmp"),
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "MINISTACK_HOST": "127.0.0.1",
            "MINISTACK_REGION": REGION,
            **self.credentials(),
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([program], env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"{self.endpoint}/_ministack/health", timeout=5):
                    return
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the emulator did not start: {error}\n{self.log.read_text()[-2000:]}") from error
            time.sleep(0.2)

    def credentials(self):
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
        }

    def client(self, service):
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(s3={"addressing_style": "path"}, read_timeout=900, retries={"max_attempts": 0}),
        )

    def workers(self, name):
        """The processes of a function: (pid, command line). They are children of the emulator."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/environ", "rb") as file:
                        variables = file.read().split(b"\0")
                except OSError:
                    continue
                if f"AWS_ENDPOINT_URL={self.endpoint}".encode() in variables and f"AWS_LAMBDA_FUNCTION_NAME={name}".encode() in variables:
                    found.append(int(entry))
        return found

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def packed(binary):
    """A function as it is uploaded."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, binary.read_bytes(), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def deploy(emulator, template, binaries, parameters):
    """Deploys the template by a change set, as `sam deploy` does; gives its outputs, and what the emulator lacks."""
    resources = yaml.load(template.read_text(), Loader)
    resources["Globals"]["Function"]["Architectures"] = ["x86_64"]
    s3 = emulator.client("s3")
    s3.create_bucket(Bucket="deployment")
    for name, binary in FUNCTIONS.items():
        s3.put_object(Bucket="deployment", Key=binary, Body=packed(binaries / binary))
        resources["Resources"][name]["Properties"]["CodeUri"] = {"Bucket": "deployment", "Key": binary}
        resources["Resources"][name].pop("Metadata")
    # A number given by a parameter arrives as text, and the emulator then never reads the queue.
    for resource in resources["Resources"].values():
        for event in resource.get("Properties", {}).get("Events", {}).values():
            scaling = event["Properties"]["ScalingConfig"]
            if isinstance(scaling["MaximumConcurrency"], dict):
                scaling["MaximumConcurrency"] = int(parameters[scaling["MaximumConcurrency"]["Ref"]])
    # The one kind of resource that the emulator refuses.
    lacking = [
        name
        for name, resource in resources["Resources"].items()
        if resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]
    ]
    for name in lacking:
        del resources["Resources"][name]
    s3.put_object(Bucket="deployment", Key="template.json", Body=json.dumps(resources, default=str).encode())
    formation = emulator.client("cloudformation")
    formation.create_change_set(
        StackName="nightbook",
        ChangeSetName="first",
        ChangeSetType="CREATE",
        TemplateURL=f"{emulator.endpoint}/deployment/template.json",
        Capabilities=["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )
    while formation.describe_change_set(StackName="nightbook", ChangeSetName="first")["Status"] in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
        time.sleep(0.2)
    formation.execute_change_set(StackName="nightbook", ChangeSetName="first")
    while True:
        stack = formation.describe_stacks(StackName="nightbook")["Stacks"][0]
        if not stack["StackStatus"].endswith("IN_PROGRESS"):
            break
        time.sleep(0.2)
    if stack["StackStatus"] != "CREATE_COMPLETE":
        events = formation.describe_stack_events(StackName="nightbook")["StackEvents"]
        reasons = [f"{e['LogicalResourceId']}: {e.get('ResourceStatusReason')}" for e in events if "FAILED" in e["ResourceStatus"]]
        raise SystemExit(f"the stack is {stack['StackStatus']}: {'; '.join(reasons)}")
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    names = {
        r["LogicalResourceId"]: r["PhysicalResourceId"]
        for r in formation.describe_stack_resources(StackName="nightbook")["StackResources"]
    }
    return outputs, names, lacking
