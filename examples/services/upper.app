# The service upper.py for the shim stdio; see flm-application(5).
[application]
name = upper
description = answers each task with its input in capitals
shim = stdio
command = python3 upper.py
working_directory = .
