package judges

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"filippo.io/torchwood"
)

// block is a vector of docs/spec: the values of each name, in order.
type block map[string][]string

func (b block) get(name string) string {
	if len(b[name]) == 0 {
		return ""
	}
	return b[name][0]
}

func (b block) has(name string) bool { return len(b[name]) > 0 }

// binary is a value that stands as it is, or in hexadecimal under another name.
func (b block) binary(t *testing.T, name string) []byte {
	t.Helper()
	if !b.has(name + " hex") {
		return []byte(b.get(name))
	}
	return unhex(t, b.get(name+" hex"))
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	decoded, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

func unbase64(t *testing.T, text string) []byte {
	t.Helper()
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

// readVectors reads a page, or a section of it, whose vectors are fenced, or a file of nothing but vectors.
func readVectors(t *testing.T, file, section string) []block {
	t.Helper()
	text, err := os.ReadFile("../../docs/spec/" + file)
	if err != nil {
		t.Fatal(err)
	}
	fenced := strings.HasSuffix(file, ".md")
	if section != "" {
		_, after, found := strings.Cut(string(text), "\n### "+section+" ")
		if !found {
			t.Fatalf("%s has no section %s", file, section)
		}
		after, _, _ = strings.Cut(after, "\n### ")
		text = []byte(after)
	}
	var blocks []block
	var present block
	inside := !fenced
	for line := range strings.SplitSeq(string(text), "\n") {
		switch {
		case line == "```vector":
			inside = true
		case line == "```" || line == "":
			inside = inside && !fenced
			if present != nil {
				blocks = append(blocks, present)
			}
			present = nil
		case inside && !strings.HasPrefix(line, "#"):
			name, value, found := strings.Cut(line, ":")
			if !found {
				t.Fatalf("%s: no vector: %q", file, line)
			}
			if present == nil {
				present = block{}
			}
			present[name] = append(present[name], strings.TrimPrefix(value, " "))
		}
	}
	if len(blocks) == 0 {
		t.Fatalf("%s %s has no vectors", file, section)
	}
	return blocks
}

func TestVectorsOfKeys(t *testing.T) {
	for _, v := range readVectors(t, "vindex.md", "12.2") {
		if key := (Name{v.get("kind"), v.get("name")}).Key(); hex.EncodeToString(key[:]) != v.get("key") {
			t.Errorf("%v: key %x", v, key)
		}
	}
	for _, section := range []string{"12.3", "12.4"} {
		for _, v := range readVectors(t, "vindex.md", section) {
			var keys []string
			for _, name := range MapFn(v.get("map_fn")).Names(v.binary(t, "entry")) {
				key := name.Key()
				keys = append(keys, hex.EncodeToString(key[:]))
			}
			if !slices.Equal(keys, v["key"]) {
				t.Errorf("%s: %s: keys %v, want %v", section, v.get("shows"), keys, v["key"])
			}
		}
	}
}

// TestVectorsOfConda: what a log of conda-1 refuses maps to nothing, and every entry that it accepts to something.
func TestVectorsOfConda(t *testing.T) {
	refused := 0
	for _, v := range readVectors(t, "conda-entry.md", "") {
		fill := func(text string) []byte {
			if !v.has("fill") {
				return []byte(text)
			}
			byteOf, count, _ := strings.Cut(v.get("fill"), " ")
			times, err := strconv.Atoi(count)
			if err != nil {
				t.Fatal(err)
			}
			return bytes.ReplaceAll([]byte(text), []byte("@"), bytes.Repeat(unhex(t, byteOf), times))
		}
		if v.has("refused") {
			refused++
			if names := conda.Names(fill(v.get("refused"))); names != nil {
				t.Errorf("%s: refused, but maps to %v", v.get("shows"), names)
			}
		}
		if v.has("entry") && v.get("fault") == "" && conda.Names(fill(v.get("entry"))) == nil {
			t.Errorf("%v: maps to nothing", v)
		}
	}
	if refused < 50 {
		t.Errorf("only %d vectors are refused", refused)
	}
}

func TestVectorsOfValuesAndTries(t *testing.T) {
	for _, v := range readVectors(t, "vindex.md", "12.5") {
		if v.has("list") {
			var held heldList
			for element := range strings.SplitSeq(v.get("list"), " ") {
				n, err := strconv.ParseUint(element, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				if err := held.add(n); err != nil {
					t.Fatal(err)
				}
			}
			if got := hex.EncodeToString(held.value[:]); got != v.get("value") {
				t.Errorf("list %s: value %s, want %s", v.get("list"), got, v.get("value"))
			}
		} else if size, err := strconv.ParseInt(v.get("tree_size"), 10, 64); err != nil {
			t.Fatal(err)
		} else if possible := value(unhex(t, v.get("value"))).possibleAt(size); possible == v.has("refused") {
			t.Errorf("%v: possible: %v", v, possible)
		}
	}
	for _, v := range readVectors(t, "vindex.md", "12.6") {
		var pairs []pair
		for _, text := range v["pair"] {
			key, held, _ := strings.Cut(text, " ")
			pairs = append(pairs, pair{Key(unhex(t, key)), value(unhex(t, held))})
		}
		slices.SortFunc(pairs, func(a, b pair) int { return bytes.Compare(a.key[:], b.key[:]) })
		if root := trieRoot(pairs); hex.EncodeToString(root[:]) != v.get("root") {
			t.Errorf("%d pairs: root %x, want %s", len(pairs), root, v.get("root"))
		}
	}
}

func TestVectorsOfTrieProofs(t *testing.T) {
	for _, v := range readVectors(t, "vindex.md", "12.7") {
		read := extraData{trie: unhex(t, v.get("proof")), present: v.has("value")}
		copy(read.value[:], unhex(t, v.get("value")))
		root, err := read.root(Key(unhex(t, v.get("key"))), 1<<62)
		same := err == nil && hex.EncodeToString(root[:]) == v.get("root")
		if same != v.has("root") || v.has("refused") && err == nil {
			t.Errorf("%s: root %x (%v)", v.get("shows"), root, err)
		}
	}
}

func TestVectorsOfAnchors(t *testing.T) {
	for _, v := range readVectors(t, "vindex.md", "12.8") {
		entry := v.binary(t, "entry")
		read, isAnchor := readAnchor(entry)
		switch {
		case v.has("positions"):
			if !isDisavowal(entry) {
				t.Errorf("%s does not disavow", entry)
			}
		case v.has("root"):
			if !isAnchor || fmt.Sprint(read.size) != v.get("tree_size") || read.mapFn != string(v.binary(t, "map_fn")) ||
				(read.root == nil) != (v.get("root") == "null") {
				t.Errorf("%s is read as %v", entry, read)
			}
			if read.root == nil {
				continue
			}
			written, err := writeAnchor(MapFn(read.mapFn), *read.root, read.size)
			if err != nil || !bytes.Equal(written, entry) {
				t.Errorf("%s is written as %s (%v)", entry, written, err)
			}
		default:
			if isAnchor || isDisavowal(entry) {
				t.Errorf("%v: of one of the forms", v)
			}
		}
	}
}

// TestVectorsOfLookups: each file that is accepted gives its answer, each that is refused is refused, attacks too.
func TestVectorsOfLookups(t *testing.T) {
	accepted, refused := 0, 0
	for _, v := range append(readVectors(t, "vindex-vectors.txt", ""), readVectors(t, "vindex-attacks.txt", "")...) {
		if !v.has("lookup") {
			continue
		}
		policy, err := torchwood.ParsePolicy(unbase64(t, v.get("policy")))
		if err != nil {
			t.Errorf("%s: %v", v.get("shows"), err)
			continue
		}
		pin, asked := Pin{policy, MapFn(v.get("map_fn"))}, Key(unhex(t, v.get("key")))
		sound := v.get("lookup")
		if v.has("refused") {
			if strings.Contains(v.get("refused"), "quorum") && strings.Contains(v.get("shows"), "future") {
				continue // When a cosignature was made is policy.md's matter, and torchwood does not look at it.
			}
			refused++
			if got, err := VerifyLookup(unbase64(t, sound), pin, asked); err == nil && got.Checkpoint.Origin == v.get("origin") {
				t.Errorf("%s: accepted (%s)", v.get("shows"), v.get("refused"))
			}
			sound = v.get("sound")
		}
		if sound == "" {
			continue
		}
		accepted++
		got, err := VerifyLookup(unbase64(t, sound), pin, asked)
		if err != nil {
			t.Errorf("%s: %v", v.get("shows"), err)
		} else if answer, shown := got.text(), strings.TrimSpace(v.get("entries")); answer != v.get("answer") ||
			numbers(got.Newest) != v.get("indices") || numbers(got.Entries) != shown {
			t.Errorf("%s: %s, indices %v, entries %v", v.get("shows"), answer, got.Newest, got.Entries)
		}
	}
	t.Logf("%d accepted, %d refused", accepted, refused)
	if accepted < 60 || refused < 120 {
		t.Errorf("only %d are accepted and %d refused", accepted, refused)
	}
}

// TestVectorsOfMisbehaviour: each file proves its fault, or is refused.
func TestVectorsOfMisbehaviour(t *testing.T) {
	proven, refused := 0, 0
	for _, v := range readVectors(t, "vindex-vectors.txt", "") {
		if !v.has("misbehaviour") {
			continue
		}
		fault, err := VerifyMisbehaviour(unbase64(t, v.get("misbehaviour")), v.get("origin"), v["log"], MapFn(v.get("map_fn")))
		if v.has("refused") {
			refused++
			if err == nil {
				t.Errorf("%s: proven (%s)", v.get("shows"), v.get("refused"))
			}
			continue
		}
		proven++
		number, _, _ := strings.Cut(v.get("fault"), " ")
		if err != nil || fmt.Sprint(fault.Number) != number || v.has("entry") && fmt.Sprint(fault.Entry) != v.get("entry") {
			t.Errorf("%s: %+v (%v)", v.get("shows"), fault, err)
		}
	}
	t.Logf("%d proven, %d refused", proven, refused)
	if proven < 15 || refused < 30 {
		t.Errorf("only %d are proven and %d refused", proven, refused)
	}
}

func (l Lookup) text() string {
	if l.Count == 0 {
		return "absent"
	}
	return fmt.Sprintf("present %d %d", l.Count, l.Last)
}

func numbers(all []uint64) string { return strings.Trim(fmt.Sprint(all), "[]") }

// TestVectorsOfUv: the numbers of §12.1.
func TestVectorsOfUv(t *testing.T) {
	for _, v := range readVectors(t, "vindex.md", "12.1") {
		r := &reader{rest: unhex(t, v.get("uv"))}
		n := r.uv("uv")
		if sound := r.err == nil && len(r.rest) == 0; sound == v.has("refused") || sound && fmt.Sprint(n) != v.get("number") {
			t.Errorf("%v: %d (%v)", v, n, r.err)
		}
		if !v.has("refused") && !bytes.Equal(binary.AppendUvarint(nil, n), unhex(t, v.get("uv"))) {
			t.Errorf("%v: is written otherwise", v)
		}
	}
}
