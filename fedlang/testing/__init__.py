"""The conformance kit: programs that any executor must run as the reference does, and the check that it does.

from fedlang.testing import check_executor
check_executor(MyExecutor())
"""

from fedlang.testing.check import ConformanceError, Tolerance, check_executor, check_program
from fedlang.testing.programs import ConformanceProgram, conformance_programs

__all__ = [
    "ConformanceError",
    "ConformanceProgram",
    "Tolerance",
    "check_executor",
    "check_program",
    "conformance_programs",
]
