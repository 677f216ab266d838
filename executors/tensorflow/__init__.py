"""Lowering of local graphs to TensorFlow, shared by the executors `threaded` and `batched`. The only folder that
imports TensorFlow."""
