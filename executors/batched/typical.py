"""A client's work as it mostly is: gradient descent over batches, of a softmax regression so small that what is
around its arithmetic takes the time. As a compiled program has it, in the text form of graphs.
"""

from __future__ import annotations

from functools import lru_cache

from fedlang.ir.graph import Graph
from fedlang.ir.text import parse_graph

FEATURES = 20
VARIES = (True, True, False, False)  # which parameters differ from client to client

_TEXT = """
graph {
  %0 = parameter "x" {index = 0} : float32[n, 20]*[length]
  %1 = parameter "y" {index = 1} : int32[n]*[length]
  %2 = parameter "bias" {index = 2} : float32[2]
  %3 = parameter "kernel" {index = 3} : float32[20, 2]
  %4 = constant {value = 0.1} : float32
  %5 = constant {value = 0.0} : float32
  %6 = fold(%4, %5, %5, %2, %3, %0, %1) {body = graph {
    %0 = parameter {index = 0} : float32
    %1 = parameter {index = 1} : float32
    %2 = parameter {index = 2} : float32
    %3 = parameter {index = 3} : float32[2]
    %4 = parameter {index = 4} : float32[20, 2]
    %5 = parameter {index = 5} : float32[n, 20]
    %6 = parameter {index = 6} : int32[n]
    %7 = matmul(%5, %4) {transpose_a = false, transpose_b = false} : float32[n, 2]
    %8 = broadcast(%3) {axes = (1,)} : float32[n, 2]
    %9 = add(%7, %8) : float32[n, 2]
    %10 = sparse_softmax_cross_entropy(%9, %6) : float32[n]
    %11 = reduce_sum(%10) {axes = (0,)} : float32
    %12 = size {dimension = [n]} : int32
    %13 = cast(%12) : float32
    %14 = divide(%11, %13) : float32
    %15 = constant {value = 1.0} : float32
    %16 = divide(%15, %13) : float32
    %17 = log_softmax(%9) : float32[n, 2]
    %18 = exp(%17) : float32[n, 2]
    %19 = one_hot(%6) : int32[n, 2]
    %20 = cast(%19) : float32[n, 2]
    %21 = subtract(%18, %20) : float32[n, 2]
    %22 = broadcast(%16) {axes = ()} : float32[n, 2]
    %23 = multiply(%22, %21) : float32[n, 2]
    %24 = reduce_sum(%23) {axes = (0,)} : float32[2]
    %25 = broadcast(%0) {axes = ()} : float32[2]
    %26 = multiply(%25, %24) : float32[2]
    %27 = broadcast(%0) {axes = ()} : float32[n, 2]
    %28 = multiply(%27, %23) : float32[n, 2]
    %29 = matmul(%5, %28) {transpose_a = true, transpose_b = false} : float32[20, 2]
    %30 = subtract(%3, %26) : float32[2]
    %31 = subtract(%4, %29) : float32[20, 2]
    %32 = add(%1, %13) : float32
    %33 = multiply(%13, %14) : float32
    %34 = add(%2, %33) : float32
    results %32, %34, %30, %31
  }, captured = 1, carries = 4, reverse = false} : (float32, float32, float32[2], float32[20, 2])
  %7 = get(%6) {index = 0} : float32
  %8 = get(%6) {index = 1} : float32
  %9 = get(%6) {index = 2} : float32[2]
  %10 = get(%6) {index = 3} : float32[20, 2]
  %11 = subtract(%9, %2) : float32[2]
  %12 = subtract(%10, %3) : float32[20, 2]
  results %11, %7, %12, %8
}
"""


@lru_cache(maxsize=1)
def typical_work() -> Graph:
    """The work's graph."""
    return parse_graph(_TEXT)
