package judges

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Fault is what a proof of misbehaviour shows (docs/spec/vindex.md §9).
type Fault struct {
	Number byte
	Anchor int64
	Entry  uint64 // where there is one
}

// The faults that are told apart below.
const (
	omitted = 1 + iota
	stale
	skipped
	foreign
	disorder
	wrongLast
	impossible
	misplaced
	otherMapFn
)

// VerifyMisbehaviour verifies that a log of this origin, with one of these keys, signed a wrong index.
func VerifyMisbehaviour(file []byte, origin string, vkeys []string, mapFn MapFn) (Fault, error) {
	split, err := splitProof(file)
	if err != nil {
		return Fault{}, err
	}
	checkpoint, err := openSigned(split.checkpoint, origin, vkeys)
	if err != nil {
		return Fault{}, err
	}
	if split.index >= checkpoint.N {
		return Fault{}, fmt.Errorf("index %d of %d", split.index, checkpoint.N)
	}
	r := &reader{rest: split.extra}
	if string(r.bytes(4, "VIM1")) != "VIM1" {
		r.fail("no VIM1")
	}
	claim := claim{Fault: Fault{Number: r.byte("fault"), Anchor: split.index}, file: split, tree: checkpoint.Tree, mapFn: mapFn}
	if claim.Number == misplaced || claim.Number == otherMapFn {
		return claim.Fault, claim.ofForm(r)
	}
	return claim.Fault, errors.Join(claim.read(r), r.err, claim.check(r))
}

// openSigned opens a checkpoint that a log signed; signature lines by other keys are passed over.
func openSigned(signed []byte, origin string, vkeys []string) (torchwood.Checkpoint, error) {
	var verifiers []note.Verifier
	for _, vkey := range vkeys {
		verifier, err := note.NewVerifier(vkey)
		if err != nil {
			return torchwood.Checkpoint{}, err
		}
		verifiers = append(verifiers, verifier)
	}
	opened, err := note.Open(signed, note.VerifierList(verifiers...))
	if err != nil {
		return torchwood.Checkpoint{}, err
	}
	checkpoint, err := torchwood.ParseCheckpoint(opened.Text)
	if err == nil && checkpoint.Origin != origin {
		err = fmt.Errorf("a checkpoint of %s", checkpoint.Origin)
	}
	return checkpoint, err
}

// claim is a proof of misbehaviour that is being read.
type claim struct {
	Fault
	file     proofFile
	tree     tlog.Tree
	mapFn    MapFn
	key      Key
	trie     extraData
	given    *givenEntry
	elements []element
}

// element is one of a list, with its inclusion proof.
type element struct {
	position, index uint64
	proof           tlog.RecordProof
}

// ofForm is a claim about the bytes that stand at the index.
func (c *claim) ofForm(r *reader) error {
	entry := r.sized(maxEntry, "entry")
	if len(r.rest) > 0 {
		r.fail("trailing bytes")
	}
	if r.err != nil {
		return r.err
	}
	found, isAnchor := readAnchor(entry)
	if !isAnchor || c.Number == misplaced && found.size == c.Anchor || c.Number == otherMapFn && found.mapFn == string(c.mapFn) {
		return errors.New("no anchor, or not a wrong one")
	}
	return tlog.CheckRecord(c.file.hashes, c.tree.N, c.tree.Hash, c.Anchor, tlog.RecordHash(entry))
}

// read reads the rest of a claim about a key; all that is cut off is an error of the reader.
func (c *claim) read(r *reader) error {
	if c.Number < omitted || c.Number > impossible {
		return fmt.Errorf("no fault %d", c.Number)
	}
	copy(c.key[:], r.bytes(sha256.Size, "key"))
	if c.trie.present = c.Number != omitted; c.trie.present {
		copy(c.trie.value[:], r.bytes(valueSize, "value"))
	}
	c.trie.trie = r.sized(maxTrieProof, "trie proof")
	if c.Number <= foreign {
		given := r.given()
		c.given, c.Entry = &given, given.index
	}
	elements := map[byte]int{foreign: 1, disorder: 2, wrongLast: 1}[c.Number]
	if c.Number == skipped {
		if elements = int(r.byte("elements")); elements != 1 && elements != 2 {
			r.fail("%d elements", elements)
		}
	}
	for range elements {
		c.elements = append(c.elements, element{r.uv("position"), r.be64("element"), r.hashes()})
	}
	if len(r.rest) > 0 {
		r.fail("trailing bytes")
	}
	return nil
}

// check tests all that §9 asks of a claim about a key.
func (c *claim) check(r *reader) error {
	if r.err != nil || c.Number < omitted || c.Number > impossible {
		return nil // It has been told.
	}
	if c.Anchor > maxInteger {
		return errors.New("no anchor can stand there")
	}
	root, err := c.trie.root(c.key, anySize)
	if err != nil {
		return err
	}
	written, err := writeAnchor(c.mapFn, root, c.Anchor)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(c.file.hashes, c.tree.N, c.tree.Hash, c.Anchor, tlog.RecordHash(written)); err != nil {
		return err
	}
	if c.given != nil {
		if c.given.index >= uint64(c.Anchor) || mapsTo(c.mapFn, c.given.entry, c.key) != (c.Number != foreign) {
			return errors.New("the entry is not before the anchor, or its keys show nothing")
		}
		err := tlog.CheckRecord(c.given.proof, c.tree.N, c.tree.Hash, int64(c.given.index), tlog.RecordHash(c.given.entry))
		if err != nil {
			return err
		}
	}
	for _, element := range c.elements {
		var hashes [][]byte
		for _, hash := range element.proof {
			hashes = append(hashes, slices.Clone(hash[:]))
		}
		err := proof.VerifyInclusion(rfc6962.DefaultHasher, element.position, c.trie.value.count(), elementHash(element.index), hashes, c.trie.value.root())
		if err != nil {
			return err
		}
	}
	if !c.isShown() {
		return errors.New("nothing is wrong with it")
	}
	return nil
}

// isShown: what is proven contradicts itself.
func (c *claim) isShown() bool {
	count, last, e := c.trie.value.count(), c.trie.value.last(), c.elements
	neighbours := len(e) == 2 && e[0].position < math.MaxUint64 && e[0].position+1 == e[1].position
	switch c.Number {
	case omitted:
		return true
	case stale:
		return last < c.Entry
	case skipped:
		return len(e) == 1 && e[0].position == 0 && e[0].index > c.Entry || neighbours && e[0].index < c.Entry && e[1].index > c.Entry
	case foreign:
		return e[0].index == c.Entry
	case disorder:
		return neighbours && e[0].index >= e[1].index
	case wrongLast:
		return e[0].position == count-1 && e[0].index != last
	default:
		return !c.trie.value.possibleAt(c.Anchor)
	}
}
