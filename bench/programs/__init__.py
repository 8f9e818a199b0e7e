"""The measured programs: each reads the same topic and makes the same POST for each event, until SIGTERM.

They find what they need in the environment: ``KAFKA_*`` as any worker does, and ``BENCH_TARGET``, the URL to post to.
"""
