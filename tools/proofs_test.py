# SPDX-License-Identifier: MIT OR Apache-2.0
"""The proof runner says red where it must: a false claim, a claim about nothing, a missing body, a
planted fault."""

import shutil

import mutant_killers
import proof_tools
import proofs
import pytest

HEAD = '#include "proofs/proof.h"\n'


@pytest.fixture(name="tool", scope="module")
def cbmc():
    """CBMC, without fetching it."""
    found = proof_tools.find()
    if found is None:
        pytest.skip("CBMC 6 is not installed")
    return found


def verdict(tool, folder, body):
    """What the runner says of one harness."""
    (folder / "proofs/x").mkdir(parents=True)
    shutil.copytree(proofs.ROOT / "include", folder / "include")
    shutil.copy(proofs.ROOT / "proofs/proof.h", folder / "proofs/proof.h")
    (folder / "proofs/x/a.c").write_text(HEAD + body, "utf-8")
    (proof,) = proofs.find_proofs(root=folder)
    assert proof.name == "x/a/it"
    return proofs.prove(tool, proof, 60, folder, cache=None)[0].verdict


CASES = {
    "proved": "uint32_t a = nondet_u8(); PROVE(a < 256u);",
    "FAILED": "uint32_t a = nondet_u8(); PROVE(a < 255u);",
    "VACUOUS": "uint32_t a = nondet_u8(); ASSUME(a > 255u); PROVE(a == 0);",
    "ERROR": "PROVE(nowhere() == 0);",
}


@pytest.mark.parametrize("expected", CASES)
def test_verdict(tool, tmp_path, expected):
    body = f"int nowhere(void);\nvoid prove_it(void)\n{{\n    {CASES[expected]}\n    PROOF_END();\n}}\n"
    assert verdict(tool, tmp_path, body) == expected


def test_incomplete_loop_is_red(tool, tmp_path):
    body = ("void prove_it(void)\n{\n    uint32_t n = nondet_u32();\n"
            "    while (n > 100u) {\n        n--;\n    }\n    PROVE(n <= 100u);\n    PROOF_END();\n}\n")
    assert verdict(tool, tmp_path, body) == "FAILED"


def test_every_file_of_proofs_names_what_it_proves():
    for proof in proofs.find_proofs():
        sources = proofs.sources_of(proof.file)
        assert sources and all((proofs.ROOT / source).is_file() for source in sources), proof.file


FAULTS = [
    ("kernel/arch/x86_64/entries.h", "return entry & ~(PTE_WRITE | PTE_OWN);",
     "    return entry & ~(PTE_WRITE & PTE_OWN);"),
    ("lib/ring/ring.h", "if (tail - consumer->head > consumer->mask + 1u) {",
     "        if (0) {"),
    ("kernel/object/cap.c",
     "slot->rights = (uint8_t)rights_narrow(source->rights, rights);",
     "    slot->rights = (uint8_t)rights;"),
    ("kernel/arch/x86_64/vtd_entries.h", "((rights & RIGHT_WRITE) != 0 ? 2u : 0u);",
     "           ((rights & RIGHT_READ) != 0 ? 2u : 0u);"),
    ("kernel/timer.h", "uint64_t differs = base ^ deadline;", "    uint64_t differs = deadline;"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault[0])
def test_planted_fault_is_found(tool, fault):
    file, line, changed = fault
    text = (proofs.ROOT / file).read_text("utf-8")
    assert text.count(line) == 1
    killer = mutant_killers.killing_proof(tool, file, text.replace(line, changed.strip()))
    assert killer not in (None, "compiler")
