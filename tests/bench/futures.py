"""Tasks of 64 bytes in and 8 bytes out through mpi4py.futures: futures.py TASKS CHUNK."""
import sys
import time

from mpi4py.futures import MPIPoolExecutor


def answer(data):
    return data[:8]


if __name__ == "__main__":
    tasks, chunk = int(sys.argv[1]), int(sys.argv[2])
    with MPIPoolExecutor() as pool:
        list(pool.map(answer, [b"x" * 64] * 100, chunksize=1))
        inputs = [i.to_bytes(8, "little") * 8 for i in range(tasks)]
        begin = time.perf_counter()
        good = all(out == data[:8] for out, data in zip(pool.map(answer, inputs, chunksize=chunk), inputs))
        seconds = time.perf_counter() - begin
    print(seconds if good else "wrong")
