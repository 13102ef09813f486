package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// fakeWitness keeps the rules of c2sp.org/tlog-witness, but for those that a test has it break.
type fakeWitness struct {
	mu     sync.Mutex
	trees  map[string]tlog.Tree
	keys   note.Verifiers
	signer *torchwood.CosignatureSigner

	everyTree  bool // cosigns what does not extend what it holds, too
	forgets    bool // keeps no state
	everyThird bool // pushes back two of three requests
	requests   int
}

func newFakeWitness(t *testing.T, logs []loadLog) (*fakeWitness, string) {
	t.Helper()
	var keys []note.Verifier
	for _, log := range logs {
		key, err := note.NewVerifier(log.vkey)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	w := &fakeWitness{trees: map[string]tlog.Tree{}, keys: note.VerifierList(keys...), signer: newSigner(t)}
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	return w, server.URL + "/"
}

func newSigner(t *testing.T) *torchwood.CosignatureSigner {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := torchwood.NewCosignatureSigner("witness.example", key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func (w *fakeWitness) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests++
	if w.everyThird && w.requests%3 != 0 {
		out.WriteHeader(http.StatusTooManyRequests)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || r.URL.Path != "/add-checkpoint" {
		out.WriteHeader(http.StatusNotFound)
		return
	}
	status, answer := w.addCheckpoint(body)
	out.WriteHeader(status)
	out.Write(answer)
}

func (w *fakeWitness) addCheckpoint(body []byte) (int, []byte) {
	head, signed, _ := bytes.Cut(body, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	old, err := strconv.ParseInt(strings.TrimPrefix(lines[0], "old "), 10, 64)
	if err != nil {
		return http.StatusBadRequest, nil
	}
	var proof tlog.TreeProof
	for _, line := range lines[1:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return http.StatusBadRequest, nil
		}
		proof = append(proof, hash)
	}
	opened, err := note.Open(signed, w.keys)
	if err != nil {
		return http.StatusForbidden, nil
	}
	checkpoint, err := torchwood.ParseCheckpoint(opened.Text)
	if err != nil {
		return http.StatusBadRequest, nil
	}
	held := w.trees[checkpoint.Origin]
	if !w.everyTree {
		if old != held.N {
			return http.StatusConflict, fmt.Appendf(nil, "%d\n", held.N)
		}
		if old > 0 && tlog.CheckTree(proof, checkpoint.N, checkpoint.Hash, old, held.Hash) != nil {
			return http.StatusUnprocessableEntity, nil
		}
	}
	if !w.forgets {
		w.trees[checkpoint.Origin] = checkpoint.Tree
	}
	cosigned, err := note.Sign(&note.Note{Text: opened.Text}, w.signer)
	if err != nil {
		return http.StatusInternalServerError, nil
	}
	return http.StatusOK, cosigned[len(opened.Text)+1:]
}

// TestAgainstAFakeWitness lets the generator find a witness sound that is, and each of those that are not unsound.
func TestAgainstAFakeWitness(t *testing.T) {
	logs, err := newLoadLogs(0, 5)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		breaks        func(t *testing.T, w *fakeWitness)
		load, refresh string // what the error says; empty for none
		race          string
	}{
		"sound":        {func(*testing.T, *fakeWitness) {}, "", "", ""},
		"pushing back": {func(_ *testing.T, w *fakeWitness) { w.everyThird = true }, "", "", ""},
		"split view":   {func(_ *testing.T, w *fakeWitness) { w.everyTree = true }, "", "", "SPLIT VIEW"},
		"wrong key":    {func(t *testing.T, w *fakeWitness) { w.signer = newSigner(t) }, "no cosignature", "no cosignature", ""},
		"forgetful":    {func(_ *testing.T, w *fakeWitness) { w.forgets = true }, "409", "409", "none of 3 trees"},
	} {
		t.Run(name, func(t *testing.T) {
			w, url := newFakeWitness(t, logs)
			vkey := w.signer.Verifier().String()
			c.breaks(t, w)
			o := options{url: url, logs: 5, connections: 3, requests: 40, rounds: 2, cosigners: []string{vkey}}
			for _, run := range []struct {
				mode, want string
				from       int64
			}{{"grow", c.load, 0}, {"refresh", c.refresh, 8}, {"race", c.race, 8}} {
				o.mode, o.from = run.mode, run.from
				switch err := o.run(); {
				case run.want == "" && err != nil:
					t.Errorf("%s: %v", run.mode, err)
				case run.want != "" && (err == nil || !strings.Contains(err.Error(), run.want)):
					t.Errorf("%s: %v, want one that says %q", run.mode, err, run.want)
				}
			}
		})
	}
}

func TestPrintedLogs(t *testing.T) {
	logs, err := newLoadLogs(7, 1)
	if err != nil {
		t.Fatal(err)
	}
	for format, want := range map[string]string{
		"keys": "load0007.example/log=" + logs[0].vkey + "\n",
		"list": "logs/v0\n\nvkey " + logs[0].vkey + "\norigin load0007.example/log\nqpd 100000000\ncontact nobody\n",
	} {
		var out strings.Builder
		if err := printLogs(&out, format, logs); err != nil || out.String() != want {
			t.Errorf("%s: %v %q, want %q", format, err, out.String(), want)
		}
	}
	if err := printLogs(io.Discard, "xml", logs); err == nil {
		t.Error("an unknown format is printed")
	}
}
