"""What is fuzzed: each module feeds any bytes at all to one part of the device package, by `run(data)`.

What the part refuses as it should is swallowed; whatever else comes out is a defect. `WORDS` are byte strings that the
part knows, for a fuzzer to try; `LONGEST` is the most bytes worth trying.
"""
