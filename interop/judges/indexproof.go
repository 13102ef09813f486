package judges

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
)

// The limits of docs/spec/vindex.md §11.
const (
	maxEntry       = 65535
	maxTail        = 4096
	maxTailBytes   = 4 << 20
	maxTrieProof   = 16384
	maxProofHashes = 64
	maxProofFile   = 64 << 20
	maxKind        = 16
)

const valueSize = 48

// Pin is what a verifier of lookups believes beforehand.
type Pin struct {
	Policy torchwood.Policy
	MapFn  MapFn
}

// Lookup is what a proof file proves about a key.
type Lookup struct {
	Checkpoint torchwood.Checkpoint
	Anchor     int64 // -1 in the empty log
	Root       [sha256.Size]byte
	Count      uint64
	Last       uint64   // if Count > 0
	Newest     []uint64 // of the list, ascending: those that the file shows
	Entries    []uint64 // those whose bytes the file shows
	tail       [][]byte
}

// VerifyLookup verifies a proof file by docs/spec/vindex.md §5 to §8 for whoever asked for this key.
func VerifyLookup(file []byte, pin Pin, asked Key) (Lookup, error) {
	proof, err := splitProof(file)
	if err != nil {
		return Lookup{}, err
	}
	checkpoint, _, err := torchwood.VerifyCheckpoint(proof.checkpoint, pin.Policy)
	if err != nil {
		return Lookup{}, fmt.Errorf("torchwood.VerifyCheckpoint: %w", err)
	}
	read, err := readExtra(proof.extra, pin.MapFn, asked)
	if err != nil {
		return Lookup{}, err
	}
	lookup := Lookup{Checkpoint: checkpoint, Anchor: -1}
	if read.empty || checkpoint.N == 0 {
		if !read.empty || checkpoint.N != 0 || proof.index != 0 || len(proof.hashes) != 0 {
			return Lookup{}, errors.New("empty log: the file and the checkpoint do not both say so")
		}
		return lookup, nil
	}
	lookup.Anchor = proof.index
	if lookup.Root, err = read.root(asked, proof.index); err != nil {
		return Lookup{}, err
	}
	if err := checkAnchored(proof, checkpoint, pin, lookup.Root, read.tail); err != nil {
		return Lookup{}, err
	}
	return lookup, read.answer(&lookup, pin.MapFn, asked)
}

// proofFile is a c2sp.org/tlog-proof taken apart.
type proofFile struct {
	extra      []byte
	index      int64
	hashes     tlog.RecordProof
	checkpoint []byte
}

func splitProof(file []byte) (proofFile, error) {
	var proof proofFile
	if len(file) > maxProofFile {
		return proof, errors.New("the file is too long")
	}
	head, checkpoint, found := strings.Cut(string(file), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return proof, errors.New("no tlog-proof with extra data")
	}
	extra, hasExtra := strings.CutPrefix(lines[1], "extra ")
	digits, hasIndex := strings.CutPrefix(lines[2], "index ")
	if !hasExtra || !hasIndex {
		return proof, errors.New("no line of extra data, or of the index")
	}
	var err error
	if proof.extra, err = base64.StdEncoding.Strict().DecodeString(extra); err != nil {
		return proof, fmt.Errorf("extra: %w", err)
	}
	if proof.index, err = strconv.ParseInt(digits, 10, 64); err != nil || proof.index < 0 || strconv.FormatInt(proof.index, 10) != digits {
		return proof, fmt.Errorf("index %q", digits)
	}
	if len(lines)-3 > maxProofHashes {
		return proof, errors.New("too many hashes")
	}
	for _, line := range lines[3:] {
		hash, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(hash) != tlog.HashSize {
			return proof, fmt.Errorf("hash %q", line)
		}
		proof.hashes = append(proof.hashes, tlog.Hash(hash))
	}
	proof.checkpoint = []byte(checkpoint)
	return proof, nil
}

// extraData is the extra data of a lookup (docs/spec/vindex.md §8).
type extraData struct {
	empty   bool
	present bool
	value   value
	trie    []byte
	hasList bool
	start   uint64
	before  [][]byte // the roots of the subtrees before start
	list    []uint64
	tail    [][]byte
	given   []givenEntry
}

type givenEntry struct {
	index uint64
	entry []byte
	proof tlog.RecordProof
}

// value is that of a key (docs/spec/vindex.md §3).
type value [valueSize]byte

func (v value) count() uint64 { return binary.BigEndian.Uint64(v[:]) }
func (v value) last() uint64  { return binary.BigEndian.Uint64(v[8:]) }
func (v value) root() []byte  { return v[16:] }

func (v value) possibleAt(size int64) bool {
	return v.count() >= 1 && v.last() < uint64(size) && v.count()-1 <= v.last()
}

// reader reads binary data; the first error sticks, and everything after it is zero.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(format string, arguments ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, arguments...)
	}
	r.rest = nil
}

func (r *reader) bytes(count uint64, what string) []byte {
	if count > uint64(len(r.rest)) {
		r.fail("%s is cut off", what)
		return nil
	}
	read := r.rest[:count]
	r.rest = r.rest[count:]
	return read
}

func (r *reader) byte(what string) byte {
	if read := r.bytes(1, what); read != nil {
		return read[0]
	}
	return 0
}

// uv is an unsigned LEB128 number, as short as possible.
func (r *reader) uv(what string) uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 || size > 1 && r.rest[size-1] == 0 {
		r.fail("%s: uv is cut off, too long or not minimal", what)
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

// sized is a length and so many bytes, at most limit.
func (r *reader) sized(limit uint64, what string) []byte {
	length := r.uv(what)
	if length > limit {
		r.fail("%s has %d bytes, at most %d are allowed", what, length, limit)
		return nil
	}
	return r.bytes(length, what)
}

func (r *reader) be64(what string) uint64 {
	if read := r.bytes(8, what); read != nil {
		return binary.BigEndian.Uint64(read)
	}
	return 0
}

func readExtra(extra []byte, mapFn MapFn, asked Key) (extraData, error) {
	r := &reader{rest: extra}
	var read extraData
	if string(r.bytes(4, "VIX1")) != "VIX1" {
		r.fail("no VIX1")
	}
	form := r.byte("form")
	if key := r.question(mapFn); r.err == nil && key != asked {
		r.fail("the question is another one")
	}
	switch form {
	case 0:
		read.trie = r.sized(maxTrieProof, "trie proof")
		read.tail = r.tail()
	case 1:
		read.present = true
		copy(read.value[:], r.bytes(valueSize, "value"))
		read.trie = r.sized(maxTrieProof, "trie proof")
		r.list(&read)
		read.tail = r.tail()
		read.given = r.entries()
	case 2:
		read.empty = true
	default:
		r.fail("form %d", form)
	}
	if len(r.rest) > 0 {
		r.fail("%d trailing bytes", len(r.rest))
	}
	return read, r.err
}

func (r *reader) question(mapFn MapFn) Key {
	switch form := r.byte("question"); form {
	case 0:
		var key Key
		copy(key[:], r.bytes(sha256.Size, "key"))
		return key
	case 1:
		kind, name := r.sized(maxKind, "kind"), r.sized(maxEntry, "name")
		kinds := mapFn.kinds()
		if !utf8.Valid(name) || len(kinds) == 0 && len(kind) > 0 || len(kinds) > 0 && !slices.Contains(kinds, string(kind)) {
			r.fail("kind %q, or a name that is not UTF-8", kind)
		}
		return Name{string(kind), string(name)}.Key()
	default:
		r.fail("question of form %d", form)
		return Key{}
	}
}

func (r *reader) list(read *extraData) {
	switch form := r.byte("list"); form {
	case 0:
	case 1:
		read.hasList = true
		read.start = r.uv("start")
		if count := read.value.count(); read.start >= count || count-read.start > uint64(len(r.rest))/8 {
			r.fail("the list from %d on is not there", read.start)
			return
		}
		for range onesOf(read.start) {
			read.before = append(read.before, r.bytes(sha256.Size, "root of the list"))
		}
		for range read.value.count() - read.start {
			if r.err != nil {
				return
			}
			read.list = append(read.list, r.be64("element"))
		}
	default:
		r.fail("list of form %d", form)
	}
}

func onesOf(n uint64) int {
	ones := 0
	for ; n > 0; n &= n - 1 {
		ones++
	}
	return ones
}

func (r *reader) tail() [][]byte {
	number := r.uv("tail")
	if number > maxTail {
		r.fail("the tail has %d entries", number)
		return nil
	}
	var tail [][]byte
	total := 0
	for range number {
		entry := r.sized(maxEntry, "entry of the tail")
		if total += len(entry); total > maxTailBytes {
			r.fail("the tail has more than %d bytes", maxTailBytes)
		}
		if r.err != nil {
			return nil
		}
		tail = append(tail, entry)
	}
	return tail
}

func (r *reader) entries() []givenEntry {
	number := r.uv("entries")
	var given []givenEntry
	for range number {
		entry := r.given()
		if r.err != nil {
			return nil
		}
		given = append(given, entry)
	}
	return given
}

func (r *reader) given() givenEntry {
	return givenEntry{r.uv("index of an entry"), r.sized(maxEntry, "given entry"), r.hashes()}
}

// hashes are those of an inclusion proof.
func (r *reader) hashes() tlog.RecordProof {
	number := r.uv("hashes")
	if number > maxProofHashes {
		r.fail("an inclusion proof of %d hashes", number)
	}
	var hashes tlog.RecordProof
	for range number {
		hash := r.bytes(tlog.HashSize, "hash")
		if r.err != nil {
			return nil
		}
		hashes = append(hashes, tlog.Hash(hash))
	}
	return hashes
}

// anySize is for values that need not be possible.
const anySize = -1

// root is what the trie proof gives (§5). Values must be possible at size.
func (e extraData) root(key Key, size int64) ([sha256.Size]byte, error) {
	var root [sha256.Size]byte
	leaf, leafValue, steps := key, e.value, &reader{rest: e.trie}
	if !e.present {
		if len(e.trie) == 0 {
			return sha256.Sum256(nil), nil
		}
		if altKey := steps.sized(sha256.Size, "altkey"); len(altKey) == sha256.Size {
			leaf = Key(altKey)
		} else {
			steps.fail("altkey has not 32 bytes")
		}
		if altValue := steps.sized(valueSize, "altvalue"); len(altValue) == valueSize {
			leafValue = value(altValue)
		} else {
			steps.fail("altvalue has not 48 bytes")
		}
		if leaf == key {
			steps.fail("altkey is the key")
		}
	}
	if size != anySize && !leafValue.possibleAt(size) {
		steps.fail("count %d and last %d are impossible at %d", leafValue.count(), leafValue.last(), size)
	}
	root = trieLeaf(leaf, leafValue)
	before := uint64(8 * sha256.Size)
	for len(steps.rest) > 0 {
		bit, sibling := steps.uv("bit"), steps.bytes(sha256.Size, "sibling")
		if steps.err == nil && (bit >= before || bitOf(leaf, bit) != bitOf(key, bit)) {
			steps.fail("bit %d is out of order, or altkey differs there", bit)
		}
		if steps.err != nil {
			break
		}
		before = bit
		left, right := root[:], sibling
		if bitOf(leaf, bit) == 1 {
			left, right = right, left
		}
		root = trieNode(bit, left, right)
	}
	if steps.err != nil {
		return root, fmt.Errorf("trie proof: %w", steps.err)
	}
	return root, nil
}

func bitOf(key Key, bit uint64) byte { return key[bit/8] >> (7 - bit%8) & 1 }

// checkAnchored proves that the log has this root at its index and ends in the tail (§7 rules 2, 4, 5 and 6; §7.1).
func checkAnchored(proof proofFile, checkpoint torchwood.Checkpoint, pin Pin, root [sha256.Size]byte, tail [][]byte) error {
	index, size := proof.index, checkpoint.N
	if index >= size || index > maxInteger || size-index-1 != int64(len(tail)) {
		return fmt.Errorf("anchor at %d, %d entries after it, size %d", index, len(tail), size)
	}
	written, err := writeAnchor(pin.MapFn, root, index)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(proof.hashes, size, checkpoint.Hash, index, tlog.RecordHash(written)); err != nil {
		return fmt.Errorf("inclusion of the anchor at %d: %w", index, err)
	}
	end, err := merkleRange(uint64(index), leftOfPath(proof.hashes, index, size))
	if err != nil {
		return fmt.Errorf("left of the anchor: %w", err)
	}
	for k, entry := range append([][]byte{written}, tail...) {
		if found, isAnchor := readAnchor(entry); k > 0 && isAnchor && found.root != nil {
			return fmt.Errorf("a newer anchor in the tail, at %d", index+int64(k))
		}
		if err := end.Append(rfc6962.DefaultHasher.HashLeaf(entry), nil); err != nil {
			return err
		}
	}
	if got, err := end.GetRootHash(nil); err != nil || !bytes.Equal(got, checkpoint.Hash[:]) {
		return fmt.Errorf("the tail ends in root %x, not in that of the checkpoint (%v)", got, err)
	}
	return nil
}

// leftOfPath are the siblings of an inclusion proof that stand left of its path, from the top down.
func leftOfPath(hashes tlog.RecordProof, index, size int64) [][]byte {
	var left [][]byte
	node, last := index, size-1
	for _, hash := range hashes {
		// Where the path is the lone right end of a level, it goes up without a sibling.
		for node == last && node&1 == 0 && node > 0 {
			node, last = node>>1, last>>1
		}
		if node&1 == 1 {
			left = append(left, bytes.Clone(hash[:]))
		}
		node, last = node>>1, last>>1
	}
	slices.Reverse(left)
	return left
}

func merkleRange(size uint64, roots [][]byte) (*compact.Range, error) {
	factory := &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	return factory.NewRange(0, size, roots)
}

func elementHash(element uint64) []byte {
	return rfc6962.DefaultHasher.HashLeaf(binary.BigEndian.AppendUint64(nil, element))
}

// answer checks what is given of the list, and entries, and puts the answer together (§7 rule 7, §7.2).
func (e extraData) answer(lookup *Lookup, mapFn MapFn, key Key) error {
	if e.present {
		lookup.Count, lookup.Last = e.value.count(), e.value.last()
		lookup.Newest = []uint64{lookup.Last}
	}
	if e.hasList {
		if err := e.checkList(); err != nil {
			return err
		}
		lookup.Newest = slices.Clone(e.list)
	}
	for k, given := range e.given {
		if err := e.checkGiven(k, given, *lookup, mapFn, key); err != nil {
			return fmt.Errorf("given entry %d: %w", given.index, err)
		}
		lookup.Entries = append(lookup.Entries, given.index)
	}
	for k, entry := range e.tail {
		if mapsTo(mapFn, entry, key) {
			lookup.Count++
			lookup.Last = uint64(lookup.Anchor) + 1 + uint64(k)
			lookup.Newest = append(lookup.Newest, lookup.Last)
			lookup.Entries = append(lookup.Entries, lookup.Last)
		}
	}
	lookup.tail = e.tail
	return nil
}

func mapsTo(mapFn MapFn, entry []byte, key Key) bool {
	return slices.ContainsFunc(mapFn.Names(entry), func(name Name) bool { return name.Key() == key })
}

func (e extraData) checkList() error {
	tree, err := merkleRange(e.start, e.before)
	if err != nil {
		return fmt.Errorf("list from %d on: %w", e.start, err)
	}
	for k, element := range e.list {
		if k > 0 && element <= e.list[k-1] {
			return fmt.Errorf("list: %d follows %d", element, e.list[k-1])
		}
		if err := tree.Append(elementHash(element), nil); err != nil {
			return err
		}
	}
	if final := e.list[len(e.list)-1]; final != e.value.last() {
		return fmt.Errorf("list ends in %d, last is %d", final, e.value.last())
	}
	if root, err := tree.GetRootHash(nil); err != nil || !bytes.Equal(root, e.value.root()) {
		return fmt.Errorf("list has root %x, not %x (%v)", root, e.value.root(), err)
	}
	return nil
}

func (e extraData) checkGiven(k int, given givenEntry, lookup Lookup, mapFn MapFn, key Key) error {
	if k > 0 && given.index <= e.given[k-1].index {
		return errors.New("out of order")
	}
	if given.index >= uint64(lookup.Anchor) || !slices.Contains(lookup.Newest, given.index) {
		return errors.New("not in the list")
	}
	if !mapsTo(mapFn, given.entry, key) {
		return fmt.Errorf("does not map to %s", hex.EncodeToString(key[:]))
	}
	return tlog.CheckRecord(given.proof, lookup.Checkpoint.N, lookup.Checkpoint.Hash, int64(given.index), tlog.RecordHash(given.entry))
}
