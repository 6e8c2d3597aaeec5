"""The decoder fuzzed with atheris, guided by coverage; `bin/fuzz --atheris` runs this.

An input is a byte that says how to read, and a file. Half of the files get right checksums first,
as far as they still have chunks: else hardly anything would come past those.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["nncodec"]):
    import fuzz
    from mutations import Mutation, resealed, seeds

RESEAL = 0x40  # the bit of the first byte that says so


def main() -> None:
    """Fuzz for the seconds, and save finds in the folder, that the arguments name."""
    seconds, folder = int(sys.argv[1]), Path(sys.argv[2])
    files = seeds()
    examiner, ways = fuzz.Examiner(files), list(fuzz.WAYS)

    def look(data: bytes) -> None:
        if data:
            file = resealed(data[1:]) if data[0] & RESEAL else data[1:]
            mutation = Mutation("atheris", files[0], file, sealed=True)
            examiner.outcome(mutation, ways[data[0] % len(ways)], drawn=False)

    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(files):
            for control in (number % len(ways), RESEAL):
                Path(corpus, f"{number}-{control}").write_bytes(bytes([control]) + seed.data)
        options = f"-max_total_time={seconds}", f"-artifact_prefix={folder}/", "-max_len=8192"
        atheris.Setup([sys.argv[0], *options, corpus], look)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
