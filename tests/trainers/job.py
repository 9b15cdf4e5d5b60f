"""What the example trainers share: the job file in, the artifact, its sample and the result file out.

The contract stands in retrain/src/trainer/command.rs, what a graph may look like in retrain/src/scorer/onnx.rs. A trainer
beside this file is called with the path of its job file:

    job = Job(sys.argv[-1])
    model = ...fit(job.matrix(), job.labels())
    job.finish(graph, model, job.matrix)
"""

import json
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

UNSEEN = -1.0
SAMPLE_ROWS = 200


class JobError(Exception):
    """The job cannot be done; the message says why and what to change."""


class Job:
    def __init__(self, path):
        self.job = json.loads(Path(path).read_text())
        if self.job["format"] != 1 or self.job["kind"] != "train":
            raise JobError(f"this trainer knows training jobs of format 1, not {self.job['kind']} of format {self.job['format']}")
        self.features = [column for column in self.job["schema"]["columns"] if column["role"] == "feature"]
        self.task = self.job["schema"]["task"]
        self.parameters = self.job["parameters"]
        self.rows = parquet.read_table(self.job["training_rows"])
        self.tables = {
            name: sorted(value for value in set(self.rows.column(name).to_pylist()) if value is not None)
            for name in self.categorical()
        }

    def parameter(self, name, default):
        """A parameter of the configuration, in the type of its default."""
        return type(default)(self.parameters.get(name, default))

    def numeric(self):
        return [feature["name"] for feature in self.features if feature["kind"] == "numeric"]

    def categorical(self):
        return [feature["name"] for feature in self.features if feature["kind"] == "categorical"]

    def is_regression(self):
        return self.task["type"] == "regression"

    def labels(self):
        return self.rows.column("label").to_pylist()

    def matrix(self, rows=None):
        """The float32 matrix that a graph with one input takes: null is NaN for a number and UNSEEN for a category."""
        rows = self.rows if rows is None else rows
        columns = []
        for feature in self.features:
            values = rows.column(feature["name"]).to_pylist()
            if feature["kind"] == "categorical":
                index = {category: float(place) for place, category in enumerate(self.tables[feature["name"]])}
                columns.append([index.get(value, UNSEEN) for value in values])
            else:
                columns.append([np.nan if value is None else value for value in values])
        return np.array(columns, dtype=np.float32).T

    def report(self, step, **numbers):
        """A point of the learning curve, which is kept with the version."""
        with open(Path(self.job["result"]).with_name("progress.jsonl"), "a") as progress:
            progress.write(json.dumps({"step": step, **numbers}) + "\n")

    def finish(self, graph, model, inputs, classes=None, metrics=None, metadata=None):
        """Writes what was made. `inputs` makes of some rows what the model takes; `classes` are its own, where it numbers them."""
        regression = self.is_regression()
        classes = None if regression else [str(name) for name in (model.classes_ if classes is None else classes)]
        said = {"driftline.categories": json.dumps(self.tables)}
        if classes:
            said["driftline.classes"] = json.dumps(classes)
        for key, value in {**said, **(metadata or {})}.items():
            entry = graph.metadata_props.add()
            entry.key, entry.value = key, value
        Path(self.job["artifact"]).write_bytes(graph.SerializeToString())
        places = list(range(0, len(self.rows), max(1, len(self.rows) // SAMPLE_ROWS)))
        rows = self.rows.take(places)
        sample = rows.select([feature["name"] for feature in self.features])
        for name, answers in self.answers(model, inputs(rows), classes).items():
            sample = sample.append_column(name, pa.array(answers))
        parquet.write_table(sample, Path(self.job["result"]).with_name("sample.parquet"))
        result = {
            "artifact_format": "onnx",
            "metrics": {"training_rows": float(len(self.rows)), **(metrics or {})},
            "parameters": self.parameters,
            "code_revision": revision(),
            "sample": "sample.parquet",
            "environment": sorted(f"{one.name}=={one.version}" for one in distributions()),
        }
        Path(self.job["result"]).write_text(json.dumps(result))

    def answers(self, model, inputs, classes):
        """The model's own answers, in the schema's output columns."""
        if classes is None:
            return {"prediction": np.ravel(model.predict(inputs)).astype(np.float64)}
        probabilities = model.predict_proba(inputs).astype(np.float64)
        answers = {"prediction": [classes[place] for place in probabilities.argmax(axis=1)]}
        if self.task["type"] == "binary":
            columns = {"score": self.task["positive"]}
        else:
            columns = {f"score.{name}": name for name in self.task["classes"]}
        return answers | {column: probabilities[:, classes.index(name)] for column, name in columns.items()}


def revision():
    """The revision of this script's repository, or none outside one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def run(train):
    """Trains on the job that the command line names; what cannot be done is said on standard error."""
    try:
        train(Job(sys.argv[-1]))
    except JobError as error:
        sys.exit(str(error))
