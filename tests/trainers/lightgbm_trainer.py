#!/usr/bin/env python3
"""A command trainer with LightGBM. Parameters: `trees` (100), `leaves` (31), `learning_rate` (0.1), `seed` (0)."""

import lightgbm
from job import run
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType


def train(job):
    settings = {
        "n_estimators": job.parameter("trees", 100),
        "num_leaves": job.parameter("leaves", 31),
        "learning_rate": job.parameter("learning_rate", 0.1),
        "random_state": job.parameter("seed", 0),
        "deterministic": True,
        "n_jobs": 1,
        "verbose": -1,
    }
    kind = lightgbm.LGBMRegressor if job.is_regression() else lightgbm.LGBMClassifier
    matrix, labels = job.matrix(), job.labels()
    told = lambda state: job.report(state.iteration, **{metric: value for _, metric, value, _ in state.evaluation_result_list})
    model = kind(**settings).fit(matrix, labels, eval_set=[(matrix, labels)], callbacks=[told])
    types = [("features", FloatTensorType([None, len(job.features)]))]
    job.finish(convert_lightgbm(model, initial_types=types, zipmap=False), model, job.matrix)


if __name__ == "__main__":
    run(train)
