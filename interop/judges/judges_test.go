package judges

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// madeLog is a log of size entries, made with sumdb/tlog alone, as the resources that a server holds.
func madeLog(t *testing.T, size int64) (map[string][]byte, string) {
	t.Helper()
	entries := make([][]byte, size)
	for n := range entries {
		entries[n] = fmt.Appendf(nil, "entry %d", n)
	}
	return logOf(t, entries)
}

// storedHashes are those of a log, as sumdb/tlog keeps them.
func storedHashes(entries [][]byte) tlog.HashReader {
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			found[i] = hashes[index]
		}
		return found, nil
	})
	for n, entry := range entries {
		stored, err := tlog.StoredHashes(int64(n), entry, reader)
		if err != nil {
			panic(err) // The reader has them all.
		}
		hashes = append(hashes, stored...)
	}
	return reader
}

func logOf(t *testing.T, entries [][]byte) (map[string][]byte, string) {
	t.Helper()
	size := int64(len(entries))
	files := map[string][]byte{}
	reader := storedHashes(entries)
	bundles := map[int64][]byte{}
	for position, entry := range entries {
		n := int64(position)
		bundle := binary.BigEndian.AppendUint16(bundles[n/tileWidth], uint16(len(entry)))
		bundles[n/tileWidth] = append(bundle, entry...)
	}
	for n, bundle := range bundles {
		files[partialPath(tilePath("entries", n), min(size-n*tileWidth, tileWidth))] = bundle
	}
	for _, tile := range tlog.NewTiles(tileHeight, 0, size) {
		data, err := tlog.ReadTileData(tile, reader)
		if err != nil {
			t.Fatal(err)
		}
		files[partialPath(tilePath(strconv.Itoa(tile.L), tile.N), int64(tile.W))] = data
	}
	root, err := tlog.TreeHash(size, reader)
	if err != nil {
		t.Fatal(err)
	}
	skey, vkey, err := note.GenerateKey(rand.Reader, "log.example")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("log.example\n%d\n%v\n", size, root)
	files["checkpoint"], err = note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return files, vkey
}

func partialPath(path string, width int64) string {
	if width == tileWidth {
		return path
	}
	return fmt.Sprintf("%s.p/%d", path, width)
}

func serve(t *testing.T, files map[string][]byte) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, found := files[r.URL.Path[1:]]
		if !found {
			http.NotFound(w, r)
			return
		}
		kind := "application/octet-stream"
		if r.URL.Path == "/checkpoint" {
			kind = "text/plain; charset=utf-8"
		}
		w.Header().Set("Content-Type", kind)
		w.Write(body)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/"
}

// verdicts asks every judge.
func verdicts(log Log) map[string]error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, sumdb := Sumdb(ctx, log, SumdbOptions{})
	_, torchwood := Torchwood(ctx, log, nil, 0)
	// More workers than bad resources: with fewer, Tessera's fsck waits for ever, and the deadline is the verdict.
	return map[string]error{"sumdb": sumdb, "torchwood": torchwood, "fsck": Fsck(ctx, log, 8)}
}

func TestSoundLogs(t *testing.T) {
	for _, size := range []int64{1, 2, 255, 256, 257, 600} {
		files, vkey := madeLog(t, size)
		for judge, err := range verdicts(Log{URL: serve(t, files), VKey: vkey}) {
			if err != nil {
				t.Errorf("size %d: %s: %v", size, judge, err)
			}
		}
	}
}

// TestTamperedLogs changes one thing at a time; every judge must see it.
func TestTamperedLogs(t *testing.T) {
	const size = 600
	for name, tamper := range map[string]func(files map[string][]byte){
		"a bit of a full bundle":    func(f map[string][]byte) { f["tile/entries/001"][100] ^= 1 },
		"a bit of a partial bundle": func(f map[string][]byte) { f["tile/entries/002.p/88"][10] ^= 1 },
		"a bit of a full tile":      func(f map[string][]byte) { f["tile/0/000"][7] ^= 1 },
		"a bit of a partial tile":   func(f map[string][]byte) { f["tile/0/002.p/88"][40] ^= 1 },
		"a bit of an upper tile":    func(f map[string][]byte) { f["tile/1/000.p/2"][1] ^= 1 },
		"a tile that is missing":    func(f map[string][]byte) { delete(f, "tile/0/001") },
		"a bundle that is missing":  func(f map[string][]byte) { delete(f, "tile/entries/000") },
		"a bundle with too few":     func(f map[string][]byte) { b := f["tile/entries/000"]; f["tile/entries/000"] = b[:len(b)/2] },
		"a bundle with another one": func(f map[string][]byte) { f["tile/entries/000"] = f["tile/entries/001"] },
		"a size that nobody signed": func(f map[string][]byte) {
			f["checkpoint"] = bytes.Replace(f["checkpoint"], []byte("600"), []byte("601"), 1)
		},
		"a checkpoint without a log": func(f map[string][]byte) { f["checkpoint"] = nil },
	} {
		files, vkey := madeLog(t, size)
		tamper(files)
		for judge, err := range verdicts(Log{URL: serve(t, files), VKey: vkey}) {
			if err == nil {
				t.Errorf("%s: %s found the log sound", name, judge)
			}
		}
	}
	files, _ := madeLog(t, size)
	_, other := madeLog(t, 1)
	for judge, err := range verdicts(Log{URL: serve(t, files), VKey: other}) {
		if err == nil {
			t.Errorf("another key: %s found the log sound", judge)
		}
	}
}

// TestFork gives judge Sumdb what only it looks at: what was served and acknowledged before.
func TestFork(t *testing.T) {
	files, vkey := madeLog(t, 300)
	log := Log{URL: serve(t, files), VKey: vkey}
	other, _ := madeLog(t, 200)
	for name, options := range map[string]SumdbOptions{
		"an older checkpoint of another key": {Older: [][]byte{other["checkpoint"]}},
		"an entry in another place":          {Acknowledged: []Acknowledgement{{Index: 6, Entry: []byte("entry 5")}}},
		"an entry that is not there":         {Acknowledged: []Acknowledgement{{Index: 300, Entry: []byte("entry 300")}}},
	} {
		if _, err := Sumdb(context.Background(), log, options); err == nil {
			t.Errorf("%s: sumdb found the log sound", name)
		}
	}
	sound := SumdbOptions{Older: [][]byte{files["checkpoint"]}, Acknowledged: []Acknowledgement{{Index: 5, Entry: []byte("entry 5")}}}
	if _, err := Sumdb(context.Background(), log, sound); err != nil {
		t.Error(err)
	}
}

func TestTilePath(t *testing.T) {
	for n, want := range map[int64]string{0: "tile/0/000", 67: "tile/0/067", 1234067: "tile/0/x001/x234/067"} {
		if got := tilePath("0", n); got != want {
			t.Errorf("tilePath(0, %d) = %s, want %s", n, got, want)
		}
	}
}
