"""The fuzz targets: each module passes arbitrary bytes to one part of the device package, in `run(data)`.

The errors that the part documents are swallowed; any other outcome is a defect. `WORDS` are byte strings of the format,
for the fuzzer to try; `LONGEST` is the largest input worth trying, in bytes.
"""
