"""`PYTHON serve_lm.py MODEL.gguf PORT [THREADS]`: a compact language model behind chat completions on this machine.

It runs in an environment of its own, which `python -m benchmarks.workflows.compact_model` makes; nothing else is imported
there. It prints one line, its address, when it is ready, and serves until its standard input ends, for whoever started it
may die.
"""

import sys

import xllamacpp

CONTEXT = 4096


def main(model: str, port: int, threads: int) -> None:
    options = xllamacpp.CommonParams()
    options.model.path = model
    options.hostnames, options.port = ["127.0.0.1"], port
    options.n_ctx, options.n_parallel, options.n_gpu_layers = CONTEXT, 1, 0
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = threads
    options.offline = options.use_jinja = options.warmup = True
    options.ui = False
    server = xllamacpp.Server(options)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 2)
