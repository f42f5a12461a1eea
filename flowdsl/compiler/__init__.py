"""From a flow as a value to a factory of running pipelines."""

from flowdsl.compiler.compiling import check, compile_plan, prepare
from flowdsl.compiler.explaining import explain
from flowdsl.compiler.factory import FlowFactory, new_run

__all__ = ["FlowFactory", "check", "compile_plan", "explain", "new_run", "prepare"]
