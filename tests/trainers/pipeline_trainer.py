#!/usr/bin/env python3
"""A command trainer: a scikit-learn pipeline that imputes, scales and encodes, with an input of its own for each column.

Categories go into the graph as they are, and the encoder in it gives one that it has not seen no column. A string has no
null: the metadata says what stands for it.
"""

import json

import numpy as np
import pandas as pd
from job import run
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

MISSING = "missing"


def frame(job, rows):
    columns = {}
    for name in job.numeric():
        columns[name] = np.array(rows.column(name).to_pylist(), dtype=np.float32)
    for name in job.categorical():
        columns[name] = [MISSING if value is None else value for value in rows.column(name).to_pylist()]
    return pd.DataFrame(columns)


def train(job):
    encoded = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), job.numeric()),
        (OneHotEncoder(handle_unknown="ignore"), job.categorical()),
    )
    last = Ridge() if job.is_regression() else LogisticRegression(max_iter=1000)
    model = make_pipeline(encoded, last).fit(frame(job, job.rows), job.labels())
    types = [(name, FloatTensorType([None, 1])) for name in job.numeric()]
    types += [(name, StringTensorType([None, 1])) for name in job.categorical()]
    options = {} if job.is_regression() else {id(model): {"zipmap": False}}
    graph = to_onnx(model, initial_types=types, options=options)
    nulls = {"driftline.nulls": json.dumps({name: MISSING for name in job.categorical()})}
    job.finish(graph, model, lambda rows: frame(job, rows), metadata=nulls)


if __name__ == "__main__":
    run(train)
