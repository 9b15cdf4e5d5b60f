#!/usr/bin/env python3
"""A command trainer with scikit-learn: the example to start one's own from.

Called with the path of a job file (the contract stands in retrain/src/trainer/command.rs). It reads the training rows,
fits a model, writes it as ONNX with a sample of the model's own answers, and last of all the result file.

Parameters: `estimator` (`logistic`, the default, `forest` or `boosting`; `linear` for a regression), `seed` (0), `trees` (50).

Nulls are replaced by the column's mean, in the graph too. Categories stand as their index in a table that travels in the graph's metadata,
as the trees want them and as Driftline fills the input; the linear estimators therefore take numeric features only.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from onnx import helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

UNSEEN = -1.0
SAMPLE_ROWS = 200
# The newest operator set that Driftline's engine is tested with.
OPSET = 18


class JobError(Exception):
    """The job cannot be done; the message says why and what to change."""


def main(job_path):
    job = json.loads(Path(job_path).read_text())
    if job["format"] != 1 or job["kind"] != "train":
        raise JobError(f"this trainer knows training jobs of format 1, not {job['kind']} of format {job['format']}")
    features = [column for column in job["schema"]["columns"] if column["role"] == "feature"]
    rows = parquet.read_table(job["training_rows"])
    tables = category_tables(features, rows)
    matrix = encode(features, tables, rows)
    means = known_means(matrix)
    imputed = np.where(np.isnan(matrix), means, matrix)
    estimator = fit(job, features, imputed, rows.column("label").to_pylist())
    write_graph(job, estimator, tables, means)
    write_sample(job, features, estimator, rows, imputed)
    result = {
        "artifact_format": "onnx",
        "metrics": {"training_rows": float(len(matrix))},
        "parameters": job["parameters"],
        "code_revision": revision(),
        "sample": "sample.parquet",
    }
    Path(job["result"]).write_text(json.dumps(result))


def category_tables(features, rows):
    """The categories of each categorical feature, in index order."""
    names = [feature["name"] for feature in features if feature["kind"] == "categorical"]
    return {name: sorted(value for value in set(rows.column(name).to_pylist()) if value is not None) for name in names}


def encode(features, tables, rows):
    """The float32 matrix that the graph takes: null is NaN for a number and UNSEEN for a category."""
    columns = []
    for feature in features:
        values = rows.column(feature["name"]).to_pylist()
        if feature["kind"] == "categorical":
            index = {category: float(place) for place, category in enumerate(tables[feature["name"]])}
            columns.append([index.get(value, UNSEEN) for value in values])
        else:
            columns.append([np.nan if value is None else value for value in values])
    return np.array(columns, dtype=np.float32).T


def known_means(matrix):
    """The mean of each column's known values; 0 for a column without any."""
    known = ~np.isnan(matrix)
    sums = np.where(known, matrix, 0).sum(axis=0, dtype=np.float64)
    return (sums / np.maximum(known.sum(axis=0), 1)).astype(np.float32)


def fit(job, features, matrix, labels):
    parameters = job["parameters"]
    seed = int(parameters.get("seed", "0"))
    default = "linear" if job["schema"]["task"]["type"] == "regression" else "logistic"
    name = parameters.get("estimator", default)
    trees = int(parameters.get("trees", "50"))
    if name == "boosting":
        return HistGradientBoostingClassifier(max_iter=trees, random_state=seed).fit(matrix, labels)
    if name == "forest":
        return RandomForestClassifier(n_estimators=trees, min_samples_leaf=5, random_state=seed).fit(matrix, labels)
    if any(feature["kind"] == "categorical" for feature in features):
        raise JobError(f"the estimator {name} takes numeric features only; set the parameter estimator to forest")
    if name == "logistic":
        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(matrix, labels)
    if name == "linear":
        return make_pipeline(StandardScaler(), LinearRegression()).fit(matrix, labels)
    raise JobError(f"the estimator {name} is unknown; logistic, forest, boosting and linear are known")


def write_graph(job, estimator, tables, means):
    # Without zipmap the probabilities are a matrix; with "div" the scaler is plain subtraction and division.
    options = {StandardScaler: {"div": "div"}}
    if is_classifier(estimator):
        options[id(estimator)] = {"zipmap": False}
    graph = to_onnx(estimator, means[np.newaxis], options=options, target_opset={"": OPSET, "ai.onnx.ml": 3})
    for node in graph.graph.node:
        if node.op_type == "TreeEnsembleClassifier":
            fold_base_values(node)
    impute_in_graph(graph.graph, means)
    metadata = {"driftline.categories": tables}
    if is_classifier(estimator):
        metadata["driftline.classes"] = [str(label) for label in estimator.classes_]
    for key, value in metadata.items():
        entry = graph.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value)
    Path(job["artifact"]).write_bytes(graph.SerializeToString())


def fold_base_values(node):
    """Adds what boosting starts from to the leaves of each class's first tree; the engine takes no base values of two classes."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if "base_values" not in attributes:
        return
    base = attributes["base_values"].floats
    trees, classes = attributes["class_treeids"].ints, attributes["class_ids"].ints
    first = {}
    for tree, label in zip(trees, classes):
        first[label] = min(tree, first.get(label, tree))
    weights = attributes["class_weights"].floats
    for place, (tree, label) in enumerate(zip(trees, classes)):
        if tree == first[label]:
            weights[place] += base[label]
    node.attribute.remove(attributes["base_values"])


def impute_in_graph(graph, means):
    """Puts plain operators in front that replace NaN by the mean; the engine has no Imputer."""
    inner = graph.input[0].name
    graph.input[0].name = "features"
    graph.initializer.append(numpy_helper.from_array(means[np.newaxis], "means"))
    graph.node.insert(0, helper.make_node("IsNaN", ["features"], ["missing"], name="find_missing"))
    graph.node.insert(1, helper.make_node("Where", ["missing", "means", "features"], [inner], name="impute"))


def write_sample(job, features, estimator, rows, matrix):
    """Some training rows with the estimator's own answers, which the graph has to reproduce."""
    places = list(range(0, len(rows), max(1, len(rows) // SAMPLE_ROWS)))
    table = rows.select([feature["name"] for feature in features]).take(places)
    inputs = matrix[places]
    predictions = estimator.predict(inputs)
    if not is_classifier(estimator):
        table = table.append_column("prediction", pa.array(np.ravel(predictions).astype(np.float64)))
    else:
        table = table.append_column("prediction", pa.array([str(label) for label in predictions]))
        probabilities = estimator.predict_proba(inputs)
        for label, column in score_columns(job["schema"]["task"]).items():
            place = [str(known) for known in estimator.classes_].index(label)
            table = table.append_column(column, pa.array(probabilities[:, place].astype(np.float64)))
    parquet.write_table(table, Path(job["result"]).with_name("sample.parquet"))


def score_columns(task):
    if task["type"] == "binary":
        return {task["positive"]: "score"}
    return {label: f"score.{label}" for label in task["classes"]}


def is_classifier(estimator):
    return hasattr(estimator, "predict_proba")


def revision():
    """The revision of this script's repository, or none outside one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


if __name__ == "__main__":
    try:
        main(sys.argv[-1])
    except JobError as error:
        sys.exit(str(error))
