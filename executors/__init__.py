"""The executors that come with fedlang.

Installed as `fedlang.executors`; found by name through `fedlang.run.registry`.
"""
