"""Molecule: SMILES strings and MOL and SDF files as graphs of atoms and bonds, through RDKit.

Source: Weininger 1988, "SMILES, a chemical language and information system", doi:10.1021/ci00057a005.
"""

import re
from typing import Any

from unimodal.errors import InputError, MissingExtraError
from unimodal.reading.graph_data import GraphData, graph_of

__all__ = ["looks_like_smiles", "molecule_graph"]

_SMILES = re.compile(r"[A-Za-z0-9@+\-\[\]()=#$:./\\%*~]{1,5000}")


def looks_like_smiles(text: str) -> bool:
    """Whether every character may stand in a SMILES string."""
    return _SMILES.fullmatch(text) is not None


def molecule_graph(text: str, form: str, source: str) -> GraphData:
    """Atoms as nodes, by their place in the molecule, and bonds as edges; hydrogens are counts at their atoms.

    Atoms have ``element``, ``charge``, ``hydrogens``, ``aromatic`` and, where it is set, ``chirality``; bonds have
    ``bond`` and, where it is set, ``stereo``. Coordinates are not used. Of several molecules the first is taken, and
    the graph says so.

    Args:
        text: A SMILES string, or a file's text.
        form: ``smiles`` (one string), ``smi`` (a string and a name a line), or ``mol`` (also SDF).
        source: The name, for messages.

    Raises:
        InputError: there is no molecule, or RDKit cannot make sense of it.
        MissingExtraError: RDKit is not installed.
    """
    try:
        from rdkit import Chem, rdBase
    except ImportError as error:
        raise MissingExtraError("rdkit", "chemistry") from error
    part, what = "", "SMILES string"
    if form == "smi":
        lines = [line.split() for line in text.lstrip("\ufeff").splitlines() if line.strip() and line[0] != "#"]
        lines = lines[1:] if lines and lines[0][0].lower() in ("smiles", "canonical_smiles") else lines
        if not lines:
            raise InputError(source, "is empty", "a line holds a SMILES string")
        part = f"molecule 1 of {len(lines)}" if len(lines) > 1 else ""
        text = lines[0][0].split(",")[0]
    with rdBase.BlockLogs():
        try:
            if form == "mol":
                what, blocks = "MOL file", [block for block in text.split("$$$$") if block.strip()]
                part = f"molecule 1 of {len(blocks)}" if len(blocks) > 1 else ""
                molecule = Chem.MolFromMolBlock(blocks[0].lstrip("\r\n") if len(blocks[0]) < 4 else blocks[0])
            else:
                molecule = Chem.MolFromSmiles(text)
        except Exception as error:  # also ones that RDKit's own code raises
            raise InputError(source, f"is no {what} ({type(error).__name__}: {error})") from error
    if molecule is None:
        raise InputError(source, f"is no valid {what}" + (f" ({text[:40]!r})" if form == "smi" else ""))
    atoms = [(atom.GetIdx(), _atom(atom)) for atom in molecule.GetAtoms()]
    bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), _bond(bond)) for bond in molecule.GetBonds()]
    return graph_of(source, atoms, bonds, directed=False, part=part)


def _atom(atom: Any) -> dict[str, Any]:
    held = {
        "element": atom.GetSymbol(),
        "charge": atom.GetFormalCharge(),
        "hydrogens": atom.GetTotalNumHs(),
        "aromatic": bool(atom.GetIsAromatic()),
    }
    chirality = str(atom.GetChiralTag())
    return held if chirality.endswith("UNSPECIFIED") else {**held, "chirality": chirality}


def _bond(bond: Any) -> dict[str, Any]:
    held, stereo = {"bond": str(bond.GetBondType()).lower()}, str(bond.GetStereo())
    return held if stereo.endswith("NONE") else {**held, "stereo": stereo}
