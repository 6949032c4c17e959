# SPDX-License-Identifier: MIT OR Apache-2.0
"""Where faults are planted, and that the kernel's tests kill a sample of them."""

from concurrent.futures import ThreadPoolExecutor

import mutants
import mutate
import pytest

CODE = """
#define LIMIT(x) ((x) < 3)
static const int table[] = {1, 2};
static int f(struct thing *t, int a)
{
    const uint32_t *words = (const uint32_t *)t->words;
    ASSERT(a < 5);
    if (a < 4 && t->state != THREAD_READY) { /* if (a < 9) */
        t->count += 2;
        return g(a, -a);
    }
    t->state = THREAD_WAITING;
    for (int i = 0; i < 3; i++) {
        use(words[i] & (uint8_t)~a);
    }
    return 0;
}
"""


def planted(kind):
    """The changed lines of one kind."""
    return {mutate.describe(CODE, fault)[2] for fault in mutate.faults_of(CODE)
            if fault.kind == kind}


EXPECTED = {
    "check": "if (0 && (a < 4 && t->state != THREAD_READY)) { /* if (a < 9) */",
    "negate": "if (!(a < 4 && t->state != THREAD_READY)) { /* if (a < 9) */",
    "constant": "t->state = THREAD_READY;",
    "operator": "t->count -= 2;",
    "swap": "return g(-a, a);",
    "boundary": "for (int i = 0; i <= 3; i++) {",
    "statement": ";",
}


@pytest.mark.parametrize("kind", mutate.KINDS)
def test_kind(kind):
    assert EXPECTED[kind] in planted(kind)


def test_only_code_is_changed():
    for fault in mutate.faults_of(CODE):
        line = CODE[:fault.start].count("\n")
        assert "ASSERT" not in CODE.splitlines()[line] and line > 5
        assert fault.after != CODE[fault.start:fault.end]
        assert "(const uint32_t |" not in mutate.plant(CODE, fault)


def test_every_kind_has_many_places():
    kinds = [m.kind for file in mutants.sources() for m in mutants.every_mutant(file)]
    assert all(kinds.count(kind) > 100 for kind in mutate.KINDS)


def test_a_sample_dies():
    """Which faults they are changes with the kernel's code, so not all have to."""
    lab = mutants.laboratory(machine=False, prove=False, again=True)
    with ThreadPoolExecutor(mutants.JOBS) as pool:
        chosen = mutants.choose(lab.host, "", len(mutate.KINDS), 1, pool)
        tried = list(pool.map(lab.attempt, chosen))
    print([(m.row, m.killer) for m in tried])
    assert sum(1 for m in tried if m.killer) > len(mutate.KINDS) // 2
