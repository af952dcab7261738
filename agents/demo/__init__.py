"""The demo estate: real processes on a real broker, instrumented as any estate is, with faults that can be switched."""
