"""The operating system, in one place: files, folders, devices, cores, memory, threads. Nothing here knows detectors."""
