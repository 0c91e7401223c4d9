"""Builds every exported event with the classes of the OpenLineage client, and hands it to the client's own transport."""

import collections
import importlib
import json
import pathlib
import pkgutil
import sys
import tempfile

import attr
import openlineage.client.generated as generated
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.serde import Serde
from openlineage.client.transport.file import FileConfig, FileTransport


def facet_classes():
    """Every facet class of the client by the URL of its schema."""
    found = {}
    for module in pkgutil.iter_modules(generated.__path__):
        for value in vars(importlib.import_module(f"openlineage.client.generated.{module.name}")).values():
            if isinstance(value, type) and attr.has(value) and hasattr(value, "_get_schema"):
                found[value._get_schema()] = value
    return found


CLASSES = facet_classes()


def build(cls, value):
    """An instance of an attrs class from plain data, nested classes included; an unknown field is an error."""
    known = {field.name: field for field in attr.fields(cls)}
    arguments = {}
    for name, part in value.items():
        if name == "_schemaURL":
            continue
        name = "producer" if name == "_producer" else name
        assert name in known or f"_{name}" in known, f"{cls.__name__} has no {name}"
        field = known.get(name) or known[f"_{name}"]
        arguments[name] = nested(cls, str(field.type), part)
    return cls(**arguments)


def nested(owner, kind, part):
    module = sys.modules[owner.__module__]
    for name in kind.replace("[", " ").replace("]", " ").replace("|", " ").replace(",", " ").split():
        cls = getattr(module, name, None)
        if isinstance(cls, type) and attr.has(cls):
            if isinstance(part, list):
                return [build(cls, one) for one in part]
            if isinstance(part, dict) and not kind.startswith("dict"):
                return build(cls, part)
            if isinstance(part, dict):
                return {key: build(cls, one) for key, one in part.items()}
    return part


def facets(values, expected):
    made = {}
    for name, value in (values or {}).items():
        url = value["_schemaURL"]
        assert url in CLASSES, f"no facet of the specification has the schema {url}"
        made[name] = build(CLASSES[url], value)
        bases = [base.__name__ for base in CLASSES[url].__mro__]
        assert expected in bases, f"{name} is no {expected} but {bases}"
    return made


def event_of(value):
    assert value["schemaURL"] == RunEvent._get_schema(), value["schemaURL"]
    run, job = value["run"], value["job"]
    inputs = [
        InputDataset(
            one["namespace"],
            one["name"],
            facets=facets(one.get("facets"), "DatasetFacet"),
            inputFacets=facets(one.get("inputFacets"), "InputDatasetFacet"),
        )
        for one in value["inputs"]
    ]
    outputs = [
        OutputDataset(
            one["namespace"],
            one["name"],
            facets=facets(one.get("facets"), "DatasetFacet"),
            outputFacets=facets(one.get("outputFacets"), "OutputDatasetFacet"),
        )
        for one in value["outputs"]
    ]
    return RunEvent(
        eventTime=value["eventTime"],
        eventType=RunState(value["eventType"]),
        run=Run(run["runId"], facets(run["facets"], "RunFacet")),
        job=Job(job["namespace"], job["name"], facets(job["facets"], "JobFacet")),
        inputs=inputs,
        outputs=outputs,
        producer=value["producer"],
    )


def without_empty(value):
    """The same, without empty objects: the client writes those that were not given."""
    if isinstance(value, dict):
        return {key: without_empty(one) for key, one in value.items() if one != {}}
    return [without_empty(one) for one in value] if isinstance(value, list) else value


def main():
    lines = pathlib.Path(sys.argv[1]).read_text().splitlines()
    kinds = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        told = pathlib.Path(folder) / "told"
        client = OpenLineageClient(transport=FileTransport(FileConfig(log_file_path=str(told), append=True)))
        for line in lines:
            value = json.loads(line)
            event = event_of(value)
            kinds[value["eventType"]] += 1
            # As the client would send it, it says the same.
            again = json.loads(Serde.to_json(event))
            for part in ("eventType", "eventTime", "run", "job"):
                same = without_empty(again[part]) == without_empty(value[part])
                assert same, f"{part}: {again[part]} instead of {value[part]}"
            client.emit(event)
        sent = sum(1 for _ in told.open())
    assert sent == len(lines), f"the client sent {sent} of {len(lines)} events"
    for kind in ("START", "COMPLETE", "FAIL", "ABORT"):
        assert kinds[kind] > 0, f"no {kind} among the events"
    print(f"{len(lines)} events read by the OpenLineage client: {dict(sorted(kinds.items()))}, 0 problems")


main()
