package judges

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
)

// indexedEntries are entries with an anchor after every eleven, and at the end.
func indexedEntries(t *testing.T) [][]byte {
	t.Helper()
	var entries [][]byte
	lists := map[Key]*heldList{}
	for i := range 300 {
		if i%12 == 11 {
			entry, err := writeAnchor("json-field:name", trieRoot(pairsOf(lists)), int64(i))
			if err != nil {
				t.Fatal(err)
			}
			entries = append(entries, entry)
			continue
		}
		name := fmt.Sprintf("name %d", i%70)
		entries = append(entries, fmt.Appendf(nil, `{"i":%d,"name":%q}`, i, name))
		key := Name{Text: name}.Key()
		if lists[key] == nil {
			lists[key] = &heldList{}
		}
		if err := lists[key].add(uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	return entries
}

// pairsOf gives what the trie holds, by key.
func pairsOf(lists map[Key]*heldList) []pair {
	pairs := make([]pair, 0, len(lists))
	for key, list := range lists {
		pairs = append(pairs, pair{key, list.value})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return bytes.Compare(a.key[:], b.key[:]) })
	return pairs
}

// sham is a log with an index that tells the truth but for what a test changes.
type sham struct {
	files   map[string][]byte
	entries [][]byte
	anchor  int64
	lie     func(asked Key) Key // the key that is answered for
	omit    int                 // so many elements of each list are left out at the end
	json    func(*jsonAnswer)
}

func (s *sham) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path[1:]
	if !strings.HasPrefix(path, "vindex/") {
		body, found := s.files[path]
		if !found {
			http.NotFound(w, r)
			return
		}
		if path == "checkpoint" {
			w.Header().Set("Content-Type", "text/plain")
		}
		w.Write(body)
		return
	}
	query := r.URL.Query()
	name, byName := strings.CutPrefix(path, "vindex/lookup/key/")
	if query.Has("key") {
		name, byName = query.Get("key"), true
	}
	key, question := Name{Text: name}.Key(), []byte{1, 0}
	if byName {
		question = append(binary.AppendUvarint(question, uint64(len(name))), name...)
	} else {
		fmt.Sscanf(strings.TrimPrefix(path, "vindex/lookup/"), "%x", (*hexKey)(&key))
		question = append([]byte{0}, key[:]...)
	}
	limit, _ := strconv.Atoi(query.Get("limit"))
	said, file, err := s.answer(key, question, limit)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", r.Header.Get("Accept"))
	if r.Header.Get("Accept") != "application/json" {
		w.Write(file)
		return
	}
	said.Proof = string(file)
	if s.json != nil {
		s.json(&said)
	}
	json.NewEncoder(w).Encode(said)
}

type hexKey Key

func (k *hexKey) Scan(state fmt.ScanState, verb rune) error {
	var decoded []byte
	_, err := fmt.Fscanf(state, "%x", &decoded)
	copy(k[:], decoded)
	return err
}

func (s *sham) answer(asked Key, question []byte, limit int) (jsonAnswer, []byte, error) {
	size := int64(len(s.entries))
	said := jsonAnswer{Key: fmt.Sprintf("%x", asked), MapFn: "json-field:name", TreeSize: size, Verified: true, Indices: []uint64{}}
	lists := map[Key]*heldList{}
	for i, entry := range s.entries[:s.anchor] {
		for _, name := range MapFn("json-field:name").Names(entry) {
			key := name.Key()
			if lists[key] == nil {
				lists[key] = &heldList{}
			}
			lists[key].add(uint64(i))
		}
	}
	key := asked
	if s.lie != nil {
		key = s.lie(asked)
	}
	reached, proof := proveTrie(pairsOf(lists), key)
	found := len(reached) > 0 && reached[0].key == key
	if !found && len(reached) > 0 {
		other := slices.Concat([]byte{32}, reached[0].key[:], []byte{48}, reached[0].value[:])
		proof = append(other, proof...)
	}
	extra := append([]byte("VIX1\x00"), question...)
	if found {
		extra = append(append([]byte("VIX1\x01"), question...), reached[0].value[:]...)
	}
	extra = append(binary.AppendUvarint(extra, uint64(len(proof))), proof...)
	if found {
		list := lists[key].elements
		start := max(0, len(list)-limit)
		extra = binary.AppendUvarint(append(extra, 1), uint64(start))
		before := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
		for _, element := range list[:start] {
			before.Append(elementHash(element), nil)
		}
		extra = append(extra, bytes.Join(before.Hashes(), nil)...)
		for _, element := range list[start:max(start, len(list)-s.omit)] {
			extra = binary.BigEndian.AppendUint64(extra, element)
		}
		said.Found, said.Count, said.Last = true, uint64(len(list)), &list[len(list)-1]
		said.Indices = list[:min(limit, len(list))]
		if next := uint64(limit); len(said.Indices) < len(list) {
			said.Next = &next
		}
	}
	extra = binary.AppendUvarint(extra, uint64(size-s.anchor-1))
	for _, entry := range s.entries[s.anchor+1:] {
		extra = append(binary.AppendUvarint(extra, uint64(len(entry))), entry...)
	}
	if found {
		extra = append(extra, 0)
	}
	inclusion, err := tlog.ProveRecord(size, s.anchor, storedHashes(s.entries))
	return said, torchwood.FormatProofWithExtraData(s.anchor, extra, inclusion, s.files["checkpoint"]), err
}

func judgeSham(t *testing.T, entries [][]byte, change func(*sham)) (IndexReport, error) {
	t.Helper()
	files, vkey := logOf(t, entries)
	s := &sham{files: files, entries: entries, anchor: int64(len(entries)) - 1}
	if change != nil {
		change(s)
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return Index(context.Background(), Log{URL: server.URL + "/", VKey: vkey}, IndexOptions{MapFn: "json-field:name", Lookups: 20})
}

func TestSoundIndex(t *testing.T) {
	report, err := judgeSham(t, indexedEntries(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if report.Anchors != 25 || report.Keys != 70 || report.Present != 20 || report.Absent != 20 || report.Refused < 1000 {
		t.Errorf("%+v", report)
	}
}

// TestTamperedIndexes changes one thing at a time; the judge must see it.
func TestTamperedIndexes(t *testing.T) {
	absent := Name{Text: "is in no entry"}.Key()
	for name, change := range map[string]func(*sham){
		"a key is denied":                 func(s *sham) { s.lie = func(Key) Key { return absent } },
		"another key is answered for":     func(s *sham) { s.lie = func(Key) Key { return Name{Text: "name 5"}.Key() } },
		"the list is cut short":           func(s *sham) { s.omit = 1 },
		"an older anchor":                 func(s *sham) { s.anchor -= 12 },
		"something that is not an anchor": func(s *sham) { s.anchor-- },
		"JSON with another count":         func(s *sham) { s.json = func(j *jsonAnswer) { j.Count++ } },
		"JSON with another last":          func(s *sham) { s.json = func(j *jsonAnswer) { zero := uint64(0); j.Last = &zero } },
		"JSON of another list": func(s *sham) {
			s.json = func(j *jsonAnswer) { j.Indices = append([]uint64{1}, j.Indices...)[:len(j.Indices)] }
		},
		"JSON that is not proven":     func(s *sham) { s.json = func(j *jsonAnswer) { j.Proof = "" } },
		"JSON that says it is a hint": func(s *sham) { s.json = func(j *jsonAnswer) { j.Verified = false } },
	} {
		if _, err := judgeSham(t, indexedEntries(t), change); err == nil {
			t.Errorf("%s: the judge found the index right", name)
		}
	}
}

// TestTamperedAnchors: the log is sound, and every lookup too where it can be; what is anchored is wrong.
func TestTamperedAnchors(t *testing.T) {
	edit := func(entries [][]byte, at int, from, to string) {
		entries[at] = bytes.Replace(entries[at], []byte(from), []byte(to), 1)
	}
	for name, change := range map[string]func(entries [][]byte) [][]byte{
		"a wrong root in the middle": func(e [][]byte) [][]byte {
			edit(e, 131, `"root":"`, `"root":"0`)
			e[131] = slices.Delete(e[131], 100, 101)
			return e
		},
		"another tree_size":         func(e [][]byte) [][]byte { edit(e, 131, `:131`, `:130`); return e },
		"another map_fn":            func(e [][]byte) [][]byte { edit(e, 131, "json-field:name", "json-field:n"); return e },
		"an entry the index misses": func(e [][]byte) [][]byte { edit(e, 100, `"name"`, `"Name"`); return e },
		"a checkpoint without one":  func(e [][]byte) [][]byte { return append(e, []byte(`{"name":"late"}`)) },
	} {
		entries := change(indexedEntries(t))
		if _, err := audit("json-field:name", entries); err == nil && len(entries) == 300 {
			t.Errorf("%s: the anchors are found right", name)
		}
		_, err := judgeSham(t, entries, func(s *sham) {
			for _, found := readAnchor(s.entries[s.anchor]); !found; _, found = readAnchor(s.entries[s.anchor]) {
				s.anchor--
			}
		})
		if err == nil {
			t.Errorf("%s: the judge found the index right", name)
		}
	}
}
