"""A trainer whose artifact is a number: the age from which the answer is yes."""

import json
import pathlib
import sys

import pyarrow as pa
import pyarrow.parquet as parquet

job = json.loads(pathlib.Path(sys.argv[-1]).read_text())
rows = parquet.read_table(job["training_rows"])
ages = [age for age in rows.column("age").to_pylist() if age is not None]
limit = sum(ages) / len(ages)
pathlib.Path(job["artifact"]).write_text(str(limit))
sample = rows.select(["age", "ward"]).slice(0, 100)
scores = [0.9 if (age or 0.0) >= limit else 0.1 for age in sample.column("age").to_pylist()]
sample = sample.append_column("prediction", pa.array(["yes" if score > 0.5 else "no" for score in scores]))
sample = sample.append_column("score", pa.array(scores))
parquet.write_table(sample, pathlib.Path(job["result"]).with_name("sample.parquet"))
pathlib.Path(job["result"]).write_text(json.dumps({"artifact_format": "onnx", "sample": "sample.parquet"}))
