// Package judges asks implementations that are not ours whether a log that speaks c2sp.org/tlog-tiles is sound.
//
// Each judge reads the log over HTTP, believes nothing but the verifier key that it is given, and returns nil or
// the first thing that is wrong. Three share no code: golang.org/x/mod/sumdb (judge Sumdb), Tessera's fsck package
// (judge Fsck) and torchwood's client (judge Torchwood). Judge Index is written here, from docs/spec/vindex.md alone;
// its trie is torchwood's.
package judges

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// maxResponse bounds what is read of one resource: a full entry bundle of the largest entries is 16.1 MiB.
const maxResponse = 17 << 20

// Log is a log to be judged.
type Log struct {
	URL  string // with its final slash
	VKey string // of type 0x01, named as the origin
}

// Checkpoint is what a log signed, verified by golang.org/x/mod/sumdb/note.
type Checkpoint struct {
	Origin string
	Tree   tlog.Tree
	Text   string
	Raw    []byte // with the signatures
}

var (
	errNotFound = errors.New("404 Not Found")
	errNotNow   = errors.New("503 Service Unavailable")
)

// FetchCheckpoint reads and verifies the log's checkpoint.
func (l Log) FetchCheckpoint(ctx context.Context) (Checkpoint, error) {
	raw, header, err := l.get(ctx, "checkpoint")
	if err != nil {
		return Checkpoint{}, err
	}
	if got := header.Get("Content-Type"); !strings.HasPrefix(got, "text/plain") {
		return Checkpoint{}, fmt.Errorf("checkpoint has Content-Type %q, want text/plain", got)
	}
	return l.OpenCheckpoint(raw)
}

// OpenCheckpoint verifies a checkpoint that was read before.
func (l Log) OpenCheckpoint(raw []byte) (Checkpoint, error) {
	verifier, err := note.NewVerifier(l.VKey)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("verifier key: %w", err)
	}
	opened, err := note.Open(raw, note.VerifierList(verifier))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint: %w", err)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return Checkpoint{}, fmt.Errorf("checkpoint text is not origin %q, size and root: %q", verifier.Name(), opened.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return Checkpoint{}, fmt.Errorf("checkpoint size %q", lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint root: %w", err)
	}
	return Checkpoint{Origin: lines[0], Tree: tlog.Tree{N: size, Hash: root}, Text: opened.Text, Raw: raw}, nil
}

// get reads one resource of the log; a 404 is errNotFound, a 503 errNotNow, every other status than 200 another error.
func (l Log) get(ctx context.Context, path string) ([]byte, http.Header, error) {
	return l.getAs(ctx, path, "")
}

// getAs is get with a header Accept.
func (l Log) getAs(ctx context.Context, path, accept string) ([]byte, http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.URL+path, nil)
	if err != nil {
		return nil, nil, err
	}
	if accept != "" {
		request.Header.Set("Accept", accept)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotFound {
		return nil, nil, fmt.Errorf("%s: %w", path, errNotFound)
	}
	if response.StatusCode == http.StatusServiceUnavailable {
		return nil, nil, fmt.Errorf("%s: %w", path, errNotNow)
	}
	if response.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("%s: %s", path, response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponse+1))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(body) > maxResponse {
		return nil, nil, fmt.Errorf("%s: more than %d bytes", path, maxResponse)
	}
	return body, response.Header, nil
}

// getPartial reads a tile or bundle of width entries, and on 404, and only then, the full one (c2sp.org/tlog-tiles).
func (l Log) getPartial(ctx context.Context, path string, width int) ([]byte, error) {
	if width == tileWidth {
		body, _, err := l.get(ctx, path)
		return body, err
	}
	body, _, err := l.get(ctx, fmt.Sprintf("%s.p/%d", path, width))
	if errors.Is(err, errNotFound) {
		body, _, err = l.get(ctx, path)
	}
	return body, err
}

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// tilePath is where c2sp.org/tlog-tiles keeps tile n of a level, "entries" or a number: three digits a segment.
func tilePath(level string, n int64) string {
	path := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	return "tile/" + level + "/" + path
}

// splitBundle cuts a bundle into its first count entries; it may hold more only if it is the full one.
func splitBundle(bundle []byte, count int) ([][]byte, error) {
	var entries [][]byte
	for len(bundle) > 0 {
		if len(bundle) < 2 {
			return nil, errors.New("bundle ends inside a length")
		}
		length := int(binary.BigEndian.Uint16(bundle))
		if len(bundle) < 2+length {
			return nil, fmt.Errorf("entry %d of the bundle ends early", len(entries))
		}
		entries = append(entries, bundle[2:2+length])
		bundle = bundle[2+length:]
	}
	if len(entries) != count && len(entries) != tileWidth {
		return nil, fmt.Errorf("bundle holds %d entries, want %d", len(entries), count)
	}
	return entries[:count], nil
}
