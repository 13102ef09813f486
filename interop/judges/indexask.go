package judges

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// asker asks a log for lookups and verifies each.
type asker struct {
	log     Log
	pin     Pin
	flips   bool
	answers []answer
	refused int64
}

// answer is what a proof file proved, and what the log said in JSON of the same name, if it was asked.
type answer struct {
	question question
	lookup   Lookup
	json     *jsonAnswer
	proven   Lookup // by the file in the JSON
}

// jsonAnswer is the JSON of a lookup (docs/openapi.json).
type jsonAnswer struct {
	Found    bool     `json:"found"`
	Count    uint64   `json:"count"`
	Last     *uint64  `json:"last"`
	Start    uint64   `json:"start"`
	Indices  []uint64 `json:"indices"`
	Next     *uint64  `json:"next"`
	Key      string   `json:"key"`
	MapFn    string   `json:"map_fn"`
	TreeSize int64    `json:"tree_size"`
	Verified bool     `json:"verified"`
	Proof    string   `json:"proof"`
}

func (a *asker) askAll(ctx context.Context, all []question) error {
	for _, question := range all {
		if err := a.ask(ctx, question); err != nil {
			return fmt.Errorf("%v: %w", question, err)
		}
	}
	return nil
}

func (a *asker) ask(ctx context.Context, q question) error {
	file, err := a.get(ctx, q.path(), "text/x.tlog.proof")
	if err != nil {
		return err
	}
	key := q.name.Key()
	got := answer{question: q}
	if got.lookup, err = VerifyLookup(file, a.pin, key); err != nil {
		return err
	}
	if a.flips {
		refused, err := refuseFlips(file, a.pin, key)
		if err != nil {
			return err
		}
		a.refused += refused
	}
	if q.withJSON {
		text, err := a.get(ctx, q.path(), "application/json")
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &got.json); err != nil {
			return err
		}
		if got.proven, err = VerifyLookup([]byte(got.json.Proof), a.pin, key); err != nil {
			return fmt.Errorf("the proof in the JSON: %w", err)
		}
	}
	a.answers = append(a.answers, got)
	return nil
}

// get waits while the log answers 503, which it does while an index is rebuilt.
func (a *asker) get(ctx context.Context, path, accept string) ([]byte, error) {
	for {
		body, header, err := a.log.getAs(ctx, path, accept)
		if err == nil && !strings.HasPrefix(header.Get("Content-Type"), accept) {
			return nil, fmt.Errorf("%s has Content-Type %q, want %s", path, header.Get("Content-Type"), accept)
		}
		if !errors.Is(err, errNotNow) {
			return body, err
		}
		select {
		case <-time.After(retryEvery):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", errUnsettled, err)
		}
	}
}

// path is one of the three that a lookup has.
func (q question) path() string {
	key := q.name.Key()
	query := url.Values{"limit": {fmt.Sprint(q.limit)}, "entries": {fmt.Sprint(q.given)}}
	path := "vindex/lookup"
	switch {
	case q.form == 1:
		path += "/" + hex.EncodeToString(key[:])
	case q.form == 2 && (q.name.Kind == "" || q.name.Kind == conda.kinds()[0]):
		path += "/key/" + url.PathEscape(q.name.Text)
	default:
		query.Set("key", q.name.Text)
		if q.name.Kind != "" {
			query.Set("kind", q.name.Kind)
		}
	}
	// Glasslog refuses the plus sign, which some read as a space; Encode has no other use for it.
	return path + "?" + strings.ReplaceAll(query.Encode(), "+", "%20")
}

// checkJSON holds the JSON to the list. It may be of a later checkpoint than the file beside it, so only what the list had
// then is compared by content; the rest is compared with the proof inside.
func (a answer) checkJSON(want []uint64) error {
	said := a.json
	if said == nil {
		return nil
	}
	key := a.question.name.Key()
	switch {
	case said.Key != hex.EncodeToString(key[:]) || said.MapFn == "" || !said.Verified || said.TreeSize != a.proven.Checkpoint.N:
		return fmt.Errorf("JSON of another question or tree: %+v", *said)
	case said.Found != (a.proven.Count > 0) || said.Count != a.proven.Count || said.Found && (said.Last == nil || *said.Last != a.proven.Last):
		return fmt.Errorf("JSON says %+v, its proof %d and %d", *said, a.proven.Count, a.proven.Last)
	case said.Start != 0 || len(said.Indices) != min(a.question.limit, int(said.Count)):
		return fmt.Errorf("JSON has another page than the first %d: %v", a.question.limit, said.Indices)
	case (said.Next != nil) != (len(said.Indices) < int(said.Count)):
		return fmt.Errorf("JSON has %d of %d indices, and next is %v", len(said.Indices), said.Count, said.Next)
	}
	both := min(len(want), len(said.Indices))
	if !slices.Equal(want[:both], said.Indices[:both]) {
		return fmt.Errorf("JSON has indices %v, the log %v", said.Indices, want)
	}
	return nil
}

// flipsOfFile is about how many bytes of a file are changed, one at a time.
const flipsOfFile = 48

// refuseFlips changes one bit of the file at a time, in what its lines say (base64 has spellings of one meaning in signatures), and
// demands that each change is refused.
func refuseFlips(file []byte, pin Pin, asked Key) (int64, error) {
	proof, err := splitProof(file)
	if err != nil {
		return 0, err
	}
	parts := [][]byte{proof.extra, nil, signedPart(proof.checkpoint)}
	for _, hash := range proof.hashes {
		parts[1] = append(parts[1], hash[:]...)
	}
	total := len(parts[0]) + len(parts[1]) + len(parts[2])
	step := max(1, total/flipsOfFile)
	refused := int64(0)
	for place := 0; place < total; place += step {
		changed := [][]byte{bytes.Clone(parts[0]), bytes.Clone(parts[1]), bytes.Clone(parts[2])}
		flip(changed, place)
		joined := joinProof(proof, changed, proof.index)
		if _, err := VerifyLookup(joined, pin, asked); err == nil {
			return refused, fmt.Errorf("with byte %d changed the file is accepted: %s", place, joined)
		}
		refused++
	}
	for _, index := range []int64{proof.index - 1, proof.index + 1} {
		if _, err := VerifyLookup(joinProof(proof, parts, index), pin, asked); err == nil {
			return refused, fmt.Errorf("with index %d the file is accepted", index)
		}
		refused++
	}
	return refused, nil
}

// signedPart is a note up to the end of its first signature, without the characters that may be spelt otherwise.
func signedPart(checkpoint []byte) []byte {
	text, signatures, _ := bytes.Cut(checkpoint, []byte("\n\n"))
	line, _, _ := bytes.Cut(signatures, []byte("\n"))
	return checkpoint[:max(0, len(text)+2+len(line)-4)]
}

func flip(parts [][]byte, place int) {
	for _, part := range parts {
		if place < len(part) {
			part[place] ^= 1 << (place % 8)
			return
		}
		place -= len(part)
	}
}

func joinProof(proof proofFile, parts [][]byte, index int64) []byte {
	var file bytes.Buffer
	fmt.Fprintf(&file, "c2sp.org/tlog-proof@v1\nextra %s\nindex %d\n", base64.StdEncoding.EncodeToString(parts[0]), index)
	for hash := range slices.Chunk(parts[1], 32) {
		fmt.Fprintf(&file, "%s\n", base64.StdEncoding.EncodeToString(hash))
	}
	fmt.Fprintf(&file, "\n%s%s", parts[2], proof.checkpoint[len(parts[2]):])
	return file.Bytes()
}
