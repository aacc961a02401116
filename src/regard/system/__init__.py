"""The operating system: files, folders, devices, cores, memory, threads. Nothing here depends on detectors."""
