#!/usr/bin/env bash
# Philox.advance(n) of NumPy skips 4 n words of its stream, not n, and advance(0) is not nothing.
#
# numpy 2.4.6. The counter of Philox makes four 64-bit words a step, and advance counts steps, though its documentation
# says draws; PCG64, whose step is one word, skips n. What is left of the four words of a step that has begun is thrown
# away, by advance(0) too, and the next words come from the next step. Who jumps to word w of a stream, to draw what
# belongs to row w on any machine, advances by w // 4 a generator that is fresh and throws w % 4 words away.
#
# Seen: advance(1) goes on at word 4; one word drawn, then advance(1), at word 8; two words drawn, then advance(0), at
# word 4. PCG64 advanced by 3 goes on at word 3.
set -euo pipefail
cd "$(mktemp -d)"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "numpy==2.4.6"
venv/bin/python - <<'PY'
import numpy as np


def goes_on_at(kind, drawn, steps):
    words = kind(1).random_raw(40).tolist()
    bits = kind(1)
    bits.random_raw(drawn)
    bits.advance(steps)
    return words.index(bits.random_raw())


found = {(drawn, steps): goes_on_at(np.random.Philox, drawn, steps) for drawn, steps in [(0, 1), (0, 2), (1, 1), (2, 0)]}
for (drawn, steps), word in found.items():
    print(f"Philox, {drawn} words drawn, advance({steps}): goes on at word {word}")
pcg = goes_on_at(np.random.PCG64, 0, 3)
print(f"PCG64, advance(3): goes on at word {pcg}")
assert found == {(0, 1): 4, (0, 2): 8, (1, 1): 8, (2, 0): 4}
assert pcg == 3
PY
echo "advance counts steps of four words, as described"
