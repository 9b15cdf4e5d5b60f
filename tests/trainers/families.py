#!/usr/bin/env python3
"""Small models of the families that people train on tables, exported as their users export them.

`families.py make FOLDER` writes a folder for each: `artifact`, `sample.parquet` with the library's own answers (rows with nulls
among them), `rows.parquet` to be asked, and `model.json`. `families.py time FOLDER/MODEL` prints the rows a second of ONNX
Runtime in this process, one thread, in batches of 1,000. A family whose library is not installed is left out, and said.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet

NUMBERS, TABLES = ["age", "amount", "rate"], {"plan": ["basic", "plus", "pro"], "region": ["east", "north", "south", "west"]}
TASKS = {
    "binary": {"type": "binary", "positive": "yes", "negative": "no"},
    "multiclass": {"type": "multiclass", "classes": ["low", "mid", "high"]},
    "regression": {"type": "regression"},
}
TRAINED, ASKED, SAMPLED, BATCH = 4_000, 20_000, 500, 1_000
MISSING = "missing"


def rows(count, seed):
    """Rows with nulls in numbers and categories."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "age": random.normal(45, 15, count),
        "amount": random.gamma(2, 900, count),
        "rate": random.uniform(0.01, 0.3, count),
        "plan": random.choice(np.array(TABLES["plan"], dtype=object), count),
        "region": random.choice(np.array(TABLES["region"], dtype=object), count),
    })
    for name in ["amount", "rate"]:
        frame.loc[random.random(count) < 0.1, name] = np.nan
    frame.loc[random.random(count) < 0.05, "plan"] = None
    return frame


def labels(frame, task, seed):
    level = frame["age"] / 15 + frame["amount"].fillna(900) / 900 + 5 * frame["rate"].fillna(0.1) + (frame["plan"] == "pro") * 2
    level = level + np.random.default_rng(seed).normal(0, 0.7, len(frame))
    if task == "regression":
        return 100 * level.to_numpy()
    if task == "binary":
        return np.where(level > level.median(), "yes", "no")
    return np.array(["low", "mid", "high"])[np.digitize(level, np.quantile(level, [0.33, 0.66]))]


def matrix(frame):
    """One float32 tensor: null is NaN for a number, and -1 for a category, as one that is unknown."""
    columns = [frame[name].to_numpy(np.float32) for name in NUMBERS]
    for name, table in TABLES.items():
        index = {category: place for place, category in enumerate(table)}
        columns.append(np.array([index.get(value, -1) for value in frame[name]], np.float32))
    return np.column_stack(columns)


def texts(frame):
    """One input for each column, categories as they are."""
    exact = {name: frame[name].astype(np.float32) for name in NUMBERS}
    return pd.DataFrame(exact | {name: [MISSING if pd.isna(value) else value for value in frame[name]] for name in TABLES})


def sklearn(model, task, inputs, **options):
    """The default export: classifiers give a label and a map of classes."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    sample = inputs(rows(5, 9))
    if isinstance(sample, pd.DataFrame):
        types = [(name, (StringTensorType if name in TABLES else FloatTensorType)([None, 1])) for name in sample.columns]
        return to_onnx(model, initial_types=types, **options)
    return to_onnx(model, sample[:1], **options)


def of_sklearn(classifier, regressor, inputs=matrix):
    def made(task, frame, target):
        model = (regressor if task == "regression" else classifier)().fit(inputs(frame), target)
        return model, sklearn(model, task, inputs), None, inputs

    return made


def lightgbm(task, frame, target):
    import lightgbm as library
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    kind = library.LGBMRegressor if task == "regression" else library.LGBMClassifier
    model = kind(n_estimators=100, verbose=-1, n_jobs=1).fit(matrix(frame), target)
    return model, convert_lightgbm(model, initial_types=[("X", FloatTensorType([None, 5]))]), None, matrix


def xgboost(task, frame, target):
    import xgboost as library
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    classes = None
    if task != "regression":
        classes, target = np.unique(target, return_inverse=True)
    kind = library.XGBRegressor if task == "regression" else library.XGBClassifier
    model = kind(n_estimators=100, n_jobs=1).fit(matrix(frame), target)
    return model, convert_xgboost(model, initial_types=[("X", FloatTensorType([None, 5]))]), classes, matrix


def catboost(task, frame, target):
    import catboost as library
    import onnx

    kind = library.CatBoostRegressor if task == "regression" else library.CatBoostClassifier
    model = kind(iterations=100, verbose=0, thread_count=1, allow_writing_files=False).fit(matrix(frame), target)
    file = Path("/tmp") / f"catboost-{task}-{time.time_ns()}.onnx"
    model.save_model(str(file), format="onnx")
    graph = onnx.load(file)
    file.unlink()
    return model, graph, None, matrix


def families():
    from sklearn import calibration, compose, ensemble, impute, linear_model, naive_bayes, neural_network, pipeline, preprocessing, tree

    imputed = lambda last: pipeline.make_pipeline(impute.SimpleImputer(), preprocessing.StandardScaler(), last)
    encoded = lambda last: pipeline.make_pipeline(
        compose.make_column_transformer(
            (pipeline.make_pipeline(impute.SimpleImputer(), preprocessing.StandardScaler()), NUMBERS),
            (preprocessing.OneHotEncoder(handle_unknown="ignore"), list(TABLES)),
        ),
        last,
    )
    forest = {"n_estimators": 60, "min_samples_leaf": 5, "random_state": 0}
    hgb = ensemble.HistGradientBoostingClassifier
    logistic = lambda: linear_model.LogisticRegression(max_iter=1000)
    stack = lambda: ensemble.StackingClassifier([("a", imputed(logistic())), ("b", imputed(tree.DecisionTreeClassifier(max_depth=5)))], logistic())
    return {
        "lightgbm": (lightgbm, TASKS),
        "xgboost": (xgboost, TASKS),
        "hist-gradient-boosting": (of_sklearn(hgb, ensemble.HistGradientBoostingRegressor), TASKS),
        "random-forest": (of_sklearn(lambda: imputed(ensemble.RandomForestClassifier(**forest)), lambda: imputed(ensemble.RandomForestRegressor(**forest))), TASKS),
        "catboost": (catboost, TASKS),
        "pipeline-one-hot": (of_sklearn(lambda: encoded(logistic()), lambda: encoded(linear_model.Ridge()), texts), TASKS),
        "gradient-boosting": (of_sklearn(lambda: imputed(ensemble.GradientBoostingClassifier()), lambda: imputed(ensemble.GradientBoostingRegressor())), TASKS),
        "mlp": (of_sklearn(lambda: imputed(neural_network.MLPClassifier(max_iter=300, random_state=0)), lambda: imputed(neural_network.MLPRegressor(max_iter=300, random_state=0))), TASKS),
        "naive-bayes": (of_sklearn(lambda: imputed(naive_bayes.GaussianNB()), None), ["binary"]),
        "ada-boost": (of_sklearn(lambda: imputed(ensemble.AdaBoostClassifier()), None), ["binary"]),
        "calibrated": (of_sklearn(lambda: calibration.CalibratedClassifierCV(imputed(tree.DecisionTreeClassifier(max_depth=4)), method="sigmoid"), None), ["binary"]),
        "stacking": (of_sklearn(stack, None), ["binary"]),
    }


def make(folder):
    warnings.simplefilter("ignore")
    for family, (made, tasks) in families().items():
        for task in tasks:
            try:
                write(folder / f"{family}-{task}", task, made)
            except ImportError as error:
                print(f"{family}-{task}: left out, {error}", file=sys.stderr)


def write(folder, task, made):
    frame = rows(TRAINED, 1)
    model, graph, classes, inputs = made(task, frame, labels(frame, task, 2))
    metadata = {"driftline.categories": json.dumps(TABLES)} if inputs is matrix else {"driftline.nulls": json.dumps(dict.fromkeys(TABLES, MISSING))}
    if classes is not None:
        metadata["driftline.classes"] = json.dumps([str(name) for name in classes])
    for key, value in metadata.items():
        entry = graph.metadata_props.add()
        entry.key, entry.value = key, value
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "artifact").write_bytes(graph.SerializeToString())
    asked, sampled = rows(ASKED, 3), rows(SAMPLED, 4)
    # As the graphs take them; what a float32 cannot hold is no part of the comparison.
    for one in (asked, sampled):
        one[NUMBERS] = one[NUMBERS].astype(np.float32).astype(np.float64)
    parquet.write_table(pa.Table.from_pandas(asked, preserve_index=False), folder / "rows.parquet")
    sample = pa.Table.from_pandas(sampled, preserve_index=False)
    for name, answers in answered(model, inputs(sampled), task, classes).items():
        sample = sample.append_column(name, pa.array(answers))
    parquet.write_table(sample, folder / "sample.parquet")
    kinds = {**dict.fromkeys(NUMBERS, "numeric"), **dict.fromkeys(TABLES, "categorical")}
    (folder / "model.json").write_text(json.dumps({"features": list(kinds.items()), "task": TASKS[task]}))


def answered(model, inputs, task, classes):
    if task == "regression":
        return {"prediction": np.ravel(model.predict(inputs)).astype(np.float64)}
    names = [str(name) for name in (model.classes_ if classes is None else classes)]
    probabilities = np.asarray(model.predict_proba(inputs), np.float64)
    answers = {"prediction": [names[place] for place in probabilities.argmax(axis=1)]}
    columns = {"score": "yes"} if task == "binary" else {f"score.{name}": name for name in TASKS[task]["classes"]}
    return answers | {column: probabilities[:, names.index(name)] for column, name in columns.items()}


def measure(folder):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(folder / "artifact"), options)
    frame = parquet.read_table(folder / "rows.parquet").to_pandas().head(BATCH)
    names = [one.name for one in session.get_inputs()]
    if len(names) == 1:
        feed = {names[0]: matrix(frame)}
    else:
        columns = texts(frame)
        feed = {name: columns[name].to_numpy(object if name in TABLES else np.float32).reshape(-1, 1) for name in names}
    fastest, until = float("inf"), time.perf_counter() + 1.0
    while time.perf_counter() < until:
        began = time.perf_counter()
        session.run(None, feed)
        fastest = min(fastest, time.perf_counter() - began)
    print(BATCH / fastest)


if __name__ == "__main__":
    {"make": make, "time": measure}[sys.argv[1]](Path(sys.argv[2]))
