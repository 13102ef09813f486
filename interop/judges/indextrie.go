package judges

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"slices"
	"sort"
)

// pair is a key of the trie and its value.
type pair struct {
	key   Key
	value value
}

// trieRoot is the hash of pairs, which ascend by key, as docs/spec/vindex.md §4 defines it.
func trieRoot(pairs []pair) [sha256.Size]byte {
	switch len(pairs) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return trieLeaf(pairs[0].key, pairs[0].value)
	}
	bit, zeros, ones := splitTrie(pairs)
	left, right := trieRoot(zeros), trieRoot(ones)
	return trieNode(bit, left[:], right[:])
}

// splitTrie is at the first bit at which not all keys agree: since they ascend, that at which the first and the last differ.
func splitTrie(pairs []pair) (bit uint64, zeros, ones []pair) {
	first, last := pairs[0].key, pairs[len(pairs)-1].key
	for i := range first {
		if differing := first[i] ^ last[i]; differing != 0 {
			bit = uint64(8*i + bits.LeadingZeros8(differing))
			break
		}
	}
	at := sort.Search(len(pairs), func(i int) bool { return bitOf(pairs[i].key, bit) == 1 })
	return bit, pairs[:at], pairs[at:]
}

func trieLeaf(key Key, value value) [sha256.Size]byte {
	return sha256.Sum256(slices.Concat([]byte{0, sha256.Size}, key[:], []byte{valueSize}, value[:]))
}

func trieNode(bit uint64, left, right []byte) [sha256.Size]byte {
	return sha256.Sum256(slices.Concat(binary.AppendUvarint([]byte{1}, bit), left, right))
}

// proveTrie gives what stands at the end of the way of key's bits, nothing in the empty trie, and the steps up from there (§5).
func proveTrie(pairs []pair, key Key) (reached []pair, steps []byte) {
	if len(pairs) < 2 {
		return pairs, nil
	}
	bit, inside, beside := splitTrie(pairs)
	if bitOf(key, bit) == 1 {
		inside, beside = beside, inside
	}
	reached, steps = proveTrie(inside, key)
	sibling := trieRoot(beside)
	return reached, append(binary.AppendUvarint(steps, bit), sibling[:]...)
}
