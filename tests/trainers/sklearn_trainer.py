#!/usr/bin/env python3
"""A command trainer with scikit-learn: logistic and linear regression, forest, gradient boosting.

Parameters: `estimator` (`logistic`, the default, `forest` or `boosting`; `linear`, the default of a regression), `seed` (0),
`trees` (50).

Boosting knows nulls of its own. For the others they are replaced by the column's mean, in the graph too. Categories stand as
their index in a table, as trees want them; the linear estimators therefore take numeric features only (pipeline_trainer.py
encodes them).
"""

from job import JobError, run
from skl2onnx import to_onnx
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def estimator(job):
    name = job.parameters.get("estimator", "linear" if job.is_regression() else "logistic")
    trees, seed = job.parameter("trees", 50), job.parameter("seed", 0)
    if name == "boosting":
        boosting = HistGradientBoostingRegressor if job.is_regression() else HistGradientBoostingClassifier
        return boosting(max_iter=trees, random_state=seed)
    if name == "forest":
        forest = RandomForestRegressor if job.is_regression() else RandomForestClassifier
        return make_pipeline(SimpleImputer(), forest(n_estimators=trees, min_samples_leaf=5, random_state=seed))
    if job.categorical():
        raise JobError(f"the estimator {name} takes numeric features only; set the parameter estimator to forest")
    if name == "logistic":
        return make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(max_iter=1000))
    if name == "linear":
        return make_pipeline(SimpleImputer(), StandardScaler(), LinearRegression())
    raise JobError(f"the estimator {name} is unknown; logistic, forest, boosting and linear are known")


def train(job):
    matrix = job.matrix()
    model = estimator(job).fit(matrix, job.labels())
    options = {} if job.is_regression() else {id(model): {"zipmap": False}}
    job.finish(to_onnx(model, matrix[:1], options=options), model, job.matrix)


if __name__ == "__main__":
    run(train)
