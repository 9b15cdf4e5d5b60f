#!/usr/bin/env python3
"""A command trainer with XGBoost. Parameters: `trees` (100), `depth` (6), `learning_rate` (0.3), `seed` (0).

XGBoost knows classes as numbers alone: they are given in the order of their names, and the metadata says so.
"""

import numpy as np
import xgboost
from job import run
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType


def train(job):
    settings = {
        "n_estimators": job.parameter("trees", 100),
        "max_depth": job.parameter("depth", 6),
        "learning_rate": job.parameter("learning_rate", 0.3),
        "random_state": job.parameter("seed", 0),
        "n_jobs": 1,
    }
    labels, classes = np.array(job.labels()), None
    if job.is_regression():
        model = xgboost.XGBRegressor(**settings)
    else:
        model = xgboost.XGBClassifier(**settings)
        names, labels = np.unique(labels, return_inverse=True)
        classes = [str(name) for name in names]
    model.fit(job.matrix(), labels)
    types = [("features", FloatTensorType([None, len(job.features)]))]
    job.finish(convert_xgboost(model, initial_types=types), model, job.matrix, classes=classes)


if __name__ == "__main__":
    run(train)
