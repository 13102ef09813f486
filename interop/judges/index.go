package judges

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
)

// IndexOptions says what judge Index looks at.
type IndexOptions struct {
	MapFn MapFn
	// Lookups is how many names that the log holds are asked for, spread evenly, and as many that it does not hold.
	Lookups int
	// Older are checkpoints of the same log that were served before: each ends in an anchor, too.
	Older [][]byte
	// NoFlips leaves out the changed proof files.
	NoFlips bool
}

// IndexReport is what judge Index found sound, and how many changed files it refused.
type IndexReport struct {
	Size, Anchors, Void, Checkpoints, Keys, Present, Absent, Refused int64
}

// Index judges the verifiable index of a log. It reads all entries with torchwood's client, computes keys and lists by its own
// reading of docs/spec/vindex.md, and the root of every anchor by torchwood's mpt; it asks the log for proof files,
// verifies them from that page, and holds the answers to the lists. The log may grow meanwhile.
func Index(ctx context.Context, log Log, options IndexOptions) (IndexReport, error) {
	var report IndexReport
	if err := options.MapFn.check(); err != nil {
		return report, err
	}
	policy, err := torchwood.ParsePolicy([]byte("log " + log.VKey + "\nquorum none\n"))
	if err != nil {
		return report, fmt.Errorf("torchwood.ParsePolicy: %w", err)
	}
	pin := Pin{policy, options.MapFn}
	first, entries, err := log.allEntries(ctx)
	if err != nil {
		return report, err
	}
	asker := asker{log: log, pin: pin, flips: !options.NoFlips}
	if err := asker.askAll(ctx, questions(options.MapFn, entries, options.Lookups)); err != nil {
		return report, err
	}
	report.Refused = asker.refused
	last, entries, err := log.allEntries(ctx)
	if err != nil {
		return report, err
	}
	audited, err := audit(options.MapFn, entries)
	if err != nil {
		return report, err
	}
	report.Size, report.Keys = last.Tree.N, int64(len(audited.lists))
	report.Anchors, report.Void = int64(len(audited.roots)), audited.void
	trees := []tlog.Tree{first.Tree, last.Tree}
	for _, raw := range options.Older {
		checkpoint, err := log.OpenCheckpoint(raw)
		if err != nil {
			return report, fmt.Errorf("older %w", err)
		}
		trees = append(trees, checkpoint.Tree)
	}
	for _, answer := range asker.answers {
		trees = append(trees, answer.lookup.Checkpoint.Tree)
		if err := audited.checkAnswer(answer); err != nil {
			return report, fmt.Errorf("%v: %w", answer.question, err)
		}
		if answer.lookup.Count > 0 {
			report.Present++
		} else {
			report.Absent++
		}
	}
	report.Checkpoints, err = audited.checkTrees(trees)
	return report, err
}

// allEntries reads the checkpoint and, by torchwood, everything in its tree.
func (l Log) allEntries(ctx context.Context) (Checkpoint, [][]byte, error) {
	checkpoint, err := l.FetchCheckpoint(ctx)
	if err != nil {
		return checkpoint, nil, err
	}
	fetcher, err := torchwood.NewTileFetcher(l.URL)
	if err != nil {
		return checkpoint, nil, err
	}
	client, err := torchwood.NewClient(fetcher)
	if err != nil {
		return checkpoint, nil, err
	}
	var entries [][]byte
	for _, entry := range client.AllEntries(ctx, checkpoint.Tree, 0) {
		entries = append(entries, bytes.Clone(entry))
	}
	if err := client.Err(); err != nil {
		return checkpoint, nil, err
	}
	if int64(len(entries)) != checkpoint.Tree.N {
		return checkpoint, nil, fmt.Errorf("%d entries came of %d (%v)", len(entries), checkpoint.Tree.N, ctx.Err())
	}
	return checkpoint, entries, nil
}

// question is a name, or a key alone, and what is asked of it beside the list's end.
type question struct {
	name     Name
	form     int // of the URL
	limit    int // of elements
	given    int // entries
	withJSON bool
}

func (q question) String() string { return fmt.Sprintf("%s %q", q.name.Kind, q.name.Text) }

// questions are about names that the log holds, and about as many that it does not hold.
func questions(mapFn MapFn, entries [][]byte, count int) []question {
	var held []Name
	seen := map[Name]bool{}
	for _, entry := range entries {
		for _, name := range mapFn.Names(entry) {
			if !seen[name] {
				seen[name] = true
				held = append(held, name)
			}
		}
	}
	kinds := mapFn.kinds()
	if len(kinds) == 0 {
		kinds = []string{""}
	}
	limits, given := []int{1000, 1, 5, 3}, []int{0, 2, 0, 0, 5}
	var all []question
	ask := func(name Name) {
		k := len(all)
		all = append(all, question{name, k % 3, limits[k/2%len(limits)], given[k/2%len(given)], k%4 == 0})
	}
	count = max(1, count)
	for k := range count {
		if len(held) > 0 && (k < len(held)) {
			ask(held[k*len(held)/min(count, len(held))])
		}
		absent := Name{kinds[k%len(kinds)], fmt.Sprintf("nothing is called so %d", k)}
		if len(held) > 0 && k%2 == 0 {
			near := held[k*7%len(held)]
			absent = Name{near.Kind, near.Text + "\u00a0"}
		}
		if !seen[absent] {
			ask(absent)
		}
	}
	return all
}

// heldList is the list of a key, and its value.
type heldList struct {
	elements []uint64
	tree     *compact.Range
	value    value
}

// add appends an element and computes the value anew (docs/spec/vindex.md §3).
func (h *heldList) add(element uint64) error {
	if h.tree == nil {
		var err error
		if h.tree, err = merkleRange(0, nil); err != nil {
			return err
		}
	}
	h.elements = append(h.elements, element)
	if err := h.tree.Append(elementHash(element), nil); err != nil {
		return err
	}
	root, err := h.tree.GetRootHash(nil)
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint64(h.value[:], uint64(len(h.elements)))
	binary.BigEndian.PutUint64(h.value[8:], element)
	copy(h.value[16:], root)
	return nil
}

// auditedIndex is the index as the entries give it.
type auditedIndex struct {
	lists  map[Key]*heldList
	sorted []Key
	roots  map[int64]root // of each anchor, by its index
	void   int64
	ends   []bool // by index: the entry is an anchor, void or not
	trees  []root // by size
}

// root is one of a trie or a tree.
type root = [sha256.Size]byte

// audit recomputes the root at every anchor (§6), and the root of the log at every size.
func audit(mapFn MapFn, entries [][]byte) (*auditedIndex, error) {
	index := &auditedIndex{lists: map[Key]*heldList{}, roots: map[int64]root{}, trees: []root{sha256.Sum256(nil)}}
	tree, err := merkleRange(0, nil)
	if err != nil {
		return nil, err
	}
	for position, entry := range entries {
		if err := index.take(mapFn, int64(position), entry); err != nil {
			return nil, fmt.Errorf("entry %d: %w", position, err)
		}
		if err := tree.Append(rfc6962.DefaultHasher.HashLeaf(entry), nil); err != nil {
			return nil, err
		}
		hash, err := tree.GetRootHash(nil)
		if err != nil {
			return nil, err
		}
		index.trees = append(index.trees, root(hash))
	}
	return index, nil
}

func (i *auditedIndex) take(mapFn MapFn, position int64, entry []byte) error {
	found, isAnchor := readAnchor(entry)
	i.ends = append(i.ends, isAnchor)
	if !isAnchor {
		for _, name := range mapFn.Names(entry) {
			if err := i.add(name.Key(), uint64(position)); err != nil {
				return err
			}
		}
		return nil
	}
	if found.size != position || found.mapFn != string(mapFn) {
		return fmt.Errorf("an anchor of %q at %d stands here", found.mapFn, found.size)
	}
	if found.root == nil {
		i.void++
		return nil
	}
	if root := i.triesRoot(); *found.root != root {
		return fmt.Errorf("the anchor has root %x, the entries before it give %x", *found.root, root)
	}
	i.roots[position] = *found.root
	return nil
}

func (i *auditedIndex) add(key Key, position uint64) error {
	list, found := i.lists[key]
	if !found {
		list = &heldList{}
		i.lists[key] = list
		at, _ := slices.BinarySearchFunc(i.sorted, key, func(a, b Key) int { return bytes.Compare(a[:], b[:]) })
		i.sorted = slices.Insert(i.sorted, at, key)
	}
	if len(list.elements) > 0 && list.elements[len(list.elements)-1] == position {
		return nil // Two names of an entry may be one key.
	}
	return list.add(position)
}

// triesRoot is the root over all that was added.
func (i *auditedIndex) triesRoot() root {
	pairs := make([]pair, len(i.sorted))
	for at, key := range i.sorted {
		pairs[at] = pair{key, i.lists[key].value}
	}
	return trieRoot(pairs)
}

// checkTrees: each checkpoint is of a prefix of the log, and ends in an anchor if it is of anything.
func (i *auditedIndex) checkTrees(trees []tlog.Tree) (int64, error) {
	distinct := map[tlog.Tree]bool{}
	for _, tree := range trees {
		if tree.N >= int64(len(i.trees)) || i.trees[tree.N] != tree.Hash {
			return 0, fmt.Errorf("the checkpoint of size %d is of another tree", tree.N)
		}
		if tree.N > 0 && !i.ends[tree.N-1] {
			return 0, fmt.Errorf("the checkpoint of size %d does not end in an anchor", tree.N)
		}
		if tree.N > 0 {
			distinct[tree] = true
		}
	}
	return int64(len(distinct)), nil
}

// checkAnswer holds what a proof file proves to the entries in its tree.
func (i *auditedIndex) checkAnswer(answer answer) error {
	lookup := answer.lookup
	var want []uint64
	if list, found := i.lists[answer.question.name.Key()]; found {
		for _, element := range list.elements {
			if element < uint64(lookup.Checkpoint.N) {
				want = append(want, element)
			}
		}
	}
	if lookup.Count != uint64(len(want)) {
		return fmt.Errorf("%d are proven at size %d, the log has %v", lookup.Count, lookup.Checkpoint.N, want)
	}
	if lookup.Anchor >= 0 {
		if root, found := i.roots[lookup.Anchor]; !found || root != lookup.Root {
			return fmt.Errorf("the root at %d is not the one that was anchored", lookup.Anchor)
		}
	}
	if len(want) == 0 {
		return nil
	}
	if lookup.Last != want[len(want)-1] {
		return fmt.Errorf("last is %d, the log has %v", lookup.Last, want)
	}
	// A log shows the whole list if it has as many elements at most as were asked for, else some of the last ones.
	before, hits := split(want, lookup.Anchor)
	shown := len(lookup.Newest) - len(hits)
	whole := len(before) <= answer.question.limit
	if whole && shown != len(before) || !whole && (shown < 1 || shown > answer.question.limit) ||
		!slices.Equal(lookup.Newest, want[len(before)-shown:]) {
		return fmt.Errorf("%v are shown of %v, with a limit of %d", lookup.Newest, want, answer.question.limit)
	}
	given := append(slices.Clone(before[max(0, len(before)-answer.question.given):]), hits...)
	if len(lookup.Entries) > len(given) || !slices.Equal(lookup.Entries, given[len(given)-len(lookup.Entries):]) {
		return fmt.Errorf("entries %v are shown, %v were asked for", lookup.Entries, given)
	}
	return answer.checkJSON(want)
}

// split cuts a list into what is before the anchor and what is after it.
func split(list []uint64, anchor int64) (before, hits []uint64) {
	at, _ := slices.BinarySearch(list, uint64(max(0, anchor)))
	return list[:at], list[at:]
}

// errUnsettled: the log said for too long that it cannot answer.
var errUnsettled = errors.New("the index did not come")

// retryEvery is how long the judge waits after a 503.
const retryEvery = 100 * time.Millisecond
